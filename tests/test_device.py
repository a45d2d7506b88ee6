"""Where arrays live: the GPU when there is one, the CPU otherwise, and what DLBOOK_DEVICE says before either."""

import importlib.machinery
import sys
import types

import numpy as np
import pytest
from conftest import require

from dlbook import device
from dlbook.frameworks import FRAMEWORKS, from_numpy


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    """No wish in the environment; and float32 as the test found it."""
    monkeypatch.delenv("DLBOOK_DEVICE", raising=False)


def pretend(monkeypatch, framework: str, *gpus: str) -> None:
    """Make `framework` see these GPUs and no others."""
    if framework == "torch":
        torch = pytest.importorskip("torch")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in gpus)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in gpus)
    elif framework == "tensorflow":
        tf = pytest.importorskip("tensorflow")
        monkeypatch.setattr(
            tf.config, "list_physical_devices", lambda kind: list(gpus) if kind == "GPU" else []
        )
    else:
        cupy = types.ModuleType("cupy")
        cupy.__spec__ = importlib.machinery.ModuleSpec("cupy", None)
        cupy.is_available = lambda: "cuda" in gpus
        monkeypatch.setitem(sys.modules, "cupy", cupy)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_cuda_gpu_is_the_default_where_there_is_one(monkeypatch, framework):
    pretend(monkeypatch, framework, "cuda")
    assert device.available(framework) == ("cpu", "cuda")
    assert device.default(framework) == "cuda"


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_cpu_is_the_default_where_there_is_no_gpu(monkeypatch, framework):
    pretend(monkeypatch, framework)
    assert device.available(framework) == ("cpu",)
    assert device.default(framework) == "cpu"


def test_numpy_without_cupy_has_the_cpu_alone(monkeypatch):
    monkeypatch.setattr(device.importlib.util, "find_spec", lambda name: None)
    assert device.available("numpy") == ("cpu",)


def test_apples_gpu_is_for_torch_and_cuda_goes_before_it(monkeypatch):
    pretend(monkeypatch, "torch", "mps")
    assert device.default("torch") == "mps"
    pretend(monkeypatch, "torch", "mps", "cuda")
    assert device.default("torch") == "cuda"


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("word", ["cpu", "CPU", "Cpu"])
def test_the_wish_for_a_cpu_needs_no_look_at_the_gpu(monkeypatch, framework, word):
    monkeypatch.setenv("DLBOOK_DEVICE", word)
    monkeypatch.setattr(device, "available", lambda framework: pytest.fail("looked"))
    assert device.default(framework) == "cpu"


def test_a_wish_is_met_where_the_framework_can_and_passed_over_where_it_cannot(monkeypatch):
    pretend(monkeypatch, "torch", "cuda", "mps")
    monkeypatch.setattr(device, "_torch_devices", lambda: ("cpu", "cuda", "mps"))
    pretend(monkeypatch, "numpy", "cuda")
    monkeypatch.setenv("DLBOOK_DEVICE", "mps")
    assert device.default("torch") == "mps"
    assert device.default("numpy") == "cpu"
    monkeypatch.setenv("DLBOOK_DEVICE", "cuda")
    assert device.default("torch") == "cuda"
    assert device.default("numpy") == "cuda"


def test_an_empty_wish_is_none(monkeypatch):
    pretend(monkeypatch, "numpy", "cuda")
    monkeypatch.setenv("DLBOOK_DEVICE", "")
    assert device.default("numpy") == "cuda"


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("word", ["gpu", "cuda:0", "tpu", " "])
def test_a_wish_that_names_no_device_is_an_error_for_every_framework(monkeypatch, framework, word):
    monkeypatch.setenv("DLBOOK_DEVICE", word)
    with pytest.raises(ValueError, match=f"DLBOOK_DEVICE must be one of cpu, cuda, mps, got {word!r}"):
        device.default(framework)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_device_asked_for_by_name_must_be_there(monkeypatch, framework):
    pretend(monkeypatch, framework, "cuda")
    assert [device.check(name, framework) for name in ("cpu", "cuda")] == ["cpu", "cuda"]
    with pytest.raises(ValueError, match=f"one of cpu, cuda for {framework} on this machine, got 'mps'"):
        device.check("mps", framework)


def test_an_unknown_framework_is_an_error():
    with pytest.raises(ValueError, match="must be numpy, tensorflow or torch, got 'jax'"):
        device.available("jax")


def test_new_arrays_go_where_the_environment_says(monkeypatch, framework):
    monkeypatch.setenv("DLBOOK_DEVICE", "cpu")
    pretend(monkeypatch, framework, "cuda")
    x = from_numpy(np.ones(2), framework)
    assert "gpu" not in str(getattr(x, "device", "cpu")).lower()
    assert "cuda" not in str(getattr(x, "device", "cpu")).lower()


def test_torch_is_asked_for_whole_float32():
    require("torch")
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    device.available("torch")
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.allow_tf32


def test_tensorflow_is_asked_for_whole_float32():
    require("tensorflow")
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(True)
    device.available("tensorflow")
    assert not tf.config.experimental.tensor_float_32_execution_enabled()
