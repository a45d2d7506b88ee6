"""The ready objective: a population trains exactly as its models would alone, and a pause changes nothing."""

import pickle
from typing import NamedTuple

import numpy as np
import pytest
from conftest import require

from dlbook import data, device, frameworks
from dlbook.mlp import numpy as mlp_numpy
from dlbook.optimizers import numpy as opt_numpy
from dlbook.tuning import (
    ASHA,
    MLP,
    PBT,
    Choice,
    Fixed,
    Hyperband,
    Integer,
    Linear,
    Log,
    OffOr,
    OneMinusLog,
    Population,
    Random,
    Result,
    Sobol,
    Space,
    SuccessiveHalving,
    objectives,
    run,
)
from dlbook.tuning.population import gather, split, stack

SPLIT = data.split(*data.blobs(0, per_class=40), 0, dtype="float32")
SPLIT64 = data.split(*data.blobs(0, per_class=40), 0, dtype="float64")
EVERYTHING = Space(
    lr=Log(1e-3, 100),
    optimizer=Choice("sgd", "momentum", "rmsprop", "adam"),
    momentum=OneMinusLog(0.5, 0.99),
    beta=OneMinusLog(0.5, 0.99),
    beta1=Choice(0.8, 0.9),
    beta2=OneMinusLog(0.9, 0.999),
    eps=Log(1e-8, 1e-3),
    lr_decay=Linear(0, 1),
    weight_decay=OffOr(Log(1e-4, 1)),
    init_scale=Log(0.1, 10),
    hidden=Integer(3, 5),
    layers=Integer(0, 2),
    batch_norm=Choice(True, False),
    batch_size=Choice(16, None),
    label_smoothing=Choice(0.0, 0.1),
    seed=Choice(0, 1, 2),
)
SPACE = Space(lr=Log(1e-2, 1e5), momentum=OneMinusLog(0.5, 0.99), weight_decay=Log(1e-5, 1e-1))
STABLE = Space(lr=Log(1e-3, 0.1), momentum=OneMinusLog(0.5, 0.9), weight_decay=Log(1e-5, 1e-1))
SAMPLER = Sobol(SPACE, seed=0)
SMALL = MLP(SPLIT, epochs=3, hidden=4, batch_size=16)


def exactly(study):
    """All numbers of a study to the last bit, NaN included."""
    return [
        (
            one.trial,
            list(map(str, one.config.items())),
            one.loss.hex(),
            [(at, loss.hex()) for at, loss in one.curve],
            one.values,
        )
        for one in sorted(study.done, key=lambda one: (one.trial, one.resource or 0))
    ]


def same(state, other):
    """Are all arrays of two states equal to the last bit?"""
    return pickle.dumps(to_arrays(state)) == pickle.dumps(to_arrays(other))


def to_arrays(state):
    if isinstance(state, dict):
        return {name: to_arrays(part) for name, part in state.items()}
    if isinstance(state, list | tuple):
        return [to_arrays(part) for part in state]
    return np.ascontiguousarray(frameworks.to_numpy(state)).tobytes() if hasattr(state, "shape") else state


# a population and its models


def test_numpy_models_of_every_kind_train_together_as_they_would_alone_to_the_last_bit():
    objective = MLP(SPLIT, epochs=3, every=1)
    local = run(objective, EVERYTHING, Random(EVERYTHING), n=60)
    together = run(objective, EVERYTHING, Random(EVERYTHING), n=60, engine="vectorised")
    assert exactly(together) == exactly(local)
    assert len({one.loss for one in local.done}) > 50
    assert {len(one.curve) for one in local.done} == {3}


@pytest.mark.parametrize(
    ("scheduler", "n"),
    [
        (None, 70),
        (SuccessiveHalving(r_max=9), 27),
        (Hyperband(r_max=4, eta=2), None),
        (PBT(SAMPLER, interval=2, r_max=7), 8),
    ],
    ids=["none", "successive halving", "hyperband", "pbt"],
)
def test_a_vectorised_search_in_numpy_is_the_local_one_to_the_last_bit(scheduler, n):
    local = run(SMALL, SPACE, SAMPLER, scheduler, n=n)
    together = run(SMALL, SPACE, SAMPLER, scheduler, n=n, engine="vectorised")
    assert exactly(together) == exactly(local)
    assert local.infeasible or scheduler is not None  # a model that diverges does nothing to its neighbours
    assert local.best.values["accuracy"] > 0.9


def test_asha_runs_in_both_engines():
    for engine in ("local", "vectorised"):
        study = run(SMALL, SPACE, SAMPLER, ASHA(r_max=9, mode="promote"), n=12, engine=engine)
        assert study.best.resource == 9
        assert study.best.values["accuracy"] > 0.9


