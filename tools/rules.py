"""The rules for chapters: each takes a notebook and yields what is wrong, in words.

They guard what nbval cannot see: outputs that differ from run to run, figures without words, cells too long.
"""

import re
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

from tools.normalise import COLAB, COLAB_ID, COLAB_TAGS

SLIDER = '<div class="dlbook-slider"'
FRAMEWORK_TAGS = {"numpy", "tensorflow", "torch"}
HIDDEN_TAGS = {"hide-input", "hide-cell", "remove-input", "remove-cell"}
UNCOMPARED_TAGS = {"nbval-skip", "nbval-ignore-output"}
MAX_LINES, MAX_MEDIAN, MAX_BYTES, MIN_PROSE = 30, 8, 1_000_000, 0.8

ROOT = re.escape(str(Path(__file__).resolve().parent.parent))
NEVER = {
    "a memory address": re.compile(r"\b0x[0-9a-fA-F]{6,}\b"),
    "a kernel's temporary path": re.compile(r"ipykernel_\d+"),
    "a local path": re.compile(rf"{ROOT}|(?<![\w.:/])/(?:home|Users|root|tmp|usr|var|opt|mnt)/|\b[A-Z]:\\"),
}
DIFFERS = {
    "a time stamp": re.compile(r"\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d|\b\d\d:\d\d:\d\d\b"),
    "a timing": re.compile(r"\b\d+(\.\d+)? ?(ms|µs|ns|seconds?|it/s)\b|\b\d+\.\d+ ?s\b|Wall time"),
}

Rule = Callable[[object, str], Iterator[str]]
RULES: list[Rule] = []


def rule(function: Rule) -> Rule:
    RULES.append(function)
    return function


def problems(notebook, stem: str, size: int = 0) -> list[str]:
    """Everything wrong with a chapter called `stem` whose file has `size` bytes."""
    found = [message for check in RULES for message in check(notebook, stem)]
    if size > MAX_BYTES:
        found.append(f"the file has {size / 1e6:.2f} MB; at most {MAX_BYTES / 1e6:.0f} MB: draw fewer points")
    return found


def tags(cell) -> set[str]:
    return set(cell.metadata.get("tags", []))


