"""The multi-layer perceptron in PyTorch, as functions on tensors; autograd goes backwards. See `dlbook.mlp`.

The parameters are a plain dictionary and not an `nn.Module`, so that a population is a leading axis and nothing else.
"""

from collections.abc import Sequence
from typing import Any

import torch
import numpy as np

from dlbook.batch_norm import Running
from dlbook.batch_norm.torch import batch_norm_test, batch_norm_train, precise_statistics
from dlbook.frameworks import from_numpy, to_numpy
from dlbook.mlp import Fit, Layer, Params, RunningStatistics, draws
from dlbook.mlp.arguments import check_fit, check_inputs, check_labels, check_running, layers
from dlbook.mlp.records import history, is_recorded
from dlbook.optimizers import Optimizer
from dlbook.shapes import Batch, Labels, Logits, is_half
from dlbook.softmax.torch import cross_entropy, log_softmax


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
    float64 and rounded to `dtype`. The tensors lie on the device that `dlbook.device` chooses.
    """
    drawn = draws.weights(sizes, rng, models, batch_norm, scale, dtype)
    return {name: from_numpy(array, "torch") for name, array in drawn.items()}


def init_running(params: Params) -> RunningStatistics:
    """Mean 0 and variance 1 for every batch norm layer, as `torch.nn.BatchNorm1d`; {} without batch norm."""
    shifts = {i: params[f"beta{i}"] for i in _normalised(params)}
    return {i: Running(torch.zeros_like(shift), torch.ones_like(shift)) for i, shift in shifts.items()}


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
    Gradients flow through it to parameters that ask for them.
    """
    check_inputs(params, x)
    new, seen, h, last = {}, [], x, layers(params)
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
        seen.append(Layer(h, z, cache))
        h = y if i == last else torch.relu(y)
    return h, new, seen


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
    `label_smoothing` as in `cross_entropy`; the gradients are named and shaped as `params`. Nothing that comes back
    carries a graph.
    """
    check_inputs(params, x, y)
    check_labels(y, params[f"W{layers(params)}"].shape[-1])
    return _loss_and_gradients(params, x, y, running, decay, eps, label_smoothing)


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
    The losses stay on the device until the end: asking for each one would make a GPU wait.
    """
    check_fit(params, x, y, steps, record_every)
    state = optimizer.init(params) if state is None else state
    losses, records = [], []
    for step, rows in enumerate(draws.batches(x.shape[-2], batch_size, rng, steps), start=1):
        loss, grads, running = _loss_and_gradients(
            params, _take(x, rows, 2), _take(y, rows, 1), running, decay, eps, label_smoothing
        )
        params, state = optimizer.step(params, grads, state)
        losses.append(loss)
        if validation is not None and is_recorded(step, steps, record_every):
            statistics = precise_running(params, x, eps=eps) if precise else running
            records.append((step, *map(to_numpy, evaluate(params, *validation, statistics, eps=eps))))
    return Fit(params, running, history(to_numpy(torch.stack(losses)), records), state)


@torch.no_grad()
def evaluate(
    params: Params, x: Batch, y: Labels, running: RunningStatistics | None = None, *, eps: float = 1e-5
) -> tuple[Any, Any]:
    """The mean loss and the accuracy of each model, (K,) or (), with batch norm as at test time.

    Accuracy is the share of rows whose largest logit is the right one; NaN logits are never right.
    """
    check_inputs(params, x, y)
    check_labels(y, params[f"W{layers(params)}"].shape[-1])
    logits, _, _ = forward(params, x, running, eps=eps)
    right = (logits.argmax(dim=-1) == y) & ~logits.isnan().any(dim=-1)
    return _loss(logits, y), right.to(logits.dtype).mean(dim=-1)


@torch.no_grad()
def precise_running(params: Params, x: Batch, *, eps: float = 1e-5) -> RunningStatistics:
    """The statistics of every batch norm layer over ALL rows of `x`, with the weights as they are now.

    Layer by layer, since the input of a layer depends on the statistics of those below it. {} without batch norm.
    """
    check_inputs(params, x)
    running, h = {}, x
    for i in range(1, max(_normalised(params), default=0) + 1):
        z = h @ params[f"W{i}"]
        if f"b{i}" in params:  # a layer of a mixed network, without batch norm
            h = torch.relu(z + params[f"b{i}"])
            continue
        running[i] = precise_statistics([z])
        h = torch.relu(batch_norm_test(z, params[f"gamma{i}"], params[f"beta{i}"], running[i], eps=eps))
    return running


def _loss_and_gradients(params, x, y, running, decay, eps, label_smoothing):
    leaves = {name: array.detach().requires_grad_() for name, array in params.items()}
    with torch.enable_grad():
        logits, running, _ = forward(leaves, x, running, training=True, decay=decay, eps=eps)
        loss = _loss(logits, y, label_smoothing)
        grads = torch.autograd.grad(loss.sum(), list(leaves.values()))
    return loss.detach(), dict(zip(leaves, grads, strict=True)), running


def _loss(logits: Logits, y: Labels, label_smoothing: float = 0.0) -> torch.Tensor:
    """The mean loss of each model, with the labels shared where the models share the rows.

    Plain labels only pick what `cross_entropy` would multiply by 1, and are not looked at: a GPU would have to wait.
    """
    y = y.expand(logits.shape[:-1])
    if label_smoothing or is_half(logits.dtype):
        loss = cross_entropy(logits, y, reduction="none", label_smoothing=label_smoothing)
    else:
        loss = -log_softmax(logits).gather(-1, y.long().unsqueeze(-1)).squeeze(-1)
    return loss.mean(dim=-1)


def _normalised(params: Params) -> list[int]:
    return [i for i in range(1, layers(params) + 1) if f"gamma{i}" in params]


def _take(a: torch.Tensor, rows: np.ndarray, axes: int) -> torch.Tensor:
    """The `rows` of `a`, (batch,) for all models or (K, batch); the last `axes` axes of `a` belong to one model."""
    rows = torch.from_numpy(rows).to(a.device)
    if rows.ndim == 1:
        return a.index_select(-axes, rows)
    if a.ndim == axes:
        return a[rows]
    return a[torch.arange(len(rows), device=a.device)[:, None], rows]
