"""Softmax and cross-entropy in TensorFlow, eagerly and in a `tf.function`. See `dlbook.softmax` for the conventions.

The batch size may be unknown when a graph is traced; what can only be checked with values is checked when it runs.
"""

from typing import Any

import keras
import tensorflow as tf

from dlbook.shapes import Batch, Labels, Logits, is_half, shape_of
from dlbook.softmax.arguments import (
    check_cross_entropy,
    check_label_range,
    check_logits,
    check_sizes,
    check_softmax,
    check_weights,
)

INFINITY = float("inf")


def softmax(z: Logits, *, axis: int = -1, temperature: float = 1.0) -> Logits:
    """Positive numbers that sum to 1 along `axis` and keep the order of `z`: the probability of each class.

    Bridle (1990). Raises ValueError for a bad `axis` or a temperature that is not in (0, inf), TypeError when `z` is
    not floating point.
    """
    axis, temperature = check_softmax(z, axis, temperature)
    e = tf.exp(_shifted(z, axis) / temperature)
    return tf.cast(e / tf.reduce_sum(e, axis, keepdims=True), z.dtype)


def log_softmax(z: Logits, *, axis: int = -1, temperature: float = 1.0) -> Logits:
    """The log of `softmax`, right also where the probability itself rounds to 0. Raises what `softmax` raises."""
    axis, temperature = check_softmax(z, axis, temperature)
    shifted = _shifted(z, axis) / temperature
    return tf.cast(shifted - tf.math.log(tf.reduce_sum(tf.exp(shifted), axis, keepdims=True)), z.dtype)


def hardmax(z: Logits, *, axis: int = -1) -> Logits:
    """1 at the largest logit along `axis` and 0 elsewhere: where softmax goes as its temperature goes to 0.

    Of equal logits the first gets the 1, which `tf.argmax` does not promise. A row with NaN becomes NaN.
    """
    axis = check_logits(z, axis)
    (wide,) = _wide(z)
    largest = tf.cast(wide == tf.reduce_max(wide, axis, keepdims=True), tf.int32)
    one_hot = tf.cast(largest * tf.cumsum(largest, axis) == 1, z.dtype)
    unknown = tf.reduce_any(tf.math.is_nan(wide), axis, keepdims=True)
    return tf.where(unknown, _nan(one_hot), one_hot)


def logsumexp(z: Logits, *, axis: int = -1) -> tf.Tensor:
    """The log of the sum of `exp(z)` along `axis`, which goes away: a smooth maximum, and softmax is its gradient."""
    axis = check_logits(z, axis)
    (wide,) = _wide(z)
    largest = tf.stop_gradient(tf.reduce_max(wide, axis, keepdims=True))
    largest = tf.where(tf.math.is_finite(largest), largest, 0)  # inf - inf would be NaN
    total = tf.math.log(tf.reduce_sum(tf.exp(wide - largest), axis))
    return tf.cast(tf.squeeze(largest, axis) + total, z.dtype)


def cross_entropy(
    z: Logits,
    y: Labels,
    *,
    axis: int = -1,
    reduction: str = "mean",
    weight: tf.Tensor | None = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
) -> tf.Tensor:
    """Minus the log of the probability that softmax gives to the right class, in nats; straight from the logits.

    `y` are class indices in the shape of `z` without its class axis, or probabilities in the shape of `z`. The mean
    and the sum are over all labels, "none" keeps their shape. Label smoothing: Szegedy et al. (2016), section 7.
    With "none", `tf.nn.sparse_softmax_cross_entropy_with_logits` and its sibling for probabilities give the same.

    Raises ValueError for labels outside [0, classes), wrong shapes, negative weights, an unknown reduction, smoothing
    outside [0, 1], and `ignore_index` with probabilities; TypeError for dtypes that are not as above. Inside a graph,
    bad values and shapes that were unknown while tracing raise `tf.errors.InvalidArgumentError` when it runs; XLA
    leaves such checks out, and a bad label then has the loss NaN.
    """
    axis = check_cross_entropy(z, y, axis, reduction, weight, ignore_index, label_smoothing)
    dtype = z.dtype
    z, q, counted = _targets(z, y, axis, weight, ignore_index, label_smoothing)
    log_p = log_softmax(z, axis=axis)
    log_p = tf.where((q == 0) & (log_p == -INFINITY), tf.zeros_like(log_p), log_p)  # 0 log 0 is 0
    loss = 0 - tf.reduce_sum(q * log_p, axis)
    if reduction != "none":
        loss = tf.reduce_sum(loss)
    if reduction == "mean":
        nothing = counted == 0
        loss /= tf.where(nothing, tf.ones_like(counted), counted)
        loss = tf.where(nothing, _nan(loss), loss)  # NaN, with gradient 0
    return tf.cast(loss, dtype)


