"""Softmax and cross-entropy in NumPy, the gradient by hand. See `dlbook.softmax` for the conventions.

Written against the array API standard, so CuPy arrays run through the same lines on a GPU. Infinity and NaN are
results and not accidents, so the warnings NumPy gives for them are switched off in here.
"""

from typing import Any

import numpy as np
from array_api_compat import device

from dlbook.frameworks import array_namespace, to_numpy
from dlbook.shapes import Batch, Labels, Logits, is_half
from dlbook.softmax.arguments import (
    check_cross_entropy,
    check_label_range,
    check_logits,
    check_sizes,
    check_softmax,
    check_weights,
)


@np.errstate(all="ignore")
def softmax(z: Logits, *, axis: int = -1, temperature: float = 1.0) -> Logits:
    """Positive numbers that sum to 1 along `axis` and keep the order of `z`: the probability of each class.

    Bridle (1990). Raises ValueError for a bad `axis` or a temperature that is not in (0, inf), TypeError when `z` is
    not floating point.
    """
    axis, temperature = check_softmax(z, axis, temperature)
    xp = array_namespace(z)
    e = xp.exp(_shifted(xp, z, axis) / temperature)
    return xp.astype(e / xp.sum(e, axis=axis, keepdims=True), z.dtype, copy=False)


@np.errstate(all="ignore")
def log_softmax(z: Logits, *, axis: int = -1, temperature: float = 1.0) -> Logits:
    """The log of `softmax`, right also where the probability itself rounds to 0. Raises what `softmax` raises."""
    axis, temperature = check_softmax(z, axis, temperature)
    xp = array_namespace(z)
    shifted = _shifted(xp, z, axis) / temperature
    return xp.astype(shifted - xp.log(xp.sum(xp.exp(shifted), axis=axis, keepdims=True)), z.dtype, copy=False)


def hardmax(z: Logits, *, axis: int = -1) -> Logits:
    """1 at the largest logit along `axis` and 0 elsewhere: where softmax goes as its temperature goes to 0.

    Of equal logits the first gets the 1. A row with NaN becomes NaN.
    """
    axis = check_logits(z, axis)
    xp = array_namespace(z)
    (wide,) = _wide(xp, z)
    one_hot = xp.argmax(wide, axis=axis, keepdims=True) == _classes(xp, z, axis)
    unknown = xp.any(xp.isnan(wide), axis=axis, keepdims=True)
    return xp.astype(xp.where(unknown, xp.nan, xp.astype(one_hot, wide.dtype)), z.dtype)


@np.errstate(all="ignore")
def logsumexp(z: Logits, *, axis: int = -1) -> Any:
    """The log of the sum of `exp(z)` along `axis`, which goes away: a smooth maximum, and softmax is its gradient."""
    axis = check_logits(z, axis)
    xp = array_namespace(z)
    (wide,) = _wide(xp, z)
    largest = xp.max(wide, axis=axis, keepdims=True)
    largest = xp.where(xp.isfinite(largest), largest, 0.0)  # inf - inf would be NaN
    total = xp.log(xp.sum(xp.exp(wide - largest), axis=axis))
    return xp.astype(xp.squeeze(largest, axis=axis) + total, z.dtype, copy=False)


@np.errstate(all="ignore")
def cross_entropy(
    z: Logits,
    y: Labels,
    *,
    axis: int = -1,
    reduction: str = "mean",
    weight: Any | None = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
) -> Any:
    """Minus the log of the probability that softmax gives to the right class, in nats; straight from the logits.

    `y` are class indices in the shape of `z` without its class axis, or probabilities in the shape of `z`. The mean
    and the sum are over all labels, "none" keeps their shape. Label smoothing: Szegedy et al. (2016), section 7.

    Raises ValueError for labels outside [0, classes), wrong shapes, negative weights, an unknown reduction, smoothing
    outside [0, 1], and `ignore_index` with probabilities; TypeError for dtypes that are not as above.
    """
    axis = check_cross_entropy(z, y, axis, reduction, weight, ignore_index, label_smoothing)
    xp, dtype = array_namespace(z), z.dtype
    z, q, counted = _targets(xp, z, y, axis, weight, ignore_index, label_smoothing)
    log_p = log_softmax(z, axis=axis)
    log_p = xp.where((q == 0) & (log_p == -xp.inf), 0.0, log_p)  # 0 log 0 is 0
    loss = 0.0 - xp.sum(q * log_p, axis=axis)
    if reduction != "none":
        loss = xp.sum(loss)
    return xp.astype(loss / counted if reduction == "mean" else loss, dtype, copy=False)


@np.errstate(all="ignore")
def cross_entropy_backward(
    z: Logits,
    y: Labels,
    *,
    axis: int = -1,
    reduction: str = "mean",
    weight: Any | None = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
) -> Logits:
    """The gradient in `z` of what `cross_entropy` returns for the same arguments, or of its sum for "none".

    It is `softmax(z) - y` for every label, over their number for the mean; with weights, both are weighted. Each
    row sums to 0. Raises what `cross_entropy` raises.
    """
    axis = check_cross_entropy(z, y, axis, reduction, weight, ignore_index, label_smoothing)
    xp, dtype = array_namespace(z), z.dtype
    z, q, counted = _targets(xp, z, y, axis, weight, ignore_index, label_smoothing)
    dz = softmax(z, axis=axis) * xp.sum(q, axis=axis, keepdims=True) - q
    if reduction == "mean":
        dz = xp.where(xp.isnan(counted), 0.0, dz / counted)
    return xp.astype(dz, dtype, copy=False)


