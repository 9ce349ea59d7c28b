(() => {
  const root = document.documentElement, byId = name => document.getElementById(name);
  const all = selector => [...document.querySelectorAll(selector)];

  const theme = byId("theme"), system = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  const name = () => { theme.setAttribute("aria-pressed", dark()); };
  theme.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("sskd-theme", root.dataset.theme); } catch { /* for this page only */ }
    name();
  });
  system.addEventListener("change", name);
  name();

  // Code of all cells; solutions of exercises stay folded, each has its fold.
  const code = byId("all-code"), folds = all("details.code:not(.solution)");
  code?.addEventListener("click", () => {
    const open = code.getAttribute("aria-pressed") !== "true";
    code.setAttribute("aria-pressed", open);
    code.textContent = open ? "Hide code" : "Show code";
    document.body.classList.toggle("show-code", open);
    folds.forEach(fold => { fold.open = open; });
  });

  const contents = document.querySelector(".contents details");
  if (contents && innerWidth < 1100) contents.open = false;
  const menu = document.querySelector("header nav details");
  menu.addEventListener("keydown", event => {
    if (event.key !== "Escape") return;
    menu.open = false;
    menu.firstElementChild.focus();
  });
  document.addEventListener("click", event => { if (!menu.contains(event.target)) menu.open = false; });

  byId("print")?.addEventListener("click", () => {
    const folded = all("main details:not(.code):not(.machine), main details.solution").filter(fold => !fold.open);
    folded.forEach(fold => { fold.open = true; });
    addEventListener("afterprint", () => folded.forEach(fold => { fold.open = false; }), {once: true});
    print();
  });

  // A figure opens in its full size.
  const large = byId("large");
  all("figure.picture").forEach(figure => {
    const button = document.createElement("button");
    Object.assign(button, {type: "button", className: "enlarge", textContent: "Enlarge"});
    const show = () => {
      large.querySelector("img")?.remove();
      large.append(figure.querySelector("img").cloneNode());
      large.showModal();
    };
    button.addEventListener("click", show);
    figure.querySelector("img").addEventListener("click", show);
    figure.append(button);
  });
})();
