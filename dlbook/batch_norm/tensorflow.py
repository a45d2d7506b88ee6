"""Batch normalisation in TensorFlow, eagerly and inside `tf.function`. See `dlbook.batch_norm` for the conventions.

The batch size may be unknown when a graph is traced; what can only be checked with it is checked when it runs.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import tensorflow as tf

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

    Returns `y` (shape and dtype of `x`), the new running statistics, through which no gradient flows, and the
    cache for `batch_norm_backward`. `running=None` starts the average at this batch.
    Ioffe and Szegedy (2015), Algorithm 1.

    Raises ValueError for an empty batch, a wrong shape, a bad `axis`, `decay` outside [0, 1] or `eps` < 0,
    and TypeError when `x` is not floating point. A batch of unknown size that turns out to be empty raises
    `tf.errors.InvalidArgumentError` when the graph runs.
    """
    averaged = check_train(x, gamma, beta, running, axis, decay, eps)
    _number_of_examples(x, averaged)
    dtype, x, gamma, beta = x.dtype, *_wide(x, gamma, beta)
    mean = tf.reduce_mean(x, averaged, keepdims=True)
    # Not tf.nn.moments: it stops the gradient at the mean, which makes second derivatives wrong.
    var = tf.reduce_mean(tf.square(x - mean), averaged, keepdims=True)
    std = tf.sqrt(var + eps)
    x_hat = (x - mean) / std
    y = gamma * x_hat + beta
    return tf.cast(y, dtype), _update(running, mean, var, decay), Cache(x_hat, std, gamma, averaged)


def batch_norm_test(
    x: Batch, gamma: PerFeature, beta: PerFeature, running: Running, *, eps: float = 1e-5
) -> Batch:
    """Normalise by the running statistics: each example on its own, whatever its neighbours are.

    Ioffe and Szegedy (2015), Algorithm 2, step 11. An empty batch gives an empty result.
    """
    check_test(x, gamma, beta, running, eps)
    dtype, x, gamma, beta, mean, var = x.dtype, *_wide(x, gamma, beta, *running)
    return tf.cast(gamma * (x - mean) / tf.sqrt(var + eps) + beta, dtype)


def batch_norm_backward(dy: Batch, cache: Cache) -> tuple[Batch, PerFeature, PerFeature]:
    """The gradients of the loss in `x`, `gamma` and `beta`, given its gradient `dy` in `y`: the tape, by hand.

    `mu` and `sigma` depend on every row, so each row's gradient loses the batch mean of the gradient and its
    component along `x_hat`. What is left sums to 0 over the batch and, for eps = 0, is orthogonal to `x_hat`.
    """
    x_hat, std, gamma, averaged = cache
    check_backward(dy, x_hat)
    dtype, dy = dy.dtype, *_wide(dy)
    dx_hat = dy * gamma
    along = tf.reduce_mean(dx_hat * x_hat, averaged, keepdims=True)
    dx = (dx_hat - tf.reduce_mean(dx_hat, averaged, keepdims=True) - x_hat * along) / std
    dgamma = _sum_to(dy * x_hat, averaged, gamma.shape)
    dbeta = _sum_to(dy, averaged, gamma.shape)
    return tf.cast(dx, dtype), dgamma, dbeta


def precise_statistics(batches: Iterable[Batch], *, axis: Axis = -2) -> Running:
    """The mean and biased variance of each feature over ALL examples in `batches`, each example counted once.

    Batches may differ in size; an empty one counts for nothing. The pooled variance is the mean variance inside
    the batches plus the variance between their means (Chan, Golub and LeVeque 1983, equation 2.1).
    Raises ValueError when there is no example at all. Call it eagerly; `batches` may be a `tf.data.Dataset`.
    """
    count, mean, square = 0, 0.0, 0.0
    for x in batches:
        x = tf.stop_gradient(x)
        check_floating("batches", x.dtype)
        averaged = axes(axis, x.shape.rank)
        n = examples(shape_of(x), averaged)
        if n == 0:
            continue
        (x,) = _wide(x)
        batch_mean = tf.reduce_mean(x, averaged, keepdims=True)
        shift, total = batch_mean - mean, count + n
        square = square + tf.reduce_sum(tf.square(x - batch_mean), averaged, keepdims=True)
        square = square + shift * (shift * (count * n / total))
        mean, count = mean + shift * (n / total), total
    if count == 0:
        raise ValueError("batches must hold at least one example, got none")
    return Running(mean, square / count)


