"""The network in PyTorch."""

import torch
from torch import nn
from torch.nn import functional as F


def network(params):
    """Linear layers with ReLU between them that hold `W1` (in, out), `b1` (1, out), ...; PyTorch stores W.T."""
    layers = []
    for i in range(1, len(params) // 2 + 1):
        W, b = torch.from_numpy(params[f"W{i}"]), torch.from_numpy(params[f"b{i}"])
        linear = nn.Linear(*W.shape, dtype=W.dtype)
        linear.weight.data.copy_(W.T)
        linear.bias.data.copy_(b[0])
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def loss_and_gradients(net, x, y):
    """The mean cross-entropy (nats) of x (batch, features), y (batch,), and its gradient in each parameter."""
    net.zero_grad()
    loss = F.cross_entropy(net(x), y)
    loss.backward()
    grads = {}
    for i, linear in enumerate(net[::2], start=1):
        grads |= {f"W{i}": linear.weight.grad.T, f"b{i}": linear.bias.grad[None]}
    return loss.detach(), grads


def sgd_step(net, lr, *, compiled=False):
    """A function of (x, y) that takes one step of gradient descent at rate `lr` and returns the loss before it."""
    model = torch.compile(net) if compiled else net
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)

    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step
