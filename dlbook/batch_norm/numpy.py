"""Batch normalisation in NumPy, forward and backward, by hand. See `dlbook.batch_norm` for the conventions.

Written against the array API standard, so CuPy arrays run through the same lines on a GPU.
"""

from collections.abc import Callable, Iterable
from typing import Any

from dlbook.batch_norm import Cache, Running
from dlbook.batch_norm.arguments import (
    check_backward,
    check_fold,
    check_layer,
    check_test,
    check_train,
    examples,
    inputs,
)
from dlbook.frameworks import array_namespace
from dlbook.shapes import Axis, Batch, PerFeature, axes, check_floating, is_half, shape_of


def batch_norm_train(
    x: Batch,
    gamma: PerFeature,
    beta: PerFeature,
    running: Running | None = None,
    *,
    axis: Axis = -2,
    decay: float = 0.9,
    eps: float = 1e-5,
) -> tuple[Batch, Running, Cache]:
    """Normalise a batch by its own mean and variance, then scale by `gamma` and shift by `beta`.

    Returns `y` (shape and dtype of `x`), the new running statistics, and the cache for `batch_norm_backward`.
    `running=None` starts the average at this batch. Ioffe and Szegedy (2015), Algorithm 1.

    Raises ValueError for an empty batch, a wrong shape, a bad `axis`, `decay` outside [0, 1] or `eps` < 0,
    and TypeError when `x` is not floating point.
    """
    xp = array_namespace(x)
    averaged = check_train(x, gamma, beta, running, axis, decay, eps)
    dtype, x, gamma, beta = x.dtype, *_wide(xp, x, gamma, beta)
    mean = xp.mean(x, axis=averaged, keepdims=True)
    centred = x - mean
    var = xp.mean(centred**2, axis=averaged, keepdims=True)
    std = xp.sqrt(var + eps)
    x_hat = centred / std
    y = gamma * x_hat + beta
    return (
        xp.astype(y, dtype, copy=False),
        _update(xp, running, mean, var, decay),
        Cache(x_hat, std, gamma, averaged),
    )


def batch_norm_test(
    x: Batch, gamma: PerFeature, beta: PerFeature, running: Running, *, eps: float = 1e-5
) -> Batch:
    """Normalise by the running statistics: each example on its own, whatever its neighbours are.

    Ioffe and Szegedy (2015), Algorithm 2, step 11. An empty batch gives an empty result.
    """
    xp = array_namespace(x)
    check_test(x, gamma, beta, running, eps)
    dtype, x, gamma, beta, mean, var = x.dtype, *_wide(xp, x, gamma, beta, *running)
    return xp.astype(gamma * (x - mean) / xp.sqrt(var + eps) + beta, dtype, copy=False)


def batch_norm_backward(dy: Batch, cache: Cache) -> tuple[Batch, PerFeature, PerFeature]:
    """The gradients of the loss in `x`, `gamma` and `beta`, given its gradient `dy` in `y`.

    `mu` and `sigma` depend on every row, so each row's gradient loses the batch mean of the gradient and its
    component along `x_hat`. What is left sums to 0 over the batch and, for eps = 0, is orthogonal to `x_hat`.
    """
    xp = array_namespace(dy)
    x_hat, std, gamma, averaged = cache
    check_backward(dy, x_hat)
    dtype, dy = dy.dtype, *_wide(xp, dy)
    dx_hat = dy * gamma
    along = xp.mean(dx_hat * x_hat, axis=averaged, keepdims=True)
    dx = (dx_hat - xp.mean(dx_hat, axis=averaged, keepdims=True) - x_hat * along) / std
    dgamma = _sum_to(xp, dy * x_hat, averaged, gamma.shape)
    dbeta = _sum_to(xp, dy, averaged, gamma.shape)
    return xp.astype(dx, dtype, copy=False), dgamma, dbeta


def precise_statistics(batches: Iterable[Batch], *, axis: Axis = -2) -> Running:
    """The mean and biased variance of each feature over ALL examples in `batches`, each example counted once.

    Batches may differ in size; an empty one counts for nothing. The pooled variance is the mean variance inside
    the batches plus the variance between their means (Chan, Golub and LeVeque 1983, equation 2.1).
    Raises ValueError when there is no example at all.
    """
    count, mean, square = 0, 0.0, 0.0
    for x in batches:
        xp = array_namespace(x)
        check_floating("batches", x.dtype)
        averaged = axes(axis, x.ndim)
        n = examples(shape_of(x), averaged)
        if n == 0:
            continue
        (x,) = _wide(xp, x)
        batch_mean = xp.mean(x, axis=averaged, keepdims=True)
        shift, total = batch_mean - mean, count + n
        square = square + xp.sum((x - batch_mean) ** 2, axis=averaged, keepdims=True)
        square = square + shift * (shift * (count * n / total))
        mean, count = mean + shift * (n / total), total
    if count == 0:
        raise ValueError("batches must hold at least one example, got none")
    return Running(mean, square / count)


