"""Objectives for searches on many machines, which write down who trained what, and in which worker processes die."""

import os
import signal
import sys
import time
from pathlib import Path

from tuning_cases import SAMPLER, SAMPLERS, SPACE, train

from dlbook.tuning import run

VICTIM = SAMPLER.config(4)["lr"]
N = 9


def folder():
    return Path(os.environ["DLBOOK_TEST_FOLDER"])


def note(what, config):
    """One line, which processes can add at the same time."""
    with open(folder() / "notes", "a") as file:
        file.write(f"{what} {config['lr']!r} {os.getpid()}\n")


def notes(what):
    """(learning rate, process) of all lines that begin with a word."""
    if not (folder() / "notes").exists():
        return []
    lines = [line.split() for line in (folder() / "notes").read_text().splitlines()]
    return [(float(lr), int(pid)) for word, lr, pid in lines if word == what]


def first_time(name):
    """True once."""
    try:
        (folder() / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def noted(config, *rest):
    """As many processes take part as the environment says: nobody ends its first trial before all have begun one."""
    note("begin", config)
    while len({pid for _, pid in notes("begin")}) < int(os.environ.get("DLBOOK_TEST_WORKERS", "1")):
        time.sleep(0.02)
    result = train(config, *rest)
    note("end", config)
    return result


def dies_once(config, *rest):
    """The first worker that has trial 4 is killed in the middle of it."""
    note("begin", config)
    if config["lr"] == VICTIM and first_time("killed"):
        os.kill(os.getpid(), signal.SIGKILL)
    result = train(config, *rest)
    note("end", config)
    return result


def dies(config):
    os.kill(os.getpid(), signal.SIGKILL)


def hangs_once(config, *rest):
    """Trial 4 hangs where it is trained for the first time, so that somebody can kill its process."""
    note("begin", config)
    if config["lr"] == VICTIM and first_time("hangs"):
        time.sleep(600)
    result = train(config, *rest)
    note("end", config)
    return result


def fails_once(config):
    if config["lr"] == VICTIM and first_time("failed"):
        raise KeyError("no such thing")
    return train(config).loss


if __name__ == "__main__":  # python optuna_cases.py STORE SAMPLER WORKERS
    sampler, workers = SAMPLERS[sys.argv[2]], int(sys.argv[3])
    run(hangs_once, SPACE, sampler, n=N, engine="optuna", store=sys.argv[1], workers=workers)
