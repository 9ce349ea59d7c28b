(function add(mark, tries) {
  const box = mark.isConnected && mark.closest(".sskd-live");
  const handles = "[role=slider], .ui-slider-handle";
  if (!box) { if (tries) setTimeout(add, 50, mark, tries - 1); return; }
  const update = () => {
    for (const slider of box.querySelectorAll(".widget-slider")) {
      const handle = slider.querySelector(handles), label = slider.querySelector("label, .widget-label");
      if (!handle || !label) continue;
      handle.setAttribute("role", "slider");
      handle.setAttribute("aria-label", label.textContent);
      handle.setAttribute("aria-valuetext", slider.querySelector(".widget-readout").textContent);
    }
    for (const part of box.querySelectorAll("select, " + handles)) {
      part.setAttribute("data-lm-suppress-shortcuts", "true");
    }
    const words = box.querySelector("p[role=status], p[role=alert]"), picture = box.querySelector("img.widget-image");
    if (words && picture) picture.alt = words.textContent;
    follow();
    const task = box.querySelector(".sskd-task");
    if (task) task.setAttribute("aria-live", "polite");
    if (words) words.parentElement.setAttribute("aria-live", "polite");
  };
  const follow = () => {
    const night = !!document.querySelector("[data-jp-theme-light=false], .vscode-dark, html[theme=dark]");
    for (const dark of document.querySelectorAll(".sskd-dark input")) if (dark.checked !== night) dark.click();
  };
  if (!window.sskdTheme) {
    window.sskdTheme = new MutationObserver(follow);
    window.sskdTheme.observe(document.body, {attributes: true});
  }
  new MutationObserver(update).observe(box, {subtree: true, childList: true, characterData: true});
  update();
})(this, 200)