def cross_entropy_backward(
    z: Logits,
    y: Labels,
    *,
    axis: int = -1,
    reduction: str = "mean",
    weight: tf.Tensor | None = None,
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
    dz = softmax(z, axis=axis) * tf.reduce_sum(q, axis, keepdims=True) - q
    if reduction == "mean":
        dz = tf.where(counted == 0, tf.zeros_like(dz), dz / counted)
    return tf.cast(dz, dtype)


@keras.saving.register_keras_serializable(package="dlbook")
class SoftmaxRegression(keras.Model):
    """A linear model of `classes` classes: `model(x)` are the logits `x @ W + b`.

    `W` (features, classes) and `b` (classes,) start at 0: the loss is convex, so no random numbers are needed.
    `keras.layers.Dense(classes)` is the same. Train it with a tape, or with `compile` and `fit` as any Keras model;
    the loss must be told `from_logits=True`. `predict` is Keras' own, and gives logits.
    """

    def __init__(self, features: int, classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_sizes(features, classes)
        self.features, self.classes = features, classes
        self.W = self.add_weight((features, classes), "zeros", name="W")
        self.b = self.add_weight((classes,), "zeros", name="b")
        self.built = True

    def call(self, x: Batch) -> Logits:
        return tf.matmul(x, self.W) + self.b

    def predict_proba(self, x: Batch) -> Logits:
        return softmax(self(x))

    def predict_classes(self, x: Batch) -> Labels:
        return tf.argmax(self(x), axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "features": self.features, "classes": self.classes}


def _wide(z: tf.Tensor, *others: tf.Tensor) -> list[tf.Tensor]:
    """All tensors in the dtype the sums are made in: that of `z`, or float32 where `z` is float16 or bfloat16."""
    dtype = tf.float32 if is_half(z.dtype) else z.dtype
    return [tf.cast(a, dtype) for a in (z, *others)]


def _shifted(z: Logits, axis: int) -> Logits:
    """`z` minus its largest along `axis`, so that no exponential is above 1 and one of them is 1.

    Softmax does not change with the shift, so no gradient flows through it.
    """
    (z,) = _wide(z)
    return z - tf.stop_gradient(tf.reduce_max(z, axis, keepdims=True))


def _nan(like: tf.Tensor) -> tf.Tensor:
    return tf.constant(float("nan"), like.dtype)


def _along(a: tf.Tensor, z: Logits, axis: int) -> tf.Tensor:
    """A vector with one number per class in a shape that broadcasts against `z`."""
    return tf.reshape(a, [-1 if i == axis else 1 for i in range(z.shape.rank)])


def _targets(
    z: Logits,
    y: Labels,
    axis: int,
    weight: tf.Tensor | None,
    ignore_index: int | None,
    label_smoothing: float,
) -> tuple[Logits, Logits, tf.Tensor]:
    """`z` in the dtype of the sums; `q`, by which each `-log p` is multiplied; and what the mean divides by.

    `z` is 0 in ignored rows, so that NaN there does no harm, on the way back either.
    """
    w = 1.0
    if weight is not None:
        _check_weights(weight, tf.shape(z)[axis : axis + 1])
        w = _along(_wide(z, weight)[1], z, axis)
    if y.shape.rank == z.shape.rank:
        _check_shape("y", y, tf.shape(z))
        z, q = _wide(z, y)
        keep, counted = 1.0, tf.cast(tf.size(z, tf.int64) // tf.shape(z, tf.int64)[axis], z.dtype)
    else:
        _check_shape("y", y, tf.concat([tf.shape(z)[:axis], tf.shape(z)[axis + 1 :]], 0))
        (z,) = _wide(z)
        keep, q = _one_hot(z, y, axis, ignore_index)
        z = tf.where(keep, z, 0)
        keep = tf.cast(keep, z.dtype)
        counted = tf.reduce_sum(w * q)
    if label_smoothing:
        q = ((1 - label_smoothing) * q + label_smoothing / tf.cast(tf.shape(z)[axis], z.dtype)) * keep
    return z, w * q, counted


def _one_hot(z: Logits, y: Labels, axis: int, ignore_index: int | None) -> tuple[tf.Tensor, tf.Tensor]:
    """Which labels count, with 1 on the class axis; and 1 at their class, 0 elsewhere, NaN where XLA let one pass."""
    y, classes = tf.expand_dims(tf.cast(y, tf.int64), axis), tf.shape(z, tf.int64)[axis]
    keep = tf.ones_like(y, tf.bool) if ignore_index is None else y != ignore_index
    bad = keep & ((y < 0) | (y >= classes))
    if not tf.executing_eagerly():
        message = (
            "y must lie in [0, classes), the classes of z: labels that stand for no class need ignore_index"
        )
        tf.debugging.Assert(~tf.reduce_any(bad), [message, y])
    elif tf.reduce_any(bad):
        worst = tf.boolean_mask(y, bad)
        check_label_range(int(tf.reduce_min(worst)), int(tf.reduce_max(worst)), int(classes))
    q = tf.cast(keep & (y == _along(tf.range(classes), z, axis)), z.dtype)
    return keep, tf.where(bad, _nan(q), q)


def _check_weights(weight: tf.Tensor, wanted: tf.Tensor) -> None:
    if tf.executing_eagerly():
        check_weights(weight.numpy().tolist())
    else:
        _check_shape("weight", weight, wanted)
        allowed = (weight >= 0) & tf.math.is_finite(weight)
        tf.debugging.Assert(tf.reduce_all(allowed), ["weight must hold finite numbers of at least 0", weight])


def _check_shape(name: str, a: tf.Tensor, wanted: tf.Tensor) -> None:
    """Leave a check in the graph where a length is not known while tracing: it would broadcast without a word."""
    if tf.get_static_value(wanted) is None or None in shape_of(a):
        tf.debugging.assert_equal(tf.shape(a), wanted, f"{name} must have the shape that z asks for")
