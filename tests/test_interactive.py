"""The sliders: small, self-contained, the same every time, and every number they show is recomputed here."""

import json
import re
import subprocess
import sys
from itertools import product
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from bs4 import BeautifulSoup
from scipy.special import log_softmax, softmax

from dlbook import data, interactive
from dlbook.interactive import averages, descent, frame, plot, regions, search
from dlbook.interactive.frame import Control, Slider, digits, px, svg, tag, varies

CLOUDS = data.blobs(0, classes=3, spread=1.0)
MAKERS = {
    "temperature": lambda name="temperature": interactive.temperature(name, *CLOUDS),
    "sampling": lambda name="sampling": interactive.sampling(name),
    "grid_and_random": lambda name="grid-and-random": interactive.grid_and_random(name),
    "running_average": lambda name="running-average": interactive.running_average(name),
    "learning_rate": lambda name="learning-rate": interactive.learning_rate(name),
}
SLIDERS = {name: maker() for name, maker in MAKERS.items()}
every_slider = pytest.mark.parametrize("slider", SLIDERS.values(), ids=SLIDERS)


def soup(slider) -> BeautifulSoup:
    """The HTML with each image as the SVG that it holds."""
    page = BeautifulSoup(slider._repr_html_(), "html.parser")
    for image in page.find_all("img"):
        kind, _, source = image["src"].partition(",")
        assert kind == "data:image/svg+xml;charset=utf-8"
        image.replace_with(BeautifulSoup(unquote(source), "html.parser"))
    return page


def rows(slider) -> list:
    """What varies in the HTML: part, attribute, controls, values."""
    (call,) = re.findall(r"\}\)\(\.\.\.(\[.*\])\);</script>", slider._repr_html_(), flags=re.DOTALL)
    _, sizes, starts, found = json.loads(call)
    assert sizes == [len(control.values) for control in slider.controls]
    assert starts == [control.start for control in slider.controls]
    return found


def numbers(text: str) -> list[float]:
    return [float(word.replace("−", "-")) for word in re.findall(r"[-−]?\d+(?:\.\d+)?", text)]


