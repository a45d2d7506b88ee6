"""Objectives that worker processes import, and searches that tests run. No framework is imported here."""

import os
import signal
import sys
import time
from math import log10, nan

from dlbook.tuning import (
    ASHA,
    PBT,
    Choice,
    CoarseToFine,
    Hyperband,
    Integer,
    Log,
    OneMinusLog,
    Random,
    Result,
    Space,
    SuccessiveHalving,
    run,
)

SPACE = Space(
    lr=Log(1e-4, 1), momentum=OneMinusLog(0.5, 0.99), act=Choice("relu", "tanh"), layers=Integer(1, 3), k=7
)
SAMPLER = Random(SPACE, seed=3)
SCHEDULERS = {
    "none": (None, 9),
    "successive halving": (SuccessiveHalving(r_max=9), 9),
    "hyperband": (Hyperband(r_max=9), None),
    "asha, stop": (ASHA(r_max=9), 9),
    "asha, promote": (ASHA(r_max=9, mode="promote"), 9),
    "pbt": (PBT(SAMPLER, interval=2, r_max=7), 5),
}
SAMPLERS = {"random": SAMPLER, "coarse to fine": CoarseToFine(SAMPLER, stage=3, fresh=4)}


def badness(config):
    """A bowl in log lr; NaN where the rate is above 0.3."""
    return (
        nan
        if config["lr"] > 0.3
        else (log10(config["lr"]) + 2) ** 2 + config["layers"] + (config["act"] == "tanh")
    )


def train(config, state=None, start=0, resource=9):
    """Each unit of training adds what depends on the configuration; the state is all that was done so far."""
    state = () if state is None else state
    assert len(state) == start
    state = state + (badness(config),) * (resource - start)
    loss = sum(one / (k + 1) for k, one in enumerate(state))
    return Result(loss, state, [(resource, loss)], {"momentary": state[-1]})


def slowly(config, state=None, start=0, resource=9):
    """Long enough for something to happen meanwhile."""
    time.sleep(0.01)
    return train(config, state, start, resource)


def threads(config):
    return float(os.environ.get("OMP_NUM_THREADS", "-1"))


def fail(config):
    if config["lr"] > 0.003:
        raise KeyError("too large")
    return 1.0


class Stubborn(Exception):
    """An exception that cannot be pickled and read again."""

    def __init__(self, first, second):
        super().__init__(first)


def fail_stubbornly(config):
    raise Stubborn("one", "two")


def return_a_function(config):
    return Result(1.0, lambda: None)


def die(config):
    os._exit(3)


if __name__ == "__main__":  # python tuning_cases.py STORE SCHEDULER WORKERS
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell ignores it
    scheduler, n = SCHEDULERS[sys.argv[2]]
    print("started", flush=True)
    run(slowly, SPACE, SAMPLER, scheduler, n=n, store=sys.argv[1], workers=int(sys.argv[3]))
    print("finished", flush=True)
