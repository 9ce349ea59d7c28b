(() => {
  const box = document.currentScript.parentElement, slider = box.querySelector("input");
  const data = JSON.parse(box.querySelector("script[type]").textContent), lists = [...box.querySelectorAll("ol")];
  const ordinals = ["First", "Second"];
  const soften = (logits, temperature) => {
    const raised = logits.map(z => Math.exp((z - logits[0]) / temperature));  // the largest comes first
    const sum = raised.reduce((a, b) => a + b);
    return raised.map(value => value / sum);
  };
  const row = (list, name) => {
    const item = list.appendChild(document.createElement("li"));
    for (const part of ["span", "i", "b"]) item.append(document.createElement(part));
    item.firstChild.textContent = name;
    item.children[1].append(document.createElement("u"));
    item.children[1].setAttribute("aria-hidden", "true");
    return item;
  };
  const rows = data.answers.map(({names}, i) => {
    const shown = names.slice(0, data.shown), others = names.length - shown.length;
    return [...shown, `${others} others`].map(name => row(lists[i], name));
  });
  const show = () => {
    const temperature = 20 ** (slider.value / 100), words = [`Temperature ${temperature.toFixed(1)}.`];
    slider.nextElementSibling.textContent = temperature.toFixed(1);
    slider.setAttribute("aria-valuetext", `temperature ${temperature.toFixed(1)}`);
    data.answers.forEach(({names, logits}, i) => {
      const p = soften(logits, temperature), shown = p.slice(0, data.shown);
      const all = [...shown, p.slice(data.shown).reduce((a, b) => a + b, 0)];
      rows[i].forEach((item, k) => {
        item.querySelector("u").style.width = `${100 * all[k]}%`;
        item.lastChild.textContent = `${(100 * all[k]).toFixed(1)} %`;
      });
      const named = [0, 1, 2].map(k => `${names[k]} ${(100 * p[k]).toFixed(1)} %`).join(", ");
      words.push(`${ordinals[i]} image: ${named}.`);
    });
    box.querySelector("[role=status]").textContent = words.join(" ");
  };
  slider.addEventListener("input", show);
  show();
})();
