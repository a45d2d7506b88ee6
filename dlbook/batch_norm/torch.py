"""Batch normalisation in PyTorch. See `dlbook.batch_norm` for the conventions.

Autograd differentiates `batch_norm_train`; `batch_norm_backward` is the same gradient by hand.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import torch

from dlbook.batch_norm import Cache, Running
from dlbook.batch_norm.arguments import (
    check_backward,
    check_fold,
    check_layer,
    check_repeatable,
    check_test,
    check_train,
    examples,
    inputs,
)
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

    Returns `y` (shape, dtype and device of `x`), the new running statistics, through which no gradient flows,
    and the cache for `batch_norm_backward`. `running=None` starts the average at this batch.
    Ioffe and Szegedy (2015), Algorithm 1.

    Raises ValueError for an empty batch, a wrong shape, a bad `axis`, `decay` outside [0, 1] or `eps` < 0,
    and TypeError when `x` is not floating point.
    """
    averaged = check_train(x, gamma, beta, running, axis, decay, eps)
    dtype, x, gamma, beta = x.dtype, *_wide(x, gamma, beta)
    mean = x.mean(dim=averaged, keepdim=True)
    var = (x - mean).square().mean(dim=averaged, keepdim=True)
    std = torch.sqrt(var + eps)
    x_hat = (x - mean) / std
    y = gamma * x_hat + beta
    return y.to(dtype), _update(running, mean, var, decay), Cache(x_hat, std, gamma, averaged)


def batch_norm_test(
    x: Batch, gamma: PerFeature, beta: PerFeature, running: Running, *, eps: float = 1e-5
) -> Batch:
    """Normalise by the running statistics: each example on its own, whatever its neighbours are.

    Ioffe and Szegedy (2015), Algorithm 2, step 11. An empty batch gives an empty result.
    """
    check_test(x, gamma, beta, running, eps)
    dtype, x, gamma, beta, mean, var = x.dtype, *_wide(x, gamma, beta, *running)
    return (gamma * (x - mean) / torch.sqrt(var + eps) + beta).to(dtype)


def batch_norm_backward(dy: Batch, cache: Cache) -> tuple[Batch, PerFeature, PerFeature]:
    """The gradients of the loss in `x`, `gamma` and `beta`, given its gradient `dy` in `y`: autograd, by hand.

    `mu` and `sigma` depend on every row, so each row's gradient loses the batch mean of the gradient and its
    component along `x_hat`. What is left sums to 0 over the batch and, for eps = 0, is orthogonal to `x_hat`.
    """
    x_hat, std, gamma, averaged = cache
    check_backward(dy, x_hat)
    dtype, dy = dy.dtype, *_wide(dy)
    dx_hat = dy * gamma
    along = (dx_hat * x_hat).mean(dim=averaged, keepdim=True)
    dx = (dx_hat - dx_hat.mean(dim=averaged, keepdim=True) - x_hat * along) / std
    return dx.to(dtype), (dy * x_hat).sum_to_size(gamma.shape), dy.sum_to_size(gamma.shape)