def fold(
    W: Any, b: Any | None, gamma: PerFeature, beta: PerFeature, running: Running, *, eps: float = 1e-5
) -> tuple[Any, Any]:
    """Weights and bias of one dense layer that does what `x @ W + b` followed by test-time batch norm does.

    `W` is (..., in, out), the kernel of `keras.layers.Dense`; `b` is (..., 1, out), (out,) or None for no bias;
    one value of `gamma` per output. Raises ValueError when the numbers of outputs differ.
    """
    check_fold(W, b, gamma, beta, running, eps)
    dtype, W, gamma, beta, mean, var = tf.as_dtype(W.dtype), *_wide(W, gamma, beta, *running)
    scale = gamma / tf.sqrt(var + eps)
    shift = -mean if b is None else tf.cast(b, mean.dtype) - mean
    return tf.cast(W * scale, dtype), tf.cast(shift * scale + beta, dtype)


@keras.saving.register_keras_serializable(package="dlbook")
class BatchNorm(keras.layers.Layer):
    """A batch norm layer for `features` features, as `keras.layers.BatchNormalization` is, `momentum` our `decay`.

    With `training=True` it uses the batch and moves the weights `running_mean` and `running_var`, which start at 0
    and 1; else it uses them. A frozen layer (`trainable = False`) always uses them, as Keras' own does.
    """

    def __init__(self, features: int, *, decay: float = 0.9, eps: float = 1e-5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_layer(features, decay, eps)
        self.features, self.decay, self.eps = features, decay, eps
        self.gamma = self._per_feature("gamma", "ones")
        self.beta = self._per_feature("beta", "zeros")
        self.running_mean = self._per_feature("running_mean", "zeros", trainable=False)
        self.running_var = self._per_feature("running_var", "ones", trainable=False)
        self.built = True

    def call(self, x: Batch, training: bool = False) -> Batch:
        gamma, beta = self.gamma.value, self.beta.value
        running = Running(self.running_mean.value, self.running_var.value)
        if not (training and self.trainable):
            return batch_norm_test(x, gamma, beta, running, eps=self.eps)
        y, running, _ = batch_norm_train(x, gamma, beta, running, decay=self.decay, eps=self.eps)
        self.running_mean.assign(running.mean)
        self.running_var.assign(running.var)
        return y

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "features": self.features, "decay": self.decay, "eps": self.eps}

    def _per_feature(self, name: str, initializer: str, trainable: bool = True) -> keras.Variable:
        # A mixed-precision policy would hand us these in float16, where a variance above 65504 is infinite.
        return self.add_weight((self.features,), initializer, name=name, trainable=trainable, autocast=False)


def recompute(model: keras.Model, batches: Iterable[Any]) -> None:
    """Set the running statistics of all batch norm layers in `model` to those of ALL examples in `batches`, in place.

    Layer by layer from the input on, so each is measured on what it receives at test time, and neither the size of
    the batches nor their order matters. Everything else works as at test time too, dropout included. `batches` is
    read once for every layer: a list or a `tf.data.Dataset`; of a tuple or list such as (x, y), `model` gets the
    first. The variance is the biased one, which Keras keeps too. Frozen layers are measured like all others; those
    that the first batch does not reach stay. Wu and Johnson (2021) call such statistics PreciseBN.
    Raises ValueError when there is no example at all, TypeError for an iterator that can be read only once.
    """
    check_repeatable(batches)
    eager = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)  # a traced model calls its layers while tracing, and not again
    try:
        for layer in _normalising(model, batches):
            for weight, value in zip(
                _kept(layer), precise_statistics(_received(layer, model, batches)), strict=True
            ):
                weight.assign(tf.reshape(value, [-1]))
    finally:
        tf.config.run_functions_eagerly(eager)


