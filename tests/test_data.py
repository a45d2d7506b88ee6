"""The data sets: what they hold, that a seed fixes them, and that nothing leaks from one part to another."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from sklearn import datasets
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from dlbook import data


def test_digits_are_the_pixels_of_scikit_learn_between_0_and_1():
    parts = data.digits(0)
    x = np.concatenate([parts.x_train, parts.x_val, parts.x_test])
    assert x.shape == (1797, 64)
    assert x.dtype == np.float32
    assert x.min() == 0
    assert x.max() == 1
    theirs = datasets.load_digits().data / 16
    np.testing.assert_array_equal(np.sort(x.sum(axis=1)), np.sort(theirs.astype("float32").sum(axis=1)))


@pytest.mark.parametrize("load", [data.digits, data.wine, data.breast_cancer])
def test_a_split_uses_every_example_once_and_depends_on_its_seed_alone(load):
    first, again, other = load(3), load(3), load(4)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first.y_train, other.y_train)
    whole = {load_whole(load)[0].shape[0]}
    assert {sum(map(len, first[::2]))} == whole
    rows = np.concatenate(first[::2]).astype("float64")
    assert len(np.unique(rows, axis=0)) == len(
        np.unique(np.concatenate(other[::2]).astype("float64"), axis=0)
    )


def load_whole(load):
    name = {"digits": "load_digits", "wine": "load_wine", "breast_cancer": "load_breast_cancer"}[
        load.__name__
    ]
    return getattr(datasets, name)(return_X_y=True)


def test_labels_stay_with_their_examples():
    x, y = datasets.load_wine(return_X_y=True)
    label_of = {tuple(row): label for row, label in zip(x, y, strict=True)}
    parts = data.wine(0)
    for rows, labels in zip(parts[::2], parts[1::2], strict=True):
        assert [label_of[tuple(row)] for row in rows] == list(labels)


def test_standardise_equals_scikit_learn_and_uses_the_training_part_alone(rng):
    train, test = rng.normal(3, 5, (40, 4)), rng.normal(size=(10, 4))
    theirs = StandardScaler().fit(train)
    ours = data.standardise(train, test)
    np.testing.assert_allclose(ours[0], theirs.transform(train), rtol=1e-12)
    np.testing.assert_allclose(ours[1], theirs.transform(test), rtol=1e-12)


def test_standardise_turns_a_constant_feature_into_zeros():
    (x,) = data.standardise(np.full((5, 1), 7.0))
    np.testing.assert_array_equal(x, np.zeros((5, 1)))


def test_blobs_can_be_told_apart_by_lines_and_rings_cannot():
    def score(x, y):
        return LogisticRegression().fit(x, y).score(x, y)

    assert score(*data.blobs(0, classes=4)) > 0.97
    assert score(*data.rings(0)) < 0.6
    radius = np.linalg.norm(data.rings(0, per_class=500)[0], axis=1).reshape(3, -1).mean(axis=1)
    np.testing.assert_allclose(radius, [1, 2, 3], atol=0.05)


@given(n=st.integers(0, 50), size=st.integers(1, 60), drop=st.booleans())
def test_minibatches_visit_every_row_once(n, size, drop):
    batches = list(data.minibatches(n, size, np.random.default_rng(0), drop_last=drop))
    rows = [row for batch in batches for row in batch]
    assert len(set(rows)) == len(rows) == (n - n % size if drop else n)
    assert all(len(batch) == size for batch in batches[: None if drop else -1])


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"fractions must be three numbers .* got \(0.5, 0.5\)"):
        data.digits(0, fractions=(0.5, 0.5))
    with pytest.raises(ValueError, match="as many rows, got 3 and 2"):
        data.split(np.zeros((3, 1)), np.zeros(2), 0)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        list(data.minibatches(5, 0, np.random.default_rng(0)))
