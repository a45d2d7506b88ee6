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

// The theme asks once, and after a change of the window, whether a box scrolls. One in a closed tab or fold has no size
// then and answers no, so it could not be reached by keyboard when it opens (axe: scrollable-region-focusable).
const scrolling = new ResizeObserver((seen) => {
  for (const { target: box } of seen)
    box.tabIndex = box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight ? 0 : -1;
});
window.addEventListener("load", () => {
  const boxes = "pre, .cell_output > .output, .pst-scrollable-table-container";
  for (const box of document.querySelectorAll(boxes)) scrolling.observe(box);
});
