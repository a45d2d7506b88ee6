// A formula wider than the page scrolls, so the keyboard must reach it (axe: scrollable-region-focusable).
function reachFormulas() {
  for (const box of document.querySelectorAll("div.math mjx-container")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}
window.addEventListener("load", () => {
  window.MathJax?.startup?.promise?.then(reachFormulas);
  window.addEventListener("resize", reachFormulas);
});
