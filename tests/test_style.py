"""The book's look: legible without colour, and listings that are the source itself."""

import inspect

import matplotlib as mpl
import numpy as np

from dlbook import style


def luminance(colour: str) -> float:
    rgb = np.array(mpl.colors.to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_the_first_four_colours_stand_out_from_white_paper():
    for colour in style.COLOURS[:3]:
        assert 1.05 / (luminance(colour) + 0.05) > 3  # WCAG 2.1, 1.4.11: graphics need a contrast of 3


def test_lines_differ_by_marker_as_well_as_by_colour():
    assert len(set(style.COLOURS)) == len(set(style.MARKERS)) == len(style.COLOURS)


def test_use_sets_the_look_and_the_digits_printed():
    with mpl.rc_context(), np.printoptions():
        style.use()
        assert mpl.rcParams["figure.facecolor"] == "white"
        assert repr(np.array([1 / 3])) == "array([0.3333])"


def test_a_listing_is_the_source_itself():
    shown = style.show_source(luminance, style.use).data
    assert inspect.getsource(luminance).rstrip() in shown
    assert inspect.getsource(style.use).rstrip() in shown
    assert shown.startswith("```python\n")
    assert shown.endswith("\n```")