def code_cells(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def written_cells(notebook) -> list:
    """The code cells that the chapter's author wrote: all but the one for Colab."""
    return [cell for cell in code_cells(notebook) if cell.get("id") != COLAB_ID]


def lines(cell) -> int:
    return len(cell.source.splitlines())


def median_lines(notebook) -> float:
    return statistics.median([lines(cell) for cell in written_cells(notebook)] or [0])


def figures(notebook) -> list[tuple]:
    """(cell, number of images) for every cell that draws."""
    counts = [
        (cell, sum("image/png" in o.get("data", {}) for o in cell.outputs)) for cell in code_cells(notebook)
    ]
    return [(cell, count) for cell, count in counts if count]


def sliders(notebook) -> list:
    """The cells that show a slider of `dlbook.interactive`."""
    return [cell for cell in code_cells(notebook) if any(SLIDER in output_text(o) for o in cell.outputs)]


def output_text(output) -> str:
    """What an output shows as text, all kinds together."""
    kinds = (value for kind, value in output.get("data", {}).items() if kind.startswith("text/"))
    told = output.get("traceback", [])
    return "\n".join(["".join(output.get("text", "")), *("".join(value) for value in kinds), *told])


def has_prose_before(notebook, place: int) -> bool:
    """Neighbouring framework cells are the tabs of one example: the prose before the first counts for all."""
    cells = notebook.cells
    while place > 0 and tags(cells[place]) & FRAMEWORK_TAGS and tags(cells[place - 1]) & FRAMEWORK_TAGS:
        place -= 1
    if place > 0 and cells[place - 1].get("id") == COLAB_ID:
        place -= 1
    return place > 0 and cells[place - 1].cell_type == "markdown"


@rule
def one_title(notebook, stem: str) -> Iterator[str]:
    prose = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    prose = re.sub(r"^(`{3,}|:{3,}|~{3,}).*?^\1\s*$", "", prose, flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^# .+", prose, flags=re.MULTILINE)
    if len(titles) != 1:
        yield f"a chapter has one title (a line that begins with '# '), got {len(titles)}"


@rule
def colab_cell_comes_first(notebook, stem: str) -> Iterator[str]:
    first = next(iter(code_cells(notebook)), None)
    if first is not None and (first.id, first.source, tags(first)) != (COLAB_ID, COLAB, set(COLAB_TAGS)):
        yield (
            f"cell {first.id}: the first code cell must be tools/colab.py, for Colab; "
            f"`make chapters CHAPTER={stem}` puts it there"
        )


@rule
def set_up_is_hidden(notebook, stem: str) -> Iterator[str]:
    first = next(iter(written_cells(notebook)), None)
    if first is not None and not tags(first) & HIDDEN_TAGS:
        yield f"cell {first.id}: the first cell after Colab's is the set-up; tag it hide-input or remove-cell"


@rule
def cells_are_short(notebook, stem: str) -> Iterator[str]:
    for cell in code_cells(notebook):
        if not cell.source.strip():
            yield f"cell {cell.id}: empty"
        if lines(cell) > MAX_LINES:
            yield f"cell {cell.id}: {lines(cell)} lines; at most {MAX_LINES}: move code into the package"
    if median_lines(notebook) > MAX_MEDIAN:
        yield f"the median cell has {median_lines(notebook):g} lines; aim at 6, at most {MAX_MEDIAN}"


@rule
def prose_comes_first(notebook, stem: str) -> Iterator[str]:
    places = [
        place
        for place, cell in enumerate(notebook.cells)
        if cell.cell_type == "code" and "remove-cell" not in tags(cell)
    ]
    led = sum(has_prose_before(notebook, place) for place in places)
    if led < MIN_PROSE * len(places):
        yield f"prose comes before {led} of {len(places)} code cells; at least four in five"


@rule
def no_trailing_semicolon(notebook, stem: str) -> Iterator[str]:
    for cell in code_cells(notebook):
        code = [
            line for line in cell.source.splitlines() if line.strip() and not line.lstrip().startswith("#")
        ]
        if code and code[-1].split("  #")[0].rstrip().endswith(";"):
            yield f"cell {cell.id}: ends in ';', which nbval does not see; write `_ = ...` or `plt.show()`"


@rule
def outputs_repeat(notebook, stem: str) -> Iterator[str]:
    for cell in code_cells(notebook):
        patterns = NEVER if tags(cell) & UNCOMPARED_TAGS else NEVER | DIFFERS
        for output in cell.outputs:
            if output.get("name") == "stderr":
                yield f"cell {cell.id}: writes to stderr: {output.text.strip()[:80]!r}"
            shown = output_text(output)
            for what, pattern in patterns.items():
                if found := pattern.search(shown):
                    yield f"cell {cell.id}: its output contains {what}: {found[0]!r}"


@rule
def errors_are_announced(notebook, stem: str) -> Iterator[str]:
    for cell in code_cells(notebook):
        if "raises-exception" not in tags(cell) and any(o.output_type == "error" for o in cell.outputs):
            yield f"cell {cell.id}: raises; tag it raises-exception if the page means it"


@rule
def figures_have_words(notebook, stem: str) -> Iterator[str]:
    prefix = f"fig-{stem.replace('_', '-')}-"
    for cell, images in figures(notebook):
        book = cell.metadata.get("mystnb", {})
        image, figure = book.get("image", {}), book.get("figure", {})
        if images > 1:
            yield f"cell {cell.id}: draws {images} figures; one a cell, since alt text and caption are the cell's"
        if not str(image.get("alt", "")).strip():
            yield f"cell {cell.id}: its figure lacks alt text: metadata mystnb.image.alt"
        if not str(figure.get("caption", "")).strip():
            yield f"cell {cell.id}: its figure lacks a caption: metadata mystnb.figure.caption"
        if not re.fullmatch(rf"{prefix}[a-z0-9-]+", str(figure.get("name", ""))):
            yield f"cell {cell.id}: its figure is called {figure.get('name')!r}; begin with '{prefix}'"


@rule
def sliders_have_captions(notebook, stem: str) -> Iterator[str]:
    prefix = f"fig-{stem.replace('_', '-')}-"
    for cell in sliders(notebook):
        figure = cell.metadata.get("mystnb", {}).get("figure", {})
        if not str(figure.get("caption", "")).strip():
            yield f"cell {cell.id}: its slider lacks a caption: metadata mystnb.figure.caption"
        if not re.fullmatch(rf"{prefix}[a-z0-9-]+", str(figure.get("name", ""))):
            yield f"cell {cell.id}: its slider is called {figure.get('name')!r}; begin with '{prefix}'"


@rule
def figure_names_differ(notebook, stem: str) -> Iterator[str]:
    drawn = [*(cell for cell, _ in figures(notebook)), *sliders(notebook)]
    names = [cell.metadata.get("mystnb", {}).get("figure", {}).get("name") for cell in drawn]
    for name in sorted({name for name in names if name and names.count(name) > 1}):
        yield f"two figures are called {name!r}"


@rule
def every_cell_is_compared(notebook, stem: str) -> Iterator[str]:
    for place, cell in enumerate(notebook.cells):
        if "skip-execution" in tags(cell):
            yield f"cell {cell.id}: skip-execution is unknown to nbval; use nbval-skip and say why"
        before = notebook.cells[place - 1] if place else None
        said = before is not None and before.cell_type == "markdown" and "not compared" in before.source
        if tags(cell) & UNCOMPARED_TAGS and not said:
            yield f"cell {cell.id}: the markdown cell before it must say why its output is 'not compared'"