def fold(
    W: Any, b: Any | None, gamma: PerFeature, beta: PerFeature, running: Running, *, eps: float = 1e-5
) -> tuple[Any, Any]:
    """Weights and bias of one dense layer that does what `x @ W + b` followed by test-time batch norm does.

    `W` is (..., in, out); `b` is (..., 1, out), (out,) or None for no bias; one value of `gamma` per output.
    Raises ValueError when the numbers of outputs differ.
    """
    xp = array_namespace(W)
    check_fold(W, b, gamma, beta, running, eps)
    dtype, W, gamma, beta, mean, var = W.dtype, *_wide(xp, W, gamma, beta, *running)
    scale = gamma / xp.sqrt(var + eps)
    shift = -mean if b is None else xp.astype(b, mean.dtype) - mean
    return xp.astype(W * scale, dtype, copy=False), xp.astype(shift * scale + beta, dtype, copy=False)


class BatchNorm:
    """A batch norm layer for `features` features: the functions above and the four arrays they need.

    `layer(x, training=True)` uses the batch and moves the running statistics, which start at mean 0 and variance 1;
    `layer(x)` uses the running statistics; `layer.backward(dy)` fills `layer.dgamma` and `layer.dbeta`.
    """

    def __init__(self, features: int, *, decay: float = 0.9, eps: float = 1e-5, xp: Any = None) -> None:
        check_layer(features, decay, eps)
        if xp is None:
            import numpy as xp  # noqa: ICN001  the array API namespace, NumPy unless told otherwise
        self.gamma, self.beta = xp.ones((features,)), xp.zeros((features,))
        self.running = Running(xp.zeros((features,)), xp.ones((features,)))
        self.decay, self.eps = decay, eps

    def __call__(self, x: Batch, *, training: bool = False) -> Batch:
        if not training:
            return batch_norm_test(x, self.gamma, self.beta, self.running, eps=self.eps)
        y, self.running, self._cache = batch_norm_train(
            x, self.gamma, self.beta, self.running, decay=self.decay, eps=self.eps
        )
        return y

    def backward(self, dy: Batch) -> Batch:
        dx, self.dgamma, self.dbeta = batch_norm_backward(dy, self._cache)
        return dx


def recompute(model: Iterable[Callable[[Batch], Batch]], batches: Iterable[Any]) -> None:
    """Set the running statistics of every `BatchNorm` in `model` to those of ALL examples, in place.

    `model` is the layers in their order, each a function of the output of the one before. Layer by layer, so
    each is measured on what it receives at test time, and neither the size of the batches nor their order
    matters. Of a tuple or list such as (x, y), `model` gets the first. The outputs of one layer for all
    examples are in memory at once. Wu and Johnson (2021) call such statistics PreciseBN.
    Raises ValueError when there is no example at all.
    """
    h = [inputs(batch) for batch in batches]
    for layer in model:
        if isinstance(layer, BatchNorm):
            xp, shape = array_namespace(layer.gamma), layer.gamma.shape
            layer.running = Running(*(xp.reshape(a, shape) for a in precise_statistics(h)))
        h = [layer(x) for x in h]


def _wide(xp: Any, x: Batch, *others: Any) -> list[Any]:
    """All arrays in the dtype the sums are made in: that of `x`, or float32 where `x` is float16 or bfloat16."""
    dtype = xp.float32 if is_half(x.dtype) else x.dtype
    return [xp.astype(a, dtype, copy=False) for a in (x, *others)]


def _update(xp: Any, running: Running | None, mean: Any, var: Any, decay: float) -> Running:
    if running is None:
        return Running(mean, var)
    shape, dtype = running.mean.shape, running.mean.dtype
    mean, var = (xp.astype(xp.reshape(a, shape), dtype, copy=False) for a in (mean, var))
    return Running(decay * running.mean + (1 - decay) * mean, decay * running.var + (1 - decay) * var)


def _sum_to(xp: Any, x: Batch, averaged: tuple[int, ...], shape: tuple[int, ...]) -> PerFeature:
    """Sum over the batch, and over the models that share one parameter, down to the parameter's shape."""
    total = xp.sum(x, axis=averaged, keepdims=True)
    return xp.sum(total, axis=tuple(range(total.ndim - len(shape))))
