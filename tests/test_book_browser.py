"""The built book in a browser, read from the disk without a network: errors, maths, tabs, search, accessibility.

Each page is opened once; the tests ask what was seen. `make book` writes the pages.
"""

import os
import re
import shutil
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from test_book import CHAPTERS, HTML, PAGES, ROOT, WRITTEN

from _ext import address

sync_api = pytest.importorskip("playwright.sync_api")

pytestmark = pytest.mark.browser

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip
SITE = "http://book.test"  # answered from the disk, for what only a server can do
PREFIX = urlsplit(address.base_url(address.find(ROOT))).path or "/"
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
# The pages of source code look alike, so two of them stand for all; the first page is there twice.
SOURCES = [page for page in PAGES if page.startswith("_modules/dlbook")]
LOOKED_AT = [page for page in PAGES if page not in SOURCES[2:] and page != "intro.html"]
# What remains of the theme's own: (rule, pattern of the selector, reason).
ALLOWED: list[tuple[str, str, str]] = []

every_page = pytest.mark.parametrize("page", LOOKED_AT)
chapter_page = pytest.mark.parametrize("page", CHAPTERS)

# A second after the fonts and formulas are there nothing moves any more.
SETTLED = "async () => { await document.fonts.ready; await window.MathJax?.startup?.promise; return true; }"
MATHS = """() => ({
    asked: document.querySelectorAll("main .math").length,
    drawn: document.querySelectorAll("main .math mjx-container").length,
    raw: [...document.querySelectorAll("main .math")].filter(m => /\\\\[([]/.test(m.innerText)).length,
    wrong: [...document.querySelectorAll("mjx-merror, [data-mml-node=merror], mjx-container [fill=red]")]
        .map(e => e.closest(".math").textContent.slice(0, 80)),
})"""
# What sticks out of the page, unless a box around it scrolls.
WIDER = """() => {
    const room = document.documentElement.clientWidth;
    const scrolls = e => e && (/auto|scroll|hidden/.test(getComputedStyle(e).overflowX) || scrolls(e.parentElement));
    const out = [...document.querySelectorAll("main *")]
        .filter(e => e.getBoundingClientRect().right > room + 1 && e.getClientRects().length && !scrolls(e))
        .map(e => e.tagName + "." + e.className);
    const page = document.scrollingElement.scrollWidth;
    return page > room ? [`the page is ${page} wide`, ...out] : out;
}"""
# Open whatever is folded or in another tab, then look for outputs and pictures without size.
UNSEEN = """() => {
    const ups = (e, s) => e ? [...(e.matches(s) ? [e] : []), ...ups(e.parentElement, s)] : [];
    const unseen = [];
    for (const e of document.querySelectorAll("main .cell_output, main img:not(.only-dark, .only-light)")) {
        for (const d of ups(e, "details")) d.open = true;
        for (const d of ups(e, ".toggle-hidden, .toggle")) d.classList.remove("toggle-hidden");
        for (const d of ups(e, ".sd-tab-content")) d.previousElementSibling.previousElementSibling.checked = true;
        const box = e.getBoundingClientRect();
        const empty = !box.width || !box.height || (e.tagName == "IMG" && !e.naturalWidth);
        if (empty) unseen.push(e.outerHTML.slice(0, 200));
    }
    return unseen;
}"""
# Ten listings and ten formulas stand for all of a page: axe looks at every coloured word and every glyph.
FEWER = """() => {
    for (const e of [...document.querySelectorAll("pre")].slice(10)) e.textContent = e.textContent;
    for (const e of [...document.querySelectorAll("mjx-container")].slice(10)) e.replaceChildren();
}"""
BY_COLOUR = {"runOnly": ["color-contrast", "link-in-text-block"]}  # all that night changes
OUTPUT, MENU = "main .cell_output", ".bd-sidebar-primary"
STILL = "*, *::before, *::after { transition: none !important; animation: none !important; }"
AUDIT = """async rules => (await axe.run(document, {preload: false, ...rules})).violations
    .filter(v => ["serious", "critical"].includes(v.impact))
    .flatMap(v => v.nodes.map(n => [v.id, n.target.join(" "), n.html.slice(0, 160)]))"""


