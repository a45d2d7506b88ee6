"""The chapter on TensorFlow: differentiation against torch, descents against the closed form, figures and checks."""

import torch  # before TensorFlow
import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlbook.tensorflow_then_and_now import autodiff, checks, experiments, figures
from dlbook.tensorflow_then_and_now.autodiff import Value


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


# --- differentiation -------------------------------------------------------------------------------------------

FORMULAS = [
    lambda a, b: a * b,
    lambda a, b: a**2 - 10 * a + 25,
    lambda a, b: (a + b) * (a - b) ** 3,
    lambda a, b: a * a * a + b * a + 3,
    lambda a, b: (2 + a) * (b - 1) * (a * b) ** 2,
]


@pytest.mark.parametrize("formula", FORMULAS)
@given(st.floats(-3, 3), st.floats(-3, 3))
def test_slopes_are_those_of_torch(formula, a, b):
    ours = Value(a), Value(b)
    formula(*ours).backward()
    theirs = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (a, b)]
    formula(*theirs).backward()
    for mine, other in zip(ours, theirs, strict=True):
        expected = 0.0 if other.grad is None else other.grad.item()
        np.testing.assert_allclose(mine.grad, expected, rtol=1e-9, atol=1e-12)


def test_a_value_used_along_two_paths_is_visited_once_and_after_its_users():
    a = Value(2.0)
    square = a * a
    result = square * square + a
    order = autodiff.in_order(result, [])
    assert len(order) == len({id(node) for node in order}) == 4
    assert [order.index(node) for node in (a, square, result)] == [0, 1, 3]
    result.backward()
    assert a.grad == 4 * 2**3 + 1


def test_backward_twice_gives_the_same_slopes():
    a = Value(3.0)
    result = a**2
    result.backward()
    result.backward()
    assert a.grad == 6


# --- experiments -----------------------------------------------------------------------------------------------


@given(st.floats(0.001, 1.01), st.integers(0, 60))
def test_descent_in_float64_is_the_closed_form(rate, steps):
    path = experiments.descend(rate, steps)
    np.testing.assert_allclose(
        path, experiments.closed_form(rate, np.arange(steps + 1)), rtol=1e-9, atol=1e-9
    )


def test_descent_in_float32_is_torchs_until_the_last_digit():
    w = torch.zeros((), requires_grad=True)
    optimiser = torch.optim.SGD([w], lr=0.01)
    for _ in range(1001):
        optimiser.zero_grad()
        (w**2 - 10 * w + 25).backward()
        optimiser.step()
    path = experiments.descend(0.01, 1001, dtype="float32")
    assert path.dtype == np.float32
    assert abs(path[-1] - w.item()) <= 2 * np.spacing(np.float32(5))


def test_the_lectures_numbers():
    path = experiments.descend(0.01, 1001, dtype="float32")
    assert [f"{w:.6g}" for w in path[[0, 1, -1]]] == ["0", "0.1", "4.99999"]
    doubled = experiments.descend(0.01, 1001, coefficients=(1, -20, 100), dtype="float32")
    assert f"{doubled[-1]:.6g}" == "9.99998"


def test_a_path_stalls_where_it_last_moved():
    assert experiments.stalls_at(np.array([0.0, 1.0, 2.0, 2.0, 2.0])) == 2
    assert experiments.stalls_at(np.array([0.0, 0.0])) == 0
    assert experiments.stalls_at(np.array([0.0, 1.0, 2.0])) is None


def test_the_wanted_step_falls_below_half_a_gap_when_the_path_stalls():
    path = experiments.descend(0.01, 1001, dtype="float32")
    wanted, half_gap = experiments.update_and_spacing(path, 0.01)
    stall = experiments.stalls_at(path)
    assert wanted[stall + 1] <= half_gap[stall + 1]
    assert (wanted[1:stall] >= half_gap[1:stall]).all()  # a tie goes to the even neighbour


def test_uncleared_gradients_are_those_that_torch_accumulates():
    w = torch.zeros((), requires_grad=True, dtype=torch.float64)
    path = [0.0]
    for _ in range(50):
        (w**2 - 10 * w + 25).backward()
        with torch.no_grad():
            w -= 0.01 * w.grad
        path.append(w.item())
    np.testing.assert_allclose(experiments.accumulated(0.01, 50), path, rtol=1e-12)


def test_bowl_descent_shrinks_each_direction_by_its_own_factor():
    path = experiments.bowl_descent([1.0, 10.0], 0.15, 3)
    np.testing.assert_allclose(path, [[1, 1], [0.85, -0.5], [0.7225, 0.25], [0.614125, -0.125]])


def test_traces_are_counted_where_python_runs_the_body():
    seen = {}

    def compile_function(function):
        def call(x):
            if type(x) not in seen:
                seen[type(x)] = function(x)
            return seen[type(x)]

        return call

    assert experiments.count_traces(compile_function, [1, 2, 2.0, 3, 4.0]) == [1, 1, 2, 2, 2]


# --- figures ---------------------------------------------------------------------------------------------------