@pytest.mark.parametrize("scheduler", [SuccessiveHalving(r_max=2, eta=2), "pbt"], ids=["sh", "pbt"])
def test_other_frameworks_agree_with_numpy_and_their_populations_with_their_models(
    other_framework, scheduler
):
    sampler, n = Sobol(STABLE, seed=0), 2
    if scheduler == "pbt":
        scheduler = PBT(sampler, interval=1, r_max=2)
    studies = [
        run(
            MLP(SPLIT64, epochs=2, hidden=4, batch_size=36, framework=framework),
            STABLE,
            sampler,
            scheduler,
            n=n,
            engine=engine,
        )
        for framework, engine in (
            ("numpy", "local"),
            (other_framework, "local"),
            (other_framework, "vectorised"),
        )
    ]
    for study in studies[1:]:
        assert [(one.trial, one.resource) for one in study.done] == [
            (one.trial, one.resource) for one in studies[0].done
        ]
        np.testing.assert_allclose(
            [one.loss for one in study.done], [one.loss for one in studies[0].done], rtol=1e-9
        )


def test_batch_norm_and_adam_in_other_frameworks(other_framework):
    space = (
        STABLE.replace(momentum=0.9) if False else Space(lr=Log(1e-3, 0.1), lr_decay=Linear(0, 1), beta1=0.9)
    )
    losses = [
        [
            one.loss
            for one in run(
                MLP(SPLIT64, hidden=4, batch_size=36, batch_norm=True, framework=framework),
                space,
                Random(space),
                SuccessiveHalving(r_max=2, eta=2),
                n=3,
                engine="vectorised",
            ).done
        ]
        for framework in ("numpy", other_framework)
    ]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-8)


def test_workers_get_the_same_results():
    local = run(SMALL, SPACE, SAMPLER, SuccessiveHalving(r_max=3), n=6)
    workers = run(SMALL, SPACE, SAMPLER, SuccessiveHalving(r_max=3), n=6, workers=2)
    assert exactly(workers) == exactly(local)


# one model


def test_it_is_the_trainer_of_the_mlp():
    config = {"lr": 0.5, "momentum": 0.8, "init_scale": 0.5, "label_smoothing": 0.1}
    params = mlp_numpy.init((2, 4, 3), np.random.default_rng([5, 0]), scale=0.5)
    optimizer = opt_numpy.momentum(0.5, 0.8)
    fit = mlp_numpy.fit(
        params,
        SPLIT.x_train,
        SPLIT.y_train,
        optimizer=optimizer,
        steps=15,  # 72 rows, so 5 mini-batches in an epoch
        batch_size=16,
        rng=np.random.default_rng([5, 1]),
        validation=(SPLIT.x_val, SPLIT.y_val),
        record_every=5,
        label_smoothing=0.1,
    )
    result = MLP(SPLIT, epochs=3, hidden=4, batch_size=16, seed=5, every=1)(config)
    assert same(result.state.params, fit.params)
    assert same(result.state.memory, fit.state)
    assert [(at, float(loss)) for at, loss in result.curve] == list(
        zip([1, 2, 3], fit.history.val_loss.tolist(), strict=True)
    )
    assert (result.loss, result.values["accuracy"]) == (
        fit.history.val_loss[-1],
        fit.history.val_accuracy[-1],
    )
    loss, accuracy = SMALL.test(result.state)
    assert (loss, accuracy) == mlp_numpy.evaluate(fit.params, SPLIT.x_test, SPLIT.y_test)


@pytest.mark.parametrize(
    "config",
    [
        {"lr": 0.1},
        {"lr": 0.1, "lr_decay": 0.5, "weight_decay": 0.01, "batch_norm": True, "beta1": 0.9},
        {"lr": 0.1, "batch_norm": True},
        {"lr": 0.1, "batch_size": None, "momentum": 0.9, "seed": 4},
    ],
)
def test_a_pause_changes_nothing(config):
    whole = SMALL(config, None, 0, 5)
    first = SMALL(config, None, 0, 2)
    before = pickle.dumps(first.state)
    for _ in range(2):  # a state may be trained on twice
        rest = SMALL(config, first.state, 2, 5)
        assert same(rest.state, whole.state)
        assert rest.loss == whole.loss
    assert pickle.dumps(first.state) == before
    assert not same(first.state, whole.state)


def test_the_learning_rate_decays_from_epoch_to_epoch():
    params, rng = mlp_numpy.init((2, 4, 3), np.random.default_rng([0, 0])), np.random.default_rng([0, 1])
    for epoch in range(3):
        params = mlp_numpy.fit(
            params,
            SPLIT.x_train,
            SPLIT.y_train,
            optimizer=opt_numpy.sgd(0.3 / (1 + 0.5 * epoch)),
            steps=5,
            batch_size=16,
            rng=rng,
        ).params
    assert same(SMALL({"lr": 0.3, "lr_decay": 0.5}).state.params, params)


