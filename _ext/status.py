"""The status page: chapters/status.json, which `make chapters` writes, and the reasons in chapters/longer.yml.

```{chapter-status}
```
"""

import json
from pathlib import Path

import yaml
from claims import in_order
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

AIM, LIMIT = 20, 40  # seconds, as in tools/chapters.py, which a build need not import
UNTOLD = "nobody has said what for"  # `make chapters` complains of it
HEAD = ("Chapter", "Executed (UTC)", "Took", "of CPU", "Memory")


class ChapterStatus(SphinxDirective):
    """When each chapter in `_toc.yml` was executed, how long it took, and with which versions."""

    def run(self) -> list[nodes.Node]:
        folder = Path(self.env.srcdir)
        stored = folder / "chapters" / "status.json"
        self.env.note_dependency(str(stored))
        reasons = folder / "chapters" / "longer.yml"
        self.env.note_dependency(str(reasons))
        records = json.loads(stored.read_text(encoding="utf-8"))
        stems = [stem for stem in in_order(folder / "_toc.yml") if stem in records]
        longer = yaml.safe_load(reasons.read_text(encoding="utf-8"))
        return self.parse_text_to_nodes(page({stem: records[stem] for stem in stems}, longer))


def page(records: dict[str, dict], longer: dict[str, str]) -> str:
    """In MyST: which chapters were slow and why, the table of chapters, and the versions that executed them."""
    rows = [
        (f"[](/chapters/{stem}.ipynb)", r["executed"], f"{r['seconds']:.0f} s", f"{r['cpu_seconds']:.0f} s",
         f"{r['gigabytes']:.2f} GB")
        for stem, r in records.items()
    ]  # fmt: skip
    took, cpu = (sum(r[what] for r in records.values()) for what in ("seconds", "cpu_seconds"))
    most = max((r["gigabytes"] for r in records.values()), default=0)
    rows.append(("**all**", "", f"{minutes(took)}", f"{minutes(cpu)}", f"{most:.2f} GB at most"))
    parts = table(HEAD, rows), late(records, longer), table(("With", "Version"), versions(records))
    return "\n\n".join(parts)


def late(records: dict[str, dict], longer: dict[str, str]) -> str:
    """Which chapters needed more than they are meant to, with what for, and which more than they may."""
    needed = {stem: min(r["seconds"], r["cpu_seconds"]) for stem, r in records.items()}
    slow = [stem for stem, seconds in needed.items() if seconds > AIM]
    over = [f"[](/chapters/{stem}.ipynb)" for stem, seconds in needed.items() if seconds > LIMIT]
    told = f"These did not keep to {LIMIT} s: {'; '.join(over)}." if over else f"All kept to {LIMIT} s."
    what = f"In this run {len(slow)} of {len(needed)} chapters needed more than {AIM} s. {told}"
    return "\n".join(
        [what, "", *(f"- [](/chapters/{stem}.ipynb): {longer.get(stem, UNTOLD)}." for stem in slow)]
    )


def versions(records: dict[str, dict]) -> list[tuple[str, str]]:
    """(package, versions) over all chapters: one version where `make chapters` ran them in one go."""
    found: dict[str, set[str]] = {}
    for record in records.values():
        for name, number in [*record["versions"].items(), ("machine", record["machine"])]:
            found.setdefault(name, set()).add(number)
    return [(name, ", ".join(sorted(numbers))) for name, numbers in found.items()]


def minutes(seconds: float) -> str:
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def table(head, rows) -> str:
    cells = "\n".join("* - " + "\n  - ".join(row) for row in [head, *rows])
    return f":::{{list-table}}\n:header-rows: 1\n\n{cells}\n:::"


def setup(app) -> dict:
    app.add_directive("chapter-status", ChapterStatus)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
