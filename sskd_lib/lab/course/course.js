(function add(mark, tries) {
  const box = mark.isConnected && mark.closest(".sskd-question");
  if (!box) { if (tries) setTimeout(add, 50, mark, tries - 1); return; }
  const set = (part, name, value) => { if (part.getAttribute(name) !== value) part.setAttribute(name, value); };
  const update = () => {
    const ask = box.querySelector(".sskd-ask"), text = ask ? ask.textContent : "";
    for (const group of box.querySelectorAll(".widget-radio-box")) {
      set(group, "role", "radiogroup");
      const sure = group.closest(".sskd-sure");
      set(group, "aria-label", sure && box.querySelector(".sskd-small") ? "How sure are you?" : text);
    }
    for (const handle of box.querySelectorAll("[role=slider], .noUi-handle, .ui-slider-handle")) {
      set(handle, "role", "slider");
      set(handle, "aria-label", text);
    }
    for (const list of box.querySelectorAll(".sskd-code select")) set(list, "aria-label", "Lines of code");
    for (const part of box.querySelectorAll("[role=slider], select, textarea, input")) {
      set(part, "data-lm-suppress-shortcuts", "true");
    }
    const line = box.querySelector(".sskd-line");
    if (line) { set(line, "role", "status"); set(line, "aria-live", "polite"); }
  };
  new MutationObserver(update).observe(box, {subtree: true, childList: true});
  update();
})(this, 200)
