"""Softmax and cross-entropy in PyTorch. See `dlbook.softmax` for the conventions.

Autograd differentiates everything; `cross_entropy_backward` is the same gradient by hand.
"""

from typing import Any

import torch

from dlbook.shapes import Batch, Labels, Logits, is_half
from dlbook.softmax.arguments import (
    check_cross_entropy,
    check_label_range,
    check_logits,
    check_sizes,
    check_softmax,
    check_weights,
)


def softmax(z: Logits, *, axis: int = -1, temperature: float = 1.0) -> Logits:
    """Positive numbers that sum to 1 along `axis` and keep the order of `z`: the probability of each class.

    Bridle (1990). Raises ValueError for a bad `axis` or a temperature that is not in (0, inf), TypeError when `z` is
    not floating point.
    """
    axis, temperature = check_softmax(z, axis, temperature)
    e = torch.exp(_shifted(z, axis) / temperature)
    return (e / e.sum(dim=axis, keepdim=True)).to(z.dtype)


def log_softmax(z: Logits, *, axis: int = -1, temperature: float = 1.0) -> Logits:
    """The log of `softmax`, right also where the probability itself rounds to 0. Raises what `softmax` raises."""
    axis, temperature = check_softmax(z, axis, temperature)
    shifted = _shifted(z, axis) / temperature
    return (shifted - shifted.exp().sum(dim=axis, keepdim=True).log()).to(z.dtype)


def hardmax(z: Logits, *, axis: int = -1) -> Logits:
    """1 at the largest logit along `axis` and 0 elsewhere: where softmax goes as its temperature goes to 0.

    Of equal logits the first gets the 1. A row with NaN becomes NaN.
    """
    axis = check_logits(z, axis)
    one_hot = torch.zeros_like(z).scatter(axis, z.argmax(dim=axis, keepdim=True), 1.0)
    return one_hot.masked_fill(z.isnan().any(dim=axis, keepdim=True), torch.nan)


def logsumexp(z: Logits, *, axis: int = -1) -> torch.Tensor:
    """The log of the sum of `exp(z)` along `axis`, which goes away: a smooth maximum, and softmax is its gradient."""
    axis = check_logits(z, axis)
    (wide,) = _wide(z)
    largest = wide.detach().amax(dim=axis, keepdim=True)
    largest = largest.masked_fill(~largest.isfinite(), 0)  # inf - inf would be NaN
    return (largest.squeeze(axis) + (wide - largest).exp().sum(dim=axis).log()).to(z.dtype)


