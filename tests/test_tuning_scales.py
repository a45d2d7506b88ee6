"""The scales: inverse, monotone, exact at their ends, uniform where they say so, and clear about wrong bounds."""

import doctest
import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from dlbook.tuning import Choice, Integer, Linear, Log, OffOr, OneMinusLog, Scale, scales

UNIT = st.floats(0, 1, exclude_max=True)
SPAN = {
    Linear: st.floats(-1e300, 1e300),
    Log: st.floats(1e-300, 1e300),
    OneMinusLog: st.just(0.0) | st.floats(1e-9, 1 - 1e-15),
}


@st.composite
def numbers(draw, kinds=tuple(SPAN)):
    """A scale of real numbers between any two ends that floats can tell apart."""
    kind = draw(st.sampled_from(kinds))
    low, high = sorted(draw(st.tuples(SPAN[kind], SPAN[kind])))
    assume(low < high)
    return kind(low, high)


@st.composite
def integers(draw, largest=2**40):
    log = draw(st.booleans())
    low = draw(st.integers(1 if log else -largest, largest - 1))
    return Integer(low, draw(st.integers(low + 1, largest)), log)


options = st.lists(st.one_of(st.integers(), st.text(), st.none()), min_size=2, max_size=9, unique=True)
choices = options.map(lambda found: Choice(*found))
plain = st.one_of(numbers(), integers(), choices)
off_or = st.builds(OffOr, numbers((Log,)), share=st.floats(0.01, 0.99))
any_scale = st.one_of(plain, off_or)


def test_the_examples_in_the_docstring_are_right():
    failed, tried = doctest.testmod(scales)
    assert failed == 0
    assert tried > 0


# there and back


@given(scale=numbers(), u=UNIT)
def test_a_number_lies_between_the_ends_and_comes_back_from_the_unit_interval(scale, u):
    v = scale.value(u)
    assert type(v) is float
    assert scale.low <= v <= scale.high
    back = scale.unit(v)
    assert scale.value(math.nextafter(back, 0)) <= v <= scale.value(math.nextafter(back, 1))
    assert scale.value(back) == pytest.approx(v, rel=1e-12, abs=1e-15 * (scale.high - scale.low))


@given(scale=numbers())
def test_the_ends_are_exact(scale):
    assert scale.value(0) == scale.value(0.0) == scale.low
    assert scale.value(1) == scale.high
    assert scale.unit(scale.low) == 0
    assert scale.unit(scale.high) == 1


@given(scale=st.one_of(numbers(), integers(), off_or), u=UNIT, other=UNIT)
def test_a_larger_u_never_gives_a_smaller_value(scale, u, other):
    for step in (other, math.nextafter(u, 1), math.nextafter(u, 0)):
        low, high = sorted((u, step))
        assert scale.value(low) <= scale.value(high)


@given(scale=st.one_of(numbers(), integers()), u=UNIT, other=UNIT)
def test_a_larger_value_never_has_a_smaller_unit(scale, u, other):
    low, high = sorted((scale.value(u), scale.value(other)))
    assert 0 <= scale.unit(low) <= scale.unit(high) <= 1


@given(scale=integers())
def test_every_whole_number_comes_back_the_ends_included(scale):
    middle = (scale.low + scale.high) // 2
    for k in {scale.low, scale.low + 1, middle, scale.high - 1, scale.high}:
        assert scale.value(scale.unit(k)) == k
        assert type(scale.value(scale.unit(k))) is int
    assert scale.value(0) == scale.low
    assert scale.value(1) == scale.high


@given(scale=choices)
def test_every_option_comes_back(scale):
    for option in scale.options:
        assert scale.value(scale.unit(option)) is option
        assert scale.unit(option) == (scale.options.index(option) + 0.5) / len(scale.options)
    assert scale.value(0) is scale.options[0]
    assert scale.value(math.nextafter(1, 0)) is scale.value(1) is scale.options[-1]


@given(scale=off_or, u=UNIT)
def test_off_and_on_come_back(scale, u):
    assert scale.value(scale.unit(scale.off)) == scale.off
    assert (scale.value(u) == 0) == (u < scale.share)
    again = scale.value(scale.unit(scale.value(u)))
    assert again == pytest.approx(scale.value(u), rel=1e-10)