def test_weight_decay_takes_its_share_of_the_weights_and_not_of_the_biases():
    objective = MLP(SPLIT64, epochs=1, hidden=4, batch_size=None)
    before = objective({"lr": 0.5}).state
    plain = objective({"lr": 0.5}, before, 1, 2).state.params
    decayed = objective({"lr": 0.5, "weight_decay": 0.1}, before, 1, 2).state.params
    for name in plain:
        assert before.params[name].all()
        share = 0.05 * before.params[name] if name.startswith("W") else 0
        np.testing.assert_allclose(decayed[name], plain[name] - share, rtol=1e-12)


@pytest.mark.parametrize(
    ("config", "optimizer"),
    [
        ({"lr": 0.1}, opt_numpy.sgd(0.1)),
        ({"lr": 0.1, "momentum": 0.8}, opt_numpy.momentum(0.1, 0.8)),
        ({"lr": 0.1, "beta": 0.8}, opt_numpy.rmsprop(0.1, 0.8)),
        ({"lr": 0.1, "beta": 0.8, "eps": 1e-3}, opt_numpy.rmsprop(0.1, 0.8, 1e-3)),
        ({"lr": 0.1, "beta1": 0.8, "beta2": 0.9, "eps": 1e-3}, opt_numpy.adam(0.1, 0.8, 0.9, 1e-3)),
        ({"lr": 0.1, "optimizer": "adam"}, opt_numpy.adam(0.1)),
        ({"lr": 0.1, "optimizer": "sgd", "momentum": 0.8}, opt_numpy.sgd(0.1)),  # beside others that use it
    ],
)
def test_the_names_in_the_configuration_choose_the_optimiser(config, optimizer):
    params = mlp_numpy.init((2, 4, 3), np.random.default_rng([0, 0]))
    rng = np.random.default_rng([0, 1])
    fit = mlp_numpy.fit(
        params, SPLIT.x_train, SPLIT.y_train, optimizer=optimizer, steps=15, batch_size=16, rng=rng
    )
    assert same(SMALL(config).state.params, fit.params)


def test_the_optimiser_may_be_a_field():
    objective = MLP(SPLIT, epochs=1, optimizer="momentum")
    assert set(objective({"lr": 0.1}).state.memory) == {"v"}


def test_a_seed_of_its_own_changes_weights_and_mini_batches():
    one, two, again = (SMALL({"lr": 0.1, "seed": seed}) for seed in (1, 2, 1))
    assert same(one.state, again.state)
    assert one.loss != two.loss
    assert same(one.state, MLP(SPLIT, epochs=3, hidden=4, batch_size=16, seed=1)({"lr": 0.1}).state)


def test_sizes_come_from_the_data_and_the_configuration():
    def sizes(**config):
        params = MLP(SPLIT, epochs=1, hidden=5)({"lr": 0.1, **config}).state.params
        return [w.shape for name, w in params.items() if name.startswith("W")]

    assert sizes() == [(2, 5), (5, 3)]
    assert sizes(hidden=(6, 7)) == [(2, 6), (6, 7), (7, 3)]
    assert sizes(hidden=4, layers=2) == [(2, 4), (4, 4), (4, 3)]
    assert sizes(layers=0) == [(2, 3)]


def test_a_class_that_only_validation_has_counts():
    labels = SPLIT._replace(
        y_train=np.minimum(SPLIT.y_train, 1), x_test=SPLIT.x_test[:0], y_test=SPLIT.y_test[:0]
    )
    assert MLP(labels, epochs=1)({"lr": 0.1}).state.params["W2"].shape == (32, 3)


def test_numpy_populations_are_cut_to_fit_the_cache_on_the_cpu_only(monkeypatch):
    assert SMALL.chunk == objectives.CACHE_MODELS == 64
    assert MLP(SPLIT, framework="torch").chunk is None
    monkeypatch.setattr(device, "default", lambda framework: "cuda")
    assert SMALL.chunk is None


