"""An explorer without a kernel: its pictures and words in one piece of HTML, for a browser to move through.

The pictures are those of `Explorer.frame` and the words those of `describe`, for a grid of the options.
"""

from __future__ import annotations

import base64
import io
import itertools
import json
import re
from html import escape
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    from .base import Control, Explorer

MOST = 160  # pictures on a page
COLOURS = 256  # of a picture; the drawings have few, photographs are grey or small

SCRIPT = """
(() => {
  const box = document.getElementById(ID), data = JSON.parse(box.querySelector("script[type]").textContent);
  const inputs = [...box.querySelectorAll("input, select")], picture = box.querySelector("img");
  const words = box.querySelector("[role=status]");
  const show = () => {
    const at = inputs.map(input => Number(input.value));
    inputs.forEach((input, i) => {
      const text = data.options[i][at[i]];
      if (input.type === "range") {
        input.setAttribute("aria-valuetext", text);
        input.nextElementSibling.textContent = text;
      }
    });
    const number = at.reduce((sum, value, i) => sum * data.options[i].length + value, 0);
    picture.src = "data:image/png;base64," + data.frames[number];
    picture.alt = words.textContent = data.words[number];
  };
  const reset = () => { inputs.forEach((input, i) => { input.value = data.start[i]; }); show(); };
  inputs.forEach(input => input.addEventListener("input", show));
  box.querySelector("button").addEventListener("click", reset);
  reset();
})();
"""
STYLE = """
.sskd-explorer { max-width: 60rem; font: 1rem/1.4 sans-serif; }
.sskd-explorer label { display: flex; flex-wrap: wrap; gap: .75em; align-items: center; margin: .25em 0; }
.sskd-explorer input { flex: 1 1 16em; max-width: 28em; min-height: 1.75em; }
.sskd-explorer output { min-width: 5em; font-variant-numeric: tabular-nums; }
.sskd-explorer img { max-width: 100%; height: auto; background: white; }
.sskd-explorer p { min-height: 4.2em; }
"""


def page_options(explorer: Explorer) -> dict[str, tuple[tuple[str, Any], ...]]:
    """Each control's options on a page: all, or every other one until there are few enough pictures.

    A control keeps its first option, its last and the one it starts from.
    """
    chosen = {name: tuple(control.options) for name, control in explorer.controls.items()}

    def pictures() -> int:
        count = 1
        for options in chosen.values():
            count *= len(options)
        return count

    while pictures() > MOST:
        name = max(chosen, key=lambda name: len(chosen[name]))
        options, start = chosen[name], explorer.controls[name].start
        kept = [o for i, o in enumerate(options) if i % 2 == 0 or o[1] == start or i == len(options) - 1]
        if len(kept) == len(options):
            break  # two options and the start: no fewer
        chosen[name] = tuple(kept)
    return chosen


def explorer_html(explorer: Explorer) -> str:
    """The explorer as a piece of HTML, for a page of its own or within another."""
    options = page_options(explorer)
    names = list(options)
    states = [dict(zip(names, values, strict=True)) for values in itertools.product(*options.values())]
    states = [{name: value for name, (_, value) in state.items()} for state in states]
    start = [[value for _, value in options[name]].index(explorer.controls[name].start) for name in names]
    data = {
        "options": [[text for text, _ in options[name]] for name in names],
        "start": start,
        "frames": [_small(explorer.frame(**state)) for state in states],
        "words": [explorer.describe(**state) for state in states],
    }
    mark = f"sskd-{re.sub('[^a-z0-9]+', '-', explorer.key.lower())}"
    controls = "".join(_control(explorer.controls[name], options[name]) for name in names)
    first = states.index(explorer.start())
    return (
        f'<div class="sskd-explorer" id="{mark}" role="group" aria-label="Explorer: {escape(explorer.key)}">'
        f"<style>{STYLE}</style>{controls}<button type=button>Reset</button><div>"
        f'<img src="data:image/png;base64,{data["frames"][first]}" alt="{escape(data["words"][first])}">'
        f'</div><p role="status" aria-live="polite">{escape(data["words"][first])}</p>'
        # "<" cannot end the script element from within
        f'<script type="application/json">{json.dumps(data).replace("<", chr(92) + "u003c")}</script>'
        f"<script>{SCRIPT.replace('ID', json.dumps(mark))}</script></div>"
    )


def _control(control: Control, options: tuple[tuple[str, Any], ...]) -> str:
    """A slider or a list, with its label."""
    label = escape(control.label)
    if control.slider:
        field = f'<input type="range" min="0" max="{len(options) - 1}" step="1"><output></output>'
    else:
        entries = (f'<option value="{i}">{escape(text)}</option>' for i, (text, _) in enumerate(options))
        field = f"<select>{''.join(entries)}</select>"
    return f"<label><span>{label}</span>{field}</label>"


def _small(png: bytes) -> str:
    """The same picture in few colours, as base64."""
    out = io.BytesIO()
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        out, "png", optimize=True
    )
    return base64.b64encode(out.getvalue()).decode("ascii")
