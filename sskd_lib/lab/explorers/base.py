"""What all explorers share: controls, a picture, a line of words, and how they come onto a page.

An explorer computes from numbers that were made before; no network runs when a control moves. It has

    frame(**state) -> PNG bytes        the picture for one setting of the controls
    describe(**state) -> str           the same in words

Under a live kernel these feed sliders; in a committed notebook the same frames make one static filmstrip,
on a page of HTML a twin that moves without a kernel (page.py), and on paper a figure (`Explorer.save`).
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from ..canvas import Canvas, filmstrip
from ..show import on_a_page, show_png, static_reason
from .hover import Spot, layer, sheet_css

FONT = {"fontsize": 11, "fontfamily": "DejaVu Sans", "color": "#1A1A1A"}


@dataclass(frozen=True, kw_only=True)
class Control:
    """One thing to take hold of: a slider through the options, or a list of them."""

    label: str
    options: tuple[tuple[str, Any], ...]  # (text shown, value)
    start: Any
    slider: bool = True


class Explorer:
    """Base of the explorers. Fill in key, controls, film and canvas; write update and describe."""

    key: str  # one explorer of a key is open at a time: running a cell again replaces its explorer
    controls: dict[str, Control]
    film: tuple[dict[str, Any], ...]  # the settings a static page shows
    canvas: Canvas
    live: Live | None = None
    actions: dict[str, Callable[[], None]] = {}  # buttons under a live kernel: label → what it does
    cards: np.ndarray | None = None  # uint8 [n, H, W, 3]: images that spots may show
    on_pages: tuple[str, ...] | None = None  # controls that move without a kernel; None: all of them

    def update(self, **state: Any) -> None:
        """Bring the artists on the canvas to this state."""
        raise NotImplementedError

    def describe(self, **state: Any) -> str:
        """Say the state in words."""
        raise NotImplementedError

    def spots(self, **state: Any) -> list[Spot]:
        """Places of this state's picture that answer when pointed at."""
        return []

    def close(self) -> None:
        """Stop what an action has started; called when the cell is run again."""

    def start(self) -> dict[str, Any]:
        """The value each control starts from."""
        return {name: control.start for name, control in self.controls.items()}

    def frame(self, **state: Any) -> bytes:
        """Draw one state and return it as PNG bytes; what is not named stands at its start."""
        self.update(**{**self.start(), **state})
        return self.canvas.png()

    def save(self, path: str | Path, **state: Any) -> Path:
        """Write one state for print, with its words below: 300 dots an inch, PNG or PDF by the file's name.

        Raises ValueError for another ending, OSError if the file cannot be written.
        """
        from ..printing import save_print

        self.update(**{**self.start(), **state})
        return save_print(Path(path), self.canvas, self.describe(**{**self.start(), **state}))

    @property
    def mark(self) -> str:
        """The key as a name in HTML."""
        return f"sskd-{re.sub('[^a-z0-9]+', '-', self.key.lower())}"

    def present(self) -> Explorer:
        """Come onto the page: live with sliders where that works, else as a filmstrip."""
        from IPython.display import display

        reason = static_reason()
        if on_a_page():
            from .page import explorer_html

            display({"text/html": explorer_html(self), "text/plain": self.describe()}, raw=True)
        elif reason is None:
            if self.key in OPEN:
                OPEN.pop(self.key).close()
            self.live = OPEN[self.key] = Live(self)
            display(self.live.bundle(), raw=True)
        else:
            show_png(
                filmstrip([self.frame(**state) for state in self.film]),
                alt=" ".join(f"Picture {i}: {self.describe(**s)}" for i, s in enumerate(self.film, start=1)),
            )
            print(f"Static pictures, because {reason}. Run this cell in JupyterLab to move the sliders.")
        return self

    def _ipython_display_(self) -> None:
        """Nothing: it is on the page already, also when the call is the last line of a cell."""


