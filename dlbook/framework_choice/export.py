"""A trained network in files that no framework owns: npz, safetensors and ONNX, each written and read again.

The layers are a list of (W, b) with W (in, out) and b (out,), ReLU between them. Where a library is missing,
`written_and_read` leaves its format out and says what to install.
"""

import importlib.util
import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from dlbook.batch_norm import numpy as bn_numpy
from dlbook.mlp import Params, RunningStatistics

Layers = Sequence[tuple[np.ndarray, np.ndarray]]
NEEDS = {"npz": (), "safetensors": ("safetensors",), "ONNX": ("onnx", "onnxruntime")}


def folded(
    params: Params, running: RunningStatistics, *, eps: float = 1e-5
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The layers of a network of `dlbook.mlp` with its batch norm folded into the weights."""
    layers = []
    for i in range(1, sum(name.startswith("W") for name in params) + 1):
        W, b = params[f"W{i}"], params.get(f"b{i}")
        if f"gamma{i}" in params:
            W, b = bn_numpy.fold(W, b, params[f"gamma{i}"], params[f"beta{i}"], running[i], eps=eps)
        layers.append((W, b[0]))
    return layers


def logits(layers: Layers, x: np.ndarray) -> np.ndarray:
    """The network's answer in plain NumPy: x (..., in) to (..., classes)."""
    for W, b in layers[:-1]:
        x = np.maximum(x @ W + b, 0)
    W, b = layers[-1]
    return x @ W + b


def write_npz(path: Path, layers: Layers) -> None:
    np.savez(path, **named(layers))


def read_npz(path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    with np.load(path) as file:
        return paired(file)


def write_safetensors(path: Path, layers: Layers) -> None:
    from safetensors.numpy import save_file

    save_file(named(layers), path)


def read_safetensors(path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    from safetensors.numpy import load_file

    return paired(load_file(path))


def read_safetensors_by_hand(path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """The format in six lines: 8 bytes say how long the header is, the header is JSON, the rest is numbers."""
    raw = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    arrays = {}
    for name, about in json.loads(raw[8 : 8 + length]).items():
        start, stop = (8 + length + place for place in about["data_offsets"])
        arrays[name] = np.frombuffer(raw[start:stop], "<f4").reshape(about["shape"])
    return paired(arrays)


def write_onnx(path: Path, layers: Layers) -> None:
    """An ONNX graph of one Gemm (x @ W + b) a layer and one Relu between two, for batches of any size."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes, current = [], "x"
    for i in range(1, len(layers) + 1):
        out = "logits" if i == len(layers) else f"z{i}"
        nodes.append(helper.make_node("Gemm", [current, f"W{i}", f"b{i}"], [out]))
        if i < len(layers):
            current = f"h{i}"
            nodes.append(helper.make_node("Relu", [out], [current]))
    weights = [numpy_helper.from_array(array, name) for name, array in named(layers).items()]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width])
        for name, width in (("x", layers[0][0].shape[0]), ("logits", layers[-1][0].shape[1]))
    ]
    graph = helper.make_graph(nodes, "digits", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def run_onnx(path: Path, x: np.ndarray) -> np.ndarray:
    """The logits of an ONNX file for x (batch, in) float32, computed by onnxruntime with one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {session.get_inputs()[0].name: x})
    return answer


def written_and_read(layers: Layers, x: np.ndarray, folder: Path) -> dict[str, np.ndarray]:
    """Each format's name, and the logits that come back from its file for x (batch, in)."""
    folder = Path(folder)
    formats: dict[str, tuple[Callable, Callable]] = {
        "npz": (write_npz, lambda path: logits(read_npz(path), x)),
        "safetensors": (write_safetensors, lambda path: logits(read_safetensors(path), x)),
        "ONNX": (write_onnx, lambda path: run_onnx(path, x)),
    }
    answers = {}
    for name, (write, read) in formats.items():
        missing = [module for module in NEEDS[name] if importlib.util.find_spec(module) is None]
        if missing:
            print(f"{name}: left out; `pip install {' '.join(missing)}` and run this cell again")
            continue
        path = folder / f"reader.{name.lower()}"
        write(path, layers)
        answers[name] = read(path)
    return answers


def named(layers: Layers) -> dict[str, np.ndarray]:
    return {
        f"{kind}{i}": np.ascontiguousarray(a)
        for i, pair in enumerate(layers, 1)
        for kind, a in zip("Wb", pair, strict=True)
    }


def paired(arrays) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(arrays[f"W{i}"], arrays[f"b{i}"]) for i in range(1, len(list(arrays)) // 2 + 1)]
