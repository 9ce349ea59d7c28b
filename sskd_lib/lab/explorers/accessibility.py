"""A script for keyboard and screen reader, which adds to widgets in the browser.

A slider of ipywidgets has no name and gives the number of its option instead of the option, its picture has
no text, and JupyterLab takes the arrow keys for itself, to move between cells. Python can set none of this.
So a small script comes with the widgets; where a front end does not run it, only this is missing.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

BOX = "sskd-live"  # CSS class of an explorer's box, also in accessibility.js
SCRIPT = Path(__file__).with_name("accessibility.js").read_text(encoding="utf-8")
# A handle's edge of 4.5 : 1 on white, and over 3 : 1 on the grounds of dark themes.
STYLE = f"<style>.{BOX} .widget-slider .noUi-handle {{ border-color: #767676 !important }}</style>"
ACCESS = f'{STYLE}<img hidden alt="" src="data:," onerror="{escape(" ".join(SCRIPT.split()))}">'
