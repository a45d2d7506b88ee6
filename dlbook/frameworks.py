"""The three frameworks of the book: which are installed, and how arrays cross from one to another.

Arrays change type at two edges only, `from_numpy` on the way in and `to_numpy` on the way out.
"""

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any

import array_api_compat
import array_api_compat.numpy
import numpy as np

FRAMEWORKS = ("numpy", "tensorflow", "torch")


def installed() -> tuple[str, ...]:
    """The frameworks that this Python can import, in the order of `FRAMEWORKS`; none of them is imported."""
    return tuple(name for name in FRAMEWORKS if importlib.util.find_spec(name) is not None)


def load(topic: str, framework: str) -> ModuleType:
    """The module of one topic in one framework: `load("batch_norm", "torch")` is `dlbook.batch_norm.torch`.

    Raises ValueError for an unknown framework or topic, ImportError (with the command that helps) for one
    that is not installed.
    """
    _check_framework(framework)
    if importlib.util.find_spec(f"dlbook.{topic}") is None:
        raise ValueError(f"topic must be a folder of dlbook such as 'batch_norm' or 'softmax', got {topic!r}")
    if framework not in installed():
        raise ImportError(f"{framework} is not installed: try `pip install {framework}`")
    if framework == "tensorflow" and "torch" in installed():
        importlib.import_module("torch")  # in the other order some builds of the two crash in one process
    return importlib.import_module(f"dlbook.{topic}.{framework}")


def array_namespace(x: Any) -> ModuleType:
    """The array API functions for `x`, an array of NumPy, CuPy or another library that has them.

    `array_api_compat.array_namespace` asks one library after another, and a training step asks thirty times: NumPy's
    arrays are known at once.
    """
    return array_api_compat.numpy if type(x) is np.ndarray else array_api_compat.array_namespace(x)


def to_numpy(x: Any) -> np.ndarray:
    """Any array of any framework as a NumPy array on the CPU, cut off from the gradient, dtype, shape kept.

    NumPy has no bfloat16 of its own, so a bfloat16 tensor comes out as float32, which holds it exactly.
    """
    if hasattr(x, "detach"):  # torch
        x = x.detach().cpu()
        return (x.float() if str(x.dtype) == "torch.bfloat16" else x).numpy()
    if hasattr(x, "get") and type(x).__module__.startswith("cupy"):
        return x.get()
    # TensorFlow tensors and variables (np.asarray alone fails on a single bfloat16); NumPy arrays, numbers, lists
    x = np.asarray(x.numpy() if hasattr(x, "numpy") else x)
    return x.astype(np.float32) if x.dtype.name == "bfloat16" else x


def from_numpy(x: Any, framework: str, *, device: str | None = None) -> Any:
    """A NumPy array (or number, or list) as an array of `framework`, dtype and shape kept.

    `device` is "cpu", "cuda" or "mps"; None asks `dlbook.device.default`. The result never shares memory
    with `x`, so nothing a framework does can change the reader's array.
    """
    from dlbook import device as devices

    _check_framework(framework)
    x = np.array(x)
    where = devices.default(framework) if device is None else devices.check(device, framework)
    if framework == "torch":
        import torch

        return torch.from_numpy(x).to(where)
    if framework == "tensorflow":
        import tensorflow as tf

        with tf.device("GPU:0" if where == "cuda" else "CPU:0"):
            return tf.identity(tf.constant(x))
    if where == "cuda":
        import cupy

        return cupy.asarray(x)
    return x


def framework_of(x: Any) -> str:
    """The name of the framework that `x` belongs to; NumPy for CuPy arrays, since they run the same files.

    Raises TypeError for anything that is not an array.
    """
    for kind in type(x).__mro__:
        root = kind.__module__.partition(".")[0]
        if root in ("torch", "tensorflow", "numpy", "cupy") and root in sys.modules:
            return "numpy" if root == "cupy" else root
    raise TypeError(f"expected an array of {', '.join(FRAMEWORKS)}, got {type(x).__name__}")


def _check_framework(framework: str) -> None:
    if framework not in FRAMEWORKS:
        raise ValueError(f"framework must be one of {', '.join(FRAMEWORKS)}, got {framework!r}")
