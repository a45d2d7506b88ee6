"""Arrays cross from one framework to another unchanged, and a framework that is missing or unknown is named."""

import contextlib
import importlib.machinery
import importlib.util
import sys
import types

import array_api_compat
import numpy as np
import pytest
from conftest import require
from hypothesis import given
from hypothesis.extra import numpy as hnp

from dlbook import frameworks
from dlbook.frameworks import FRAMEWORKS, framework_of, from_numpy, load, to_numpy

DTYPES = ("float16", "float32", "float64", "int32", "int64", "uint8", "bool")


def fake_module(name: str, **contents) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    vars(module).update(contents)
    return module


class CupyArray:
    """What the package knows of CuPy's arrays: where their type is defined, and `get`."""

    __module__ = "cupy._core.core"

    def __init__(self, array):
        self.array, self.dtype = array.copy(), array.dtype

    def get(self):
        return self.array


@pytest.fixture
def cupy(monkeypatch):
    """A CuPy that finds a GPU."""
    module = fake_module("cupy", asarray=CupyArray, is_available=lambda: True)
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.delenv("DLBOOK_DEVICE", raising=False)


def test_installed_frameworks_are_those_that_python_can_find(monkeypatch):
    assert set(frameworks.installed()) == {name for name in FRAMEWORKS if importlib.util.find_spec(name)}
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else find(name))
    assert "torch" not in frameworks.installed()
    assert "numpy" in frameworks.installed()


def test_load_gives_the_module_of_a_topic_in_a_framework(framework):
    assert load("batch_norm", framework).__name__ == f"dlbook.batch_norm.{framework}"


def test_the_functions_for_an_array_are_those_of_array_api_compat():
    for x in (np.zeros(2), np.float32(1), np.ma.zeros(2)):
        assert frameworks.array_namespace(x) is array_api_compat.array_namespace(x)
    xp = pytest.importorskip("array_api_strict")
    assert frameworks.array_namespace(xp.zeros(2)) is xp
    with pytest.raises(TypeError):
        frameworks.array_namespace([1.0])


def test_a_framework_that_does_not_exist_is_named_beside_those_that_do():
    for call in (lambda: load("batch_norm", "jax"), lambda: from_numpy([1.0], "jax")):
        with pytest.raises(ValueError, match="one of numpy, tensorflow, torch, got 'jax'"):
            call()


def test_a_topic_that_does_not_exist_is_named():
    with pytest.raises(ValueError, match="such as 'batch_norm' or 'softmax', got 'batchnorm'"):
        load("batchnorm", "numpy")


def test_a_framework_that_is_not_installed_comes_with_the_command_that_helps(monkeypatch):
    monkeypatch.setattr(frameworks, "installed", lambda: ("numpy",))
    with pytest.raises(ImportError, match="torch is not installed: try `pip install torch`"):
        load("batch_norm", "torch")


def test_tensorflow_is_loaded_without_torch_where_torch_is_missing(monkeypatch):
    require("tensorflow")
    loaded = []
    monkeypatch.setattr(frameworks.importlib, "import_module", loaded.append)
    load("batch_norm", "tensorflow")
    monkeypatch.setattr(frameworks, "installed", lambda: ("numpy", "tensorflow"))
    load("batch_norm", "tensorflow")
    first = ["torch"] if importlib.util.find_spec("torch") else []
    assert loaded == [*first, "dlbook.batch_norm.tensorflow", "dlbook.batch_norm.tensorflow"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (0, 2), (2, 1, 3)])
def test_there_and_back_keeps_values_dtype_and_shape(framework, dtype, shape):
    x = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    there = from_numpy(x, framework, device="cpu")
    assert framework_of(there) == framework
    assert getattr(there.dtype, "name", str(there.dtype)).rpartition(".")[2] == dtype
    back = to_numpy(there)
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, x, strict=True)


@given(x=hnp.arrays(np.float32, hnp.array_shapes(max_dims=3, max_side=3)))
def test_any_bits_come_back_nan_infinity_and_subnormal_numbers_too(framework, x):
    np.testing.assert_array_equal(to_numpy(from_numpy(x, framework, device="cpu")), x)


