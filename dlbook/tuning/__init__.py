r"""Hyperparameter search: which configurations are tried, how long each is trained, and what is remembered of it.

A search runs trials :math:`i = 0, 1, \dots, n - 1`. A *sampler* gives trial i a point of the unit cube, with one
coordinate u for each hyperparameter of the *space*, whose *scale* turns u into a value v between a and b:

.. math::
    \text{linear:} \quad & v = a + u\,(b - a) \\
    \text{log:} \quad & v = a\,(b/a)^u \\
    \text{log of } 1 - v\text{:} \quad & v = 1 - (1 - a) \left(\frac{1 - b}{1 - a}\right)^u

A *scheduler* stops the trials that fall behind, so that the others can train longer, and the *store* keeps what
happened. If a share q of all configurations is good enough, n independent trials miss it with probability
:math:`(1 - q)^n`: 59 trials find one of the best 5 % in 95 searches of 100, whatever the number of hyperparameters.
But these are the best 5 % of what the space and its scales make likely, so those come first.

Conventions:

* A loss is to be made small. NaN or infinity means that the trial diverged: it is infeasible, counted all the same,
  and never best. Trials are numbered from 0, and of equal losses that of the earlier trial is better.
* `sampler.config(i)` depends on the space, the seed and i, and on nothing else: a search is the same on one machine
  or many, in one go or taken up again. `CoarseToFine` also depends on losses, which are handed in, and says on which.
* Schedulers run nothing: `state = scheduler.start(n)`, then `job, state = state.ask()` and
  `state = state.tell(job, loss)`. A state never changes.
* One idea a file: `scales.py`, `space.py`, `samplers.py`, `schedulers.py`, `ranking.py` (which trials are best) and
  `store.py` decide and remember. `run.py` joins them with `objectives.py` (what is made small) and `engines.py` or,
  on many machines, `optuna_engine.py` (who trains). `study.py`, `analysis.py` and `figures.py` read the result.
  Nothing here imports a framework, and SciPy only where Sobol or Halton points are drawn.

>>> space = Space(lr=Log(1e-4, 1), momentum=OneMinusLog(0.9, 0.999), activation=Choice("relu", "tanh"), batch_size=64)
>>> Random(space, seed=1).config(0)
{'lr': 0.011150298626945476, 'momentum': 0.9987437600298869, 'activation': 'relu', 'batch_size': 64}

Sources: Bergstra and Bengio (2012), Random Search for Hyper-Parameter Optimization,
https://jmlr.org/papers/v13/bergstra12a.html; Li, Jamieson, DeSalvo, Rostamizadeh and Talwalkar (2018), Hyperband: A
Novel Bandit-Based Approach to Hyperparameter Optimization, https://arxiv.org/abs/1603.06560; Godbole, Dahl, Gilmer,
Shallue and Nado (2023), Deep Learning Tuning Playbook, https://github.com/google-research/tuning_playbook. Those of
single algorithms are in their files.
"""

from dlbook.tuning.objectives import MLP, Population, Result
from dlbook.tuning.ranking import best, feasible
from dlbook.tuning.run import Interrupted, run
from dlbook.tuning.samplers import CoarseToFine, Grid, Halton, Random, Sampler, Sobol
from dlbook.tuning.scales import Choice, Integer, Linear, Log, OffOr, OneMinusLog, Scale
from dlbook.tuning.schedulers import ASHA, PBT, Hyperband, Job, Rung, SuccessiveHalving, cost
from dlbook.tuning.space import Fixed, Space
from dlbook.tuning.store import Store, read
from dlbook.tuning.study import Done, Study

__all__ = [
    "ASHA",
    "MLP",
    "PBT",
    "Choice",
    "CoarseToFine",
    "Done",
    "Fixed",
    "Grid",
    "Halton",
    "Hyperband",
    "Integer",
    "Interrupted",
    "Job",
    "Linear",
    "Log",
    "OffOr",
    "OneMinusLog",
    "Population",
    "Random",
    "Result",
    "Rung",
    "Sampler",
    "Scale",
    "Sobol",
    "Space",
    "Store",
    "Study",
    "SuccessiveHalving",
    "best",
    "cost",
    "feasible",
    "read",
    "run",
]