# against formulas and libraries


@given(u=UNIT, scale=numbers())
def test_the_value_is_the_formula_rounded_once(u, scale):
    with localcontext(prec=80):
        low, high, x = Decimal(scale.low), Decimal(scale.high), Decimal(u)
        exact = {
            Linear: lambda: low + x * (high - low),
            Log: lambda: low * (high / low) ** x,
            OneMinusLog: lambda: 1 - (1 - low) * ((1 - high) / (1 - low)) ** x,
        }[type(scale)]()
    assert scale.value(u) == float(exact)


def test_the_same_bits_come_out_whatever_decimal_context_the_reader_has_set():
    wanted = [scale.value(0.3) for scale in (Linear(0, 1), Log(1e-4, 1), OneMinusLog(0.9, 0.999))]
    with localcontext(prec=3):
        fresh = [scale.value(0.3) for scale in (Linear(0, 1), Log(1e-4, 1), OneMinusLog(0.9, 0.999))]
        assert Integer(1000, 9999).value(0.12345) == 2111
        assert [scale.unit(v) for scale, v in zip((Linear(0, 1),), wanted, strict=False)] == [0.3]
    assert fresh == wanted


def test_log_is_the_log_uniform_distribution_of_scipy():
    u = np.linspace(0, 1, 101)
    np.testing.assert_allclose(Log(1e-5, 10).value(u), stats.loguniform(1e-5, 10).ppf(u), rtol=1e-13)
    np.testing.assert_allclose(Linear(-2, 3).value(u), stats.uniform(-2, 5).ppf(u), rtol=0, atol=1e-15)
    mirrored = 1 - stats.loguniform(1e-3, 0.1).ppf(1 - u)
    np.testing.assert_allclose(OneMinusLog(0.9, 0.999).value(u), mirrored, rtol=1e-14)


@pytest.mark.parametrize("log", [False, True])
def test_whole_numbers_are_rounded_as_optuna_rounds_them(log, rng):
    pytest.importorskip("optuna")
    from optuna._transform import _SearchSpaceTransform
    from optuna.distributions import IntDistribution

    scale = Integer(3, 200, log=log)
    transform = _SearchSpaceTransform({"k": IntDistribution(3, 200, log=log)})
    low, high = transform.bounds[0]
    for u in rng.random(500):
        theirs = transform.untransform(np.array([low + u * (high - low)]))["k"]
        assert scale.value(u) == theirs


def test_shares_of_the_trials_are_differences_of_units():
    linear, log = Linear(1e-4, 1), Log(1e-4, 1)
    assert 1 - linear.unit(0.1) == pytest.approx(0.90009, abs=1e-5)
    assert linear.unit(1e-3) == pytest.approx(0.0009001, abs=1e-7)
    decades = log.unit(np.array([1e-4, 1e-3, 1e-2, 1e-1, 1.0]))
    np.testing.assert_allclose(np.diff(decades), 0.25, rtol=1e-14)
    beta = OneMinusLog(0.9, 0.999)
    assert beta.unit(0.99) == pytest.approx(0.5, abs=1e-15)
    assert Linear(0.9, 0.999).unit(0.99) == pytest.approx(0.909, abs=1e-3)
    # A log scale on the value itself, the trap of the second chapter, is hardly better than a linear one.
    assert Log(0.9, 0.999).unit(0.99) == pytest.approx(0.913, abs=1e-3)


def test_equal_steps_on_one_minus_log_multiply_the_span_of_the_average():
    values = OneMinusLog(0.9, 0.999).value(np.linspace(0, 1, 5))
    spans = 1 / (1 - values)
    np.testing.assert_allclose(spans[1:] / spans[:-1], 10**0.5, rtol=1e-12)
    np.testing.assert_allclose(spans[[0, -1]], [10, 1000], rtol=1e-12)


# uniform


@pytest.mark.parametrize(
    ("scale", "bend"),
    [
        (Linear(-3, 5), lambda v: (v + 3) / 8),
        (Log(1e-6, 10), lambda v: np.log(v / 1e-6) / np.log(1e7)),
        (OneMinusLog(0.5, 0.9999), lambda v: np.log((1 - v) / 0.5) / np.log(1e-4 / 0.5)),
    ],
    ids=["linear", "log", "one-minus-log"],
)
def test_draws_are_uniform_on_the_bent_axis(scale, bend, rng):
    values = scale.value(rng.random(2_000))
    assert stats.kstest(bend(values), "uniform").pvalue > 0.01


