"""An explorer without a kernel: its pictures and words in one piece of HTML, for a browser to move through.

The pictures are those of `Explorer.frame` and the words those of `describe`, for a grid of the options; the
layer of spots is that of hover.py. Controls that would make too many pictures do not move.
"""

from __future__ import annotations

import base64
import io
import itertools
import json
import math
from collections.abc import Collection
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from ..canvas import png_bytes
from .base import Explorer
from .control import Control, widths
from .hover import layer, sheet_css

MOST = 160  # pictures on a page
COLOURS = 256  # of a picture; the drawings have few, photographs are grey or small
SCRIPT = Path(__file__).with_name("page.js").read_text(encoding="utf-8")
STYLE = Path(__file__).with_name("page.css").read_text(encoding="utf-8")


def page_options(explorer: Explorer) -> dict[str, tuple[tuple[str, Any], ...]]:
    """Return the options of the controls that move on a page.

    All, or every other one until there are few enough. A control keeps its first option, its last and the
    one it starts from.
    """
    moving, starts = explorer.on_pages or tuple(explorer.controls), explorer.start()
    chosen = {name: tuple(explorer.controls[name].options) for name in moving}
    while math.prod(len(options) for options in chosen.values()) > MOST:
        fewer = {name: _every_other(options, starts[name]) for name, options in chosen.items()}
        can = [name for name in chosen if len(fewer[name]) < len(chosen[name])]
        if not can:
            break  # two options and the start: no fewer
        name = max(can, key=lambda name: len(chosen[name]))
        chosen[name] = fewer[name]
    return chosen


def _every_other(options: tuple[tuple[str, Any], ...], start: Any) -> tuple[tuple[str, Any], ...]:
    last = len(options) - 1
    return tuple(o for i, o in enumerate(options) if i % 2 == 0 or i == last or o[1] == start)


def explorer_html(explorer: Explorer) -> str:
    """Return the explorer as a piece of HTML, for a page alone or within another."""
    options = page_options(explorer)
    states = [
        explorer.start() | {name: value for name, (_, value) in zip(options, values, strict=True)}
        for values in itertools.product(*options.values())
    ]
    label, readout = widths(explorer.controls[name] for name in options)
    first, size = states.index(explorer.start()), (explorer.canvas.width, explorer.canvas.height)
    layers = [layer(explorer.mark, explorer.spots(**state), *size) for state in states]
    different = list(dict.fromkeys(layers))  # many states share one
    data = {
        "options": [[text for text, _ in kept] for kept in options.values()],
        "start": [
            [v for _, v in kept].index(explorer.controls[name].start) for name, kept in options.items()
        ],
        "frames": [small(explorer.frame(**state)) for state in states],
        "words": [explorer.describe(**state) for state in states],
        "tasks": [explorer.task(**state) for state in states] if explorer.goal else [],
        "layers": different,
        "layer": [different.index(html) for html in layers],
    }
    parts = [
        f'<div class="sskd-explorer" id="{explorer.mark}" role="group" '
        f'aria-label="Explorer: {escape(explorer.key)}" style="--label: {label}ch; --readout: {readout}ch">',
        f"<style>{STYLE}{sheet_css(explorer.mark, explorer.cards)}</style>",
        "<div class=sskd-controls>",
        *(_control(explorer.controls[name], kept) for name, kept in options.items()),
        f"<button type=button>Reset</button></div>{_fixed(explorer, options)}",
        f'<div class="sskd-stack" style="max-width: {explorer.width(40)}">',
        f'<img src="data:image/png;base64,{data["frames"][first]}" alt="{escape(data["words"][first])}">',
        f"<div class=sskd-layer>{layers[first]}</div></div>",
        f'<p class="sskd-task" aria-live="polite">{escape(explorer.task())}</p>' if explorer.goal else "",
        f'<p role="status" aria-live="polite">{escape(data["words"][first])}</p>',
        # "<" cannot end the script element from within
        f'<script type="application/json">{json.dumps(data).replace("<", chr(92) + "u003c")}</script>',
        f"<script>{SCRIPT.replace('BOX_ID', json.dumps(explorer.mark))}</script></div>",
    ]
    return "".join(parts)


def _fixed(explorer: Explorer, moving: Collection[str]) -> str:
    """Return a line that names the controls which do not move on this page, and buttons that it lacks."""
    fixed = [c.label for name, c in explorer.controls.items() if name not in moving]
    missing = [*fixed, *explorer.actions]
    if not missing:
        return ""
    return f"<p>In a live notebook also: {escape(', '.join(missing))}.</p>"


def _control(control: Control, options: tuple[tuple[str, Any], ...]) -> str:
    """Return the HTML of a slider or a list, with its label."""
    label = escape(control.label)
    if control.slider:
        field = f'<input type="range" min="0" max="{len(options) - 1}" step="1"><output aria-live="off">'
        field += "</output>"
    else:
        entries = (f'<option value="{i}">{escape(text)}</option>' for i, (text, _) in enumerate(options))
        field = f"<select>{''.join(entries)}</select>"
    return f"<label><span>{label}</span>{field}</label>"


def small(png: bytes) -> str:
    """Return the same picture in few colours, as base64 of a PNG."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    few = picture.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    return base64.b64encode(png_bytes(few, optimize=True)).decode("ascii")
