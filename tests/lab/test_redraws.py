"""What a move of a control costs, counted: no network, no full redraw, no picture of a value already left.

Times depend on the machine; `python benchmarks/explorers.py` prints them.
"""

from __future__ import annotations

import asyncio

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import ImageDraw

from helpers.every_explorer import MAKERS
from sskd_lib import lab
from sskd_lib.lab.canvas import font


def counted(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> list:
    """Count the calls of a method from now on, by the length of the list returned."""
    calls, method = [], getattr(owner, name)

    def counting(self, *arguments, **options):
        calls.append(self)
        return method(self, *arguments, **options)

    monkeypatch.setattr(owner, name, counting)
    return calls


def test_every_kind_of_explorer_is_tried() -> None:
    clinic = {"explore_clinic"}  # a widget of its own, with tests of its own
    assert {name for name in lab.__all__ if name.startswith("explore_")} - clinic == set(MAKERS)


@pytest.mark.parametrize("name", MAKERS)
def test_no_words_leave_the_picture(live, name) -> None:
    explorer, cut = MAKERS[name](), set()
    pen = ImageDraw.Draw(explorer.canvas.image())
    for control_name, control in explorer.controls.items():
        for _, value in control.options:
            explorer.frame(**{control_name: value})
            for w in explorer.canvas._words:
                box = pen.textbbox((w.x, w.y), w.text, font=font(w.points), anchor=w.anchor)
                inside = box[0] >= 0 and box[1] >= 0 and box[2] <= explorer.canvas.width
                cut |= set() if inside and box[3] <= explorer.canvas.height else {w.text}
    assert cut == set()


@pytest.mark.parametrize("name", MAKERS)
def test_a_move_runs_no_network_and_redraws_only_what_moves(live, name, monkeypatch) -> None:
    explorer = MAKERS[name]()
    redraws = counted(monkeypatch, FigureCanvasAgg, "draw")
    networks = counted(monkeypatch, torch.nn.Module, "__call__")
    frames = counted(monkeypatch, type(explorer), "update")
    moves = 0
    for control_name, control in explorer.controls.items():
        for _, value in control.options:
            moves += explorer.live.controls[control_name].value != value
            explorer.live.controls[control_name].value = value
            assert 'role="status"' in explorer.live.words.value
    assert len(frames) == moves > 0
    assert redraws == []
    assert networks == []


@pytest.mark.parametrize("name", MAKERS)
def test_moves_faster_than_the_pictures_draw_the_newest_value_once(live, name, monkeypatch) -> None:
    """As under a kernel: all moves of a drag that come before the next picture share this one picture."""

    async def drag() -> None:
        explorer = MAKERS[name]()
        control = list(explorer.controls)[-1]
        frames = counted(monkeypatch, type(explorer), "update")
        before = explorer.live.picture.value
        values = [value for _, value in explorer.controls[control].options] * 3
        for value in values[::-1]:
            explorer.live.controls[control].value = value
        assert explorer.live.picture.value == before
        assert frames == []
        while explorer.live._coming is not None:
            await asyncio.sleep(0.001)
        assert len(frames) == 1
        assert explorer.live.picture.value == explorer.frame(**explorer.live.values())

    asyncio.run(drag())
