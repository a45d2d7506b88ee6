"""The multi-layer perceptron in NumPy, its backward pass by hand. See `dlbook.mlp` for the conventions.

Written against the array API standard, so CuPy arrays run through the same lines on a GPU. A diverging model is a
result and not an accident, so the warnings NumPy gives for overflow and NaN are switched off in here.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from array_api_compat import device

from dlbook.batch_norm import Running
from dlbook.batch_norm.numpy import batch_norm_backward, batch_norm_test, batch_norm_train, precise_statistics
from dlbook.frameworks import array_namespace, to_numpy
from dlbook.mlp import Fit, Layer, Params, RunningStatistics, draws
from dlbook.mlp.arguments import check_fit, check_inputs, check_labels, check_running, layers
from dlbook.mlp.records import history, is_recorded
from dlbook.optimizers import Optimizer
from dlbook.shapes import Batch, Labels, Logits, is_half
from dlbook.softmax.numpy import cross_entropy, cross_entropy_backward


def init(
    sizes: Sequence[int],
    rng: draws.Rng,
    *,
    models: int | None = None,
    batch_norm: bool = False,
    scale: Any = 1.0,
    dtype: str = "float32",
) -> Params:
    """The first parameters of a network with `sizes` = (features, hidden, ..., hidden, classes).

    Weights are normal with standard deviation `scale * sqrt(2 / in)` (He et al. 2015), biases and `beta` 0, `gamma`
    1. `scale` is a number or (K, 1, 1). `models=K` draws K models from the K children of `rng` (`rng.spawn`), so
    model k is the same whatever K is; a list of generators makes one model from each. Numbers are drawn in
    float64 and rounded to `dtype`. The arrays are NumPy's; for CuPy, put them through `cupy.asarray`.
    """
    return draws.weights(sizes, rng, models, batch_norm, scale, dtype)


def init_running(params: Params) -> RunningStatistics:
    """Mean 0 and variance 1 for every batch norm layer, where PyTorch and Keras start; {} without batch norm."""
    return {i: Running(0 * params[f"beta{i}"], 0 * params[f"beta{i}"] + 1) for i in _normalised(params)}


@np.errstate(all="ignore")
def forward(
    params: Params,
    x: Batch,
    running: RunningStatistics | None = None,
    *,
    training: bool = False,
    decay: float = 0.9,
    eps: float = 1e-5,
) -> tuple[Logits, RunningStatistics, list[Layer]]:
    """The logits of each row of `x`, the new running statistics, and a `Layer` for each layer.

    `training=True` normalises by the batch and moves `running` (None starts it at this batch); False
    normalises by `running`, which comes back as it was. Without batch norm both are the same, and `running` is {}.
    Raises ValueError for a wrong number of features or no rows, TypeError for another dtype than the weights'.
    """
    check_inputs(params, x)
    return _forward(params, x, running, training, decay, eps)


@np.errstate(all="ignore")
def loss_and_gradients(
    params: Params,
    x: Batch,
    y: Labels,
    running: RunningStatistics | None = None,
    *,
    decay: float = 0.9,
    eps: float = 1e-5,
    label_smoothing: float = 0.0,
) -> tuple[Any, Params, RunningStatistics]:
    """The mean loss of each model on a training batch, its gradients, and the new running statistics.

    `y` (batch,) or (K, batch) are whole numbers in [0, classes). The loss is () or (K,), in nats, with
    `label_smoothing` as in `cross_entropy`; the gradients are named and shaped as `params`. Raises what `forward`
    raises, and ValueError for labels that do not fit.
    """
    check_inputs(params, x, y)
    check_labels(y, params[f"W{layers(params)}"].shape[-1])
    return _loss_and_gradients(params, x, y, running, decay, eps, label_smoothing)


@np.errstate(all="ignore")
def fit(
    params: Params,
    x: Batch,
    y: Labels,
    *,
    optimizer: Optimizer,
    steps: int,
    batch_size: int | None = None,
    rng: draws.Rng | None = None,
    running: RunningStatistics | None = None,
    state: dict[str, Any] | None = None,
    validation: tuple[Batch, Labels] | None = None,
    record_every: int | None = None,
    precise: bool = True,
    decay: float = 0.9,
    eps: float = 1e-5,
    label_smoothing: float = 0.0,
) -> Fit:
    """Train one model, or a population at once, for `steps` mini-batches of `batch_size` rows.

    `x` is (n, features) and `y` (n,), or (K, n, features) and (K, n). Rows come in an order drawn from `rng`, a
    new one each epoch, the same for all models; a list of K generators gives each model its own order.
    `batch_size=None` takes all rows every time. `running=None` starts batch norm's averages at the first
    batch, `state=None` the optimiser at its beginning.

    With `validation=(x, y)`, loss and accuracy on it are kept every `record_every` steps and after the last; batch
    norm then uses `precise_running` over the training rows, or the running averages for `precise=False`.
    Raises what `loss_and_gradients` raises, and ValueError for steps, record_every or batch_size below 1.
    """
    check_fit(params, x, y, steps, record_every)
    state = optimizer.init(params) if state is None else state
    losses, records = [], []
    for step, rows in enumerate(draws.batches(x.shape[-2], batch_size, rng, steps), start=1):
        loss, grads, running = _loss_and_gradients(
            params, _take(x, rows, 2), _take(y, rows, 1), running, decay, eps, label_smoothing
        )
        params, state = optimizer.step(params, grads, state)
        losses.append(to_numpy(loss))
        if validation is not None and is_recorded(step, steps, record_every):
            statistics = precise_running(params, x, eps=eps) if precise else running
            records.append((step, *map(to_numpy, evaluate(params, *validation, statistics, eps=eps))))
    return Fit(params, running, history(np.stack(losses), records), state)


@np.errstate(all="ignore")
def evaluate(
    params: Params, x: Batch, y: Labels, running: RunningStatistics | None = None, *, eps: float = 1e-5
) -> tuple[Any, Any]:
    """The mean loss and the accuracy of each model, (K,) or (), with batch norm as at test time.

    Accuracy is the share of rows whose largest logit is the right one; NaN logits are never right.
    """
    check_inputs(params, x, y)
    xp = array_namespace(x)
    logits, _, _ = _forward(params, x, running, False, 0.9, eps)
    y = _for_all(y, logits)
    right = (xp.argmax(logits, axis=-1) == y) & ~xp.any(xp.isnan(logits), axis=-1)
    loss = xp.mean(cross_entropy(logits, y, reduction="none"), axis=-1)
    return loss, xp.mean(xp.astype(right, logits.dtype), axis=-1)


@np.errstate(all="ignore")
def precise_running(params: Params, x: Batch, *, eps: float = 1e-5) -> RunningStatistics:
    """The statistics of every batch norm layer over ALL rows of `x`, with the weights as they are now.

    Layer by layer, since the input of a layer depends on the statistics of those below it. {} without batch norm.
    """
    check_inputs(params, x)
    running, h = {}, x
    for i in range(1, max(_normalised(params), default=0) + 1):
        z = h @ params[f"W{i}"]
        if f"b{i}" in params:  # a layer of a mixed network, without batch norm
            h = _relu(z + params[f"b{i}"])
            continue
        running[i] = precise_statistics([z])
        h = _relu(batch_norm_test(z, params[f"gamma{i}"], params[f"beta{i}"], running[i], eps=eps))
    return running


def _loss_and_gradients(params, x, y, running, decay, eps, label_smoothing):
    logits, running, cached = _forward(params, x, running, True, decay, eps)
    loss, dz = _cross_entropy(logits, _for_all(y, logits), label_smoothing)
    return array_namespace(x).mean(loss, axis=-1), _backward(params, cached, dz / y.shape[-1]), running


def _cross_entropy(logits: Logits, y: Labels, label_smoothing: float) -> tuple[Any, Logits]:
    """The loss of each row and its gradient in the logits: to the last bit those of `dlbook.softmax`.

    There each is computed on its own; here the exponentials, most of the work of a small network, are shared.
    """
    if is_half(logits.dtype):
        options = {"label_smoothing": label_smoothing}
        loss = cross_entropy(logits, y, reduction="none", **options)
        return loss, cross_entropy_backward(logits, y, reduction="sum", **options)
    xp, classes = array_namespace(logits), logits.shape[-1]
    y = xp.expand_dims(y, axis=-1)
    shifted = logits - xp.max(logits, axis=-1, keepdims=True)
    e = xp.exp(shifted)
    total = xp.sum(e, axis=-1, keepdims=True)
    q = xp.astype(y == xp.arange(classes, device=device(logits)), logits.dtype)
    if label_smoothing:
        q = (1 - label_smoothing) * q + label_smoothing / classes
        loss = 0.0 - xp.sum(q * (shifted - xp.log(total)), axis=-1)
        return loss, e / total * xp.sum(q, axis=-1, keepdims=True) - q
    loss = xp.log(total) - xp.take_along_axis(shifted, y, axis=-1)
    return xp.squeeze(loss, axis=-1), e / total - q


def _forward(params, x, running, training, decay, eps):
    new, cached, h, last = {}, [], x, layers(params)
    for i in range(1, last + 1):
        z, cache = h @ params[f"W{i}"], None
        y = z
        if f"b{i}" in params:
            y = z = z + params[f"b{i}"]
        elif training:
            old = None if running is None else running[i]
            y, new[i], cache = batch_norm_train(
                z, params[f"gamma{i}"], params[f"beta{i}"], old, decay=decay, eps=eps
            )
        else:
            new[i] = check_running(running)[i]
            y = batch_norm_test(z, params[f"gamma{i}"], params[f"beta{i}"], new[i], eps=eps)
        cached.append(Layer(h, z, cache))
        h = y if i == last else _relu(y)
    return h, new, cached


def _backward(params: Params, cached: list[Layer], dz: Logits) -> Params:
    """From the gradient in the logits back to the gradients in all parameters."""
    grads = {}
    for i in range(len(cached), 0, -1):
        layer = cached[i - 1]
        if layer.cache is not None:
            dz, grads[f"gamma{i}"], grads[f"beta{i}"] = batch_norm_backward(dz, layer.cache)
        else:
            grads[f"b{i}"] = array_namespace(dz).sum(dz, axis=-2, keepdims=True)
        grads[f"W{i}"] = _transposed(layer.h) @ dz
        if i > 1:  # the input of the first layer is data, and needs no gradient
            dh = dz @ _transposed(params[f"W{i}"])
            dz = dh * array_namespace(dh).astype(layer.h > 0, dh.dtype)
    return {name: grads[name] for name in params}


def _normalised(params: Params) -> list[int]:
    return [i for i in range(1, layers(params) + 1) if f"gamma{i}" in params]


def _relu(x: Batch) -> Batch:
    return array_namespace(x).maximum(x, 0)


def _transposed(a: Any) -> Any:
    return array_namespace(a).matrix_transpose(a)


def _for_all(y: Labels, logits: Logits) -> Labels:
    """One label per row and model, where the models share the rows."""
    return array_namespace(logits).broadcast_to(y, logits.shape[:-1])


def _take(a: Any, rows: np.ndarray, axes: int) -> Any:
    """The `rows` of `a`, (batch,) for all models or (K, batch); the last `axes` axes of `a` belong to one model."""
    xp = array_namespace(a)
    rows = xp.asarray(rows, device=device(a))
    if rows.ndim == 1:
        return xp.take(a, rows, axis=-axes)
    if a.ndim == axes:
        return a[rows]
    first = a.shape[-axes] * xp.arange(rows.shape[0], device=device(a))[:, None]  # of each model's rows
    flat = xp.reshape(a, (-1, *a.shape[2:]))  # one index per row copies faster than two
    return xp.reshape(xp.take(flat, xp.reshape(first + rows, (-1,)), axis=0), (*rows.shape, *a.shape[2:]))