def labelled(ax):
    return bool(ax.get_xlabel() and ax.get_ylabel())


def test_parabola_draws_the_path_on_the_curve():
    ax = figures.parabola(plt.figure().subplots(), np.array([0.0, 3.0]))
    np.testing.assert_allclose(ax.lines[1].get_ydata(), [25, 4])
    assert labelled(ax)


def test_descents_draw_distances_down_to_the_floor():
    ax = figures.descents(
        plt.figure().subplots(), {"a": np.array([0.0, 4.0, 5.0]), "b": np.array([0.0, 6.0])}
    )
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [5, 1, 1e-5])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]
    assert labelled(ax)


def test_swings_draw_w_itself():
    ax = figures.swings(plt.figure().subplots(), {"a": np.array([0.0, 10.0])})
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [0, 10])
    assert labelled(ax)


def test_stagnation_leaves_out_the_first_point():
    ax = figures.stagnation(plt.figure().subplots(), np.array([3.0, 2.0, 1.0]), np.array([0.0, 0.5, 0.5]))
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[1, 2], [2, 1]])
    np.testing.assert_allclose(ax.lines[1].get_ydata(), [0.5, 0.5])
    assert labelled(ax)


def test_traces_draw_a_line_for_each_kind_of_argument():
    ax = figures.traces(plt.figure().subplots(), {"numbers": [1, 2, 3], "tensors": [1, 1, 1]})
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[1, 1], [2, 2], [3, 3]])
    assert labelled(ax)


# --- checks ----------------------------------------------------------------------------------------------------


def said(check, function, capsys) -> str:
    check(function)
    (line,) = capsys.readouterr().out.splitlines()
    return line


@pytest.mark.parametrize("check", [checks.division, checks.resting_place, checks.best_rate])
@pytest.mark.parametrize("stub", [lambda *_: None, lambda *_: ...])
def test_an_unfilled_stub_is_not_attempted_yet(check, stub, capsys):
    assert said(check, stub, capsys) == "not attempted yet"


def quotient(data, in_a, in_b):
    return lambda a, b: Value(data(a.data, b.data), (a, b), (in_a(a.data, b.data), in_b(a.data, b.data)))


DIVISION = [
    (lambda a, b: a * b**-1, "correct"),
    (quotient(lambda a, b: a / b, lambda a, b: 1 / b, lambda a, b: -a / b**2), "correct"),
    (quotient(lambda a, b: b / a, lambda a, b: 1 / b, lambda a, b: -a / b**2), "wrong way round"),
    (lambda a, b: Value(a.data / b.data), "no slope reaches a and b"),
    (lambda a, b: Value(a.data / b.data, (a,), (1 / b.data,)), "the slope in b is missing"),
    (quotient(lambda a, b: a / b, lambda a, b: 1 / b, lambda a, b: a / b**2), "the slope in b is negative"),
    (quotient(lambda a, b: a / b, lambda a, b: 1 / b, lambda a, b: -1 / b**2), "forgets a"),
    (quotient(lambda a, b: a / b, lambda a, b: 1 / b, lambda a, b: -a / b), "where b² belongs"),
    (lambda a, b: a.data / b.data, "return a Value, got float"),
]


@pytest.mark.parametrize(("function", "sentence"), DIVISION)
def test_each_mistake_with_division_is_named(function, sentence, capsys):
    assert sentence in said(checks.division, function, capsys)


GAP = 2.0**-21
RESTING = [
    (lambda rate: np.spacing(np.float32(5)) / 2 / (2 * rate), "correct"),
    (lambda rate: GAP / (2 * rate), "HALF the gap"),
    (lambda rate: GAP / 2 / rate, "the slope of J is 2 (w - 5)"),
    (lambda rate: np.spacing(np.float32(1)) / 2 / (2 * rate), "numbers near 1"),
    (lambda rate: np.spacing(np.float32(2)) / 2 / (2 * rate), "numbers in [2, 4)"),
    (lambda rate: GAP / 2 * 2 * rate, "divide"),
    (lambda rate: GAP / 2, "the size of the lost step"),
    (lambda rate: 1.0, "off by up to"),
]


@pytest.mark.parametrize(("function", "sentence"), RESTING)
def test_each_mistake_with_the_resting_place_is_named(function, sentence, capsys):
    assert sentence in said(checks.resting_place, function, capsys)


RATES = [
    (lambda s, c: (2 / (s + c), (c - s) / (c + s)), "correct"),
    (lambda s, c: (1 / c, 1 - s / c), "slow in the flat one"),
    (lambda s, c: (2 / c, 1.0), "only just fails"),
    (lambda s, c: (1 / s, c / s - 1), "makes the steep one diverge"),
    (lambda s, c: (2 / (s + c), 1 - (c - s) / (c + s)), "the rate is right"),
    (lambda s, c: 2 / (s + c), "must have shape (2,)"),
]


@pytest.mark.parametrize(("function", "sentence"), RATES)
def test_each_mistake_with_the_best_rate_is_named(function, sentence, capsys):
    assert sentence in said(checks.best_rate, function, capsys)
