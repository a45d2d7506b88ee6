# ruff: noqa: F401, F811 (the browser is a fixture of another file)
"""The sliders of the built book in a browser: what they show is what Python says, by keyboard, mouse and finger."""

from functools import cache
from urllib.parse import unquote

import numpy as np
import pytest
from bs4 import BeautifulSoup
from slider_cases import IN_CHAPTERS
from test_book_browser import AUDIT, AXE, HTML, PHONE, WIDE, WIDER, browser, go, opened

from dlbook.interactive.frame import ALONE

pytestmark = pytest.mark.browser

SLIDERS = {chapter: make() for chapter, make in IN_CHAPTERS.items()}
every_slider = pytest.mark.parametrize("chapter", SLIDERS)

LUMINANCE = """(colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map(c => c / 255)
        .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}"""


class Shown:
    """A slider on its page."""

    def __init__(self, tab, slider) -> None:
        self.tab, self.slider = tab, slider
        self.whole = tab.locator(f"#{slider.name}")
        self.inputs = self.whole.locator("input").all()

    def readout(self) -> str:
        return self.whole.locator("output").text_content()

    def picture(self) -> list[str]:
        return [one.evaluate("e => e.outerHTML") for one in self.whole.locator("svg[role=img]").all()]

    def pixels(self) -> bytes:
        return self.whole.locator(".dlbook-slider-panels").screenshot()

    def positions(self) -> list[int]:
        return [int(one.input_value()) for one in self.inputs]

    def move(self, *positions: int) -> None:
        """By keyboard: to the first position, and up from there."""
        for control, position in zip(self.inputs, positions, strict=True):
            control.press("Home")
            for _ in range(position):
                control.press("ArrowRight")


@pytest.fixture(scope="module")
def show(browser):
    """`show(chapter)` is a chapter's slider where it starts; its page is opened once."""

    @cache
    def page(chapter: str) -> Shown:
        window = opened(browser, color_scheme="light")
        go(window, f"chapters/{chapter}.html")
        shown = Shown(window.tab, SLIDERS[chapter])
        shown.window = window
        assert (shown.readout(), shown.positions()) == (shown.slider.readout(), starts(shown.slider))
        return shown

    def look(chapter: str) -> Shown:
        shown = page(chapter)
        shown.tab.set_viewport_size(WIDE)
        shown.tab.emulate_media(media="screen", color_scheme="light")
        shown.move(*starts(shown.slider))
        return shown

    return look


def starts(slider) -> list[int]:
    return [control.start for control in slider.controls]


def drawn(markup: list[str]) -> list:
    """Pictures as nested tuples, in which the order of attributes does not count."""

    def plain(tag):
        inside = [plain(child) if child.name else str(child) for child in tag.children]
        attributes = {k.lower(): v for k, v in tag.attrs.items() if k != "xmlns" and v != ALONE}
        return tag.name.lower(), attributes, inside

    return [plain(BeautifulSoup(one, "html.parser").find("svg")) for one in markup]


@every_slider
def test_the_book_holds_the_slider_that_the_package_makes_now(chapter):
    page = (HTML / "chapters" / f"{chapter}.html").read_text(encoding="utf-8")
    assert SLIDERS[chapter]._repr_html_() in page, "run `make chapters` and `make book`"


@every_slider
def test_a_key_moves_the_picture_and_the_read_out_and_the_value_beside_the_label(show, chapter):
    shown = show(chapter)
    slider, at = shown.slider, starts(shown.slider)
    for k, (control, field) in enumerate(zip(slider.controls, shown.inputs, strict=True)):
        before = shown.readout(), shown.picture(), shown.pixels()
        up = at[k] + 1 < len(control.values)
        field.focus()
        shown.tab.keyboard.press("ArrowRight" if up else "ArrowLeft")
        at[k] += 1 if up else -1
        assert shown.positions() == at
        assert shown.readout() == slider.readout(*at)
        assert all(
            a != b for a, b in zip(before, (shown.readout(), shown.picture(), shown.pixels()), strict=True)
        )
        words = control.words(control.values[at[k]])
        assert field.get_attribute("aria-valuetext") == words
        assert field.locator("xpath=..").inner_text().split("\n")[0].endswith(f" {words}")
    assert (shown.window.errors, shown.window.asked) == ([], [])


