"""The built book, page by page: links and images hold, nothing comes from the network, every page has its parts.

These tests read `_build/html`, which `make book` writes.
"""

import re
from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup

from _ext import address

ROOT = Path(__file__).resolve().parent.parent
HTML = ROOT / "_build" / "html"

# Pages that Sphinx and the theme write by themselves.
MADE = ("404.html", "genindex.html", "index.html", "py-modindex.html", "search.html")
ASSETS = {"img": "src", "script": "src", "source": "src", "video": "src", "audio": "src", "iframe": "src",
          "embed": "src", "object": "data", "track": "src", "input": "src"}  # fmt: skip
LOADING_LINKS = {"stylesheet", "icon", "shortcut", "preload", "prefetch", "modulepreload", "manifest", "preconnect",
                 "dns-prefetch", "apple-touch-icon"}  # fmt: skip


def listed(entry: dict) -> list[str]:
    """The files of the table of contents, in order."""
    own = [entry[key] for key in ("root", "file") if key in entry]
    below = [listed(child) for key in ("parts", "chapters", "sections") for child in entry.get(key, [])]
    return own + [name for names in below for name in names]


LISTED = listed(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8")))
PAGES = sorted(
    path.relative_to(HTML).as_posix() for path in HTML.rglob("*.html") if "_static" not in path.parts
)
CHAPTERS = [f"{name}.html" for name in LISTED if (ROOT / f"{name}.ipynb").exists()]
WRITTEN = [f"{name}.html" for name in LISTED]
every_page = pytest.mark.parametrize("page", PAGES)
written_page = pytest.mark.parametrize("page", WRITTEN)
chapter_page = pytest.mark.parametrize("page", CHAPTERS)


@cache
def soup(page: str) -> BeautifulSoup:
    if not (HTML / page).exists():
        pytest.fail(f"_build/html/{page} is not there: run `make book` first")
    return BeautifulSoup((HTML / page).read_text(encoding="utf-8"), "html.parser")


@cache
def places(page: str) -> frozenset[str]:
    """All that a link can point to on a page."""
    return frozenset(tag.get("id") or tag.get("name") for tag in soup(page).find_all(["a", True]))


def links(page: str) -> list[str]:
    """Where the links of a page lead, those to other machines left out."""
    found = [a["href"] for a in soup(page).find_all("a", href=True)]
    return [url for url in found if not elsewhere(url) and not url.startswith(("mailto:", "data:"))]


def words(page: str, *skipped: str) -> str:
    """The text of a page without its code, and without what has one of the `skipped` classes."""
    main = BeautifulSoup(str(soup(page).find("main")), "html.parser")
    code = main.find_all(["pre", "code", "script", "style"])
    for tag in [*code, *(main.find_all(class_=skipped) if skipped else [])]:
        tag.decompose()
    return main.get_text()


def elsewhere(url: str) -> bool:
    """True for an address on another machine."""
    return url.startswith("//") or urlsplit(url).scheme in ("http", "https", "ftp", "ws", "wss")


def target(page: str, url: str) -> str:
    """The file that a link leads to, seen from the book's folder; the 404 page counts from the site's root."""
    path = unquote(urlsplit(url).path)
    if path.startswith("/") and page == "404.html":
        prefix = urlsplit(address.base_url(address.find(ROOT))).path or "/"
        return path.removeprefix(prefix).lstrip("/") or "index.html"
    whole = (HTML / page).parent / path if path else HTML / page
    return Path(*whole.parts).resolve().relative_to(HTML.resolve()).as_posix()


def test_the_book_is_built():
    assert (HTML / "index.html").exists(), "there is no book in _build/html: run `make book` first"


def test_every_page_of_the_contents_has_a_source_and_is_built():
    sources = {name: [ROOT / f"{name}{end}" for end in (".ipynb", ".md")] for name in LISTED}
    assert [name for name, paths in sources.items() if not any(path.exists() for path in paths)] == []
    assert [page for page in WRITTEN if page not in PAGES] == []
    assert len(set(LISTED)) == len(LISTED)


def test_no_page_is_built_that_the_contents_do_not_list():
    made = [page for page in PAGES if page in MADE or page.startswith("_modules/")]
    assert sorted({*WRITTEN, *made}) == PAGES


def test_every_page_of_the_contents_can_be_reached_from_the_first():
    reached = {target("index.html", url) for url in links("index.html")}
    assert [page for page in WRITTEN[1:] if page not in reached] == []


@every_page
def test_links_lead_to_a_page_of_the_book_and_to_a_place_on_it(page):
    broken = []
    for url in links(page):
        file, place = target(page, url), unquote(urlsplit(url).fragment)
        missing = place and file.endswith(".html") and place not in places(file)
        if missing or not (HTML / file).is_file():
            broken.append(url)
    assert broken == []


@every_page
def test_nothing_that_a_page_loads_comes_from_the_network_and_all_of_it_is_there(page):
    loaded = [tag[ASSETS[tag.name]] for tag in soup(page).find_all(list(ASSETS)) if tag.get(ASSETS[tag.name])]
    loaded += [
        link["href"] for link in soup(page).find_all("link", href=True) if LOADING_LINKS & set(link["rel"])
    ]
    loaded += [
        part.split()[0] for tag in soup(page).find_all(srcset=True) for part in tag["srcset"].split(",")
    ]
    styles = [tag["style"] for tag in soup(page).find_all(style=True)]
    loaded += in_css("\n".join([*styles, *(tag.get_text() for tag in soup(page).find_all("style"))]))
    loaded = [url for url in loaded if not url.startswith("data:")]
    assert loaded
    assert [url for url in loaded if elsewhere(url)] == []
    assert [url for url in loaded if not (HTML / target(page, url)).is_file()] == []


def in_css(text: str) -> list[str]:
    """What a style sheet loads."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    quoted = re.findall(r"""url\(\s*(["'])(.*?)\1\s*\)|@import\s+(["'])(.*?)\3""", text)
    return re.findall(r"""url\(\s*([^"')\s]+)\s*\)""", text) + [one or two for _, one, _, two in quoted]


SHEETS = sorted(path.relative_to(HTML).as_posix() for path in HTML.rglob("*.css"))


@pytest.mark.parametrize("sheet", SHEETS)
def test_style_sheets_load_nothing_from_the_network_and_no_file_that_is_missing(sheet):
    loaded = [
        url
        for url in in_css((HTML / sheet).read_text(encoding="utf-8"))
        if not url.startswith(("data:", "#"))
    ]
    assert [url for url in loaded if elsewhere(url)] == []
    assert [url for url in loaded if not (HTML / target(sheet, url)).is_file()] == []


@every_page
def test_scripts_on_the_page_itself_name_no_other_machine(page):
    code = "\n".join(tag.get_text() for tag in soup(page).find_all("script", src=False))
    assert re.findall(r"""(?:src|href|url|import|fetch)\W{1,4}(?:https?:)?//[\w.-]+""", code) == []


@every_page
def test_every_image_is_described_in_words(page):
    wrong = []
    for image in soup(page).find_all("img"):
        alt = image.get("alt")
        decorative = alt == "" and (image.get("aria-hidden") == "true" or image.get("role") == "presentation")
        path = alt is not None and re.fullmatch(r"\S*(/|\.(png|svg|jpe?g|gif))\S*", alt)
        if not decorative and (alt is None or not alt.strip() or path):
            wrong.append(str(image))
    assert wrong == []


@every_page
def test_a_page_has_one_heading_of_the_first_level_and_skips_none_below_it(page):
    levels = [int(tag.name[1]) for tag in soup(page).find("main").find_all(re.compile("^h[1-6]$"))]
    assert levels.count(1) == 1
    assert soup(page).find_all("h1") == soup(page).find("main").find_all("h1")
    assert [(a, b) for a, b in pairwise(levels) if b > a + 1] == []


@every_page
def test_a_page_says_its_language_and_its_title_which_no_other_page_has(page):
    assert soup(page).html["lang"] == "en"
    assert soup(page).title.get_text(strip=True)
    titles = Counter(soup(other).title.get_text() for other in PAGES if other != "index.html")
    assert titles[soup(page).title.get_text()] == 1


@written_page
def test_a_written_page_describes_itself_to_search_engines_in_plain_words(page):
    description = soup(page).find("meta", attrs={"name": "description"})["content"]
    assert len(description) > 40
    assert not re.search(r"[$\\{}`<>]", description)
    assert soup(page).find("meta", attrs={"name": "viewport"})


@every_page
def test_no_two_things_on_a_page_have_the_same_id(page):
    counts = Counter(tag["id"] for tag in soup(page).find_all(id=True))
    assert [name for name, count in counts.items() if count > 1] == []


@every_page
def test_maths_stands_where_mathjax_sees_it_and_nothing_is_left_raw(page):
    raw = r"\\[(\[].{0,20}|\$\$.{0,20}|\\(?:frac|sum|mathbf|hat|sigma)\b"
    assert re.findall(raw, words(page, "math", "tex2jax_process")) == []


@every_page
def test_no_role_directive_or_reference_is_left_as_it_was_typed(page):
    assert re.findall(r"\{[a-z:_-]+\}`.{0,30}|:::.{0,20}|\[\]\(#.{0,20}|%s", words(page)) == []


@written_page
def test_every_figure_has_a_caption_and_a_number_and_in_a_chapter_a_name(page):
    for figure in soup(page).find_all("figure"):
        caption = figure.find("figcaption")
        assert caption, figure
        assert len(caption.get_text(" ", strip=True).split()) > 3, figure
        assert re.match(r"Figure \d", caption.get_text(strip=True)), figure
        assert page not in CHAPTERS or figure["id"].startswith("fig-"), figure


def notebook(page: str):
    return nbformat.read((ROOT / page).with_suffix(".ipynb"), as_version=4)


def outputs(page: str) -> list:
    """The outputs that a chapter's page must show."""
    removed = {"remove-cell", "remove-output"}
    cells = [cell for cell in notebook(page).cells if cell.cell_type == "code"]
    return [one for c in cells if not removed & set(c.metadata.get("tags", [])) for one in c.outputs]


@chapter_page
def test_every_figure_of_a_chapter_is_on_its_page(page):
    drawn = [output for output in outputs(page) if "image/png" in output.get("data", {})]
    assert len(soup(page).find("main").find_all("img", src=re.compile("_images/"))) >= len(drawn)


@chapter_page
def test_everything_that_a_chapter_prints_is_on_its_page(page):
    text = "".join(soup(page).find("main").get_text().split())
    printed = [output.text for output in outputs(page) if output.output_type == "stream"]
    assert [one for one in printed if "".join(one.split()) not in text] == []


@chapter_page
def test_a_chapter_can_be_downloaded_as_it_is_in_the_clone(page):
    stored = (ROOT / page).with_suffix(".ipynb")
    files = {target(page, url) for url in links(page) if url.endswith(".ipynb")}
    assert files == {f"_sources/{page}".replace(".html", ".ipynb")}
    assert (HTML / files.pop()).read_bytes() == stored.read_bytes(), "built from another version: `make book`"


@chapter_page
def test_the_cell_for_colab_is_not_on_the_page(page):
    assert "google.colab" not in soup(page).get_text()


def test_the_first_page_is_there_under_both_of_its_names():
    assert soup("index.html").title == soup("intro.html").title
    assert not soup("index.html").find("meta", attrs={"http-equiv": re.compile("refresh", re.IGNORECASE)})


def test_the_page_for_what_is_not_found_leads_back():
    assert "not found" in soup("404.html").find("h1").get_text().lower()
    reached = {target("404.html", url) for url in links("404.html")}
    assert [page for page in WRITTEN[1:] if page not in reached] == []


def test_sitemap_and_cards_name_the_address_where_one_is_known_and_none_where_not():
    base = address.base_url(address.find(ROOT))
    cards = {page: soup(page).find("meta", property="og:url") for page in WRITTEN}
    if not base:
        assert not (HTML / "sitemap.xml").exists()
        assert [page for page, card in cards.items() if card] == []
        return
    listed_pages = re.findall("<loc>(.*?)</loc>", (HTML / "sitemap.xml").read_text())
    assert {f"{base}{page}" for page in WRITTEN} <= set(listed_pages)
    assert {page: card["content"] for page, card in cards.items()} == {
        page: f"{base}{page}" for page in WRITTEN
    }
    picture = soup("intro.html").find("meta", property="og:image")["content"]
    assert (HTML / picture.removeprefix(base)).is_file()


@written_page
def test_a_page_has_a_card_for_those_who_share_it(page):
    for name in ("og:title", "og:type", "og:site_name", "og:description"):
        assert soup(page).find("meta", property=name)["content"].strip()


def test_nothing_is_published_that_no_reader_needs():
    wrong = [path for path in HTML.rglob("*") if path.suffix in (".map", ".doctree", ".pickle", ".pyc")]
    assert wrong == []
    assert not (HTML / "reports").exists(), "a cell failed while the book was built"


def test_no_path_of_the_machine_that_built_it_is_in_the_book():
    kinds = (".html", ".js", ".css", ".json", ".ipynb", ".inv", ".xml")
    files = [path for path in HTML.rglob("*") if path.suffix in kinds]
    assert [path for path in files if str(ROOT).encode() in path.read_bytes()] == []
