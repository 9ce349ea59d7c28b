"""A script for keyboard, screen reader and dark theme, which adds to widgets in the browser.

A slider of ipywidgets has no name and gives the number of its option instead of the option, its picture has
no text, and JupyterLab takes the arrow keys for itself, to move between cells. Python can set none of this,
and does not know the theme of the page: the script ticks a hidden box where it is dark. So a small script
comes with the widgets; where a front end does not run it, only this is missing. It knows the sliders
of ipywidgets 8, and those of 7 (.ui-slider-handle), which Colab still has.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

BOX, DARK = "sskd-live", "sskd-dark"  # CSS classes of an explorer and of the hidden box, also in the script
SCRIPT = Path(__file__).with_name("accessibility.js").read_text(encoding="utf-8")
STYLE = Path(__file__).with_name("live.css").read_text(encoding="utf-8")
RUN = f'<img hidden alt="" src="data:," onerror="{escape(" ".join(SCRIPT.split()))}">'
ACCESS = f"<style>{STYLE}</style>{RUN}"
