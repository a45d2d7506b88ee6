"""What chapters stored, elsewhere in the book: a verdict or a figure is taken from the notebook, never typed again.

```{chapter-verdict} softmax-are-probabilities
```
```{chapter-figure} fig-softmax-confidence
A caption of one's own. The alt text is the chapter's.
```
```{chapter-claims}
```
The last one lists every verdict of every chapter in `_toc.yml`, in that order. In a sentence of a page in chapters/,
{chapter-claim}`softmax-are-probabilities` is the verdict in a few words, linked to its place.
"""

import base64
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import yaml
from docutils import nodes
from sphinx.util.docutils import SphinxDirective, SphinxRole

from dlbook.claims import MIME, VERDICTS


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


class ChapterClaim(SphinxRole):
    """The verdict on one claim, as a link to where it was reached."""

    def run(self) -> tuple[list[nodes.Node], list]:
        for path, _, data in outputs(Path(self.env.srcdir, "chapters")):
            facts = data.get(MIME, {})
            if facts.get("name") == self.text:
                self.env.note_dependency(str(path))
                link = f'<a class="reference internal" href="{path.stem}.html#claim-{self.text}">'
                return [nodes.raw("", f"{link}{facts['verdict']}</a>", format="html")], []
        told = self.inliner.reporter.error(
            f"no chapter has stored a verdict called {self.text!r}", line=self.lineno
        )
        return [self.inliner.problematic(self.rawtext, self.rawtext, told)], [told]


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


class ChapterClaims(SphinxDirective):
    """Every verdict that the chapters stored: a count, and a table a chapter."""

    def run(self) -> list[nodes.Node]:
        folder = Path(self.env.srcdir)
        stored = {}
        for path, _, data in outputs(folder / "chapters"):
            if MIME in data:
                stored.setdefault(path.stem, []).append(data[MIME])
                self.env.note_dependency(str(path))
        chapters = [stem for stem in in_order(folder / "_toc.yml") if stem in stored]
        count = Counter(facts["verdict"] for stem in chapters for facts in stored[stem])
        told = ", ".join(f"{count[verdict]} {word}" for verdict, word in zip(VERDICTS, COUNTED, strict=True))
        text = "\n\n".join(table(folder, stem, stored[stem]) for stem in chapters)
        return [
            nodes.paragraph("", f"Of {count.total()} statements, {told}."),
            *self.parse_text_to_nodes(text, allow_section_headings=True),
        ]


COUNTED = ("hold", "hold with conditions", "do not hold here")


def in_order(toc: Path) -> list[str]:
    """The names of the chapters, in the order of the table of contents."""
    parts = yaml.safe_load(toc.read_text(encoding="utf-8"))["parts"]
    return [Path(entry["file"]).stem for part in parts for entry in part["chapters"]]


def title(folder: Path, stem: str) -> str:
    """The title of a chapter: its first line that begins with one #."""
    cells = json.loads((folder / "chapters" / f"{stem}.ipynb").read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return re.search(r"^# (.+)$", text, re.MULTILINE)[1]


def table(folder: Path, stem: str, verdicts: list[dict]) -> str:
    """A heading and a table for one chapter, in MyST."""
    rows = [
        f"* - {plain(facts['claim'])}\n  - **{plain(facts['verdict'])}**\n"
        f"  - {plain(facts['effect'])} {where(stem, facts)}"
        for facts in verdicts
    ]
    head = "* - Statement\n  - Verdict\n  - Measured here"
    options = ":header-rows: 1\n:widths: 35 15 50\n:class: dlbook-claims"
    return (
        f"## {title(folder, stem)}\n\n:::{{list-table}}\n{options}\n\n" + "\n".join([head, *rows]) + "\n:::"
    )


def where(stem: str, facts: dict) -> str:
    """The place on the page, the figure or equation, and the literature, as links."""
    label = facts["figure"]
    shown = f"{{eq}}`{label}`" if label.startswith("eq-") else f"{{numref}}`{label}`"
    keys = facts.get("literature", "").replace(" ", "")
    cited = f" {{cite:p}}`{keys}`" if keys else ""
    return f'({shown}; <a href="{stem}.html#claim-{facts["name"]}">seeds and setting</a>){cited}'


def plain(words: str) -> str:
    """Words as they are: what MyST would take for markup is escaped."""
    return re.sub(r"([\\`*_{}\[\]<>$|#])", r"\\\1", str(words))


def setup(app) -> dict:
    app.add_directive("chapter-claims", ChapterClaims)
    app.add_role("chapter-claim", ChapterClaim())
    app.connect("source-read", drop_data)
    app.add_directive("chapter-verdict", ChapterVerdict)
    app.add_directive("chapter-figure", ChapterFigure)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