class SoftmaxRegression:
    """A linear model of `classes` classes: `model(x)` are the logits `x @ W + b`, `fit` finds W and b.

    `W` (features, classes) and `b` (classes,) start at 0: the loss is convex, so no random numbers are needed.
    """

    def __init__(self, features: int, classes: int, *, xp: Any = None) -> None:
        check_sizes(features, classes)
        xp = np if xp is None else xp  # the array API namespace, NumPy unless told otherwise
        self.W, self.b = xp.zeros((features, classes)), xp.zeros((classes,))

    def __call__(self, x: Batch) -> Logits:
        return x @ self.W + self.b

    def predict_proba(self, x: Batch) -> Logits:
        return softmax(self(x))

    def predict_classes(self, x: Batch) -> Labels:
        return array_namespace(x).argmax(self(x), axis=-1)

    def fit(
        self, x: Batch, y: Labels, *, learning_rate: float = 0.5, steps: int = 1000, l2: float = 0.0
    ) -> Any:
        """Gradient descent on all rows at once; the loss before each step, (steps,).

        `x` is (n, features) and `y` (n,) class indices or (n, classes) probabilities. The loss is the mean
        cross-entropy plus `l2 / 2` times the sum of the squares of W. It goes on from where W and b are.
        """
        xp = array_namespace(x)
        losses = []
        for _ in range(steps):
            z = self(x)
            dz = cross_entropy_backward(z, y)
            losses.append(cross_entropy(z, y) + l2 / 2 * xp.sum(self.W**2))
            self.W = self.W - learning_rate * (x.T @ dz + l2 * self.W)
            self.b = self.b - learning_rate * xp.sum(dz, axis=0)
        return xp.stack(losses)


def _wide(xp: Any, z: Any, *others: Any) -> list[Any]:
    """All arrays in the dtype the sums are made in: that of `z`, or float32 where `z` is float16 or bfloat16."""
    dtype = xp.float32 if is_half(z.dtype) else z.dtype
    return [xp.astype(a, dtype, copy=False) for a in (z, *others)]


def _shifted(xp: Any, z: Logits, axis: int) -> Logits:
    """`z` minus its largest along `axis`, so that no exponential is above 1 and one of them is 1."""
    (z,) = _wide(xp, z)
    return z - xp.max(z, axis=axis, keepdims=True)


def _classes(xp: Any, z: Logits, axis: int) -> Any:
    """0, 1, ..., C - 1 along `axis`, in a shape that broadcasts against `z`."""
    return _along(xp, xp.arange(z.shape[axis], dtype=xp.int64, device=device(z)), z, axis)


def _along(xp: Any, a: Any, z: Logits, axis: int) -> Any:
    return xp.reshape(a, tuple(-1 if i == axis else 1 for i in range(z.ndim)))


def _targets(
    xp: Any, z: Logits, y: Labels, axis: int, weight: Any, ignore_index: int | None, label_smoothing: float
) -> tuple[Logits, Logits, Any]:
    """`z` in the dtype of the sums; `q`, by which each `-log p` is multiplied; and what the mean divides by.

    The mean divides by NaN where nothing counts. `z` is 0 in ignored rows, so that NaN there does no harm.
    """
    w, classes = 1.0, z.shape[axis]
    if weight is not None:
        check_weights(to_numpy(weight).tolist())
        w = _along(xp, _wide(xp, z, weight)[1], z, axis)
    if y.ndim == z.ndim:
        z, q = _wide(xp, z, y)
        keep, counted = 1.0, xp.asarray(z.size // classes, dtype=z.dtype, device=device(z))
    else:
        (z,) = _wide(xp, z)
        keep, q = _one_hot(xp, z, y, axis, ignore_index)
        z = xp.where(keep, z, 0.0)
        keep = xp.astype(keep, z.dtype)
        q = xp.astype(q, z.dtype, copy=False) * keep
        counted = xp.sum(w * q)
    if label_smoothing:
        q = ((1 - label_smoothing) * q + label_smoothing / classes) * keep
    return z, w * q, xp.where(counted == 0, xp.nan, counted)


def _one_hot(xp: Any, z: Logits, y: Labels, axis: int, ignore_index: int | None) -> tuple[Any, Any]:
    """Which labels count, with 1 on the class axis, and for those which class is theirs; of truth values."""
    y = xp.expand_dims(xp.astype(y, xp.int64, copy=False), axis=axis)
    keep = y == y if ignore_index is None else y != ignore_index
    if y.size:
        kept = xp.where(keep, y, 0)
        check_label_range(int(xp.min(kept)), int(xp.max(kept)), z.shape[axis])
    return keep, y == _classes(xp, z, axis)
