"""The defaults of the installed Keras and PyTorch, asked of them and not remembered."""

import inspect
from typing import Any


def of_keras() -> dict[str, Any]:
    """Names as in the table of the page, values as this installation has them."""
    import keras

    norm, dense = keras.layers.BatchNormalization(), keras.layers.Dense(1)
    adam, sgd, rms = keras.optimizers.Adam(), keras.optimizers.SGD(), keras.optimizers.RMSprop()
    loss = keras.losses.SparseCategoricalCrossentropy()
    return {
        "batch norm: ε": norm.epsilon,
        "batch norm: weight of the old average": norm.momentum,
        "Adam: ε": adam.epsilon,
        "Adam: learning rate": _short(adam.learning_rate),
        "SGD: learning rate": _short(sgd.learning_rate),
        "RMSprop: learning rate": _short(rms.learning_rate),
        "RMSprop: decay": rms.rho,
        "RMSprop: ε": rms.epsilon,
        "dense: bias at the start": type(dense.bias_initializer).__name__,
        "dense: weights at the start": type(dense.kernel_initializer).__name__,
        "cross-entropy expects": "logits" if loss.get_config().get("from_logits") else "probabilities",
    }


def of_torch() -> dict[str, Any]:
    """The same names for PyTorch."""
    import torch
    from torch import nn

    norm, weight = nn.BatchNorm1d(1), [nn.Parameter(torch.zeros(1))]
    adam, sgd, rms = (
        kind(weight).defaults for kind in (torch.optim.Adam, torch.optim.SGD, torch.optim.RMSprop)
    )
    linear = inspect.getsource(nn.Linear.reset_parameters)
    return {
        "batch norm: ε": norm.eps,
        "batch norm: weight of the old average": 1 - norm.momentum,
        "Adam: ε": adam["eps"],
        "Adam: learning rate": adam["lr"],
        "SGD: learning rate": sgd["lr"],
        "RMSprop: learning rate": rms["lr"],
        "RMSprop: decay": rms["alpha"],
        "RMSprop: ε": rms["eps"],
        "dense: bias at the start": "uniform ± 1/√in" if "uniform_(self.bias" in linear else "?",
        "dense: weights at the start": "uniform ± 1/√in" if "a=math.sqrt(5)" in linear else "?",
        "cross-entropy expects": "logits",
    }


def _short(variable: Any) -> float:
    return float(f"{float(variable):.6g}")
