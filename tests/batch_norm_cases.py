"""What the test files of batch norm share: one call that runs in any framework, NumPy arrays in and out."""

import numpy as np

from dlbook import frameworks
from dlbook.batch_norm import Running


def convert(value, framework, device="cpu"):
    """NumPy arrays inside `value` as arrays of `framework`; anything else as it is."""
    if isinstance(value, Running):
        return Running(*(convert(a, framework, device) for a in value))
    if isinstance(value, np.ndarray):
        return frameworks.from_numpy(value, framework, device=device)
    return value


def back(value):
    """Arrays inside `value` as NumPy arrays; anything else as it is."""
    if hasattr(value, "_fields"):
        return type(value)(*map(back, value))
    if isinstance(value, tuple | list):
        return type(value)(map(back, value))
    return frameworks.to_numpy(value) if hasattr(value, "dtype") else value


def call(framework, name, *arguments, device="cpu", **options):
    """`dlbook.batch_norm.<framework>.<name>(*arguments, **options)` on NumPy arrays."""
    function = getattr(frameworks.load("batch_norm", framework), name)
    return back(function(*(convert(a, framework, device) for a in arguments), **options))


def gradients(framework, dy, x, gamma, beta, device="cpu", **options):
    """dx, dgamma and dbeta by `batch_norm_backward`."""
    module = frameworks.load("batch_norm", framework)
    dy, x, gamma, beta = (convert(a, framework, device) for a in (dy, x, gamma, beta))
    _, _, cache = module.batch_norm_train(x, gamma, beta, **options)
    return back(module.batch_norm_backward(dy, cache))


def precise(framework, batches, **options):
    """`precise_statistics` of a list of NumPy arrays."""
    module = frameworks.load("batch_norm", framework)
    return back(module.precise_statistics([convert(x, framework) for x in batches], **options))


def problem(rng, *leading, batch=8, features=4, dtype="float64"):
    """x, gamma, beta and dy, with `leading` axes of models in front."""
    x = rng.normal(2, 3, (*leading, batch, features))
    gamma, beta = rng.normal(size=(2, *leading, *(1,) * bool(leading), features))
    dy = rng.normal(size=x.shape)
    return tuple(a.astype(dtype) for a in (x, gamma, beta, dy))


def running_of(gamma, rng):
    """Statistics of the shape and dtype of `gamma`, with positive variances."""
    mean, var = rng.normal(size=gamma.shape), rng.uniform(0.5, 2, gamma.shape)
    return Running(mean.astype(gamma.dtype), var.astype(gamma.dtype))


def assert_close(got, wanted, **tolerance):
    """Every array of two (nested) tuples; raises on a different number of them."""
    for a, b in zip(got, wanted, strict=True):
        if isinstance(b, tuple):
            assert_close(a, b, **tolerance)
        else:
            np.testing.assert_allclose(a, b, **tolerance)
            assert np.shape(a) == np.shape(b)
