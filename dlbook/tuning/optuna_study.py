"""Our spaces and studies in the words of Optuna, which is imported only when something of this is called."""

import sys
import warnings
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from dlbook.tuning.ranking import feasible
from dlbook.tuning.scales import Choice, Integer, Linear, Log, OneMinusLog, Scale
from dlbook.tuning.space import Space
from dlbook.tuning.study import Done, Study

PLAIN = (type(None), bool, int, float, str)  # what Optuna takes as a choice


def load() -> Any:
    """The package `optuna`; ImportError with the command that helps."""
    try:
        if "optuna" not in sys.modules:
            with warnings.catch_warnings():  # its progress bar has a word about notebooks without widgets
                warnings.filterwarnings("ignore", message="IProgress not found")
                import_module("optuna")
        import optuna
    except ImportError:
        raise ImportError('optuna is not installed: try `pip install "dlbook[search]"`') from None
    return optuna


def distributions(space: Space) -> dict[str, Any]:
    """An Optuna distribution for each hyperparameter that varies, under the name that it has there."""
    return {_name(name, scale): _distribution(scale) for name, scale in space.scales.items()}


def params(space: Space, config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as the parameters of an Optuna trial."""
    return {_name(name, scale): _param(scale, config[name]) for name, scale in space.scales.items()}


def to_optuna(study: Study) -> Any:
    """An Optuna study in memory with all trials. `Study.to_optuna` is the same."""
    optuna, space, longest = (
        load(),
        study.check_space(),
        max((one.resource or 0 for one in study.top(1)), default=0),
    )
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it announces every study, also in stored outputs
    try:
        theirs = optuna.create_study(direction="minimize")
    finally:
        optuna.logging.set_verbosity(verbosity)
    theirs.add_trials([_trial(study, one, longest, distributions(space)) for one in study.trials.values()])
    return theirs


def _trial(study: Study, one: Done, longest: int, distributions: Mapping[str, Any]) -> Any:
    optuna = load()
    states, stopped = optuna.trial.TrialState, (one.resource or 0) < longest
    state = states.FAIL if not feasible(one.loss) else states.PRUNED if stopped else states.COMPLETE
    return optuna.create_trial(
        state=state,
        value=one.loss if feasible(one.loss) else None,
        params=params(study.check_space(), one.config),
        distributions=dict(distributions),
        user_attrs={"trial": one.trial, **one.values},
        intermediate_values={round(at): loss for at, loss in zip(*study.curve(one.trial), strict=True)},
    )


def _name(name: str, scale: Scale) -> str:
    if isinstance(scale, OneMinusLog):
        return f"1 - {name}"
    return name if isinstance(scale, Linear | Log | Integer | Choice) else f"{name} (unit)"


def _distribution(scale: Scale) -> Any:
    of = load().distributions
    if isinstance(scale, OneMinusLog):
        return of.FloatDistribution(1 - scale.high, 1 - scale.low, log=True)
    if isinstance(scale, Integer):
        return of.IntDistribution(scale.low, scale.high, log=scale.log)
    if isinstance(scale, Choice):
        return of.CategoricalDistribution([_option(one) for one in scale.options])
    if isinstance(scale, Linear | Log):
        return of.FloatDistribution(scale.low, scale.high, log=isinstance(scale, Log))
    return of.FloatDistribution(0, 1)  # where the value lies on its own scale


def _param(scale: Scale, value: Any) -> Any:
    if isinstance(scale, OneMinusLog):
        return 1 - value
    if isinstance(scale, Choice):
        return _option(value)
    return value if isinstance(scale, Linear | Log | Integer) else scale.unit(value)


def _option(option: Any) -> Any:
    return option if isinstance(option, PLAIN) else repr(option)