@torch.no_grad()
def precise_statistics(batches: Iterable[Batch], *, axis: Axis = -2) -> Running:
    """The mean and biased variance of each feature over ALL examples in `batches`, each example counted once.

    Batches may differ in size; an empty one counts for nothing. The pooled variance is the mean variance inside
    the batches plus the variance between their means (Chan, Golub and LeVeque 1983, equation 2.1).
    Raises ValueError when there is no example at all.
    """
    count, mean, square = 0, 0.0, 0.0
    for x in batches:
        check_floating("batches", x.dtype)
        averaged = axes(axis, x.ndim)
        n = examples(shape_of(x), averaged)
        if n == 0:
            continue
        (x,) = _wide(x)
        batch_mean = x.mean(dim=averaged, keepdim=True)
        shift, total = batch_mean - mean, count + n
        square = square + (x - batch_mean).square().sum(dim=averaged, keepdim=True)
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
    `torch.nn.Linear` keeps the transpose, so its `weight.T` is `W`.
    Raises ValueError when the numbers of outputs differ.
    """
    check_fold(W, b, gamma, beta, running, eps)
    dtype, W, gamma, beta, mean, var = W.dtype, *_wide(W, gamma, beta, *running)
    scale = gamma / torch.sqrt(var + eps)
    shift = -mean if b is None else b.to(mean.dtype) - mean
    return (W * scale).to(dtype), (shift * scale + beta).to(dtype)


class BatchNorm(torch.nn.Module):
    """A batch norm layer for `features` features, as `torch.nn.BatchNorm1d` is, with the book's `decay`.

    In `train()` mode it uses the batch and moves the buffers `running_mean` and `running_var`, which start at
    0 and 1; in `eval()` mode it uses them. The variance it keeps is the biased one.
    """

    def __init__(
        self, features: int, *, decay: float = 0.9, eps: float = 1e-5, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        check_layer(features, decay, eps)
        self.decay, self.eps = decay, eps
        self.gamma = torch.nn.Parameter(torch.ones(features, device=device, dtype=dtype))
        self.beta = torch.nn.Parameter(torch.zeros(features, device=device, dtype=dtype))
        self.register_buffer("running_mean", torch.zeros(features, device=device, dtype=dtype))
        self.register_buffer("running_var", torch.ones(features, device=device, dtype=dtype))

    def forward(self, x: Batch) -> Batch:
        running = Running(self.running_mean, self.running_var)
        if not self.training:
            return batch_norm_test(x, self.gamma, self.beta, running, eps=self.eps)
        y, running, _ = batch_norm_train(x, self.gamma, self.beta, running, decay=self.decay, eps=self.eps)
        self.running_mean.copy_(running.mean)
        self.running_var.copy_(running.var)
        return y

    def extra_repr(self) -> str:
        return f"{len(self.gamma)}, decay={self.decay}, eps={self.eps}"


@torch.no_grad()
def recompute(model: torch.nn.Module, batches: Iterable[Any]) -> None:
    """Set the running statistics of all batch norm layers in `model` to those of ALL examples in `batches`, in place.

    Layer by layer from the input on, so each is measured on what it receives at test time, and neither the size of
    the batches nor their order matters. Everything else works as at test time too, dropout included; afterwards
    each module is in the mode it was in. `batches` is read once for every layer: a list or a `DataLoader`, on the
    device of the model; of a tuple or list such as (x, y), `model` gets the first. The variance is the biased one,
    also in PyTorch's own layers. Layers that track no statistics, or that the first batch does not reach, stay.
    Wu and Johnson (2021) call such statistics PreciseBN.
    Raises ValueError when there is no example at all, TypeError for an iterator that can be read only once.
    """
    check_repeatable(batches)
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        for layer in _normalising(model, batches):
            mean, var = precise_statistics(_received(layer, model, batches))
            layer.running_mean.copy_(mean.reshape(-1))
            layer.running_var.copy_(var.reshape(-1))
    finally:
        for module, training in modes:
            module.training = training


def _wide(x: Batch, *others: torch.Tensor) -> list[torch.Tensor]:
    """All tensors in the dtype the sums are made in: that of `x`, or float32 where `x` is float16 or bfloat16."""
    dtype = torch.float32 if is_half(x.dtype) else x.dtype
    return [a.to(dtype) for a in (x, *others)]


def _update(running: Running | None, mean: torch.Tensor, var: torch.Tensor, decay: float) -> Running:
    """Detached: a graph that hung on the running statistics would reach back to the first batch."""
    mean, var = mean.detach(), var.detach()
    if running is None:
        return Running(mean, var)
    mean, var = (new.reshape(old.shape).to(old) for new, old in zip((mean, var), running, strict=True))
    return Running(decay * running.mean + (1 - decay) * mean, decay * running.var + (1 - decay) * var)


def _normalising(model: torch.nn.Module, batches: Iterable[Any]) -> list[torch.nn.Module]:
    """The batch norm layers of `model` that keep statistics, in the order in which the first batch meets them."""
    kinds, met = (torch.nn.modules.batchnorm._BatchNorm, BatchNorm), []
    layers = [m for m in model.modules() if isinstance(m, kinds) and m.running_mean is not None]
    handles = [layer.register_forward_pre_hook(lambda layer, _: met.append(layer)) for layer in layers]
    try:
        for batch in batches:
            model(inputs(batch))
            return list(dict.fromkeys(met))
    finally:
        for handle in handles:
            handle.remove()
    raise ValueError("batches must hold at least one example, got none")


def _received(layer: torch.nn.Module, model: torch.nn.Module, batches: Iterable[Any]) -> Iterator[Batch]:
    """What `layer` is called on while `model` reads the `batches`, as (examples and pixels, features)."""
    seen = []
    handle = layer.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    try:
        for batch in batches:
            model(inputs(batch))
            yield from (x.movedim(1, -1).flatten(0, -2) for x in seen)
            seen.clear()
    finally:
        handle.remove()