@pytest.fixture(scope="session")
def browser():
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "Chromium is not installed: apt install chromium"
        )
    with sync_api.sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


def opened(browser, **options) -> SimpleNamespace:
    """A new window without a network, with lists of what goes wrong in it and of what it asks for in vain."""
    context = browser.new_context(viewport=WIDE, **options)
    seen = SimpleNamespace(tab=context.new_page(), errors=[], asked=[])

    def answer(call):
        url = call.request.url
        if url.startswith("file://"):
            return call.continue_()
        if url.startswith(f"{SITE}/"):
            file = HTML / urlsplit(url).path.removeprefix(PREFIX)
            return call.fulfill(path=file) if file.is_file() else call.fulfill(status=404)
        seen.asked.append(url)
        return call.abort()

    context.route(re.compile("^(?!data:|blob:|about:)"), answer)
    seen.tab.on("pageerror", lambda error: seen.errors.append(str(error)))
    seen.tab.on("console", lambda line: seen.errors.append(line.text) if line.type == "error" else None)
    seen.tab.on("requestfailed", lambda call: seen.errors.append(f"not loaded: {call.url}"))
    return seen


def go(seen, page: str) -> None:
    """Open a page from the disk; the page for what is not found has only addresses of its site."""
    seen.tab.goto(f"{SITE}{PREFIX}{page}" if page == "404.html" else (HTML / page).as_uri())
    seen.tab.evaluate(SETTLED)


@pytest.fixture(scope="session")
def visit(browser):
    """`visit(page)` opens a page once and returns what was seen there. All pages share a window, which is quicker."""
    window = opened(browser, color_scheme="light")

    @cache
    def look(page: str) -> SimpleNamespace:
        window.errors, window.asked = [], []
        tab = window.tab
        go(window, page)
        seen = SimpleNamespace(
            maths=tab.evaluate(MATHS), wide=tab.evaluate(WIDER), unseen=tab.evaluate(UNSEEN)
        )
        seen.errors, seen.asked = window.errors, window.asked
        tab.set_viewport_size(PHONE)
        seen.phone = tab.evaluate(WIDER)
        tab.set_viewport_size(WIDE)
        tab.emulate_media(media="print")
        seen.printed, seen.menu = (tab.locator(part).first.is_visible() for part in (OUTPUT, MENU))
        tab.emulate_media(media="screen")
        seen.light, seen.dark = audits(tab)
        tab.goto("about:blank")
        return seen

    return look


def audits(tab) -> list[list]:
    """What axe-core finds serious or critical, by day and by night, with everything unfolded."""
    tab.add_style_tag(content=STILL)
    tab.add_script_tag(path=AXE)
    tab.evaluate(FEWER)
    found = []
    for scheme, rules in (("light", {}), ("dark", BY_COLOUR)):
        tab.emulate_media(color_scheme=scheme)
        tab.wait_for_function("theme => document.documentElement.dataset.theme == theme", arg=scheme)
        found.append([one for one in tab.evaluate(AUDIT, rules) if not allowed(one)])
    tab.emulate_media(color_scheme="light")
    return found


def allowed(violation: list[str]) -> bool:
    rule, selector, _ = violation
    return any(rule == name and re.search(pattern, selector) for name, pattern, _ in ALLOWED)


def test_there_are_pages_to_look_at():
    assert PAGES, "there is no book in _build/html: run `make book` first"


@every_page
def test_a_page_loads_without_an_error_and_without_the_network(visit, page):
    assert visit(page).errors == []
    assert visit(page).asked == []


@every_page
def test_every_formula_is_set_and_none_holds_an_error(visit, page):
    maths = visit(page).maths
    assert maths["drawn"] == maths["asked"]
    assert (maths["raw"], maths["wrong"]) == (0, [])


@chapter_page
def test_chapters_have_formulas(visit, page):
    assert visit(page).maths["drawn"] > 0


@every_page
def test_nothing_sticks_out_of_a_window_of_1280_pixels(visit, page):
    assert visit(page).wide == []


@every_page
def test_nothing_sticks_out_of_a_telephone(visit, page):
    assert visit(page).phone == []