def positions(slider, most: int = 60) -> list[tuple[int, ...]]:
    """Up to `most` combinations of positions, spread over all of them, with the ends."""
    every = list(product(*(range(len(control.values)) for control in slider.controls)))
    return [*every[:: max(1, len(every) // most)], every[-1]]


@every_slider
def test_a_slider_is_smaller_than_fifty_kilobytes(slider):
    assert len(slider._repr_html_().encode()) < 50_000


def test_a_slider_is_the_same_every_time():
    for name, maker in MAKERS.items():
        assert maker()._repr_mimebundle_() == SLIDERS[name]._repr_mimebundle_()


@every_slider
def test_a_slider_loads_nothing_and_names_no_other_machine(slider):
    html = unquote(slider._repr_html_())
    assert "//" not in html.replace(frame.SVG, "").replace(" // ", "")
    assert not re.search(r"\b(href|import|fetch|@import)\b", html)
    assert re.findall(r"\bsrc=\W?(\w+)", html) == ["data"] * html.count("<img")
    assert re.findall(r"url\((.)", html) == ["#"] * html.count("url(")


@every_slider
def test_each_picture_is_an_image_of_well_formed_svg_that_is_described_in_words(slider):
    images = BeautifulSoup(slider._repr_html_(), "html.parser").find_all("img")
    for image in images:
        picture = ET.fromstring(unquote(image["src"].partition(",")[2]))
        assert picture.tag == f"{{{frame.SVG}}}svg"
        assert picture.get("aria-label") == image["alt"]
        assert len(image["alt"].split()) > 5
        assert not {"#", "<", ">", '"'} & set(image["src"])
    assert images


@every_slider
def test_what_a_slider_shows_first_is_in_the_html_before_any_script_runs(slider):
    page = soup(slider)
    assert page.output.get_text() == slider.readout()
    assert slider.readout() in repr(slider)
    for part, attribute, by, values in rows(slider):
        k = 0
        for c in by:
            k = k * len(slider.controls[c].values) + slider.controls[c].start
        (element,) = page.find_all(attrs={"data-part": str(part)})
        assert (element.get(attribute) if attribute else element.get_text()) == str(values[k])
    assert all(len(picture.find_all(["path", "rect"])) >= 3 for picture in page.select("svg[role=img]"))


@every_slider
def test_every_position_of_the_controls_has_something_to_show(slider):
    for _, _, by, values in rows(slider):
        assert len(values) == np.prod([len(slider.controls[c].values) for c in by])
    changing = [len(set(map(str, values))) for *_, values in rows(slider)]
    assert sum(n > 1 for n in changing) >= 4


@every_slider
def test_controls_have_labels_and_values_in_words_and_the_script_alone_adds_what_moves(slider):
    page = soup(slider)
    for k, (control, label) in enumerate(zip(slider.controls, page.find_all("label"), strict=True)):
        assert label.get_text() == control.label
        assert label["for"] == f"{slider.name}-{k}"
        assert label.find_next_sibling("span").get_text() == control.words(control.values[control.start])
    assert page.output["aria-live"] == "polite"
    assert list(page.output["for"]) == [f"{slider.name}-{k}" for k in range(len(slider.controls))]
    assert not page.find_all(["input", "button"])


@every_slider
def test_all_ids_of_a_slider_begin_with_its_name(slider):
    ids = [element["id"] for element in soup(slider).find_all(id=True)]
    assert len(set(ids)) == len(ids)
    assert all(name == slider.name or name.startswith(f"{slider.name}-") for name in ids)


@every_slider
def test_no_number_has_more_than_three_digits_behind_the_point(slider):
    assert not re.search(r"\d\.\d{4}", slider._repr_html_())


def test_all_styles_are_for_sliders_only():
    selectors = re.findall(r"^([^{}@]+)\{", frame.STYLE, flags=re.MULTILINE)
    assert len(selectors) > 8
    assert all(selector.strip().startswith(".dlbook-slider") for selector in selectors)


# --- what the read-outs say, against formulas of this file ---------------------------------------------------------


def test_learning_rate_counts_the_steps_as_the_closed_form_does():
    slider = SLIDERS["learning_rate"]
    for k, rate in enumerate(slider.controls[0].values):
        text, factor = slider.readout(k), 1 - 2 * rate
        assert f"= {factor:.2f}.".replace("-", "−").replace("−0.00", "0.00") in text
        if abs(factor) >= 1:
            assert "never" in text
            continue
        t = np.arange(1000)
        needed = int(np.flatnonzero(np.abs(factor) ** t <= 0.01 + 1e-12)[0])
        assert f"after {needed} step" in text
        assert ("one side" in text, "rings" in text) == (factor > 1e-9, factor < -1e-9)


def test_learning_rate_says_when_it_diverges_and_when_it_jumps_for_ever():
    assert [descent.behaviour(a).split()[-1] for a in (0.1, 0.5, 0.9, 1, 1.2)] == [
        "side", "once", "rings", "ever", "diverges",
    ]  # fmt: skip
    assert [descent.steps_needed(a) for a in (0.01, 0.45, 0.5, 1, 1.5)] == [228, 2, 1, None, None]


def test_running_average_follows_the_recursion():
    slider, (decays, steps) = SLIDERS["running_average"], (averages.DECAYS, averages.STEPS)
    noise = np.random.default_rng(0).standard_normal(100)
    for i, t in positions(slider):
        d, average = decays[i], 0.0
        for k in range(1, steps[t] + 1):
            average = d * average + (1 - d) * (4 - 2 * np.exp(-k / 30) + 0.6 * noise[k - 1])
        w = np.array([(1 - d) * d**k for k in range(steps[t])]) / (1 - d ** steps[t])
        wanted = [
            0,
            100 * d ** steps[t],
            100 * (1 - d) * d ** (steps[t] - 1),
            average,
            average / (1 - d ** steps[t]),
        ]
        wanted += [4 - 2 * np.exp(-steps[t] / 30), 1 / (w @ w)]
        assert numbers(slider.readout(i, t)) == pytest.approx(wanted, abs=0.0501)


def test_sampling_counts_draws_in_the_top_power_of_ten():
    slider = SLIDERS["sampling"]
    for e, s in positions(slider):
        low, u = 10.0 ** (-6 + e), np.random.default_rng(s).random(30)
        linear, log = low + u * (1 - low), low ** (1 - u)
        expected = 30 * 0.9 / (1 - low), 30 / (6 - e)
        wanted = [30, 0.1, 1, (linear >= 0.1).sum(), expected[0], (log >= 0.1).sum(), expected[1]]
        assert numbers(slider.readout(e, s)) == pytest.approx(wanted, abs=0.0501)


def test_sampling_shows_every_draw_in_one_power_of_ten():
    counts = [
        values for _, attribute, by, values in rows(SLIDERS["sampling"]) if by == [0, 1] and not attribute
    ][:12]
    for scale in (counts[:6], counts[6:]):
        totals = [sum(int(decade[state] or 0) for decade in scale) for state in range(48)]
        assert totals == [30] * 48


def test_grid_and_random_measure_distances():
    slider = SLIDERS["grid_and_random"]
    drawn = [[np.random.default_rng([seed, i]).random(2) for i in range(25)] for seed in range(200)]
    for a, s, m in positions(slider, 40):
        place, importance, level = (c.values[k] for c, k in zip(slider.controls, (a, s, m), strict=True))
        middles = (np.arange(level) + 0.5) / level
        grid = min(np.hypot(x - place, importance * (y - 0.44)) for x in middles for y in middles)
        scaled = (np.array(drawn)[:, : level**2] - [place, 0.44]) * [1, importance]
        random = np.sqrt((scaled**2).sum(axis=-1)).min(axis=1)
        wanted = [grid, random[0], 200, random.mean(), 100 * np.mean(random < grid)]
        assert numbers(slider.readout(a, s, m))[:5] == pytest.approx(wanted, abs=0.51)
        assert numbers(slider.readout(a, s, m))[:2] == pytest.approx(wanted[:2], abs=0.000501)
        assert numbers(slider.readout(a, s, m))[3] == pytest.approx(wanted[3], abs=0.000501)


def test_over_all_places_a_grid_misses_by_a_quarter_of_its_spacing_on_one_axis():
    for m in (4, 8):  # of which the sixteen places are a multiple
        middles = (np.arange(m) + 0.5) / m
        grid = np.stack(np.meshgrid(middles, middles), axis=-1).reshape(1, -1, 2)
        assert search.everywhere(grid, 0) == pytest.approx(1 / (4 * m))


def test_the_square_of_optima_is_sampled_at_the_middles_of_its_cells():
    points = np.random.default_rng(0).random((3, 5, 2))
    middles = [(k + 0.5) / 16 for k in range(16)]
    misses = [
        min(np.hypot(x - a, 0.3 * (y - b)) for x, y in search_points)
        for search_points in points
        for a in middles
        for b in middles
    ]
    assert search.everywhere(points, 0.3) == pytest.approx(np.mean(misses))


def test_temperature_reads_out_the_fitted_classifier():
    slider, (x, y) = SLIDERS["temperature"], CLOUDS
    W, b = (np.round(part, 2) for part in regions.fit(x, y, 1e-3))
    z, star = x @ W + b, np.array([0.5, 1.0]) @ W + b
    for k, T in enumerate(regions.TEMPERATURES):
        confidence = softmax(z / T, axis=1).max(axis=1).mean()
        loss = -log_softmax(z / T, axis=1)[np.arange(180), y].mean()
        wanted = [softmax(star / T).max(), 180, 100 * np.mean(z.argmax(axis=1) == y), confidence, loss]
        assert numbers(slider.readout(k)) == pytest.approx(wanted, abs=0.0501)
        assert numbers(slider.readout(k))[3:] == pytest.approx(wanted[3:], abs=0.000501)


@pytest.mark.parametrize("level", regions.LEVELS)
@pytest.mark.parametrize("T", [0.1, 1, 10])
def test_a_shade_ends_where_the_probability_is_its_level_at_every_temperature(level, T):
    x, y = CLOUDS
    W, b = (np.round(part, 2) for part in regions.fit(x, y, 1e-3))
    centre = regions.tie(W, b)
    assert softmax(centre @ W + b) == pytest.approx([1 / 3] * 3)
    for k in range(3):
        corners = centre + T * regions.contour(W, k, level)
        p = softmax((corners @ W + b) / T, axis=1)[:, k]
        assert p[:-1] == pytest.approx(np.full(len(p) - 1, level))
        assert p[-1] > 1 - 1e-9  # the last corner closes the area far outside the map
        assert np.abs(T * regions.contour(W, k, level)[[0, -2, -1]]).max(axis=1).min() > 2 * regions.REACH


def test_borders_part_the_two_classes_that_lead():
    x, y = CLOUDS
    W, b = (np.round(part, 2) for part in regions.fit(x, y, 1e-3))
    for k, ray in enumerate(regions.rays(W)):
        p = softmax((regions.tie(W, b) + 2 * ray) @ W + b)
        one, other = np.delete(p, k)
        assert one == pytest.approx(other)
        assert p[k] < one


# --- bad arguments --------------------------------------------------------------------------------------------------

WRONG = {
    "a name with a space": (lambda: interactive.learning_rate("a b"), ValueError, "name must be words"),
    "a name that is HTML": (lambda: interactive.learning_rate('"><script>'), ValueError, "name must be words"),
    "no name": (lambda: interactive.learning_rate(3), ValueError, "name must be words"),
    "a rate of 2": (lambda: interactive.learning_rate("a", rates=[0.1, 2]), ValueError, "rates must lie in"),
    "one rate": (lambda: interactive.learning_rate("a", rates=[0.1], start=0), ValueError, "at least two values"),
    "start": (lambda: interactive.learning_rate("a", rates=[0.1, 0.2]), ValueError, "start must be below 2, got 5"),
    "half a step": (lambda: interactive.learning_rate("a", steps=0.5), ValueError, "steps must be a whole number"),
    "a decay of 1": (lambda: interactive.running_average("a", decays=[0.9, 1]), ValueError, "decays must lie in"),
    "no batches": (lambda: interactive.running_average("a", steps=[0, 1]), ValueError, "steps must be a whole"),
    "range above 1": (lambda: interactive.sampling("a", exponents=[-1, 0]), ValueError, "exponents must be below 0"),
    "no draws": (lambda: interactive.sampling("a", n=0), ValueError, "n must be a whole number"),
    "importance": (lambda: interactive.grid_and_random("a", importances=[0, 2]), ValueError, "importances must lie"),
    "place": (lambda: interactive.grid_and_random("a", places=[0, 2]), ValueError, "places and height must lie"),
    "searches": (lambda: interactive.grid_and_random("a", seeds=0), ValueError, "seeds must be a whole number"),
    "levels": (lambda: interactive.grid_and_random("a", levels=[0, 1]), ValueError, "levels must be a whole number"),
    "temperature 0": (
        lambda: interactive.temperature("a", *CLOUDS, temperatures=[0, 1]), ValueError, "temperatures must lie in"
    ),
    "four classes": (lambda: interactive.temperature("a", *data.blobs(0, classes=4)), ValueError, "x must be points"),
    "no array": (lambda: interactive.temperature("a", [[1, 2]], [0]), TypeError, "x must be an array"),
    "a point in space": (
        lambda: interactive.temperature("a", *CLOUDS, point=(1, 2, 3)), ValueError, "point must be two numbers"
    ),
    "no such position": (lambda: SLIDERS["sampling"].readout(0, 8), ValueError, "Seed has 8 positions, got 8"),
    "a position too few": (lambda: SLIDERS["sampling"].readout(0), ValueError, "zip"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), WRONG.values(), ids=WRONG)
def test_a_bad_argument_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


# --- the parts ------------------------------------------------------------------------------------------------------


def test_texts_are_escaped_in_the_html_and_in_the_script():
    wild = '</script><b a="1">&'
    control = Control(wild, (0, 1), words=lambda value: f"{wild}{value}")
    slider = Slider("wild", [control], [svg(1, 1, wild)], ["so ", varies(lambda v: f"{wild}{v}", control)])
    html = slider._repr_html_()
    assert html.count("</script>") == 1
    assert "<b " not in html
    page = soup(slider)
    assert page.output.get_text() == f"so {wild}0"
    assert page.label.get_text() == page.svg["aria-label"] == wild
    assert rows(slider)[-1][3] == [f"{wild}0", f"{wild}1"]
    assert repr(slider) == f"Sliders: {wild} {wild}0\nso {wild}0"


def test_an_element_may_vary_in_an_attribute_and_in_its_text():
    one, two = Control("one", (1, 2)), Control("two", (10, 20), start=1)
    both = varies(lambda a, b: a + b, one, two)
    assert both.values == [11, 21, 12, 22]
    assert both.at({one: 1, two: 0}) == "12"
    writer = frame._Writer([one, two])
    text = writer.write(tag("text", both, x=varies(lambda b: b, two), class_="a", stroke_width=None))
    assert text == '<text x="20" class="a" data-part="0">21</text>'
    assert writer.rows == [[0, "", [0, 1], [11, 21, 12, 22]], [0, "x", [1], [10, 20]]]


def test_ties_are_rounded_up_whatever_the_last_bit_says():
    assert (px(0.25), px(np.nextafter(0.25, 0)), px(-0.25), px(2.0)) == ("0.3", "0.3", "-0.2", "2")
    assert (digits(0.125, 2), digits(np.nextafter(0.125, 0), 2)) == ("0.13", "0.13")
    assert (digits(-0.5, 1), digits(-0.001, 2), digits(3, 0)) == ("−0.5", "0.00", "3")


def test_a_plot_goes_from_data_to_pixels():
    linear = plot.Plot((0, 10), (0, 5), (30, 20, 100, 50))
    assert linear.line([0, 5, 10], [0, 5, 0]) == "M0 50l50 -50 50 50"
    assert linear.dots([0, 5], [0, 5]) == "M0 50h0m50 -50h0"
    assert plot.Plot((1, 100), (0, 1), (0, 0, 100, 1), log=True).across(10) == pytest.approx(50)
    assert linear.across(1e9) == plot.FAR == -linear.across(-1e9)
    assert linear.down(-1e9) == plot.FAR


def test_rounding_does_not_add_up_along_a_line():
    many = plot.Plot((0, 1), (0, 1), (0, 0, 100, 100))
    moves = many.line(np.linspace(0, 1, 301), np.linspace(0, 1, 301)).partition("l")[2].split()
    assert sum(map(float, moves[::2])) == pytest.approx(100)


def test_sliders_import_no_framework():
    script = (
        "import dlbook.interactive, sys; print({'torch', 'tensorflow', 'keras', 'jax'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
