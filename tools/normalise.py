"""One way to store a notebook, so that a difference in git is a difference in the chapter."""

import copy
from pathlib import Path

import nbformat

METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "pygments_lexer": "ipython3"},
}
CELL_METADATA = ("mystnb", "tags")  # what the book reads; all else is an editor's
# The first code cell of every chapter; a file of its own, so that it is linted and cannot drift.
COLAB_ID, COLAB_TAGS = "colab", ["remove-cell"]
COLAB = (Path(__file__).parent / "colab.py").read_text(encoding="utf-8").rstrip("\n")


def normalise(notebook, stem: str):
    """A copy with fixed metadata, counts 1..n, merged streams and no output metadata but image sizes.

    The cell that installs the package in Colab becomes its first code cell.
    """
    notebook = copy.deepcopy(notebook)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.cells = _with_colab(notebook.cells)
    notebook.metadata = nbformat.from_dict(METADATA)
    _fix_ids(notebook.cells, stem)
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict(
            {k: cell.metadata[k] for k in CELL_METADATA if cell.metadata.get(k)}
        )
    for count, cell in enumerate((cell for cell in notebook.cells if cell.cell_type == "code"), start=1):
        cell.execution_count = count
        cell.outputs = merge_streams([_clean_output(output, count) for output in cell.outputs])
    return notebook


def text(notebook) -> str:
    """The file's text: sorted keys, one newline at the end."""
    return nbformat.writes(notebook, version=nbformat.NO_CONVERT).rstrip("\n") + "\n"


def merge_streams(outputs: list) -> list:
    """Join neighbouring outputs to the same stream: how a kernel cuts them is chance."""
    merged: list = []
    for output in outputs:
        last = merged[-1] if merged else None
        if last and output.output_type == last.output_type == "stream" and output.name == last.name:
            last.text += output.text
        else:
            merged.append(output)
    return merged


def _with_colab(cells: list) -> list:
    """The Colab cell in front of all other code; after the title, since a reader in Colab sees it."""
    others = [cell for cell in cells if cell.get("id") != COLAB_ID]
    place = next((i for i, cell in enumerate(others) if cell.cell_type == "code"), None)
    if place is None:
        return others
    cell = nbformat.v4.new_code_cell(COLAB, id=COLAB_ID, metadata={"tags": COLAB_TAGS})
    return [*others[:place], cell, *others[place:]]


def _clean_output(output, count: int):
    if output.output_type == "execute_result":
        output.execution_count = count
    if output.output_type in ("display_data", "execute_result"):
        sizes = {kind: value for kind, value in output.metadata.items() if kind.startswith("image/")}
        output.metadata = nbformat.from_dict(sizes)
    return output


def _fix_ids(cells: list, stem: str) -> None:
    """Existing ids stay; a missing or repeated one is made from the chapter's name and the cell's place."""
    taken = {cell.get("id") for cell in cells}
    seen: set[str] = set()
    for place, cell in enumerate(cells, start=1):
        if not cell.get("id") or cell["id"] in seen:
            cell["id"] = next(name for name in _names(stem, place) if name not in taken)
            taken.add(cell["id"])
        seen.add(cell["id"])


def _names(stem: str, place: int):
    base = f"{stem.replace('_', '-')[:40]}-{place:03d}"
    yield base
    for extra in range(2, 1000):
        yield f"{base}-{extra}"