@every_page
def test_axe_finds_nothing_serious_by_day(visit, page):
    assert visit(page).light == []


@every_page
def test_axe_finds_nothing_serious_by_night(visit, page):
    assert visit(page).dark == []


@every_page
def test_every_output_and_picture_can_be_seen(visit, page):
    assert visit(page).unseen == []


def chosen(tab) -> list[str]:
    """The framework whose tab is open in each set of tabs of the page."""
    script = 's => [...s.querySelectorAll(":scope > input")].find(i => i.checked).nextElementSibling.dataset.syncId'
    return [tab.evaluate(script, one) for one in tab.query_selector_all(".framework-tabs")]


@pytest.fixture(scope="session")
def with_tabs():
    """Two pages with sets of all three frameworks, or the only one twice."""
    found = [page for page in CHAPTERS if (HTML / page).read_text().count("framework-tabs") > 1]
    if not found:
        pytest.skip("no chapter has framework tabs yet")
    return found[0], found[-1]


def test_choosing_a_framework_opens_its_tab_everywhere_and_on_the_next_page(browser, with_tabs):
    first, second = with_tabs
    seen = opened(browser)
    go(seen, first)
    assert set(chosen(seen.tab)) == {"numpy"}
    for framework, label in {"torch": "PyTorch", "tensorflow": "TensorFlow"}.items():
        seen.tab.locator(".framework-tabs").first.get_by_text(label, exact=True).click()
        assert set(chosen(seen.tab)) <= {framework, "numpy"}
        assert chosen(seen.tab)[0] == framework
    content = seen.tab.locator(".framework-tabs").first.locator(".sd-tab-content")
    assert [one.is_visible() for one in content.all()].count(True) == 1
    go(seen, second)
    assert "tensorflow" in chosen(seen.tab)
    assert seen.errors == []


def test_tabs_can_be_changed_with_the_keyboard(browser, with_tabs):
    seen = opened(browser)
    go(seen, with_tabs[0])
    seen.tab.locator(".framework-tabs > input").first.focus()
    seen.tab.keyboard.press("ArrowRight")
    assert chosen(seen.tab)[0] != "numpy"


def test_without_javascript_the_first_tab_and_the_outputs_are_there(browser, with_tabs):
    tab = browser.new_context(java_script_enabled=False).new_page()
    tab.goto((HTML / with_tabs[0]).as_uri())
    content = tab.locator(".framework-tabs").first.locator(".sd-tab-content")
    assert [one.is_visible() for one in content.all()].count(True) == 1


@pytest.mark.parametrize(
    "start", [(HTML / WRITTEN[0]).as_uri(), f"{SITE}{PREFIX}{WRITTEN[0]}"], ids=["disk", "site"]
)
def test_search_finds_a_word(browser, start):
    seen = opened(browser)
    seen.tab.goto(start)
    seen.tab.keyboard.press("Control+k")
    seen.tab.locator("#pst-search-dialog input[type=search]").fill("temperature")
    seen.tab.keyboard.press("Enter")
    results = seen.tab.locator("#search-results li")
    results.first.wait_for()
    found = seen.tab.eval_on_selector_all("#search-results li a", "all => all.map(a => a.pathname)")
    assert any(path.endswith("chapters/softmax.html") for path in found)
    assert seen.asked == []
    if start.startswith(SITE):  # from the disk a browser lets no page read another, so there is no excerpt
        seen.tab.locator("#search-results li p.context").first.wait_for()
        assert seen.errors == []


def test_the_switch_changes_between_day_and_night_and_remembers(browser):
    seen = opened(browser, color_scheme="light")
    go(seen, WRITTEN[0])
    theme = "document.documentElement.dataset.theme"
    switch = seen.tab.locator("button.theme-switch-button:visible").first
    for _ in range(3):
        if seen.tab.evaluate(theme) != "dark":
            switch.click()
    assert seen.tab.evaluate(theme) == "dark"
    go(seen, WRITTEN[-1])
    assert seen.tab.evaluate(theme) == "dark"


@chapter_page
def test_a_chapter_on_paper_has_its_outputs_and_no_menu(visit, page):
    assert (visit(page).printed, visit(page).menu) == (True, False)
