"""What the theme gets wrong on every page, mended; and what no reader needs, left out.

Templates that replace the theme's own are in _templates, the look is in _static/dlbook.css. Here is what neither
reaches: HTML that Python code of the theme, of Sphinx or of an extension writes.
"""

import html
import re
import shutil
from pathlib import Path

from docutils import nodes

REPAIRS = [
    # myst-nb: the visible text of a folded cell is a better name (axe: label-content-name-mismatch)
    (r' aria-label="Toggle hidden content"', ""),
    # MyST: the box of a task list has no name (axe: label)
    (r'<input class="task-list-item-checkbox"', r'<input aria-label="done" class="task-list-item-checkbox"'),
    # docutils, pandas: the empty corner of a table is no heading (axe: empty-table-header)
    (r"<th[^>]*>(<p></p>)?</th>", "<td></td>"),
    # sphinx-exercise: the same id for every exercise
    (r' id="(exercise|solution)-content"', ""),
    # docutils: a deprecated role, and links between the items of a list (axe: aria-required-children)
    (r' role="doc-biblioentry"', ""),
    (r'<div role="list" class="citation-list">', '<div class="citation-list">'),
]
# One icon of the theme's script: name:[width,height,[aliases],"code","path"]
ICON = re.compile(r'"?([a-z0-9-]+)"?:\[\d+,\d+,\[([^\]]*)\],"[0-9a-f]+",(?:"[^"]*"|\["[^"]*","[^"]*"\])\],?')
# The arrow that opens the pages below a page has no name (axe: summary-name).
ARROW = re.compile(r"(<a [^>]*>)([^<]*)(</a><details[^>]*>)<summary>")


def repair(app, pagename, templatename, context, doctree) -> None:
    """Mend the page's own HTML."""
    for wrong, right in REPAIRS:
        context["body"] = re.sub(wrong, right, context.get("body", ""))
    if (
        pagename == "_modules/index"
    ):  # its list nests wrongly (axe: list), and leads to modules without a page
        names = sorted(name for name, code in app.env._viewcode_modules.items() if code)
        items = (f'<li><a href="{name.replace(".", "/")}.html">{name}</a></li>' for name in names)
        context["body"] = f"<h1>{context['title']}</h1>\n<ul>{''.join(items)}</ul>"


def summary(doctree: nodes.document, longest: int = 200) -> str:
    """The first sentences of a page as plain words: no more than `longest` characters, no sentence broken."""
    paragraph = next(iter(doctree.findall(nodes.paragraph)), None)
    text = "" if paragraph is None else paragraph.astext()
    text = " ".join(re.sub(r"\\[,;!]|[\\{}$]", "", text).split())
    sentences = re.split(r"(?<=[.?!]) ", text)
    while len(sentences) > 1 and len(" ".join(sentences)) > longest:
        sentences.pop()
    return " ".join(sentences)


def describe(app, pagename, templatename, context, doctree) -> None:
    """Describe the page to search engines before opengraph does, which joins words, cuts them and leaves TeX in."""
    if doctree and (text := summary(doctree)):
        context["metatags"] += f'<meta name="description" content="{html.escape(text)}" />\n'
        context["meta"] = (context.get("meta") or {}) | {"og:description": html.escape(text)}


def name_arrows(app, pagename, templatename, context, doctree) -> None:
    """Name the arrows of the table of contents after the page that they belong to."""
    tree = context["generate_toctree_html"]

    def named(*arguments, **options) -> str:
        return ARROW.sub(r'\1\2\3<summary aria-label="Pages below \2">', str(tree(*arguments, **options)))

    context["generate_toctree_html"] = named


def skip_aliases(app, what, name, obj, skip, options) -> bool | None:
    """Python itself documents the fields of a NamedTuple, as "Alias for field number 0"."""
    return True if str(getattr(obj, "__doc__", "")).startswith("Alias for field number") else None


def trim_icons(out: Path) -> None:
    """Keep the dozen icons that some page uses, out of two thousand: 1.4 MB that every page would load."""
    script = out / "_static" / "scripts" / "fontawesome.js"
    users = [*out.rglob("*.html"), *(path for path in out.rglob("_static/**/*.js") if path != script)]
    used = {name for path in users for name in re.findall(r"\bfa-([a-z0-9-]+)", path.read_text("utf-8"))}

    def keep(icon: re.Match) -> str:
        return icon[0] if used & {icon[1], *re.findall(r'"([^"]+)"', icon[2])} else ""

    script.write_text(ICON.sub(keep, script.read_text("utf-8")), "utf-8")


def finish(app, exception) -> None:
    """The first page under the name that a browser asks for, and nothing that only the theme's authors read."""
    if exception is not None or app.builder.name != "html":
        return
    out = Path(app.outdir)
    shutil.copy(out / f"{app.config.root_doc}.html", out / "index.html")  # else a page that only redirects
    for path in (out / "_static").rglob("*.map"):
        path.unlink()
    trim_icons(out)


def setup(app) -> dict:
    app.add_config_value("comments_config", {}, "")  # Jupyter Book sets it though the extension is left out
    app.connect("html-page-context", describe, priority=400)
    app.connect("html-page-context", repair, priority=900)
    app.connect("html-page-context", name_arrows, priority=900)  # after the theme has put its functions there
    app.connect("autodoc-skip-member", skip_aliases)
    app.connect("build-finished", finish)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
