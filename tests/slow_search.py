"""`digits_search` with a pause in each trial: two machines share it even where a process takes seconds to start."""

import sys
import time

import digits_search
from digits_search import sampler, space

from dlbook.tuning import run


def objective(config):
    time.sleep(1.5)
    return digits_search.objective(config)


if __name__ == "__main__":
    print(run(objective, space, sampler, n=32, engine="optuna", store=sys.argv[1]))