@every_slider
def test_at_every_position_of_a_control_the_read_out_is_pythons(show, chapter):
    shown = show(chapter)
    for k, control in enumerate(shown.slider.controls):
        at = starts(shown.slider)
        shown.move(*at)
        shown.inputs[k].press("Home")
        for at[k] in range(len(control.values)):
            assert shown.positions() == at
            assert shown.readout() == shown.slider.readout(*at)
            shown.inputs[k].press("ArrowRight")
        assert shown.positions()[k] == len(control.values) - 1


@every_slider
def test_with_all_controls_moved_the_picture_is_the_one_that_python_draws_there(show, chapter):
    shown, rng = show(chapter), np.random.default_rng(0)
    ends = [len(control.values) - 1 for control in shown.slider.controls]
    for at in [[0] * len(ends), ends, *(list(map(int, rng.integers(0, np.add(ends, 1)))) for _ in range(3))]:
        shown.move(*at)
        start = {"start": at[0] if len(at) == 1 else tuple(at)}
        if chapter == "scales":  # its second control always starts at seed 0
            at[1], start = 0, {"start": at[0]}
            shown.move(*at)
        there = IN_CHAPTERS[chapter](**start)
        assert shown.readout() == there.readout() == shown.slider.readout(*at)
        images = BeautifulSoup(there._repr_html_(), "html.parser").find_all("img")
        assert drawn(shown.picture()) == drawn([unquote(image["src"].partition(",")[2]) for image in images])


@every_slider
def test_the_mouse_moves_a_slider_too(show, chapter):
    shown = show(chapter)
    before, field = shown.readout(), shown.inputs[0]
    box = field.bounding_box()
    field.click(position={"x": 0.97 * box["width"], "y": box["height"] / 2})
    assert shown.positions()[0] == len(shown.slider.controls[0].values) - 1
    assert shown.readout() == shown.slider.readout(*shown.positions()) != before


@every_slider
def test_a_slider_that_has_the_focus_shows_it(show, chapter):
    shown = show(chapter)
    field = shown.inputs[0]
    shown.tab.keyboard.press("Tab")  # from here on the keyboard is in use
    field.focus()
    assert field.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"
    assert float(field.evaluate("e => getComputedStyle(e).outlineWidth").removesuffix("px")) >= 2


@every_slider
def test_on_a_telephone_a_slider_fits_and_a_finger_can_hold_it(show, chapter):
    shown = show(chapter)
    shown.tab.set_viewport_size(PHONE)
    for at in ([0] * len(shown.inputs), [len(control.values) - 1 for control in shown.slider.controls]):
        shown.move(*at)
        assert shown.tab.evaluate(WIDER) == []
    boxes = [one.bounding_box() for one in shown.inputs]
    assert all(box["height"] >= 44 and box["width"] > 300 for box in boxes)
    picture = shown.whole.locator("svg[role=img]").first.bounding_box()
    assert picture["x"] >= 8
    assert picture["x"] + picture["width"] <= PHONE["width"] - 8
    small = (
        "e => parseFloat(getComputedStyle(e).fontSize) * Math.hypot(e.getScreenCTM().a, e.getScreenCTM().b)"
    )
    assert min(shown.whole.locator("svg text").evaluate_all(f"all => all.map({small})")) >= 10


@every_slider
def test_axe_finds_nothing_at_all_wrong_with_a_slider_by_itself(browser, chapter):
    tab, slider = browser.new_context().new_page(), SLIDERS[chapter]
    tab.set_content(f"<html lang=en><title>it</title><main><h1>It</h1>{slider._repr_html_()}</main></html>")
    tab.add_script_tag(path=AXE)
    tab.locator("input").first.press("End")
    every = AUDIT.replace('["serious", "critical"].includes(v.impact)', "true")
    assert every != AUDIT
    assert tab.evaluate(every, {}) == []


