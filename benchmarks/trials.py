"""How many trials per second? One by one, in worker processes, and as one population, in three frameworks.

    python -m benchmarks.trials [--frameworks numpy torch tensorflow] [--quick]

The same configurations of the same network, trained for three epochs of the digits:

* `plain loop`: written by hand, without this package (`work.plain`);
* `Optuna`: the book's objective inside `study.optimize`, in memory;
* `local`: the book's objective, one configuration after another;
* `2 workers`: the same in two processes, their start included; how long that is say two trials on their own;
* `vectorised`: K configurations as one computation;
* `vectorised, 2 threads`: in NumPy, whose products use one core, populations of half a chunk or more on two.

What does one configuration after another takes as long for each, so a few are timed, on one thread, which is faster
for them. Before anything is timed, the losses of all arms are compared; in NumPy, local and vectorised ones bit for
bit.
"""

import argparse
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks import timing, work
from dlbook import frameworks
from dlbook.tuning import run
from dlbook.tuning.objectives import CACHE_MODELS

MODELS = (1, 16, 64, 256, 1024)
EPOCHS = 3
TWO_THREADS = "vectorised, 2 threads"
FEW = {"numpy": 16, "torch": 8, "tensorflow": 2}  # trials of the arms that go one by one


def main(arguments: Sequence[str] | None = None) -> Path:
    """Measure, print, write `trials.json`; the path of it."""
    options = _options(arguments)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of what is measured here, tracing anew
    began, rows = perf_counter(), []
    networks = [one._replace(epochs=options.epochs) for one in work.NETWORKS]
    parts = [(framework, network) for framework in options.frameworks for network in networks]
    settings = {"epochs": options.epochs, "rounds": options.rounds, "quick": options.quick}
    for number, (framework, network) in enumerate(parts, start=1):
        until = began + options.limit * number / len(parts)
        rows += measure(framework, network, options, until)
        print(show(framework, network.name, rows), flush=True)
        path = timing.write("trials", rows, settings, options.out)
    return path


def measure(framework: str, network: work.Network, options: Any, until: float) -> list[dict[str, Any]]:
    """The rows of one framework and network."""
    about = {"framework": framework, "network": network.name}
    few = 2 if options.quick else FEW[framework]
    ways = [("plain loop", few, one_thread(framework, plain(framework, network, few)))]
    ways += [("Optuna", few, one_thread(framework, optuna(framework, network, few)))]
    ways += [("local", few, one_thread(framework, searched(framework, network, few, "local")))]
    ways += [("vectorised", k, searched(framework, network, k, "vectorised")) for k in options.models]
    if framework == "numpy":
        both = [k for k in options.models if k >= CACHE_MODELS or options.quick]
        ways += [(TWO_THREADS, k, searched(framework, network, k, "vectorised", workers=2)) for k in both]
    compare(framework, {f"{name}, {n} trials": call() for name, n, call in ways})
    arms = [timing.Arm(call, n, about | {"engine": name, "models": n}) for name, n, call in ways]
    rows = timing.race(arms, options.rounds, until=until)
    if network.hidden == work.NETWORKS[0].hidden and not options.quick:
        rows += timing.race([worker(framework, network, n, about) for n in (2, 2 + 4 * few)], options.starts)
    return rows


def compare(framework: str, losses: dict[str, list[float]]) -> None:
    """ValueError unless all arms computed the same."""
    same = [name for name in losses if name.startswith(("local", "vectorised")) and framework == "numpy"]
    largest = max(losses, key=lambda name: len(losses[name]))
    work.check({largest: losses[largest], **losses}, exact=same)


def plain(framework: str, network: work.Network, n: int) -> Callable[[], list[float]]:
    """The loop that was written by hand."""
    train, configs = work.plain(network, framework), work.configs(n)
    return lambda: [train(config) for config in configs]


def optuna(framework: str, network: work.Network, n: int) -> Callable[[], list[float]]:
    """The same objective and configurations in the hands of Optuna."""
    from dlbook.tuning.optuna_study import load

    optuna, objective = load(), work.objective(network, framework)
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def suggested(trial):
        lr = trial.suggest_float("lr", 0.01, 1, log=True)
        return objective({"lr": lr, "momentum": trial.suggest_float("momentum", 0.5, 0.95)}).loss

    def call():
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        for config in work.configs(n):
            study.enqueue_trial(config)
        study.optimize(suggested, n_trials=n)
        return [trial.value for trial in study.trials]

    return call


def searched(
    framework: str, network: work.Network, n: int, engine: str, workers: int = 1
) -> Callable[[], list[float]]:
    """One search of the book's."""
    objective = work.objective(network, framework)
    return lambda: work.losses(run(objective, work.SPACE, work.SAMPLER, n=n, engine=engine, workers=workers))


def worker(framework: str, network: work.Network, n: int, about: dict[str, Any]) -> timing.Arm:
    """Two processes that train `n` trials; with 2 of them there is not much but the start."""
    name = "2 workers" if n > 2 else "2 workers, start"
    call = searched(framework, network, n, "local", workers=2)
    return timing.Arm(call, n, about | {"engine": name, "models": n})


def one_thread(framework: str, call: Callable) -> Callable:
    """The same, on one thread where the framework can be told: small products are slower on several."""

    def alone():
        with _threads(framework):
            return call()

    return alone


@contextmanager
def _threads(framework: str) -> Iterator[None]:
    if framework != "torch":
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def show(framework: str, network: str, rows: Sequence[dict[str, Any]]) -> str:
    """The table of one framework and network."""
    about = {"framework": framework, "network": network}
    plain, local = (timing.pick(rows, **about, engine=name) for name in ("plain loop", "local"))
    lines = []
    for row in rows:
        if all(row[name] == value for name, value in about.items()) and "workers" not in row["engine"]:
            name = row["engine"]
            if name.startswith("vectorised"):
                name = f"{name}, K = {row['models']}"
            ratios = timing.faster(row, plain), timing.faster(row, local)
            lines.append((name, timing.per_second(row), *ratios))
    both = [timing.pick(rows, **about, engine=name) for name in ("2 workers", "2 workers, start")]
    if None not in both:
        row, start = both
        name = f"2 workers, {row['models']} trials, of it {timing.Spread.of(start['seconds'])} s to start"
        lines.append((name, timing.per_second(row), "", ""))
    head = ("engine", "trials per second", "times the plain loop", "times one by one")
    return f"**{framework}, {network}**\n\n{timing.table(head, lines)}\n"


def _options(arguments: Sequence[str] | None) -> Any:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    here = sorted(frameworks.installed(), key=list(FEW).index)
    parser.add_argument("--frameworks", nargs="+", default=here, choices=here)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=float, default=360, help="seconds after which no new round begins")
    parser.add_argument("--out", type=Path, default=timing.RESULTS, help="the folder for trials.json")
    parser.add_argument("--quick", action="store_true", help="tiny, to see that it runs")
    options = parser.parse_args(arguments)
    options.models, options.epochs, options.starts = MODELS, EPOCHS, 2
    if options.quick:
        options.models, options.epochs, options.rounds, options.starts = (1, 4), 1, 2, 0
    return options


if __name__ == "__main__":
    main()
