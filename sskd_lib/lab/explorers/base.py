"""What all explorers share: controls, a picture, a line of words, and how they come onto a page.

An explorer computes from numbers that were made before; no network runs when a control moves. It has

    frame(**state) -> PNG bytes        the picture for one setting of the controls
    describe(**state) -> str           the same in words

Under a live kernel these feed sliders; in a committed notebook the same frames make one static filmstrip,
and on a page of HTML a twin that moves without a kernel (page.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

from ..canvas import Canvas, filmstrip
from ..show import on_a_page, show_png, static_reason

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

    def update(self, **state: Any) -> None:
        """Bring the artists on the canvas to this state."""
        raise NotImplementedError

    def describe(self, **state: Any) -> str:
        """Say the state in words."""
        raise NotImplementedError

    def start(self) -> dict[str, Any]:
        """The value each control starts from."""
        return {name: control.start for name, control in self.controls.items()}

    def frame(self, **state: Any) -> bytes:
        """Draw one state and return it as PNG bytes; what is not named stands at its start."""
        self.update(**{**self.start(), **state})
        return self.canvas.png()

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
            display(self.live.box)
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
        self._coming: asyncio.TimerHandle | None = None  # the next drawing
        self.controls = {name: _widget(widgets, c) for name, c in explorer.controls.items()}
        self.picture = widgets.Image(format="png", layout=widgets.Layout(max_width="100%"))
        self.words = widgets.HTML()
        self.reset = widgets.Button(description="Reset", layout=widgets.Layout(width="6em"))
        self.reset.on_click(self._back_to_start)
        self.box = widgets.VBox([*self.controls.values(), self.reset, self.picture, self.words])
        for control in self.controls.values():
            control.observe(self.refresh, names="value")
        self.draw()

    def refresh(self, change: Any = None) -> None:
        """Redraw for the values the controls have: in a kernel a moment later, else at once.

        A slider sends its next value only when the kernel is done with the last. So the kernel says that
        first and then draws, for the newest value, while the browser is busy with what came before.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # nothing would call later
            self.draw()
            return
        if self._coming is not None:
            self._coming.cancel()
        self._coming = loop.call_later(0.001, self.draw)

    def draw(self) -> None:
        """Bring words and picture to the controls' values. An error is shown in the line of words."""
        self._coming = None
        state = {name: control.value for name, control in self.controls.items()}
        try:
            picture, words = self.explorer.frame(**state), _line("status", self.explorer.describe(**state))
            self.words.value = words  # before the picture: a small message after a large one waits
            self.picture.value = picture
        except Exception as error:  # the notebook front end would swallow it
            told = f"The picture could not be drawn for {state}: {type(error).__name__}: {error}"
            self.words.value = _line("alert", told)

    def _back_to_start(self, button: Any) -> None:
        for name, value in self.explorer.start().items():
            self.controls[name].value = value

    def close(self) -> None:
        """Take the widgets off the page and out of the kernel's memory."""
        if self._coming is not None:
            self._coming.cancel()
        for control in self.controls.values():
            control.unobserve_all()
        for widget in (*self.controls.values(), self.reset, self.picture, self.words, self.box):
            for part in (getattr(widget, "style", None), widget.layout, widget):  # widgets of their own
                if part is not None:
                    part.close()


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