def _number_of_examples(x: tf.Tensor, averaged: tuple[int, ...]) -> None:
    """Leave a check in the graph where the size of the batch is not known while tracing."""
    if examples(shape_of(x), averaged) is None:
        count = tf.reduce_prod(tf.gather(tf.shape(x), averaged))
        tf.debugging.assert_positive(count, "x must hold at least one example to have a mean, got none")


def _wide(x: Batch, *others: Any) -> list[tf.Tensor]:
    """All tensors in the dtype the sums are made in: that of `x`, or float32 where `x` is float16 or bfloat16."""
    dtype = tf.float32 if is_half(x.dtype) else x.dtype
    return [tf.cast(a, dtype) for a in (x, *others)]


def _update(running: Running | None, mean: tf.Tensor, var: tf.Tensor, decay: float) -> Running:
    mean, var = tf.stop_gradient(mean), tf.stop_gradient(var)
    if running is None:
        return Running(mean, var)
    old_mean, old_var = map(tf.convert_to_tensor, running)
    mean, var = (tf.cast(tf.reshape(a, tf.shape(old_mean)), old_mean.dtype) for a in (mean, var))
    return Running(decay * old_mean + (1 - decay) * mean, decay * old_var + (1 - decay) * var)


def _sum_to(x: tf.Tensor, averaged: tuple[int, ...], shape: tf.TensorShape) -> PerFeature:
    """Sum over the batch, and over the models that share one parameter, down to the parameter's shape."""
    total = tf.reduce_sum(x, averaged, keepdims=True)
    return tf.reduce_sum(total, tf.range(total.shape.rank - shape.rank))


def _normalising(model: keras.Model, batches: Iterable[Any]) -> list[keras.layers.Layer]:
    """The batch norm layers of `model`, in the order in which the first batch meets them."""
    kinds, met = (keras.layers.BatchNormalization, BatchNorm), []
    with ExitStack() as watch:
        for layer in model._flatten_layers():
            if isinstance(layer, kinds):
                watch.enter_context(_called(layer, lambda layer, _: met.append(layer)))
        for batch in batches:
            model(inputs(batch), training=False)
            return list({id(layer): layer for layer in met}.values())
    raise ValueError("batches must hold at least one example, got none")


def _received(layer: keras.layers.Layer, model: keras.Model, batches: Iterable[Any]) -> Iterator[Batch]:
    """What `layer` is called on while `model` reads the `batches`, as (examples and pixels, features)."""
    seen, axis = [], getattr(layer, "axis", -1)
    with _called(layer, lambda _, x: seen.append(x)):
        for batch in batches:
            model(inputs(batch), training=False)
            for x in seen:
                yield tf.reshape(keras.ops.moveaxis(x, axis, -1), [-1, x.shape[axis]])
            seen.clear()


@contextmanager
def _called(layer: keras.layers.Layer, report: Any) -> Iterator[None]:
    """`report(layer, x)` whenever `layer` is called on x. Keras has no hooks, so its `call` is replaced meanwhile."""
    call = layer.call

    def reported(x: Batch, *arguments: Any, **options: Any) -> Batch:
        report(layer, x)
        return call(x, *arguments, **options)

    layer.call = reported
    try:
        yield
    finally:
        del layer.call


def _kept(layer: keras.layers.Layer) -> tuple[keras.Variable, keras.Variable]:
    """The running mean and variance, under Keras' names or the book's."""
    if isinstance(layer, BatchNorm):
        return layer.running_mean, layer.running_var
    return layer.moving_mean, layer.moving_variance
