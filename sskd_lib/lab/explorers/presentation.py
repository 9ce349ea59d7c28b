"""Put an explorer onto the page: live with sliders, as a page of HTML, or as a filmstrip."""

from __future__ import annotations

from typing import TypeVar

from ..canvas import filmstrip
from ..display import on_a_page, running_cell, show_png, static_reason
from .base import Explorer
from .goals import make_goal
from .live import Live
from .page import explorer_html

AnExplorer = TypeVar("AnExplorer", bound=Explorer)
OPEN: dict[str, Live] = {}  # widgets on the page, by the explorer's key


def present(explorer: AnExplorer) -> AnExplorer:
    """Put an explorer onto the page, live with sliders where that works, and return it.

    Raises ValueError for a key that is no name, and for a film with values that a control does not have.
    """
    from IPython.display import display

    if not isinstance(explorer.key, str) or not explorer.key.strip():
        raise ValueError(f"key is a name of this explorer, for example 'mine', not {explorer.key!r}.")
    for state in explorer.film:
        explorer.complete(state)
    explorer.goal = make_goal(explorer)
    reason = static_reason()
    if on_a_page():
        display({"text/html": explorer_html(explorer), "text/plain": explorer.describe()}, raw=True)
    elif reason is None:
        if explorer.key in OPEN:
            earlier = OPEN.pop(explorer.key)
            earlier.close()
            if not running_cell().repeats(earlier.cell):
                print(
                    f"This closes the earlier explorer with the key {explorer.key!r}. To keep both, give one "
                    f"of them a key of its own: key={explorer.key + ' 2'!r}."
                )
        explorer.live = OPEN[explorer.key] = Live(explorer)
        display(explorer.live.bundle(), raw=True)
    else:
        words = (f"Picture {i}: {explorer.describe(**s)}" for i, s in enumerate(explorer.film, start=1))
        show_png(filmstrip([explorer.frame(**state) for state in explorer.film]), alt=" ".join(words))
        if explorer.goal:
            print(f"Your task: {explorer.goal.task}")
        print(f"Static pictures, because {reason}. Run this cell in JupyterLab to move the sliders.")
    return explorer
