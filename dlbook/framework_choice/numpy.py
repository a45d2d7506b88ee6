"""The network in NumPy: forward and backward by hand. CuPy arrays run through the same lines."""

import numpy as np


def network(params):
    """The parameters `W1` (in, out), `b1` (1, out), ... as the network's own copies."""
    return {name: array.copy() for name, array in params.items()}


def loss_and_gradients(net, x, y):
    """The mean cross-entropy (nats) of x (batch, features), y (batch,), and its gradient in each parameter."""
    inputs, logits = _forward(net, x)
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    one_hot = y[:, None] == np.arange(log_p.shape[1], like=y)
    loss = -(log_p * one_hot).sum() / len(y)
    return loss, _backward(net, inputs, (np.exp(log_p) - one_hot) / len(y))


def sgd_step(net, lr, *, compiled=False):
    """A function of (x, y) that takes one step of gradient descent at rate `lr` and returns the loss before it."""
    if compiled:
        raise ValueError("compiled must be False for NumPy, which has no compiler of its own; got True")

    def step(x, y):
        loss, grads = loss_and_gradients(net, x, y)
        for name, grad in grads.items():
            net[name] -= lr * grad
        return loss

    return step


def _forward(net, x):
    """The input of every layer, and the logits."""
    inputs = []
    for i in range(1, len(net) // 2 + 1):
        inputs.append(x)
        z = x @ net[f"W{i}"] + net[f"b{i}"]
        x = np.maximum(z, 0)
    return inputs, z


def _backward(net, inputs, dz):
    """From the gradient in the logits, dz (batch, classes), back to the gradient in each parameter."""
    grads = {}
    for i in range(len(inputs), 0, -1):
        h = inputs[i - 1]
        grads[f"W{i}"] = h.T @ dz
        grads[f"b{i}"] = dz.sum(axis=0, keepdims=True)
        if i > 1:  # h came out of a ReLU: its slope is 1 where h is positive
            dz = (dz @ net[f"W{i}"].T) * (h > 0)
    return grads
