(() => {
  const box = document.getElementById(BOX_ID), data = JSON.parse(box.querySelector("script[type]").textContent);
  const inputs = [...box.querySelectorAll("input, select")], picture = box.querySelector("img");
  const words = box.querySelector("[role=status]"), layer = box.querySelector(".sskd-layer");
  const task = box.querySelector(".sskd-task");
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
    if (task) task.textContent = data.tasks[number];
    layer.innerHTML = data.layers[data.layer[number]];
  };
  const reset = () => { inputs.forEach((input, i) => { input.value = data.start[i]; }); show(); };
  inputs.forEach(input => input.addEventListener("input", show));
  box.querySelector("button").addEventListener("click", reset);
  reset();
})();
