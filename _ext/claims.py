"""What chapters stored, elsewhere in the book: a verdict or a figure is taken from the notebook, never typed again.

```{chapter-verdict} softmax-are-probabilities
```
```{chapter-figure} fig-softmax-confidence
A caption of one's own. The alt text is the chapter's.
```
"""

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from dlbook.claims import MIME


def drop_data(app, docname, source) -> None:
    """Take a verdict's data out of a notebook as it is read: to myst-nb its type is unknown, which is a warning."""
    if MIME not in source[0]:
        return
    notebook = json.loads(source[0])
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(MIME, None)
    source[0] = json.dumps(notebook)


def outputs(folder: Path) -> Iterator[tuple[Path, dict, dict]]:
    """(notebook, the metadata of a cell, the data of one of its outputs) for all that the chapters stored."""
    for path in sorted(folder.glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for output in cell.get("outputs", []):
                yield path, cell["metadata"].get("mystnb", {}), output.get("data", {})


class FromChapter(SphinxDirective):
    """Look the argument up in what the chapters stored."""

    required_arguments = 1
    kind = ""

    def run(self) -> list[nodes.Node]:
        for path, metadata, data in outputs(Path(self.env.srcdir, "chapters")):
            if self.matches(metadata, data):
                self.env.note_dependency(str(path))
                return self.show(metadata, data)
        raise self.error(f"no chapter has stored a {self.kind} called {self.arguments[0]!r}")


class ChapterVerdict(FromChapter):
    kind = "verdict"

    def matches(self, metadata: dict, data: dict) -> bool:
        return data.get(MIME, {}).get("name") == self.arguments[0]

    def show(self, metadata: dict, data: dict) -> list[nodes.Node]:
        return [nodes.raw("", "".join(data["text/html"]), format="html")]


class ChapterFigure(FromChapter):
    kind = "figure"
    has_content = True

    def matches(self, metadata: dict, data: dict) -> bool:
        return "image/png" in data and metadata.get("figure", {}).get("name") == self.arguments[0]

    def show(self, metadata: dict, data: dict) -> list[nodes.Node]:
        picture = Path(self.env.app.outdir).parent / "jupyter_execute" / f"{self.arguments[0]}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(base64.b64decode("".join(data["image/png"])))
        uri = "/" + Path(os.path.relpath(picture, self.env.srcdir)).as_posix()
        image = nodes.image(uri=uri, alt=metadata["image"]["alt"])
        caption = nodes.caption("", "", *self.parse_inline(" ".join(self.content))[0])
        return [nodes.figure("", image, caption)]


def setup(app) -> dict:
    app.connect("source-read", drop_data)
    app.add_directive("chapter-verdict", ChapterVerdict)
    app.add_directive("chapter-figure", ChapterFigure)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