@every_slider
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_in_a_picture_stand_out_from_the_page_by_day_and_by_night(show, chapter, scheme):
    shown = show(chapter)
    shown.tab.emulate_media(color_scheme=scheme)
    shown.tab.wait_for_function("theme => document.documentElement.dataset.theme == theme", arg=scheme)
    ground = shown.tab.evaluate(f"({LUMINANCE})(getComputedStyle(document.body).backgroundColor)")
    inks = "all => all.map(e => getComputedStyle(e).fill)"
    for colour in set(shown.whole.locator("svg text").evaluate_all(inks)):
        low, high = sorted([shown.tab.evaluate(f"({LUMINANCE})", colour), ground])
        assert (high + 0.05) / (low + 0.05) > 4.5
    behind = shown.whole.evaluate("e => getComputedStyle(e.closest('.text_html')).backgroundColor")
    assert behind == "rgba(0, 0, 0, 0)"


@every_slider
def test_without_javascript_the_first_state_is_drawn_and_no_dead_slider_is_there(browser, chapter):
    tab = browser.new_context(java_script_enabled=False).new_page()
    tab.goto((HTML / "chapters" / f"{chapter}.html").as_uri())
    whole = tab.locator(f"#{SLIDERS[chapter].name}")
    assert whole.locator("output").text_content() == SLIDERS[chapter].readout()
    images = whole.locator("img").all()
    assert all(one.is_visible() for one in images)
    assert whole.locator("input, svg").count() == 0
    assert "allow JavaScript" in whole.locator("noscript").text_content()
    assert whole.locator("noscript").bounding_box()["height"] > 10
    assert len(images[0].screenshot()) > 3000  # something is drawn


@every_slider
def test_on_paper_the_picture_and_the_values_stay_and_the_controls_go(show, chapter):
    shown = show(chapter)
    shown.tab.emulate_media(media="print")
    assert all(one.is_visible() for one in shown.whole.locator("svg[role=img]").all())
    assert shown.whole.locator("output").is_visible()
    assert shown.whole.locator("label").first.is_visible()
    assert not any(one.is_visible() for one in shown.inputs)


def test_sliders_on_one_page_keep_out_of_each_others_way_and_leave_nothing_global(browser):
    tab = browser.new_context().new_page()
    names = "() => Object.getOwnPropertyNames(window).sort()"
    tab.set_content("<title>none</title>")
    before = tab.evaluate(names)
    tab.set_content("".join(slider._repr_html_() for slider in SLIDERS.values()))
    assert tab.evaluate(names) == before
    all_of_them = [Shown(tab, slider) for slider in SLIDERS.values()]
    for shown in all_of_them:
        others = [other.whole.inner_html() for other in all_of_them if other is not shown]
        shown.inputs[0].press("Home")
        assert shown.readout() == shown.slider.readout(*shown.positions())
        assert [other.whole.inner_html() for other in all_of_them if other is not shown] == others


def test_keys_do_not_reach_the_shortcuts_of_a_notebook_but_those_with_control_reach_the_page(browser):
    tab, slider = browser.new_context().new_page(), SLIDERS["tensorflow_then_and_now"]
    tab.set_content(slider._repr_html_())
    tab.evaluate("() => { window.heard = []; addEventListener('keydown', e => heard.push(e.key)); }")
    tab.locator("input").press("ArrowRight")
    tab.locator("input").press("b")
    assert tab.evaluate("heard") == []
    tab.locator("input").press("Control+k")
    assert tab.evaluate("heard")[-1] == "k"


def test_a_second_copy_of_a_slider_works_as_in_a_second_view_of_a_notebook(browser):
    tab, slider = browser.new_context().new_page(), SLIDERS["tensorflow_then_and_now"]
    tab.set_content(2 * slider._repr_html_())
    first, second = tab.locator(".dlbook-slider").all()
    second.locator("input").press("End")
    last = len(slider.controls[0].values) - 1
    assert second.locator("output").text_content() == slider.readout(last)
    assert first.locator("output").text_content() == slider.readout()
    first.locator("input").press("ArrowRight")
    assert first.locator("output").text_content() == slider.readout(slider.controls[0].start + 1)
