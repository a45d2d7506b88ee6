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

// The theme asks each code block once whether it scrolls. One in a closed tab or fold has no width and answers no,
// so it could not be reached by keyboard when it opens (axe: scrollable-region-focusable).
function reachHidden(box) {
  if (box.matches("pre") && !box.clientWidth) box.tabIndex = 0;
}
new MutationObserver((changes) => {
  for (const { target } of changes) if (target.tabIndex < 0) reachHidden(target);
}).observe(document, { attributes: true, attributeFilter: ["tabindex"], subtree: true });
window.addEventListener("load", () => document.querySelectorAll("pre").forEach(reachHidden));