def cross_entropy(
    z: Logits,
    y: Labels,
    *,
    axis: int = -1,
    reduction: str = "mean",
    weight: torch.Tensor | None = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Minus the log of the probability that softmax gives to the right class, in nats; straight from the logits.

    `y` are class indices in the shape of `z` without its class axis, or probabilities in the shape of `z`. The mean
    and the sum are over all labels, "none" keeps their shape. Label smoothing: Szegedy et al. (2016), section 7.
    `torch.nn.functional.cross_entropy` gives the same, with its classes along axis 1.

    Raises ValueError for labels outside [0, classes), wrong shapes, negative weights, an unknown reduction, smoothing
    outside [0, 1], and `ignore_index` with probabilities; TypeError for dtypes that are not as above.
    """
    axis = check_cross_entropy(z, y, axis, reduction, weight, ignore_index, label_smoothing)
    dtype = z.dtype
    z, q, counted = _targets(z, y, axis, weight, ignore_index, label_smoothing)
    log_p = log_softmax(z, axis=axis)
    log_p = log_p.masked_fill((q == 0) & log_p.isneginf(), 0)  # 0 log 0 is 0
    loss = 0 - (q * log_p).sum(dim=axis)
    if reduction != "none":
        loss = loss.sum()
    if reduction == "mean":
        nothing = counted == 0
        loss = (loss / counted.masked_fill(nothing, 1)).masked_fill(
            nothing, torch.nan
        )  # NaN, with gradient 0
    return loss.to(dtype)


def cross_entropy_backward(
    z: Logits,
    y: Labels,
    *,
    axis: int = -1,
    reduction: str = "mean",
    weight: torch.Tensor | None = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
) -> Logits:
    """The gradient in `z` of what `cross_entropy` returns for the same arguments, or of its sum for "none".

    It is `softmax(z) - y` for every label, over their number for the mean; with weights, both are weighted. Each
    row sums to 0. Raises what `cross_entropy` raises.
    """
    axis = check_cross_entropy(z, y, axis, reduction, weight, ignore_index, label_smoothing)
    dtype = z.dtype
    z, q, counted = _targets(z, y, axis, weight, ignore_index, label_smoothing)
    dz = softmax(z, axis=axis) * q.sum(dim=axis, keepdim=True) - q
    if reduction == "mean":
        dz = (dz / counted).masked_fill(counted == 0, 0)
    return dz.to(dtype)


class SoftmaxRegression(torch.nn.Module):
    """A linear model of `classes` classes: `model(x)` are the logits `x @ W + b`.

    `W` (features, classes) and `b` (classes,) start at 0: the loss is convex, so no random numbers are needed.
    `torch.nn.Linear` is the same with the transpose of `W`. Train it with any optimiser of `torch.optim`.
    """

    def __init__(self, features: int, classes: int, *, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        check_sizes(features, classes)
        self.W = torch.nn.Parameter(torch.zeros(features, classes, device=device, dtype=dtype))
        self.b = torch.nn.Parameter(torch.zeros(classes, device=device, dtype=dtype))

    def forward(self, x: Batch) -> Logits:
        return x @ self.W + self.b

    @torch.no_grad()
    def predict_proba(self, x: Batch) -> Logits:
        return softmax(self(x))

    @torch.no_grad()
    def predict_classes(self, x: Batch) -> Labels:
        return self(x).argmax(dim=-1)

    def extra_repr(self) -> str:
        return f"{self.W.shape[0]}, {self.W.shape[1]}"


def _wide(z: torch.Tensor, *others: torch.Tensor) -> list[torch.Tensor]:
    """All tensors in the dtype the sums are made in: that of `z`, or float32 where `z` is float16 or bfloat16."""
    dtype = torch.float32 if is_half(z.dtype) else z.dtype
    return [a.to(dtype) for a in (z, *others)]


def _shifted(z: Logits, axis: int) -> Logits:
    """`z` minus its largest along `axis`, so that no exponential is above 1 and one of them is 1.

    Detached: softmax does not change with the shift, so no gradient flows through it.
    """
    (z,) = _wide(z)
    return z - z.detach().amax(dim=axis, keepdim=True)


def _along(a: torch.Tensor, z: Logits, axis: int) -> torch.Tensor:
    """A vector with one number per class in a shape that broadcasts against `z`."""
    return a.reshape([-1 if i == axis else 1 for i in range(z.ndim)])


def _targets(
    z: Logits,
    y: Labels,
    axis: int,
    weight: torch.Tensor | None,
    ignore_index: int | None,
    label_smoothing: float,
) -> tuple[Logits, Logits, torch.Tensor]:
    """`z` in the dtype of the sums; `q`, by which each `-log p` is multiplied; and what the mean divides by.

    `z` is 0 in ignored rows, so that NaN there does no harm, on the way back either.
    """
    w, classes = 1.0, z.shape[axis]
    if weight is not None:
        check_weights(weight.tolist())
        w = _along(_wide(z, weight)[1], z, axis)
    if y.ndim == z.ndim:
        z, q = _wide(z, y)
        keep, counted = 1.0, torch.tensor(z.numel() // classes, dtype=z.dtype, device=z.device)
    else:
        (z,) = _wide(z)
        keep, q = _one_hot(z, y, axis, ignore_index)
        z = z.masked_fill(~keep, 0)
        keep = keep.to(z.dtype)
        q = q.to(z.dtype) * keep
        counted = (w * q).sum()
    if label_smoothing:
        q = ((1 - label_smoothing) * q + label_smoothing / classes) * keep
    return z, w * q, counted


def _one_hot(z: Logits, y: Labels, axis: int, ignore_index: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Which labels count, with 1 on the class axis, and for those which class is theirs; of truth values."""
    y = y.long().unsqueeze(axis)
    keep = torch.ones_like(y, dtype=torch.bool) if ignore_index is None else y != ignore_index
    if y.numel():
        check_label_range(*map(int, torch.where(keep, y, 0).aminmax()), z.shape[axis])
    return keep, y == _along(torch.arange(z.shape[axis], device=z.device), z, axis)