class Live:
    """The widgets of an explorer on a page. Core ipywidgets only, in the API that 7.7 and 8 share."""

    def __init__(self, explorer: Explorer) -> None:
        import ipywidgets as widgets

        self.explorer = explorer
        self._loop = _running_loop()  # of the cells; newer JupyterLabs move sliders in a thread of their own
        self._drawing = threading.Lock()
        self._coming: asyncio.TimerHandle | None = None  # the next drawing
        self._settling: asyncio.TimerHandle | None = None  # the next layer of spots
        self.controls = {name: _widget(widgets, c) for name, c in explorer.controls.items()}
        self.picture = widgets.Image(format="png", layout=widgets.Layout(max_width="100%", grid_area="1 / 1"))
        self.layer = widgets.HTML(layout=widgets.Layout(width="100%", grid_area="1 / 1"))
        self.style = widgets.HTML(layout=widgets.Layout(display="none"))
        self.words = widgets.HTML()
        names = {"Reset": self._back_to_start} | explorer.actions
        self.buttons = {name: widgets.Button(description=name) for name in names}
        for name, button in self.buttons.items():
            button.on_click(lambda _, act=names[name]: self._press(act))
        self.row = widgets.HBox(list(self.buttons.values()), layout=widgets.Layout(flex_flow="row wrap"))
        self.stack = widgets.GridBox([self.picture, self.layer])
        self.box = widgets.VBox([*self.controls.values(), self.row, self.style, self.stack, self.words])
        for control in self.controls.values():
            control.observe(self.refresh, names="value")
        self.draw()
        self.place_spots()

    def bundle(self) -> dict[str, Any]:
        """What comes onto the page: the widgets or, where a page cannot show them, one picture and why."""
        from .page import small

        why = "This picture stands still, because the page has no widgets or no kernel behind it."
        why += " Run the cell in JupyterLab, Notebook 7, VS Code or Colab to move the sliders."
        words = self.explorer.describe(**self.values())
        image = f'<img src="data:image/png;base64,{small(bytes(self.picture.value))}" alt="{escape(words)}">'
        return {
            "application/vnd.jupyter.widget-view+json": {
                "version_major": 2,
                "version_minor": 0,
                "model_id": self.box.model_id,
            },
            "text/html": f"{image}<p>{escape(why)}</p>",
            "text/plain": f"{words} {why}",
        }

    def values(self) -> dict[str, Any]:
        """What the controls are set to."""
        return {name: control.value for name, control in self.controls.items()}

    def refresh(self, change: Any = None) -> None:
        """Redraw for the values the controls have: in a kernel a moment later, else at once.

        A slider sends its next value only when the kernel is done with the last. So the kernel says that
        first and then draws, for the newest value, while the browser is busy with what came before. What
        can be pointed at follows when the controls rest.
        """
        loop = _running_loop()
        if loop is None:  # nothing would call later
            self.draw()
            self.place_spots()
            return
        for coming in (self._coming, self._settling):
            if coming is not None:
                coming.cancel()
        self._coming = loop.call_later(0.001, self.draw)
        self._settling = loop.call_later(0.25, self.place_spots)

    def redraw(self) -> None:
        """Redraw soon; may be called from any thread."""
        if self._loop is None:
            self.draw()
        else:
            self._loop.call_soon_threadsafe(self.refresh)

    def draw(self) -> None:
        """Bring words and picture to the controls' values. An error is shown in the line of words."""
        self._coming = None
        with self._drawing:
            state = self.values()
            try:
                picture, words = (
                    self.explorer.frame(**state),
                    _line("status", self.explorer.describe(**state)),
                )
                self.words.value = words  # before the picture: a small message after a large one waits
                self.picture.value = picture
            except Exception as error:  # the notebook front end would swallow it
                self._tell(error, f"The picture could not be drawn for {state}")

    def place_spots(self) -> None:
        """Bring what can be pointed at to the controls' values."""
        self._settling = None
        try:
            spots = self.explorer.spots(**self.values())
            if spots and not self.style.value:
                self.style.value = f"<style>{sheet_css(self.explorer.mark, self.explorer.cards)}</style>"
            canvas = self.explorer.canvas
            self.layer.value = layer(self.explorer.mark, spots, canvas.width, canvas.height)
        except Exception as error:
            self._tell(error, "What can be pointed at could not be found")

    def _press(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:
            self._tell(error, "That did not work")
        else:
            self.refresh()

    def _tell(self, error: Exception, what: str) -> None:
        self.words.value = _line("alert", f"{what}: {type(error).__name__}: {error}")

    def _back_to_start(self) -> None:
        for name, value in self.explorer.start().items():
            self.controls[name].value = value

    def close(self) -> None:
        """Take the widgets off the page and out of the kernel's memory; end what an action started."""
        self.explorer.close()
        for coming in (self._coming, self._settling):
            if coming is not None:
                coming.cancel()
        for control in self.controls.values():
            control.unobserve_all()
        single = (self.row, self.stack, self.picture, self.layer, self.style, self.words, self.box)
        for widget in (*self.controls.values(), *self.buttons.values(), *single):
            for part in (getattr(widget, "style", None), widget.layout, widget):  # widgets of their own
                if part is not None:
                    part.close()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


OPEN: dict[str, Live] = {}


def _widget(widgets: Any, control: Control) -> Any:
    make: Callable = widgets.SelectionSlider if control.slider else widgets.Dropdown
    more = {"continuous_update": True} if control.slider else {}
    return make(
        options=list(control.options),
        value=control.start,
        description=control.label,
        style={"description_width": "initial"},
        layout=widgets.Layout(width="640px", max_width="100%"),
        **more,
    )


def _line(role: str, text: str) -> str:
    return f'<p role="{role}" style="line-height: 1.4; min-height: 4.2em">{escape(text)}</p>'