def test_views_that_are_not_contiguous_come_back(framework):
    x = np.arange(24.0).reshape(4, 6)[::-2, ::3].T
    np.testing.assert_array_equal(to_numpy(from_numpy(x, framework, device="cpu")), x)


@pytest.mark.parametrize("value", [1.5, [1.0, 2.0], [[1, 2], [3, 4]], True])
def test_numbers_and_lists_become_arrays(framework, value):
    np.testing.assert_array_equal(to_numpy(from_numpy(value, framework)), value)
    np.testing.assert_array_equal(to_numpy(value), value)


def test_the_array_made_shares_no_memory_with_the_readers(framework):
    x = np.ones(3, "float32")
    there = from_numpy(x, framework, device="cpu")
    x[:] = 7
    np.testing.assert_array_equal(to_numpy(there), np.ones(3))


def test_a_read_only_array_is_taken_without_a_warning(framework):
    x = np.ones(3)
    x.flags.writeable = False
    np.testing.assert_array_equal(to_numpy(from_numpy(x, framework)), x)


def test_a_tensor_in_a_graph_is_cut_off_from_its_gradient():
    require("torch")
    import torch

    w = torch.nn.Parameter(torch.ones(2))
    np.testing.assert_array_equal(to_numpy(w * 3), [3, 3])
    np.testing.assert_array_equal(to_numpy(w), [1, 1])


@pytest.mark.parametrize("numbers", [[1.0, 0.1], 0.1])
@pytest.mark.parametrize("name", ["torch", "tensorflow"])
def test_bfloat16_comes_out_as_float32_with_the_same_value(name, numbers):
    require(name)
    module = importlib.import_module(name)
    cast = {"torch": lambda x: x.bfloat16(), "tensorflow": lambda x: module.cast(x, module.bfloat16)}[name]
    x = to_numpy(cast(from_numpy(np.array(numbers, "float32"), name)))
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x, np.where(np.equal(numbers, 0.1), 0.10009765625, numbers))


def test_variables_of_tensorflow_and_keras_come_out():
    require("tensorflow")
    import keras
    import tensorflow as tf

    np.testing.assert_array_equal(to_numpy(tf.Variable([1.0, 2.0])), [1, 2])
    np.testing.assert_array_equal(to_numpy(keras.Variable([1.0, 2.0])), [1, 2])


def test_cupy_arrays_go_in_and_come_out(cupy):
    x = np.arange(3.0)
    there = from_numpy(x, "numpy")
    assert isinstance(there, CupyArray)
    np.testing.assert_array_equal(to_numpy(there), x)
    assert framework_of(there) == "numpy"
    assert isinstance(from_numpy(x, "numpy", device="cpu"), np.ndarray)


def test_the_gpu_of_tensorflow_is_named_in_its_own_words(monkeypatch):
    require("tensorflow")
    import tensorflow as tf

    from dlbook import device

    asked = []
    monkeypatch.setattr(tf, "device", lambda name: asked.append(name) or contextlib.nullcontext())
    monkeypatch.setattr(device, "available", lambda framework: ("cpu", "cuda"))
    monkeypatch.delenv("DLBOOK_DEVICE", raising=False)
    for where in (None, "cuda", "cpu"):
        from_numpy([1.0], "tensorflow", device=where)
    assert asked == ["GPU:0", "GPU:0", "CPU:0"]


@pytest.mark.parametrize("device", ["cuda", "gpu", "tpu", ""])
def test_a_device_that_is_not_there_is_named(framework, device, monkeypatch):
    from dlbook import device as devices

    monkeypatch.setattr(devices, "available", lambda framework: ("cpu",))
    with pytest.raises(ValueError, match=f"one of cpu for {framework} on this machine, got {device!r}"):
        from_numpy([1.0], framework, device=device)


def test_subclasses_belong_to_the_framework_of_their_parent():
    require("torch")
    import torch

    assert framework_of(torch.nn.Parameter(torch.ones(1))) == "torch"
    assert framework_of(np.ma.masked_array([1.0])) == "numpy"
    assert framework_of(np.float32(1)) == "numpy"


@pytest.mark.parametrize("value", [1.0, [1.0], "array", None])
def test_what_is_no_array_belongs_to_no_framework(value):
    with pytest.raises(TypeError, match=f"array of numpy, tensorflow, torch, got {type(value).__name__}"):
        framework_of(value)
