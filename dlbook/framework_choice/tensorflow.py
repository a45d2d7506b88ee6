"""The network in Keras, trained by TensorFlow's tape."""

import keras
import tensorflow as tf


def network(params):
    """Dense layers with ReLU between them that hold `W1` (in, out), `b1` (1, out), ..."""
    features, dtype = len(params["W1"]), params["W1"].dtype.name
    net = keras.Sequential([keras.Input((features,), dtype=dtype)])
    last = len(params) // 2
    for i in range(1, last + 1):
        width = params[f"b{i}"].shape[1]
        net.add(keras.layers.Dense(width, "relu" if i < last else None, dtype=dtype))
        net.layers[-1].set_weights([params[f"W{i}"], params[f"b{i}"][0]])
    return net


def loss_and_gradients(net, x, y):
    """The mean cross-entropy (nats) of x (batch, features), y (batch,), and its gradient in each parameter."""
    with tf.GradientTape() as tape:
        loss = _loss(y, net(x, training=True))
    grads = {}
    for i, (dW, db) in enumerate(
        tape.gradient(loss, [layer.trainable_weights for layer in net.layers]), start=1
    ):
        grads |= {f"W{i}": dW, f"b{i}": db[None]}
    return loss, grads


def sgd_step(net, lr, *, compiled=False):
    """A function of (x, y) that takes one step of gradient descent at rate `lr` and returns the loss before it."""
    optimizer = keras.optimizers.SGD(lr)
    optimizer.build(net.trainable_variables)

    def step(x, y):
        with tf.GradientTape() as tape:
            loss = _loss(y, net(x, training=True))
        optimizer.apply(tape.gradient(loss, net.trainable_variables), net.trainable_variables)
        return loss

    return tf.function(step) if compiled else step


def _loss(y, logits):
    return tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(y, logits, from_logits=True))
