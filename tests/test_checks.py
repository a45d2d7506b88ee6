"""What a reader is told about an answer: right, one of the common mistakes, or how far off."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dlbook import checks
from dlbook.frameworks import from_numpy

NAN, INF = np.nan, np.inf
X = np.array([1.0, 2.0, 4.0])
MISTAKES = {"you forgot the square root": X**2, "your sign is wrong": -X}


def not_implemented():
    raise NotImplementedError


def test_an_answer_is_what_the_readers_function_returns():
    assert checks.attempt(lambda a, b: a + b, 1, 2) == 3


@pytest.mark.parametrize("stub", [lambda: None, lambda: ..., not_implemented])
def test_a_stub_is_not_attempted_yet(stub):
    assert checks.attempt(stub) is None


def test_a_readers_own_error_is_shown_and_not_swallowed():
    with pytest.raises(ZeroDivisionError):
        checks.attempt(lambda: 1 / 0)


def test_a_function_that_changes_its_argument_does_not_change_the_checks():
    x = X.copy()
    checks.attempt(lambda a: a.sort() or a.fill(0), x)
    np.testing.assert_array_equal(x, X)


def test_the_right_numbers_are_correct_in_every_framework(framework):
    assert checks.diagnose(from_numpy(X, framework), X, MISTAKES) == "correct"
    assert checks.diagnose(from_numpy(-X, framework), X, MISTAKES) == "your sign is wrong"


def test_a_tensor_that_asks_for_its_gradient_is_taken():
    torch = pytest.importorskip("torch")
    assert checks.diagnose(torch.tensor(X, requires_grad=True), X, {}) == "correct"


@pytest.mark.parametrize("got", [[1, 2, 4], (1.0, 2.0, 4.0), np.array([1, 2, 4]), X.astype("float32")])
def test_lists_whole_numbers_and_float32_count_as_numbers(got):
    assert checks.diagnose(got, X, MISTAKES) == "correct"


def test_a_known_mistake_is_named_and_the_first_that_matches_wins():
    assert checks.diagnose(X**2, X, MISTAKES) == "you forgot the square root"
    assert checks.diagnose(X**2, X, {"first": X**2, "second": X**2}) == "first"


def test_a_mistake_of_another_shape_is_passed_over():
    assert checks.diagnose(2 * X, X, {"a mean": 2.0, "a row": 2 * X[None]}) == "your result is off by up to 4"


def test_a_mistake_that_is_right_for_this_input_is_no_mistake():
    assert checks.diagnose(X, X, {"you forgot something that is 0 here": X}) == "correct"


WORDS = [
    (X[:2], X, "gamma must have shape (3,), got (2,)"),
    (X[None], X, "gamma must have shape (3,), got (1, 3)"),
    (3.0, X, "gamma must have shape (3,), got ()"),
    ("abc", X, "gamma must be numbers, got <U3"),
    ([None] * 3, X, "gamma must be numbers, got object"),
    (X > 1, X, "gamma must be numbers, got bool"),
    ([[1.0], [2.0, 3.0]], X, "gamma must be an array, got rows of different lengths"),
    ([1, NAN, 4], X, "gamma holds NaN where a number belongs"),
    ([1, 2, 3], [1, NAN, 3], "gamma holds a number where NaN belongs"),
    ([1, 2, 4.5], X, "gamma is off by up to 0.5"),
    ([1, 2, INF], X, "gamma is off by up to inf"),
    ([INF, 5], [INF, 1], "gamma is off by up to 4"),
    ([NAN, 5], [NAN, 1], "gamma is off by up to 4"),
    (np.uint8([1]), np.uint8([3]), "gamma is off by up to 2"),
]


@pytest.mark.parametrize(("got", "right", "said"), WORDS, ids=[said for *_, said in WORDS])
def test_anything_else_is_told_what_is_wrong_with_it(got, right, said):
    assert checks.diagnose(got, right, MISTAKES, name="gamma") == said


@pytest.mark.parametrize("value", [[INF, 1], [-INF, 1], [NAN, 1], [], 0.0, [0, 0]])
def test_infinity_nan_nothing_and_zero_can_be_the_right_answer(value):
    assert checks.diagnose(value, value, {}) == "correct"


@given(
    x=hnp.arrays(float, 4, elements=st.floats(-1e3, 1e3)),
    place=st.integers(0, 3),
    scale=st.sampled_from([1e-9, 1.0, 1e9]),
)
def test_round_off_is_forgiven_and_a_thousandth_is_not(x, place, scale):
    x[(place + 1) % 4] = 1000.0
    x, wrong = scale * x, scale * x
    assert checks.diagnose(x * (1 + 1e-8), x, {}) == "correct"
    wrong[place] += scale
    assert checks.diagnose(wrong, x, {}).startswith("your result is off by up to ")


def test_the_tolerance_is_the_callers():
    assert checks.diagnose([1.001], [1.0], {}, rtol=1e-2) == "correct"
    assert checks.diagnose([1.001], [1.0], {}, rtol=1e-4) == "your result is off by up to 0.001"
