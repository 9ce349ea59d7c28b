"""A script for keyboard and screen reader, which adds to widgets in the browser.

A slider of ipywidgets has no name and gives the number of its option instead of the option, its picture has
no text, and JupyterLab takes the arrow keys for itself, to move between cells. Python can set none of this.
So a small script comes with the widgets; where a front end does not run it, only this is missing.
"""

from __future__ import annotations

from html import escape

BOX = "sskd-live"  # CSS class of an explorer's box: other widgets of a page stay as they are
SCRIPT = """
(function add(mark, tries) {
  const box = mark.isConnected && mark.closest(".BOX");
  if (!box) { if (tries) setTimeout(add, 50, mark, tries - 1); return; }
  const update = () => {
    for (const slider of box.querySelectorAll(".widget-slider")) {
      const handle = slider.querySelector("[role=slider]");
      if (!handle) continue;
      handle.setAttribute("aria-label", slider.querySelector("label").textContent);
      handle.setAttribute("aria-valuetext", slider.querySelector(".widget-readout").textContent);
    }
    for (const part of box.querySelectorAll("select, [role=slider]")) {
      part.setAttribute("data-lm-suppress-shortcuts", "true");
    }
    const words = box.querySelector("p[role]"), picture = box.querySelector("img.widget-image");
    if (words && picture) picture.alt = words.textContent;
    if (words) words.parentElement.setAttribute("aria-live", "polite");
  };
  new MutationObserver(update).observe(box, {subtree: true, childList: true, characterData: true});
  update();
})(this, 200)
""".replace("BOX", BOX)
# A handle's edge of 4.5 : 1 on white, and over 3 : 1 on the grounds of dark themes.
STYLE = f"<style>.{BOX} .widget-slider .noUi-handle {{ border-color: #767676 !important }}</style>"
ACCESS = f'{STYLE}<img hidden alt="" src="data:," onerror="{escape(" ".join(SCRIPT.split()))}">'
