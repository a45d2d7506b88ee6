"""The space: configurations and points there and back, roles, tables, and errors that say what to write."""

import doctest
import importlib
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dlbook.tuning as tuning
from dlbook.tuning import Choice, Fixed, Integer, Linear, Log, OffOr, OneMinusLog, Space

SPACE = Space(
    lr=Log(1e-4, 1),
    batch_size=64,
    momentum=OneMinusLog(0.9, 0.999),
    hidden=Integer(16, 256, log=True),
    activation=Choice("relu", "tanh"),
    weight_decay=OffOr(Log(1e-6, 1e-2)),
    sizes=Fixed((64, 64)),
)
UNIT = st.floats(0, 1, exclude_max=True)
POINTS = st.tuples(*[UNIT] * 5)


@pytest.mark.parametrize("module", ["", ".space", ".samplers", ".schedulers", ".store", ".ranking"])
def test_the_examples_in_the_docstrings_are_right(module):
    found = importlib.import_module(f"dlbook.tuning{module}")
    assert doctest.testmod(found).failed == 0


def test_importing_the_package_imports_neither_a_framework_nor_scipy():
    heavy = "('torch', 'tensorflow', 'keras', 'scipy', 'optuna')"
    code = f"import sys, dlbook.tuning; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_every_public_name_is_offered_and_documented():
    for name in tuning.__all__:
        assert getattr(tuning, name).__doc__, name


# configurations and points


@given(point=POINTS)
def test_a_configuration_has_all_names_in_order_with_values_from_their_scales(point):
    config = SPACE.config(point)
    assert list(config) == ["lr", "batch_size", "momentum", "hidden", "activation", "weight_decay", "sizes"]
    for u, (name, scale) in zip(point, SPACE.scales.items(), strict=True):
        assert config[name] == scale.value(u)
    assert config["batch_size"] == 64
    assert config["sizes"] == (64, 64)


@given(point=POINTS)
def test_a_configuration_goes_back_to_a_point_of_the_same_configuration(point):
    config = SPACE.config(point)
    again = SPACE.config(SPACE.point(config))
    for name, value in config.items():
        assert again[name] == (pytest.approx(value, rel=1e-12) if isinstance(value, float) else value)


def test_a_point_may_be_a_row_of_an_array_and_a_configuration_need_not_name_what_is_fixed():
    row = np.full((2, 5), 0.5)[0]
    assert SPACE.config(row) == SPACE.config([0.5] * 5)
    config = {name: value for name, value in SPACE.config(row).items() if name not in SPACE.fixed}
    assert SPACE.point(config) == pytest.approx((0.5, 0.5, 0.5, 0.75, 0.5), abs=0.01)


def test_a_space_in_which_nothing_varies_has_one_configuration():
    space = Space(lr=0.1, self="a name like any other")
    assert space.dimensions == 0
    assert space.config(()) == {"lr": 0.1, "self": "a name like any other"}
    assert space.point({}) == ()
    assert Space().config(()) == {}


@pytest.mark.parametrize("value", [1, 0.5, True, None, "relu", np.float32(0.5), 1 + 2j])
def test_numbers_and_words_and_none_are_fixed_values(value):
    assert Space(a=value).fixed == {"a": value}
    assert Space(a=Fixed(value)).fixed == {"a": value}


# roles


def test_what_varies_is_a_nuisance_until_the_study_asks_for_it():
    assert set(SPACE.roles.items()) >= {("lr", "nuisance"), ("hidden", "nuisance"), ("batch_size", "fixed")}
    asked = SPACE.scientific("hidden", "activation")
    assert [name for name, role in asked.roles.items() if role == "scientific"] == ["hidden", "activation"]
    assert asked.roles["lr"] == "nuisance"
    assert asked.roles["sizes"] == "fixed"
    assert SPACE.roles["hidden"] == "nuisance"
    assert asked.scientific("lr").roles["hidden"] == "nuisance"
    assert asked.scientific() == SPACE


@given(point=POINTS)
def test_roles_do_not_change_what_is_drawn(point):
    assert SPACE.scientific("hidden").config(point) == SPACE.config(point)


def test_replace_changes_scales_and_values_and_keeps_order_and_roles():
    asked = SPACE.scientific("hidden", "activation")
    narrow = asked.replace(lr=Log(0.2, 2), hidden=32, batch_size=Choice(32, 64))
    assert list(narrow.roles) == list(SPACE.roles)
    assert narrow.scales["lr"] == Log(0.2, 2)
    assert narrow.fixed["hidden"] == 32
    roles = [narrow.roles[name] for name in ("lr", "hidden", "activation", "batch_size")]
    assert roles == ["nuisance", "fixed", "scientific", "nuisance"]
    assert eval(repr(narrow), dict(vars(tuning))) == narrow
    assert asked.fixed == SPACE.fixed
    assert SPACE.replace() == SPACE


