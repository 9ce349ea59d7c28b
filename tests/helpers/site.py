"""A small kit of two notebooks that were run, for the tests of the site."""

from __future__ import annotations

import base64
import functools
from pathlib import Path

import nbformat
from nbformat import NotebookNode

import build
import colab
import site_pages
from helpers.explorers import temperature_explorer
from kernels import Result
from sskd_lib.lab.course.cards import STYLE, folded
from sskd_lib.lab.explorers.page import explorer_html

ALT, NUMBER = "Curves that show the winner.", "sskd 76.1 %"
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
FIRST = r"""# %% [markdown]
# # 01 · A first idea
#
# Two images with **one** label.
#
# About 99 minutes.

# %%
lab.predict("01-which")

# %%
lab.reveal("01-which", "b")
lab.show(figure, alt=words)
print(words)

# %%
# a comment
scale = 3
for i in range(scale):
    text = f"{i} of them"
    print(i, text)

# %% tags=["exercise"]
def soften(logits, tau):
    # BEGIN SOLUTION
    return (logits / tau).softmax(1)
    # END SOLUTION

# %% [markdown]
# ## 1 · A section, with τ
#
# A long equation, and a wide table:
#
# $$L = \sum_i p_i \log \frac{p_i}{q_i} + \sum_j q_j \log \frac{q_j}{p_j}$$
#
# | a | b | c |
# |---|---|---|
# | an_unbreakable_name_of_a_column | an_unbreakable_name_of_a_column | an_unbreakable_name |
#
# ## Check yourself
#
# <details><summary>Answers</summary>
#
# 1. forty-two
#
# </details>
#
# Next: [the second](02_second.ipynb)

# %%
lab.explore_temperature()
"""
SECOND = """# %% [markdown]
# # 02 · A second idea & more

# %%
1

# %% [markdown]
# The paragraph after a picture.
#
# You need [the first](01_first.ipynb). About 20
# minutes.
"""
RESULTS = """# What was measured

See [a section](../notebooks/01_first.ipynb#1-%C2%B7-A-section,-with-%CF%84), [below](#two-words)
and [a program](program.py).

## Two words
"""


def write_kit(folder: Path) -> Path:
    """Write sources, a guide and a document into `folder`, and return it."""
    files = {
        "notebooks/source/01_first.py": FIRST,
        "notebooks/source/02_second.py": SECOND,
        "data/course/01.yaml": "guide:\n  minutes: 25\n",
        "data/course/02.yaml": "guide:\n  objectives:\n    - text: Say what a *second* idea is.\n",
        "docs/results.md": RESULTS,
        "docs/program.py": "",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@functools.cache
def cells_of(kit: Path, stem: str) -> NotebookNode:
    """Return a notebook of the kit with the outputs of a run; no kernel is needed."""
    notebook = build.read_source(kit / "notebooks" / "source" / f"{stem}.py")
    notebook.cells = colab.without_cells(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if stem == "01_first":
        guess, revealed, loop, _, explorer = code
        question = "<div class='sskd-question'><p><b>Predict.</b> Which one is it?</p></div>"
        guess.outputs = [html_output(f"<style>{STYLE}</style>{question}")]
        revealed.outputs = [
            html_output(f"<style>{STYLE}</style>{folded('<p>because it was measured</p>')}"),
            picture_output(),
            stream_output(f"{NUMBER}\n"),
        ]
        loop.outputs = [stream_output("kd     " + "74.2 " * 60 + "\nsskd   76.1\n")]
        moving = temperature_explorer()
        moving.on_pages = ("temperature",)  # few pictures
        explorer.outputs = [html_output(explorer_html(moving))]
    return notebook


def write_site(kit: Path, out: Path, *names: str, failed: str = "") -> dict[str, int]:
    """Write the site of the kit, or the pages of these notebooks; return the bytes of each page."""
    sources = build.find_sources(folder=kit / "notebooks")
    chosen = [source.stem for source in sources if not names or source.stem in names]
    notebooks = {stem: cells_of(kit, stem) for stem in chosen if stem != failed}
    results = [Result(stem, 1.5, 200.0, failure="cell 2 raised" * (stem == failed)) for stem in chosen]
    return site_pages.write_site(out, sources, notebooks, results)


def html_output(html: str) -> NotebookNode:
    return nbformat.v4.new_output("display_data", {"text/html": html, "text/plain": ""})


def picture_output() -> NotebookNode:
    data = {"image/png": base64.b64encode(PIXEL).decode(), "text/plain": ALT}
    return nbformat.v4.new_output("display_data", data, metadata={"image/png": {"alt": ALT}})


def stream_output(text: str) -> NotebookNode:
    return nbformat.v4.new_output("stream", name="stdout", text=text)
