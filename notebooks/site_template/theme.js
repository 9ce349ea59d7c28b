// Before the page is drawn: the theme that the reader chose earlier. A browser may refuse to keep it.
try {
  const theme = localStorage.getItem("sskd-theme");
  if (theme) document.documentElement.dataset.theme = theme;
} catch { /* the system's theme */ }
