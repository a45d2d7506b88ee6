"""Pieces of work in threads: what comes back, in which order, and what holds inside."""

import threading

import numpy as np
import pytest

from dlbook.parallel import parallel


@pytest.mark.parametrize("threads", [None, 1, 2, 7])
def test_the_results_are_those_of_map(threads):
    assert parallel(pow, [2, 3, 4], [3, 2, 1], threads=threads) == [8, 9, 4]
    assert parallel(pow, [], [], threads=threads) == []


def test_pieces_run_at_the_same_time():
    meeting = threading.Barrier(3, timeout=30)
    assert sorted(parallel(lambda _: meeting.wait(), range(3), threads=3)) == [0, 1, 2]


def test_one_thread_is_the_one_that_asked():
    here = threading.get_ident()
    assert parallel(lambda _: threading.get_ident(), range(3), threads=1) == [here] * 3


def test_an_exception_is_raised_once_no_other_piece_runs():
    ended = []

    def one(k):
        if k == 0:
            raise ArithmeticError("zero")
        ended.append(k)

    with pytest.raises(ArithmeticError, match="zero"):
        parallel(one, range(4), threads=2)
    assert sorted(ended) == [1, 2, 3]


def test_the_callers_errstate_holds_in_the_threads():
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        parallel(lambda x: 1 / x, [np.zeros(1), np.zeros(1)], threads=2)


def test_lists_of_different_length_are_an_error():
    with pytest.raises(ValueError, match="shorter"):
        parallel(pow, [1, 2], [1])
