"""Display a figure on a notebook page: one static PNG with its alternative text, and no widget."""

from __future__ import annotations

import base64
import importlib.util
import io
import os
import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 110


def show(figure: Figure, alt: str) -> None:
    """Display a figure as a static PNG that carries `alt`, one or two sentences for who cannot see it.

    The figure is closed afterwards, so that no cell shows it twice. Outside IPython the text is printed.
    Raises ValueError if the text is empty.
    """
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI, facecolor="white")
    show_png(file.getvalue(), alt)
    if "matplotlib.pyplot" in sys.modules:  # pyplot also keeps a figure made by plt.figure()
        sys.modules["matplotlib.pyplot"].close(figure)


def show_png(png: bytes, alt: str) -> None:
    """Display the bytes of a PNG with its alternative text. Raises ValueError if the text is empty."""
    if not alt.strip():
        raise ValueError("a figure needs an alternative text: say in a sentence what the picture shows.")
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.display import display

    if not InteractiveShell.initialized():
        print(alt)
        return
    data = {"image/png": base64.b64encode(png).decode("ascii"), "text/plain": alt}
    display(data, metadata={"image/png": {"alt": alt}}, raw=True)


class Cell(NamedTuple):
    """A running cell: its number from the front end, None where that sends none, and that of this request."""

    number: str | None
    request: str | None

    def repeats(self, earlier: Cell) -> bool:
        """Return whether this is a later run of the same cell."""
        return self.number is not None and self.number == earlier.number and self.request != earlier.request


def running_cell() -> Cell:
    """Return the cell that the kernel is running, by what the front end sent with it."""
    from IPython.core.getipython import get_ipython

    parent = getattr(get_ipython(), "get_parent", dict)() or {}
    return Cell(parent.get("metadata", {}).get("cellId"), parent.get("header", {}).get("msg_id"))


def static_reason() -> str | None:
    """Return why pictures are static on this page, in words; None where sliders can move."""
    if os.environ.get("SSKD_STATIC", "0") not in ("", "0"):
        return "SSKD_STATIC is set"
    if importlib.util.find_spec("ipywidgets") is None:
        return "ipywidgets is not installed (pip install ipywidgets, then restart the kernel)"
    from IPython.core.getipython import get_ipython

    if getattr(get_ipython(), "kernel", None) is None:
        return "this Python is not the kernel of a notebook"
    return None


def on_a_page() -> bool:
    """Return whether explorers become HTML that moves without a kernel: SSKD_STATIC=page, for sites."""
    return os.environ.get("SSKD_STATIC") == "page"


def is_static() -> bool:
    """Return whether pictures are static: SSKD_STATIC is set, or there is no kernel or no ipywidgets."""
    return static_reason() is not None
