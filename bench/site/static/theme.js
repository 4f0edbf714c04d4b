"use strict";
// The theme: the system's unless the reader says otherwise; remembered where the browser lets a page do so.
(() => {
  const THEMES = ["system", "light", "dark"];
  const KEY = "erasure-bench-theme";
  const button = document.getElementById("theme");

  function remembered() {
    try {
      const found = localStorage.getItem(KEY);
      return THEMES.includes(found) ? found : THEMES[0];
    } catch {
      return THEMES[0];
    }
  }

  function show(theme) {
    if (theme === THEMES[0]) delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    button.textContent = `Theme: ${theme}`;
  }

  let theme = remembered();
  show(theme);
  button.hidden = false;
  button.addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    show(theme);
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // A page from the file system may have no storage: the choice then lasts as long as the page.
    }
  });
})();
