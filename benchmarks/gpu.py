"""How many models does a GPU train at once? K = 1 to 4096 networks as one computation, and where it saturates.

    python -m benchmarks.gpu                            PyTorch, and the NumPy files on CuPy
    python -m benchmarks.gpu --device cpu --quick       the same program where there is no GPU

One population is trained by `engine="vectorised"`, from the first weights to the validation loss of each model, and
timed until the losses are back on the host. The arms of a network take turns: all K on the GPU, and a few on the CPU
of the same machine. Before that, the losses of the GPU are compared with the CPU's.
"""

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks import timing, work
from dlbook import device
from dlbook.tuning import run

MODELS = (1, 4, 16, 64, 256, 1024, 4096)
ON_THE_CPU = (1, 64, 256)


def main(arguments: Sequence[str] | None = None) -> Path:
    """Measure, print, write `gpu.json`; the path of it."""
    options = _options(arguments)
    began, rows = perf_counter(), []
    networks = [one._replace(epochs=1) for one in work.NETWORKS[:1]] if options.quick else work.NETWORKS
    parts = [(framework, network) for network in networks for framework in options.frameworks]
    for number, (framework, network) in enumerate(parts, start=1):
        until = began + options.limit * number / len(parts)
        rows += measure(framework, network, options, until)
        print(show(rows[-1]["framework"], rows[-1]["network"], rows), flush=True)
        settings = {"device": options.device, "quick": options.quick, "rounds": options.rounds}
        path = timing.write("gpu", rows, settings, options.out)
    return path


def measure(framework: str, network: work.Network, options: Any, until: float) -> list[dict[str, Any]]:
    """The rows of one framework and network."""
    arms, found = [], {}
    cpu = [k for k in ON_THE_CPU if k <= max(options.models)] if options.device != "cpu" else []
    for where, several in ((options.device, options.models), ("cpu", cpu)):
        for models in sorted(several, reverse=True):  # the largest first: the others are compared with it
            arm = trained(framework, network, where, models)
            found[f"{models} models on {where}"] = work.losses(arm.call())  # and warms up
            arms.append(arm)
    work.check(found)
    arms.sort(key=lambda arm: (arm.about["device"] != options.device, arm.trials))
    return timing.race(arms, options.rounds, until=until)


def trained(framework: str, network: work.Network, where: str, models: int) -> timing.Arm:
    """The arm that trains `models` models on a device."""
    objective, wait = work.objective(network, framework), synchronise(framework, where)
    about = {"framework": framework, "network": network.name, "device": where, "models": models}

    def call():
        with on(where):
            wait()
            study = run(objective, work.SPACE, work.SAMPLER, n=models, engine="vectorised")
            wait()
        return study

    return timing.Arm(call, models, about)


@contextmanager
def on(where: str) -> Iterator[None]:
    """New arrays go to this device."""
    before = os.environ.get("DLBOOK_DEVICE")
    os.environ["DLBOOK_DEVICE"] = where
    try:
        yield
    finally:
        del os.environ["DLBOOK_DEVICE"]
        if before is not None:
            os.environ["DLBOOK_DEVICE"] = before


def synchronise(framework: str, where: str) -> Callable[[], Any]:
    """A function that waits until the device has done all that it was told to do."""
    if where == "cpu":
        return lambda: None
    if framework == "numpy":
        import cupy

        return cupy.cuda.Device().synchronize
    import torch

    return torch.cuda.synchronize if where == "cuda" else torch.mps.synchronize


def saturation(rows: Sequence[dict[str, Any]]) -> int | None:
    """The fewest models with 90 % of the best rate of all; None if these are the most that were tried."""
    rates = {row["models"]: timing.per_second(row).median for row in rows}
    enough = min(models for models, rate in rates.items() if rate >= 0.9 * max(rates.values()))
    return enough if enough < max(rates) else None


def show(framework: str, network: str, rows: Sequence[dict[str, Any]]) -> str:
    """The table of one framework and network, and a sentence on where it saturates."""
    mine = [row for row in rows if (row["framework"], row["network"]) == (framework, network)]
    where = mine[0]["device"]
    one, gpu = mine[0], [row for row in mine if row["device"] == where]
    head = ("device", "K", "trials per second", "times K = 1", "times the CPU's best")
    cpu = [row for row in mine if row["device"] == "cpu"]
    best = max(cpu, key=lambda row: timing.per_second(row).median)
    lines = [
        (
            row["device"],
            row["models"],
            timing.per_second(row),
            timing.faster(row, one),
            timing.faster(row, best),
        )
        for row in mine
    ]
    at = saturation(gpu)
    most = max(row["models"] for row in gpu)
    words = (
        f"Nine tenths of the best rate are reached at K = {at}." if at else f"Not saturated at K = {most}."
    )
    name = "cupy" if framework == "numpy" and where != "cpu" else framework
    return f"**{name}, {network}**\n\n{timing.table(head, lines)}\n\n{words}\n"


def _options(arguments: Sequence[str] | None) -> Any:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", choices=device.DEVICES)
    parser.add_argument("--frameworks", nargs="+", default=["torch", "numpy"], choices=["torch", "numpy"])
    parser.add_argument("--models", nargs="+", type=int, default=list(MODELS), help="K")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=float, default=120, help="seconds after which no new round begins")
    parser.add_argument("--out", type=Path, default=timing.RESULTS, help="the folder for gpu.json")
    parser.add_argument("--quick", action="store_true", help="tiny, to see that it runs")
    options = parser.parse_args(arguments)
    if options.quick:
        options.models, options.rounds = [1, 4], 2
    missing = [f for f in options.frameworks if options.device not in device.available(f)]
    if missing and set(missing) == set(options.frameworks):
        parser.error(f"no framework sees the device {options.device} here: try --device cpu")
    options.frameworks = [f for f in options.frameworks if f not in missing]
    return options


if __name__ == "__main__":
    main()
