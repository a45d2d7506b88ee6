"""What the sliders share: controls, whatever varies with them, and the HTML that can show every state.

Python works every state out beforehand. The script on the page knows no formula: it looks up what belongs to the
positions of the controls and puts it there, so a slider cannot say anything that the book's functions do not.

    decay = Control("decay", (0.9, 0.99), start=0)
    weight = varies(lambda d: f"{d**10:.2f}", decay)           # a text for each position
    Slider("start", [decay], [svg(...)], ["The start keeps ", weight, " after 10 steps."])

The first state stands in the HTML as an image, for readers without JavaScript and for notebooks that are not trusted
yet. The script puts the same SVG into the page, where it takes the colours of the page and can change.
"""

import html
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any
from urllib.parse import quote

from dlbook.tuning.ranking import check_whole

STYLE = """
.dlbook-slider{margin:.5rem 0;font-family:var(--pst-font-family-base,inherit);font-size:.95rem;line-height:1.45}
.dlbook-slider{font-size-adjust:none;color:inherit}
.dlbook-slider-panels{display:flex;flex-wrap:wrap;align-items:flex-start;gap:.4rem 1.2rem}
.dlbook-slider-panels>div{flex:1 1 var(--least,17rem);min-width:0;max-width:var(--most,27rem)}
.dlbook-slider-panels :is(img,div>svg){display:block;width:100%;height:auto}
.dlbook-slider text{fill:currentColor;font:11px var(--pst-font-family-base,sans-serif)}
.dlbook-slider-controls{display:flex;flex-wrap:wrap;gap:.2rem 1.6rem;margin-top:.5rem}
.dlbook-slider-controls>div{flex:1 1 12rem;max-width:27rem}
.dlbook-slider-controls label{font-weight:600}
.dlbook-slider input{display:block;box-sizing:border-box;width:100%;height:2.75rem;margin:0;accent-color:#0072b2}
.dlbook-slider input:focus-visible{outline:3px solid currentColor;outline-offset:-3px;border-radius:4px}
.dlbook-slider :is(output,span){font-variant-numeric:tabular-nums}
.dlbook-slider output{display:block;min-height:2.9em;max-width:44rem;margin-top:.3rem}
@media print{.dlbook-slider input{display:none}}
"""

SCRIPT = """
((name, sizes, starts, rows) => {
  const keep = (event) => event.ctrlKey || event.metaKey || event.stopPropagation(); // from the notebook's shortcuts
  for (const root of document.querySelectorAll(`#${name}:not([data-ready])`)) {
    root.dataset.ready = "";
    for (const image of root.querySelectorAll("img")) {
      const panel = image.parentNode;
      panel.innerHTML = decodeURIComponent(image.getAttribute("src").replace(/^[^,]*,/, ""));
      panel.firstChild.removeAttribute("style");
    }
    const parts = Object.fromEntries([...root.querySelectorAll("[data-part]")].map((e) => [e.dataset.part, e]));
    const labels = [...root.querySelectorAll("label")];
    const inputs = labels.map((label, c) => {
      const input = Object.assign(document.createElement("input"), { id: label.htmlFor, type: "range" });
      Object.assign(input, { min: 0, max: sizes[c] - 1, value: starts[c] });
      input.addEventListener("input", show);
      input.addEventListener("keydown", keep);
      label.parentNode.append(input);
      return input;
    });
    function show() {
      for (const [part, attribute, by, values] of rows) {
        const value = values[by.reduce((k, c) => k * sizes[c] + Number(inputs[c].value), 0)];
        if (attribute) parts[part].setAttribute(attribute, value);
        else parts[part].textContent = value;
      }
      inputs.forEach((input, c) => input.setAttribute("aria-valuetext", labels[c].nextElementSibling.textContent));
    }
    show();
  }
})"""

SVG = "http://www.w3.org/2000/svg"  # the name of the language; nothing is loaded from there
ALONE = "background:#fff;color:#1f2328;font:11px sans-serif"  # the look of an image; in the page it has the page's
READABLE = " /:;=,()'&?+!*@$^~|`[]{}"  # what may stand in the address of an image as it is
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@dataclass(frozen=True, eq=False)
class Control:
    """One slider: a label, the value at each of its positions, the position where it starts, a value in words."""

    label: str
    values: Sequence[Any]
    start: int = 0
    words: Callable[[Any], str] = field(default=lambda value: f"{value:g}")

    def __post_init__(self):
        if len(self.values) < 2:
            raise ValueError(f"{self.label} must have at least two values, got {list(self.values)}")
        check_whole("start", self.start, 0)
        if self.start >= len(self.values):
            raise ValueError(f"start must be below {len(self.values)}, got {self.start}")

    @property
    def text(self) -> "Varies":
        """The value in words, at each position."""
        return varies(self.words, self)


@dataclass(frozen=True, eq=False)
class Varies:
    """A text or number for every position of some controls, the last control fastest."""

    controls: tuple[Control, ...]
    values: list[Any]

    def at(self, positions: Mapping[Control, int]) -> str:
        """What is shown when the controls stand at `positions`."""
        k = 0
        for control in self.controls:
            k = k * len(control.values) + positions[control]
        return str(self.values[k])


def varies(function: Callable[..., Any], *controls: Control) -> Varies:
    """`function` of the values of `controls`, at each combination of their positions."""
    return Varies(controls, [function(*at) for at in product(*(control.values for control in controls))])


@dataclass(frozen=True)
class Element:
    """A piece of HTML or SVG; an attribute or the text may vary."""

    name: str
    attributes: Mapping[str, Any]
    children: tuple[Any, ...]