@pytest.mark.parametrize(
    "scale", [Integer(1, 3), Integer(-2, 7), Choice("a", "b", "c", "d"), Choice(None, 1)]
)
def test_every_whole_number_and_every_option_has_the_same_share_the_ends_too(scale):
    n = 12_000
    values = scale.value((np.arange(n) + 0.5) / n).tolist()
    counts = {v: values.count(v) for v in set(values)}
    members = getattr(scale, "options", None) or range(scale.low, scale.high + 1)
    assert counts == dict.fromkeys(members, n // len(members))


def test_a_whole_number_on_a_log_scale_has_the_share_of_the_half_steps_around_it():
    scale, n = Integer(1, 8, log=True), 20_000
    values = scale.value((np.arange(n) + 0.5) / n)
    for k in range(1, 9):
        share = math.log((k + 0.5) / (k - 0.5)) / math.log(8.5 / 0.5)
        assert np.mean(values == k) == pytest.approx(share, abs=1 / n)


def test_off_has_its_share_and_the_rest_is_log_uniform():
    values = OffOr(Log(1e-6, 1e-2), share=0.25).value((np.arange(2_000) + 0.5) / 2_000)
    assert np.mean(values == 0) == 0.25
    on = values[values > 0]
    assert stats.kstest(np.log10(on) / 4 + 1.5, "uniform").pvalue > 0.99
    assert OffOr(Log(1e-6, 1e-2), share=0.5).unit(0) == 0.25
    assert OffOr(Integer(1, 8), off=None).value(0.0) is None
    assert OffOr(Integer(1, 8), off=0).value(0.99) == 8


# arrays


@given(scale=any_scale, u=st.lists(UNIT, min_size=6, max_size=6))
def test_an_array_gives_an_array_of_what_its_numbers_give(scale, u):
    values = scale.value(np.array(u).reshape(2, 3))
    assert values.shape == (2, 3)
    assert values.ravel().tolist() == [scale.value(one) for one in u]
    units = scale.unit(values)
    assert units.shape == (2, 3)
    assert units.dtype == float
    assert units.ravel().tolist() == [scale.unit(one) for one in values.ravel().tolist()]


@pytest.mark.parametrize(
    ("scale", "dtype"),
    [
        (Log(1e-4, 1), "float64"),
        (Integer(1, 9), "int64"),
        (Choice("a", (1, 2)), "object"),
        (OffOr(Log(1e-4, 1)), "float64"),
        (OffOr(Integer(1, 9), off=0), "int64"),
        (OffOr(Integer(1, 9), off=0.5), "float64"),
        (OffOr(Integer(1, 9), off="none"), "object"),
    ],
    ids=repr,
)
def test_arrays_have_the_dtype_of_their_values_also_when_empty(scale, dtype):
    assert scale.value(np.array([0.1, 0.9])).dtype == dtype
    assert scale.value(np.zeros((0, 2))).dtype == dtype
    assert scale.value(np.zeros((0, 2))).shape == (0, 2)


def test_numpy_numbers_and_half_precision_are_taken_as_the_numbers_they_are():
    for kind in (np.float16, np.float32, np.float64):
        assert Log(1e-4, 1).value(kind(0.5)) == Log(1e-4, 1).value(0.5)
        assert Log(kind(0.5), kind(1)) == Log(0.5, 1)
    assert Integer(1, 9).unit(np.int64(3)) == Integer(1, 9).unit(3.0) == Integer(1, 9).unit(3)
    assert Integer(np.int64(1), 9) == Integer(1, 9)


# a scale of one's own


class Squared(Scale):
    def _value(self, u):
        return u * u

    def _unit(self, v):
        return v**0.5


def test_a_scale_of_ones_own_needs_two_functions():
    scale = Squared()
    assert scale.value(0.5) == 0.25
    assert scale.unit(np.array([0.25, 1.0])).tolist() == [0.5, 1.0]
    assert scale.words() == ("Squared", "")


# what they are


@given(scale=plain)
def test_scales_of_the_same_numbers_are_equal_and_their_repr_makes_them_again(scale):
    again = eval(repr(scale), dict(vars(scales)))
    assert again == scale
    assert hash(again) == hash(scale)


def test_different_scales_over_the_same_numbers_are_not_equal():
    assert len({Linear(1, 2), Log(1, 2), Integer(1, 2), Integer(1, 2, log=True), Choice(1, 2)}) == 5
    assert Linear(0, 0.5) != OneMinusLog(0, 0.5)


@pytest.mark.parametrize(
    ("scale", "words"),
    [
        (Linear(0, 0.5), ("linear", "0 to 0.5")),
        (Log(1e-5, 1), ("log", "1e-05 to 1")),
        (OneMinusLog(0.9, 0.9999999), ("log of 1 - value", "0.9 to 0.9999999")),
        (Integer(1, 4), ("whole numbers", "1 to 4")),
        (Integer(16, 256, log=True), ("whole numbers, log", "16 to 256")),
        (Choice("relu", None), ("choice", "relu, None")),
        (OffOr(Log(1e-6, 1e-2)), ("off or log", "0 (25 %) or 1e-06 to 0.01")),
        (OffOr(Integer(1, 8), off=None, share=0.5), ("off or whole numbers", "None (50 %) or 1 to 8")),
    ],
    ids=repr,
)
def test_a_scale_says_what_it_is(scale, words):
    assert scale.words() == words


def test_only_a_choice_has_no_order():
    ordered = [Linear(0, 1), Log(1, 2), OneMinusLog(0, 0.9), Integer(1, 2), OffOr(Log(1, 2))]
    assert all(scale.ordered for scale in ordered)
    assert not Choice(1, 2).ordered


# wrong bounds


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: Log(0, 1), ValueError, r"above 0.*got low=0, high=1: try Log\(1e-06, 1\), or OffOr\(Log"),
        (lambda: Log(-4, 0), ValueError, r"got low=-4, high=0: .*exponents of 10, write Log\(0.0001, 1\)"),
        (lambda: Log(0, -4), ValueError, r"got low=0, high=-4: .*exponents of 10, write Log\(0.0001, 1\)"),
        (lambda: Log(-1, 2), ValueError, r"write Log\(0.1, 100\)"),
        (lambda: Log(-1e5, 1), ValueError, r"got low=-100000, high=1: try Log\(1e-06, 1\)"),
        (lambda: Log(-1, 1e5), ValueError, r"got low=-1, high=100000: try Log"),
        (lambda: Log(1, 1e-4), ValueError, r"got low=1, high=0.0001: write Log\(0.0001, 1\)$"),
        (lambda: Log(0.1, 0.1), ValueError, r"low must be below high, got 0.1 twice: .*Space\(lr=0.1\)"),
        (lambda: Log(math.nan, 1), ValueError, r"low must lie in \(-inf, inf\), got nan"),
        (lambda: Log(1e-4, math.inf), ValueError, r"high must lie in \(-inf, inf\), got inf"),
        (lambda: Log("1e-4", 1), TypeError, "low must be a number, got str"),
        (lambda: Linear(2, 1), ValueError, r"got low=2, high=1: write Linear\(1, 2\)$"),
        (lambda: Linear(0, math.nan), ValueError, "high must lie in .* got nan"),
        (lambda: OneMinusLog(0.9, 1), ValueError, r"lie in \[0, 1\), .*got low=0.9, high=1: try OneMinusLog"),
        (
            lambda: OneMinusLog(-0.1, 0.9),
            ValueError,
            r"got low=-0.1, high=0.9: try OneMinusLog\(0.9, 0.999\)",
        ),
        (lambda: OneMinusLog(0.9, 1.1), ValueError, "got low=0.9, high=1.1"),
        (
            lambda: OneMinusLog(-3, -1),
            ValueError,
            r"exponents of 10 for 1 - v, write OneMinusLog\(0.9, 0.999\)",
        ),
        (lambda: OneMinusLog(-1, -3), ValueError, r"got low=-1, high=-3: .*write OneMinusLog\(0.9, 0.999\)"),
        (lambda: OneMinusLog(-2, 0), ValueError, r"write OneMinusLog\(0, 0.99\)"),
        (lambda: OneMinusLog(0.999, 0.9), ValueError, r"write OneMinusLog\(0.9, 0.999\), or"),
        (
            lambda: OneMinusLog(0.1, 0.001),
            ValueError,
            r"or OneMinusLog\(0.9, 0.999\) if these are values of 1",
        ),
        (lambda: OneMinusLog(math.nan, 0.9), ValueError, "low must lie in .* got nan"),
        (lambda: Integer(1.5, 3), ValueError, "low must be a whole number, .* got 1.5"),
        (lambda: Integer(1, 3.0), ValueError, "high must be a whole number, .* got 3.0"),
        (
            lambda: Integer(1, 2**40 + 1),
            ValueError,
            r"high must be .* at most 2\*\*40 in size, got 1099511627777",
        ),
        (lambda: Integer(3, 1), ValueError, r"got low=3, high=1: write Integer\(1, 3\)$"),
        (lambda: Integer(4, 4), ValueError, "low must be below high, got 4 twice"),
        (lambda: Integer(0, 8, log=True), ValueError, "at least 1 on a log scale, got low=0, high=8"),
        (lambda: Integer(8, 0, log=True), ValueError, "at least 1 on a log scale, got low=8, high=0"),
        (lambda: Choice("relu"), ValueError, r"at least two, got \('relu',\)"),
        (lambda: Choice(), ValueError, r"at least two, got \(\)"),
        (lambda: Choice(["relu", "tanh"]), TypeError, r"one by one, .*: write Choice\('relu', 'tanh'\)"),
        (lambda: Choice([64], [64, 64]), TypeError, r"options must be hashable, got \[64\]: try a tuple"),
        (lambda: Choice(1, 2, 1), ValueError, r"differ from one another, .*got \(1, 2, 1\)"),
        (lambda: Choice(1, math.nan), ValueError, "none may be NaN"),
        (
            lambda: OffOr(Choice(1, 2)),
            TypeError,
            r"scale must have a low and a high end, .*got Choice\(1, 2\)",
        ),
        (lambda: OffOr(Linear(-1, 1)), ValueError, "off must be a number outside .* -1 to 1, got 0.0"),
        (lambda: OffOr(Log(1e-4, 1), off=1), ValueError, "off must be .* 0.0001 to 1, got 1"),
        (lambda: OffOr(Log(1e-4, 1), off=math.nan), ValueError, "got nan"),
        (lambda: OffOr(Log(1e-4, 1), share=1), ValueError, r"share must lie in \(0, 1\), got 1"),
        (lambda: OffOr(Log(1e-4, 1), share=0), ValueError, r"share must lie in \(0, 1\), got 0"),
    ],
)
def test_wrong_bounds_get_an_error_that_says_what_to_write(make, error, match):
    with pytest.raises(error, match=match):
        make()


