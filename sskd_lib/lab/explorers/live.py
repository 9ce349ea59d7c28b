"""Widgets of an explorer under a live kernel: core ipywidgets only, in the API of both 7.7 and 8."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from html import escape
from typing import Any

from ..course.progress import keep_goal
from ..display import running_cell
from .accessibility import ACCESS, BOX, DARK
from .base import Explorer
from .control import Control, widths
from .hover import layer, sheet_css
from .page import small

COLUMNS = "repeat(auto-fit, minmax(min(100%, 24rem), 1fr))"  # of controls: two, or one on a narrow page


class Live:
    """Controls, buttons, picture, the layer of spots, and a line of words."""

    def __init__(self, explorer: Explorer) -> None:
        import ipywidgets as widgets

        self.explorer, self.cell, self.reached = explorer, running_cell(), False
        self._loop = _running_loop()  # of the cells; newer JupyterLabs move sliders in a thread of their own
        self._coming: asyncio.TimerHandle | None = None  # the next drawing
        self._settling: asyncio.TimerHandle | None = None  # the next layer of spots
        label, readout = widths(explorer.controls.values())
        self.controls = {name: _widget(widgets, c, label) for name, c in explorer.controls.items()}
        self.picture = widgets.Image(format="png", layout=widgets.Layout(max_width="100%", grid_area="1 / 1"))
        self.layer = widgets.HTML(layout=widgets.Layout(width="100%", grid_area="1 / 1"))
        hidden = widgets.Layout(display="none")
        self.style = widgets.HTML(layout=hidden)
        size = f"<style>.{BOX}.{explorer.mark} .widget-readout {{ width: {readout}ch }}</style>"
        self.access = widgets.HTML(ACCESS + size, layout=hidden)
        self.dark = widgets.Checkbox(explorer.canvas.dark, layout=hidden)
        self.dark.add_class(DARK)
        self.words, self.task = widgets.HTML(), widgets.HTML()
        self.task.add_class("sskd-task")
        names = {"Reset": self._back_to_start} | explorer.actions
        wide = widgets.Layout(width="auto")  # as wide as its words
        self.buttons = {name: widgets.Button(description=name, layout=wide) for name in names}
        for name, button in self.buttons.items():
            button.on_click(lambda _, act=names[name]: self._press(act))
        self.row = widgets.HBox(list(self.buttons.values()), layout=widgets.Layout(flex_flow="row wrap"))
        two = widgets.Layout(grid_template_columns=COLUMNS, grid_gap="0 24px")
        self.grid = widgets.GridBox([*self.controls.values(), self.row], layout=two)
        column = widgets.Layout(grid_template_columns="minmax(0, 1fr)", max_width=explorer.width(125))
        self.stack = widgets.GridBox([self.picture, self.layer], layout=column)
        parts = (self.grid, self.style, self.stack, self.task, self.words, self.access, self.dark)
        self.box = widgets.VBox(parts)
        for name in (BOX, explorer.mark):
            self.box.add_class(name)
        self.dark.observe(self._follow_theme, names="value")
        for control in self.controls.values():
            control.observe(self.refresh, names="value")
        self.draw_now()

    def bundle(self) -> dict[str, Any]:
        """Return the widgets and, for a page that cannot show them, one picture and the reason."""
        why = "This picture does not move, because the page has no widgets or no kernel behind it."
        why += " Run the cell in JupyterLab, Notebook 7, VS Code or Colab to move the sliders."
        words = self.explorer.describe(**self.values())
        image = f'<img src="data:image/png;base64,{small(bytes(self.picture.value))}" alt="{escape(words)}" '
        image += 'style="max-width: 100%">'
        return {
            "application/vnd.jupyter.widget-view+json": {
                "version_major": 2,
                "version_minor": 0,
                "model_id": self.box.model_id,
            },
            "text/html": f"{image}<p>{escape(why)}</p>",
            "text/plain": f"{words} {why}",
        }

    def _follow_theme(self, change: dict[str, Any]) -> None:
        self.explorer.canvas.dark = change["new"]
        self.refresh()

    def values(self) -> dict[str, Any]:
        """Return the values of the controls."""
        return {name: control.value for name, control in self.controls.items()}

    def refresh(self, change: Any = None) -> None:
        """Redraw for the values the controls have: in a kernel a moment later, else at once.

        A slider sends its next value only when the kernel is done with the last. So the kernel reports that
        first and then draws, for the newest value, while the browser is busy with what came before. The
        layer of spots follows when the controls rest.
        """
        loop = _running_loop()
        if loop is None:  # nothing would call later
            self.draw_now()
            return
        self._cancel()
        self._coming = loop.call_later(0.001, self.draw)
        self._settling = loop.call_later(0.25, self.place_spots)

    def redraw(self) -> None:
        """Redraw soon; may be called from any thread."""
        if self._loop is None:
            self.draw()
        else:
            self._loop.call_soon_threadsafe(self.refresh)

    def draw_now(self) -> None:
        """Bring words, picture and the layer of spots to the controls' values."""
        self.draw()
        self.place_spots()

    def draw(self) -> None:
        """Bring words and picture to the controls' values. An error is shown in the line of words."""
        self._coming = None
        with self.explorer.canvas.lock:  # also: the newest values are the last to be shown
            state = self.values()
            try:
                picture, words = self.explorer.frame(**state), self.explorer.describe(**state)
                self.words.value = _line("status", words)  # a small message after a large one waits
                self._show_task(state)
                self.picture.value = picture
            except Exception as error:  # the notebook front end would swallow it
                self._show_error(error, f"The picture could not be drawn for {state}")

    def _show_task(self, state: dict[str, Any]) -> None:
        """Say whether this state fulfils the task; the first time is kept in the learner's record."""
        goal = self.explorer.goal
        if goal is None:
            return
        self.task.value = f'<p role="note">{escape(goal.words(state))}</p>'
        if not self.reached and goal.judge(state)[0]:
            self.reached = True
            keep_goal(self.explorer.key)

    def place_spots(self) -> None:
        """Bring the layer of spots to the controls' values."""
        self._settling = None
        try:
            spots = self.explorer.spots(**self.values())
            if spots and not self.style.value:
                self.style.value = f"<style>{sheet_css(self.explorer.mark, self.explorer.cards)}</style>"
            canvas = self.explorer.canvas
            self.layer.value = layer(self.explorer.mark, spots, canvas.width, canvas.height)
        except Exception as error:
            self._show_error(error, "What can be pointed at could not be found")

    def _press(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:
            self._show_error(error, "That did not work")
        else:
            self.refresh()

    def _show_error(self, error: Exception, message: str) -> None:
        self.words.value = _line("alert", f"{message}: {type(error).__name__}: {error}")

    def _back_to_start(self) -> None:
        for name, value in self.explorer.start().items():
            self.controls[name].value = value

    def close(self) -> None:
        """Take the widgets off the page and out of the kernel's memory; stop what an action started."""
        self.explorer.close()
        self._cancel()
        for control in (*self.controls.values(), self.dark):
            control.unobserve_all()
        single = (self.grid, self.row, self.stack, self.picture, self.layer, self.style, self.words)
        single += (self.task, self.access, self.dark)
        for widget in (*self.controls.values(), *self.buttons.values(), *single, self.box):
            for part in (getattr(widget, "style", None), widget.layout, widget):  # widgets of their own
                if part is not None:
                    part.close()

    def _cancel(self) -> None:
        for coming in (self._coming, self._settling):
            if coming is not None:
                coming.cancel()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _widget(widgets: Any, control: Control, label: int) -> Any:
    make: Callable = widgets.SelectionSlider if control.slider else widgets.Dropdown
    more = {"continuous_update": True} if control.slider else {}
    return make(
        options=list(control.options),
        value=control.start,
        description=control.label,
        style={"description_width": f"{label}ch"},
        layout=widgets.Layout(width="auto", margin="1px 2px"),
        **more,
    )


def _line(role: str, text: str) -> str:
    return f'<p role="{role}" style="line-height: 1.4; min-height: 4.2em">{escape(text)}</p>'
