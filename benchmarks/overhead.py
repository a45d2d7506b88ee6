"""How long is one training step of 64-w-w-10, against the width and against the batch, in every way there is?

    python benchmarks/overhead.py --device cuda --seconds 110

Prints a table and writes benchmarks/results/overhead-<device>.json: for every width and batch, seconds a step in each
round for NumPy, PyTorch (CPU and GPU, eager and compiled), CuPy and Keras, as far as this Python can import them.
float32, without TF32. The order of the rounds alternates between all ways; compiled ones come last, while time lasts.
"""

import argparse
import datetime as dt
import importlib
import importlib.util
import json
import os
import platform
import sys
import time
from pathlib import Path

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # before NumPy is imported: libraries read it once
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from dlbook.framework_choice import speed  # noqa: E402

WIDTHS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
BATCHES = (1, 4, 16, 64, 256, 1024)
BATCH, WIDTH = 64, 256
COMPILED_WIDTHS = (64, 512, 2048, 8, 4096, 128, 1024, 16, 32, 256)  # in this order, while time lasts
CPU_LIMIT = 1e10  # operations a step; beyond, the CPU would eat the time of the others


def has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def ways(device: str) -> list[tuple[str, speed.Way]]:
    """(where, way) of everything that is not compiled at run time for a minute."""
    found = [("CPU", speed.numpy_way())]
    if has("torch"):
        found.append(("CPU", speed.torch_way()))
        if device == "cuda":
            found.append(("GPU", speed.torch_way("cuda")))
            found.append(("GPU", speed.torch_way("cuda", waiting=False)))
    if device == "cuda" and has("cupy"):
        found.append(("GPU", speed.cupy_way()))
    if has("tensorflow"):
        place = "GPU" if device == "cuda" else "CPU"
        found += [(place, speed.keras_way(compiled=True)), (place, speed.keras_way())]
    return [(place, way._replace(name=f"{way.name}, {place}")) for place, way in found]


def machine(device: str) -> dict:
    """What a reader has to know about the machine; no host name, no path."""
    about = {
        "device": "CPU",
        "date": dt.date.today().isoformat(),
        "python": platform.python_version(),
        "threads": int(os.environ["OMP_NUM_THREADS"]),
        "versions": {
            name: importlib.import_module(name).__version__
            for name in ("numpy", "torch", "cupy", "tensorflow", "keras")  # torch before TensorFlow
            if has(name)
        },
    }
    if device == "cuda":
        import torch

        about["device"] = torch.cuda.get_device_name()
        about["versions"]["CUDA"] = torch.version.cuda
    return about


def as_json(point: speed.Point) -> dict:
    """A point with its times to 4 digits."""
    short = {name: [float(f"{value:.4g}") for value in values] for name, values in point.seconds.items()}
    first = {name: float(f"{value:.3g}") for name, value in point.first.items()}
    return {"width": point.width, "batch": point.batch, "seconds": short, "first": first}


def show(point: speed.Point) -> None:
    medians = {name: float(np.median(values)) * 1e6 for name, values in point.seconds.items()}
    row = "  ".join(f"{name} {value:.0f}" for name, value in medians.items())
    print(f"width {point.width:5} batch {point.batch:5}  µs a step: {row}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument(
        "--seconds", type=float, default=110, help="stop to begin anything new after this long"
    )
    parser.add_argument("--quick", action="store_true", help="three widths and two batches, nothing compiled")
    parser.add_argument("--out", type=Path, help="where the JSON goes; benchmarks/results by default")
    options = parser.parse_args()
    start = time.monotonic()
    left = lambda: options.seconds - (time.monotonic() - start)  # noqa: E731
    if has("torch"):
        import torch

        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    found = ways(options.device)
    target = options.out or ROOT / "benchmarks" / "results" / f"overhead-{options.device}.json"
    result = machine(options.device) | {"widths": [], "batches": [], "failed": {}}

    def write() -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(result, indent=1) + "\n")

    def take(kind: str, chosen: list, width: int, batch: int) -> None:
        chosen = [way for place, way in chosen if place == "GPU" or speed.work(width, batch) <= CPU_LIMIT]
        point = speed.measure(chosen, width, batch, failed=result["failed"])
        result[kind].append(as_json(point))
        show(point)
        write()

    widths, batches = (WIDTHS[::4], BATCHES[::4]) if options.quick else (WIDTHS, BATCHES)
    for width in widths:
        if left() > 0:
            take("widths", found, width, BATCH)
    for batch in batches:
        if left() > 0:
            take("batches", found, WIDTH, batch)
    if has("torch") and not options.quick:
        import torch

        # Where compiling takes half a minute, only a few widths get their turn.
        for width in COMPILED_WIDTHS:
            for place, name in (("GPU", "cuda"), ("CPU", "cpu")):
                if (name == "cuda" and options.device != "cuda") or left() < 20:
                    continue
                torch._dynamo.reset()
                way = speed.torch_way(name, compiled=True)
                reference = next(w for p, w in found if p == place and "PyTorch, eager" in w.name)
                pair = [(place, reference), (place, way._replace(name=f"{way.name}, {place}"))]
                take("widths", pair, width, BATCH)
    write()
    print(f"{time.monotonic() - start:.0f} s; failed: {result['failed'] or 'nothing'}; wrote {target.name}")


if __name__ == "__main__":
    main()