@dataclass(frozen=True)
class Image:
    """An SVG as an image in the HTML, until the script puts it into the page."""

    picture: Element
    label: str


def tag(name: str, *children: Any, **attributes: Any) -> Element:
    """An element: children are elements, texts or one `Varies`; `stroke_width=1` is the attribute stroke-width."""
    named = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
    return Element(name, named, children)


def svg(
    width: int, height: int, label: str, *children: Any, least: str | None = None, most: str | None = None
) -> Element:
    """A picture of `width` by `height`, with `label` for those who cannot see it.

    `least` and `most` are its width on the page, such as "9rem": pictures that do not fit side by side stand one
    below the other.
    """
    size = dict(viewBox=f"0 0 {width} {height}", width=width, height=height)
    picture = tag("svg", *children, xmlns=SVG, **size, role="img", aria_label=label, style=ALONE)
    limits = {"--least": least, "--most": most}
    style = ";".join(f"{name}:{value}" for name, value in limits.items() if value)
    return tag("div", Image(picture, label), style=style or None)


def tenths(value: float) -> int:
    """A length in tenths of a pixel. A hair is added, so that a tie is rounded up on every processor."""
    return math.floor(10 * value + 0.5 + 1e-6)


def px(value: float) -> str:
    """A length in pixels with one decimal."""
    return f"{tenths(value) / 10:g}"


def digits(value: float, places: int) -> str:
    """A number with `places` decimals, a tie rounded up on every processor."""
    shown = f"{math.floor(value * 10**places + 0.5 + 1e-9) / 10**places:.{places}f}"
    return shown.replace("-", "−") if float(shown) else shown.removeprefix("-")


class _Writer:
    """Writes elements as they look at the start, and notes in `rows` what varies in them."""

    def __init__(self, controls: Sequence[Control]) -> None:
        self.controls, self.rows, self.parts = list(controls), [], 0
        self.start = {control: control.start for control in controls}

    def write(self, node: Any) -> str:
        if isinstance(node, Image):
            source = f"data:image/svg+xml;charset=utf-8,{quote(self.write(node.picture), safe=READABLE)}"
            return f'<img src="{html.escape(source)}" alt="{html.escape(node.label)}">'
        if not isinstance(node, Element):
            return html.escape(str(node), quote=False)
        moving = [("", child) for child in node.children if isinstance(child, Varies)]
        moving += [(key, value) for key, value in node.attributes.items() if isinstance(value, Varies)]
        attributes = {key: self.first(value) for key, value in node.attributes.items() if value is not None}
        if moving:
            attributes["data-part"] = self.parts
            for key, value in moving:
                by = [self.controls.index(control) for control in value.controls]
                self.rows.append([self.parts, key, by, value.values])
            self.parts += 1
        words = "".join(f' {key}="{html.escape(str(value))}"' for key, value in attributes.items())
        inside = "".join(self.write(self.first(child)) for child in node.children)
        return f"<{node.name}{words}>{inside}</{node.name}>"

    def first(self, value: Any) -> Any:
        return value.at(self.start) if isinstance(value, Varies) else value


class Slider:
    """Controls, pictures and a read-out that a notebook displays; `name` is the id of the whole on its page."""

    def __init__(
        self, name: str, controls: Sequence[Control], panels: Sequence[Element], readout: Sequence[Any]
    ) -> None:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise ValueError(f"name must be words of a-z and 0-9 joined by '-', got {name!r}")
        self.name, self.controls = name, tuple(controls)
        self._panels, self._readout = tuple(panels), tuple(readout)

    def readout(self, *positions: int) -> str:
        """The text below the picture with each control at its position, counted from 0; at the start without any."""
        at = positions or [control.start for control in self.controls]
        for control, position in zip(self.controls, at, strict=True):
            check_whole(control.label, position, 0)
            if position >= len(control.values):
                raise ValueError(f"{control.label} has {len(control.values)} positions, got {position}")
        state = dict(zip(self.controls, at, strict=True))
        return "".join(part.at(state) if isinstance(part, Varies) else part for part in self._readout)

    def __repr__(self) -> str:
        settings = ", ".join(f"{c.label} {c.words(c.values[c.start])}" for c in self.controls)
        return f"Sliders: {settings}\n{self.readout()}"

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self._repr_html_()}

    def _repr_html_(self) -> str:
        ids = [f"{self.name}-{k}" for k in range(len(self.controls))]
        spans = [tag("span", part) if isinstance(part, Varies) else part for part in self._readout]
        pieces = [
            tag("div", *self._panels, class_="dlbook-slider-panels"),
            tag("div", *map(_line, self.controls, ids), class_="dlbook-slider-controls"),
            tag("output", *spans, for_=" ".join(ids), aria_live="polite"),
            tag("noscript", "To move the sliders, allow JavaScript; in Jupyter, run the cell."),
        ]
        writer = _Writer(self.controls)
        body = "\n".join(writer.write(piece) for piece in pieces)
        sizes, starts = [len(control.values) for control in self.controls], list(writer.start.values())
        data = [self.name, sizes, starts, writer.rows]
        arguments = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
        return (
            f'<div class="dlbook-slider" id="{self.name}">'
            f"<style>{STYLE}</style>\n{body}\n<script>{SCRIPT}(...{arguments});</script></div>"
        )


def _line(control: Control, name: str) -> Element:
    """The label of a control and its value; the script adds the slider, which nobody else could move."""
    return tag("div", tag("label", control.label, for_=name), " ", tag("span", control.text))