# equality and tables


def test_spaces_are_equal_when_names_scales_order_and_roles_are():
    assert Space(a=Log(1, 2), b=3) == Space(a=Log(1.0, 2.0), b=3)
    assert Space(a=Log(1, 2), b=Log(1, 2)).scientific("a", "b") == Space(a=Log(1, 2), b=Log(1, 2)).scientific(
        "b", "a"
    )
    different = [
        Space(b=3, a=Log(1, 2)),
        Space(a=Linear(1, 2), b=3),
        Space(a=Log(1, 2), b=4),
        Space(a=Log(1, 2)),
        Space(a=Log(1, 2), b=3).scientific("a"),
        {"a": Log(1, 2), "b": 3},
    ]
    for other in different:
        assert other != Space(a=Log(1, 2), b=3)


@pytest.mark.parametrize("space", [Space(), SPACE, SPACE.scientific("hidden", "lr")])
def test_the_repr_of_a_space_makes_it_again(space):
    assert eval(repr(space), dict(vars(tuning))) == space


def test_a_space_prints_as_a_table():
    assert str(SPACE.scientific("activation")).splitlines() == [
        "name          role        scale               range",
        "lr            nuisance    log                 0.0001 to 1",
        "batch_size    fixed                           64",
        "momentum      nuisance    log of 1 - value    0.9 to 0.999",
        "hidden        nuisance    whole numbers, log  16 to 256",
        "activation    scientific  choice              relu, tanh",
        "weight_decay  nuisance    off or log          0 (25 %) or 1e-06 to 0.01",
        "sizes         fixed                           (64, 64)",
    ]
    assert str(Space()) == "name  role  scale  range"


class Cells(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.rows, self.open, self.scopes = [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.scopes += [value for name, value in attrs if name == "scope"]
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.rows[-1][-1] += data


def test_the_html_table_has_the_cells_of_the_text_table_escaped_and_with_headers():
    space = SPACE.replace(activation=Choice("<b>relu</b>", "a & b"))
    parsed = Cells(space._repr_html_())
    assert parsed.open == []
    assert [" ".join(row).split() for row in parsed.rows] == [
        line.split() for line in str(space).splitlines()
    ]
    assert parsed.scopes == ["col"] * 4 + ["row"] * 7
    assert "<b>" not in space._repr_html_()
    assert Cells(Space(**{"<i>&": 1})._repr_html_()).rows[1] == ["<i>&", "fixed", "", "1"]


# errors


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (
            lambda: Space(lr=(1e-4, 1)),
            TypeError,
            r"lr must be a scale, such as Log.*got \(0.0001, 1\): write Fixed",
        ),
        (lambda: Space(lr=[0.1, 0.2]), TypeError, r"lr must be a scale, .*got \[0.1, 0.2\]"),
        (
            lambda: Space(lr=Log),
            TypeError,
            r"lr must have a scale with its range, .*: write Log\(low, high\)",
        ),
        (lambda: Space(lr=dict), TypeError, "lr must be a scale, .*got <class 'dict'>"),
        (
            lambda: SPACE.config((0.5,)),
            ValueError,
            "point must have 5 coordinates, .*lr, momentum, .*; got 1",
        ),
        (lambda: Space(a=1).config((0.5,)), ValueError, "point must have 0 coordinates, .*nothing; got 1"),
        (lambda: SPACE.config((0.5,) * 4 + (2,)), ValueError, r"u must lie in \[0, 1\], got 2"),
        (lambda: SPACE.point({"lr": 0.1}), ValueError, r"missing: \['momentum', .*unknown: \[\]"),
        (lambda: Space(a=1).point({"lr": 1}), ValueError, r"missing: \[\], unknown: \['lr'\]"),
        (lambda: Space(a=Log(1, 2)).point({"a": 3}), ValueError, r"v must lie in \[1.0, 2.0\], got 3"),
        (lambda: SPACE.scientific("sizes"), ValueError, r"got 'sizes', which is fixed at \(64, 64\)"),
        (
            lambda: SPACE.scientific("depth"),
            ValueError,
            "vary, lr, momentum, hidden, activation, weight_decay; got 'depth'$",
        ),
        (lambda: SPACE.replace(depth=3), ValueError, "changes must be to lr, batch_size, .*; got 'depth'"),
    ],
)
def test_what_does_not_fit_gets_an_error_that_says_what_would(make, error, match):
    with pytest.raises(error, match=match):
        make()
