"""Reverse-mode automatic differentiation in a few lines: numbers that remember where they came from.

Each operation stores, for each of its inputs, the slope of the output in it. `backward` walks from the result back
to the inputs and multiplies the slopes along the way: the chain rule. Baydin et al. (2018), section 3.2.
"""


class Value:
    """A number in a computation; after `result.backward()`, `value.grad` is the slope of `result` in `value`."""

    def __init__(self, data, parents=(), slopes=()):
        self.data, self.grad, self.parents, self.slopes = data, 0.0, parents, slopes

    def __add__(self, other):
        other = as_value(other)
        return Value(self.data + other.data, (self, other), (1.0, 1.0))

    def __mul__(self, other):
        other = as_value(other)
        return Value(self.data * other.data, (self, other), (other.data, self.data))

    def __pow__(self, n):
        return Value(self.data**n, (self,), (n * self.data ** (n - 1),))

    def __sub__(self, other):
        return self + as_value(other) * -1

    __radd__, __rmul__ = __add__, __mul__

    def backward(self):
        order = in_order(self, [])
        for node in order:
            node.grad = 0.0
        self.grad = 1.0
        for node in reversed(order):  # every user of a node comes before the node itself
            for parent, slope in zip(node.parents, node.slopes, strict=True):
                parent.grad += slope * node.grad


def as_value(x):
    """A plain number is a value without a history."""
    return x if isinstance(x, Value) else Value(x)


def in_order(node, order):
    """All nodes that `node` was computed from, and itself: each after those it needs, and once."""
    if not any(node is other for other in order):
        for parent in node.parents:
            in_order(parent, order)
        order.append(node)
    return order
