"""Where arrays live: the GPU when the framework sees one, else the CPU.

`DLBOOK_DEVICE=cpu|cuda|mps` overrides the choice; with "cpu", `import dlbook` hides NVIDIA's GPUs. float32 stays
float32: NVIDIA's TF32 keeps ten bits of the mantissa in matrix products, so it is switched off, and the three
frameworks agree to six digits.

PyTorch and CuPy compute where their arrays are. TensorFlow computes on a GPU that it sees, wherever its arrays are,
unless it is told otherwise: `with tf.device("CPU:0")`.
"""

import importlib.util
import os

DEVICES = ("cpu", "cuda", "mps")


def available(framework: str) -> tuple[str, ...]:
    """The devices that `framework` ("numpy", "tensorflow" or "torch") can use here; "cpu" is always one."""
    if framework == "torch":
        return _torch_devices()
    if framework == "tensorflow":
        return _tensorflow_devices()
    if framework == "numpy":
        return _numpy_devices()
    raise ValueError(f"framework must be numpy, tensorflow or torch, got {framework!r}")


def default(framework: str) -> str:
    """The device that new arrays of `framework` go to: `DLBOOK_DEVICE` when set, else a GPU if there is one.

    Raises ValueError when `DLBOOK_DEVICE` names no device. A device that only another framework can use is
    passed over: with DLBOOK_DEVICE=mps, TensorFlow and NumPy stay on the CPU.
    """
    wanted = os.environ.get("DLBOOK_DEVICE", "").lower()
    if wanted and wanted not in DEVICES:
        raise ValueError(f"DLBOOK_DEVICE must be one of {', '.join(DEVICES)}, got {wanted!r}")
    if wanted == "cpu":
        return "cpu"
    here = available(framework)
    if wanted:
        return wanted if wanted in here else "cpu"
    return here[-1]


def check(device: str, framework: str) -> str:
    """`device` itself when `framework` can use it here; ValueError naming what there is when it cannot."""
    if device == "cpu":
        return device
    here = available(framework)
    if device not in here:
        raise ValueError(
            f"device must be one of {', '.join(here)} for {framework} on this machine, got {device!r}"
        )
    return device


def _torch_devices() -> tuple[str, ...]:
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    if torch.cuda.is_available():
        return ("cpu", "cuda")
    return ("cpu", "mps") if torch.backends.mps.is_available() else ("cpu",)


def _tensorflow_devices() -> tuple[str, ...]:
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(False)
    return ("cpu", "cuda") if tf.config.list_physical_devices("GPU") else ("cpu",)


def _numpy_devices() -> tuple[str, ...]:
    if importlib.util.find_spec("cupy") is None:
        return ("cpu",)
    import cupy

    return ("cpu", "cuda") if cupy.is_available() else ("cpu",)