def test_a_store_knows_the_data_and_the_settings(tmp_path):
    path, space = tmp_path / "run.jsonl", Space(lr=Log(0.01, 1))
    run(SMALL, space, Random(space), n=1, store=path)
    other = SPLIT._replace(x_val=SPLIT.x_val + 1)
    for objective in (
        MLP(other, epochs=3, hidden=4, batch_size=16),
        MLP(SPLIT, epochs=4, hidden=4, batch_size=16),
    ):
        with pytest.raises(ValueError, match="where objective is"):
            run(objective, space, Random(space), n=1, store=path)
    assert len(run(SMALL, space, Random(space), n=2, store=path)) == 2


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"momentum": 0.9}, "config must have lr and may have momentum, .*; got momentum"),
        ({"lr": 0.1, "dropout": 0.5}, "may have .*; got lr, dropout"),
        (
            {"lr": 0.1, "optimizer": "lion"},
            "optimizer must be one of sgd, momentum, rmsprop, adam, got 'lion'",
        ),
        ({"lr": 0.1, "momentum": 0.9, "beta1": 0.9}, r"got None for \['lr', 'momentum', 'beta1'\]"),
        (
            {"lr": 0.1, "hidden": (3, 4), "layers": 2},
            r"hidden must be one width .* number of layers, got \(3, 4\)",
        ),
        ({"lr": 0.1, "weight_decay": -1}, "weight_decay must be at least 0, got -1"),
        ({"lr": 0.1, "lr_decay": float("nan")}, "lr_decay must be at least 0, got nan"),
        ({"lr": -1}, "learning_rate must be finite and at least 0, got -1"),
    ],
)
def test_a_configuration_that_nobody_would_read_is_refused(config, message):
    with pytest.raises(ValueError, match=message):
        SMALL(config)


def test_a_configuration_must_fit_the_optimiser_of_the_field():
    with pytest.raises(ValueError, match=r"config must fit sgd, lr; got \['lr', 'momentum'\]"):
        MLP(SPLIT, optimizer="sgd")({"lr": 0.1, "momentum": 0.9})


def test_epochs_are_a_hyperparameter_only_where_no_scheduler_decides():
    assert SMALL({"lr": 0.1, "epochs": 1}).curve[-1][0] == 1
    with pytest.raises(ValueError, match="config must not have epochs where a scheduler decides"):
        SMALL({"lr": 0.1, "epochs": 1}, None, 0, 2)


@pytest.mark.parametrize(
    "change", [{"hidden": 5}, {"layers": 2}, {"batch_norm": True}, {"optimizer": "adam"}]
)
def test_the_network_cannot_change_in_the_middle_of_training(change):
    state = SMALL({"lr": 0.1}, None, 0, 1).state
    with pytest.raises(
        ValueError, match=r"state must be of sizes, .* got \(\(2, 4, 3\), False, 'sgd'\): .*PBT"
    ):
        SMALL({"lr": 0.1, **change}, state, 1, 2)


# populations


def test_configurations_side_by_side_are_arrays_lists_and_plain_values():
    space = Space(
        lr=Log(0.01, 1),
        hidden=Integer(1, 9),
        act=Choice("relu", "tanh"),
        wd=OffOr(Log(0.1, 1), off=None),
        sizes=Fixed((1, 2)),
    )
    configs = [Random(space).config(i) for i in range(3)]
    together = gather(configs, space, apart=("hidden",))
    assert isinstance(together, Population)
    assert together.models == 3
    assert list(together) == ["lr", "hidden", "act", "wd", "sizes"]
    assert together["lr"].shape == (3, 1, 1)
    assert together["lr"].ravel().tolist() == [config["lr"] for config in configs]
    assert together["hidden"] == configs[0]["hidden"]
    assert together["act"] == [config["act"] for config in configs]
    assert together["wd"] == [config["wd"] for config in configs]
    assert together["sizes"] == (1, 2)
    assert gather(configs, space)["hidden"].dtype == np.int64


class Pair(NamedTuple):
    mean: object
    var: object


@pytest.mark.parametrize("framework", frameworks.FRAMEWORKS)
def test_states_are_split_into_models_and_stacked_again(framework):
    require(framework)

    def put(x):
        return frameworks.from_numpy(np.array(x, "float32"), framework, device="cpu")

    state = {
        "W": put([[1, 2], [3, 4], [5, 6]]),
        "own": [put([7, 8, 9])],
        "running": {1: Pair(put([[1], [2], [3]]), 5)},
        "steps": put(17),
        "kind": ((64, 10), "adam", None),
    }
    models = split(state, 3)
    assert len(models) == 3
    assert frameworks.framework_of(models[1]["W"]) == framework
    assert frameworks.to_numpy(models[1]["W"]).tolist() == [3, 4]
    again = stack([models[2], models[0], models[2]])
    assert frameworks.framework_of(again["W"]) == framework
    assert frameworks.to_numpy(again["W"]).tolist() == [[5, 6], [1, 2], [5, 6]]
    assert frameworks.to_numpy(again["own"][0]).tolist() == [9, 7, 9]
    assert type(again["running"][1]) is Pair
    assert frameworks.to_numpy(again["running"][1].mean).tolist() == [[3], [1], [3]]
    assert again["running"][1].var == 5
    assert frameworks.to_numpy(again["steps"]) == 17
    assert again["kind"] == ((64, 10), "adam", None)
    assert stack(pickle.loads(pickle.dumps(models)))["kind"] == again["kind"]


def test_a_result_needs_no_more_than_a_loss():
    assert Result(1.0) == (1.0, None, (), {})