@pytest.mark.parametrize(
    "scale", [Linear(0, 1), Log(1, 2), Integer(0, 1), Choice(0, 1), OffOr(Log(1, 2))], ids=repr
)
@pytest.mark.parametrize("u", [-0.1, 1.1, math.nan])
def test_a_u_outside_the_unit_interval_is_an_error(scale, u):
    with pytest.raises(ValueError, match=rf"u must lie in \[0, 1\], got {u}"):
        scale.value(u)
    with pytest.raises(ValueError, match="u must lie in"):
        scale.value(np.array([0.5, u]))
    with pytest.raises(TypeError, match="u must be a number, got str"):
        scale.value("half")


@pytest.mark.parametrize(
    ("scale", "v", "match"),
    [
        (Log(1e-4, 1), 2, r"v must lie in \[0.0001, 1.0\], got 2"),
        (Linear(0, 1), math.nan, "v must lie in .* got nan"),
        (Integer(1, 4), 5, r"v must lie in \[1, 4\], got 5"),
        (Integer(1, 4), 2.5, "v must be a whole number, got 2.5"),
        (Choice("a", "b"), "c", r"v must be one of \('a', 'b'\), got 'c'"),
        (OffOr(Log(1e-4, 1)), 1e-5, r"v must lie in \[0.0001, 1.0\]"),
    ],
)
def test_a_value_outside_the_scale_is_an_error(scale, v, match):
    with pytest.raises(ValueError, match=match):
        scale.unit(v)
