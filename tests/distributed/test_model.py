"""The hub's arrays: steps are the optimizer's own, replicas follow, and a replay gives the same bits."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorgl as tg
from tensorgl.distributed import codecs
from tensorgl.distributed.model import OPTIMIZERS, Model, check_optimizer
from tensorgl.distributed.rules import RULES
from tensorgl.distributed.wire import Codec, ProtocolError

SHAPES = [["weight", [40, 30]], ["bias", [40]], ["scale", []]]
SIZES = [1000, 240, 1]
DEFINITION: dict[str, Any] = {"parameters": SHAPES, "buckets": SIZES}
WEIGHTS = (1.0, 2.0, 3.5)
OPTIONS: dict[str, dict[str, Any]] = {
    "SGD": {"lr": 0.1, "momentum": 0.9, "nesterov": True},
    "Adam": {"lr": 0.01, "betas": [0.8, 0.99], "amsgrad": True},
    "AdamW": {"lr": 0.01, "weight_decay": 0.1},
    "Adamax": {"lr": 0.02},
    "NAdam": {"weight_decay": 0.01},
    "RAdam": {"lr": 0.02},
    "Adagrad": {"initial_accumulator_value": 0.1},
    "Adadelta": {"rho": 0.8},
    "RMSprop": {"centered": True, "momentum": 0.5},
}


def draw(seed: int, sizes: list[int] = SIZES) -> list[Any]:
    generator = np.random.default_rng(seed)
    return [generator.standard_normal(n).astype(np.float32) for n in sizes]


def optimizer(name: str = "SGD", *options: dict[str, Any], groups: Any = None) -> dict[str, Any]:
    return {
        "name": name,
        "options": list(options or [{"lr": 0.1}]),
        "groups": groups or [0] * len(SIZES),
        "local_steps": 0,
    }


def model(down: Codec = Codec.RAW, name: str = "SGD", rule: str = "mean", **options: Any) -> Model:
    made = Model(DEFINITION, draw(0), down, rule)
    made.define_optimizer(optimizer(name, options))
    return made


def contributions(round: int, codec: Codec = Codec.RAW, count: int = 3) -> list[list[list[bytes]]]:
    """By member and bucket, the payloads of the chunks."""
    return [
        [codecs.encode_bucket(codec, values) for values in draw(100 * round + k)]
        for k in range(count)
    ]


def run_round(made: Model, round: int, up: Codec = Codec.RAW, lr: Any = ()) -> list[list[bytes]]:
    """One round but for its commit; the results of each bucket."""
    given = contributions(round, up)
    if made.compares:
        made.compare(list(zip(WEIGHTS, given, strict=True)), up)
    return [
        made.trial(b, [(w, g[b]) for w, g in zip(WEIGHTS, given, strict=True)], up, lr)
        for b in range(len(SIZES))
    ]


def mean(round: int) -> list[Any]:
    """The weighted mean of the contributions, as one process would have it."""
    given = [draw(100 * round + k) for k in range(3)]
    return [
        np.average([g[b] for g in given], axis=0, weights=WEIGHTS).astype(np.float32)
        for b in range(len(SIZES))
    ]


def flat(arrays: Any) -> Any:
    return np.concatenate([np.reshape(a, -1) for a in arrays])


def apply(view: list[Any], results: list[list[bytes]], down: Codec) -> list[Any]:
    """What a replica does with the results of a round."""
    after: list[Any] = []
    for values, payloads in zip(view, results, strict=True):
        got = codecs.decode_bucket(down, payloads, len(values))
        after.append(got if down is Codec.RAW else values + got)
    return after


@pytest.mark.parametrize("name", OPTIONS)
def test_steps_are_those_of_the_optimizer_on_the_mean(name: str) -> None:
    made = model(Codec.RAW, name, **OPTIONS[name])
    parameters = [tg.from_numpy(values) for values in draw(0)]
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in OPTIONS[name].items()}
    own = OPTIMIZERS[name](parameters, **options)
    for round in range(1, 5):
        run_round(made, round)
        made.commit()
        for parameter, gradient in zip(parameters, mean(round), strict=True):
            parameter.grad = tg.from_numpy(gradient)
        own.step()
    np.testing.assert_allclose(
        flat(made.true_parameters()), flat([p.numpy() for p in parameters]), rtol=1e-6, atol=1e-7
    )


def test_all_elementwise_optimizers_are_known() -> None:
    assert set(OPTIONS) == set(OPTIMIZERS)


@pytest.mark.parametrize("down", Codec)
@pytest.mark.parametrize("up", Codec)
def test_replicas_have_the_view(down: Codec, up: Codec) -> None:
    made = model(down, "Adam", lr=0.01)
    view = draw(0)
    for round in range(1, 6):
        view = apply(view, run_round(made, round, up), down)
        hash = made.commit()
        data = flat(view).astype("<f4").tobytes()
        assert made.parameters() == data
        assert hash == made.hash == hashlib.blake2b(data, digest_size=16).hexdigest()


@pytest.mark.parametrize("down", Codec)
def test_what_the_codec_loses_does_not_add_up(down: Codec) -> None:
    made = model(down, "SGD", lr=0.1)
    for round in range(1, 30):
        run_round(made, round)
        made.commit()
    view = np.frombuffer(made.parameters(), "<f4")
    lag = np.abs(view - flat(made.true_parameters())).max()
    assert lag <= {Codec.RAW: 0, Codec.FLOAT16: 3e-4, Codec.INT8: 3e-3, Codec.TOPK: 2}[down]
    exact = model(Codec.RAW, "SGD", lr=0.1)
    for round in range(1, 30):
        run_round(exact, round)
        exact.commit()
    np.testing.assert_array_equal(flat(made.true_parameters()), flat(exact.true_parameters()))


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 9)), max_size=6),
    st.sampled_from(list(Codec)),
    st.sampled_from(["SGD", "NAdam", "RMSprop"]),
)
@settings(max_examples=25)
def test_a_trial_that_is_repeated_leaves_nothing(
    others: list[tuple[int, int]], down: Codec, name: str
) -> None:
    once, again = model(down, name, **OPTIONS[name]), model(down, name, **OPTIONS[name])
    for made in (once, again):
        run_round(made, 1)
        made.commit()
    for bucket, seed in others:
        again.trial(bucket, [(1.0, contributions(seed)[0][bucket])], Codec.RAW)
    assert run_round(once, 2) == run_round(again, 2)
    assert once.commit() == again.commit()
    assert run_round(once, 3) == run_round(again, 3)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("down", [Codec.RAW, Codec.INT8, Codec.TOPK])
@pytest.mark.parametrize("name", ["SGD", "NAdam", "AdamW"])
def test_a_replay_is_the_run(rule: str, down: Codec, name: str) -> None:
    live = model(down, name, rule, **OPTIONS[name])
    log: list[tuple[list[Any], Any, str]] = []
    saved: Any = None
    for round in range(1, 6):
        if round == 3:
            header, arrays = live.state()
            saved = json.dumps(header), [a.tobytes() for a in arrays], len(log)
        lr = (0.1 / round,)
        run_round(live, round, Codec.INT8, lr)
        gradients = [g.copy() for g in live.gradients()]
        log.append((gradients, lr, live.commit()))
    fresh = model(down, name, rule, **OPTIONS[name])
    text, kept, start = saved
    restored = Model.restore(json.loads(text), [np.frombuffer(a, np.float32) for a in kept], rule)
    for made, first in ((fresh, 0), (restored, start)):
        for gradients, lr, hash in log[first:]:
            assert made.replay(gradients, lr) == hash
        assert made.parameters() == live.parameters()
        np.testing.assert_array_equal(flat(made.true_parameters()), flat(live.true_parameters()))
        assert run_round(made, 9) == run_round(live, 9)


@pytest.mark.parametrize(("before", "after"), [("mean", "median"), ("multi_krum", "mean")])
def test_a_restored_model_goes_on_by_the_rule_that_is_given(before: str, after: str) -> None:
    made = model(Codec.RAW, "SGD", before, **OPTIONS["SGD"])
    restored = Model.restore(*made.state(), after)
    expected = model(Codec.RAW, "SGD", after, **OPTIONS["SGD"])
    assert restored.compares == expected.compares
    assert run_round(restored, 1) == run_round(expected, 1)


def test_state_stays_as_it_was_while_the_run_goes_on() -> None:
    made = model(Codec.INT8, "Adam", lr=0.01)
    run_round(made, 1)
    made.commit()
    _, arrays = made.state()
    before = [a.copy() for a in arrays]
    for round in (2, 3):
        run_round(made, round)
        made.commit()
    assert all(map(np.array_equal, arrays, before))


def test_rates_and_options_go_by_group() -> None:
    made = Model(DEFINITION, draw(0), Codec.RAW)
    made.define_optimizer(
        optimizer("SGD", {"lr": 0.5}, {"lr": 0.0, "momentum": 0.9}, groups=[0, 1, 0])
    )
    first, second, third = draw(0)
    run_round(made, 1)
    made.commit()
    g = mean(1)
    expected = first - np.float32(0.5) * g[0], second, third - np.float32(0.5) * g[2]
    np.testing.assert_allclose(flat(made.true_parameters()), flat(expected), rtol=1e-5, atol=1e-6)
    run_round(made, 2, lr=(0.0, 2.0))
    made.commit()
    moved = second - 2 * (0.9 * g[1] + mean(2)[1])  # the momentum of round 1 is kept
    expected = expected[0], moved, expected[2]
    np.testing.assert_allclose(flat(made.true_parameters()), flat(expected), rtol=1e-5, atol=1e-5)
    run_round(made, 3, lr=(1.0,))  # the second group's is as defined: 0
    made.commit()
    np.testing.assert_array_equal(flat(made.true_parameters())[1000:1240], moved.astype("f4"))


def test_outer_step_of_local_training() -> None:
    made = model(Codec.RAW, "SGD", lr=0.7, momentum=0.9, nesterov=True)
    theta, momentum = flat(draw(0)).astype(np.float64), 0.0
    for round in range(1, 5):
        run_round(made, round)
        made.commit()
        change = flat(mean(round))
        momentum = 0.9 * momentum + change
        theta = theta - 0.7 * (change + 0.9 * momentum)
    np.testing.assert_allclose(flat(made.true_parameters()), theta, rtol=1e-4, atol=1e-5)


def test_buckets_of_several_chunks() -> None:
    sizes = [codecs.CHUNK + 17, 3]
    definition = {"parameters": [["a", [sum(sizes)]]], "buckets": sizes}
    for down in Codec:
        made = Model(definition, draw(0, sizes), down)
        made.define_optimizer(optimizer("SGD", {"lr": 1.0}, groups=[0, 0]))
        gradients = draw(1, sizes)
        parts = [codecs.encode_bucket(Codec.RAW, g) for g in gradients]
        results = [made.trial(b, [(3.0, parts[b])], Codec.RAW) for b in range(2)]
        assert [len(r) for r in results] == [2, 1]
        made.commit()
        view = apply(draw(0, sizes), results, down)
        assert made.parameters() == flat(view).tobytes()
        exact = [v - g for v, g in zip(draw(0, sizes), gradients, strict=True)]
        np.testing.assert_array_equal(flat(made.true_parameters()), flat(exact))


@pytest.mark.parametrize("rule", ["trimmed_mean", "median", "multi_krum", "centered_clip"])
def test_robust_rules_ignore_one_bad_contribution(rule: str) -> None:
    made = Model(DEFINITION, draw(0), Codec.RAW, rule)
    made.define_optimizer(optimizer("SGD", {"lr": 1.0}))
    truth = draw(50)
    given = [
        [
            codecs.encode_bucket(Codec.INT8, t + 0.1 * n)
            for t, n in zip(truth, draw(60 + k), strict=True)
        ]
        for k in range(8)
    ]
    given[3] = [codecs.encode_bucket(Codec.INT8, -1e4 * t) for t in truth]
    assert made.compares == (rule in ("multi_krum", "centered_clip"))
    if made.compares:
        made.compare([(2.0, g) for g in given], Codec.INT8)
    for bucket in range(len(SIZES)):
        made.trial(bucket, [(2.0, g[bucket]) for g in given], Codec.INT8)
    error = np.linalg.norm(flat(made.gradients()) - flat(truth))
    assert error < 0.15 * np.linalg.norm(flat(truth))


@pytest.mark.parametrize("down", Codec)
@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_a_step_that_overflows_is_not_taken(
    down: Codec, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    made, calm = model(down, name, lr=0.1), model(down, name, lr=0.1)
    for other in (made, calm):
        run_round(other, 1)
        other.commit()
    huge = [codecs.encode_bucket(Codec.RAW, np.full(n, 1e30, np.float32)) for n in SIZES]
    view = [np.frombuffer(made.parameters(), "<f4")]
    results = [made.trial(b, [(1.0, huge[b])], Codec.RAW) for b in range(len(SIZES))]
    assert "learning rate" in caplog.text
    log = [g.copy() for g in made.gradients()]
    hash = made.commit()
    view = apply(np.split(view[0], np.cumsum(SIZES)[:-1]), results, down)
    assert made.parameters() == flat(view).tobytes()
    assert calm.replay(log) == hash
    assert np.isfinite(flat(made.true_parameters())).all()
    run_round(made, 2)
    made.commit()
    assert np.isfinite(flat(made.true_parameters())).all()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("LBFGS", {}),
        ("Muon", {}),
        ("Optimizer", {}),
        ("Tensor", {}),
        ("SGD", {"rate": 0.1}),
        ("SGD", {"lr": -1}),
        ("SGD", {"lr": [0.1, 0.2]}),
        ("SGD", {"nesterov": True}),
        ("SGD", {"params": 1}),
        ("SGD", {"lr": 0.1, "closure": None}),
        ("Adam", {"betas": 0.9}),
        ("Adam", {"betas": [0.9]}),
        ("Adam", {"betas": [0.9, 0.99, 0.999]}),
        ("Adam", {"betas": [float("nan"), 0.9]}),
        ("Adam", {"lr": None}),
        ("AdamW", {"decoupled_weight_decay": False}),
        ("RAdam", {"betas": [0.9, 1.0]}),
        ("Adagrad", {"initial_accumulator_value": 1e308}),
        ("SGD", {"weight_decay": 10**300}),
    ],
    ids=str,
)
def test_optimizers_that_no_hub_can_step(name: str, options: dict[str, Any]) -> None:
    made = model()
    before = made.optimizer
    for define in (check_optimizer, made.define_optimizer):
        with pytest.raises(ProtocolError, match=r"^optimizer: ") as caught:
            define(optimizer(name, options))
        assert len(str(caught.value)) <= 200
    assert made.optimizer is before


SCALARS = (
    st.none()
    | st.booleans()
    | st.sampled_from([0, 1, -1, 0.5, 1 - 2**-53, 1e-320, 1e6, 10**6, 1e308, -(10**300)])
    | st.lists(st.sampled_from([0, 1, 0.5, 1 - 2**-53, 1e-320, -(10**300)]), max_size=4)
)


@given(st.sampled_from(sorted(OPTIMIZERS)), st.data())
@settings(max_examples=150)
def test_any_options_are_stepped_or_refused(name: str, data: st.DataObject) -> None:
    names = [*OPTIMIZERS[name]([tg.zeros(1)]).defaults, "params", "self", "x"]
    given = data.draw(st.dictionaries(st.sampled_from(names), SCALARS, max_size=3))
    made = model(Codec.INT8, "SGD")
    try:
        made.define_optimizer(optimizer(name, given))
    except ProtocolError:
        return
    for round in range(1, 8):
        run_round(made, round, lr=(1e6,) if round == 4 else ())
        made.commit()
    assert np.isfinite(np.frombuffer(made.parameters(), "<f4")).all()


@pytest.mark.parametrize("name", OPTIONS)
def test_all_options_of_a_group_may_be_given(name: str) -> None:
    own = OPTIMIZERS[name]([tg.zeros(1)])
    group = {k: v for k, v in own.param_groups[0].items() if k in own.defaults}
    check_optimizer(json.loads(json.dumps(optimizer(name, group))))


def test_groups_that_are_not_the_model_s() -> None:
    made = model()
    for groups in ([0, 0], [0, 0, 1]):
        with pytest.raises(ProtocolError, match="group"):
            made.define_optimizer(optimizer(groups=groups))


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v[:-1],
        lambda v: [v[0], v[1], v[2][:0]],
        lambda v: [v[0] * np.nan, v[1], v[2]],
        lambda v: [v[0], v[1] * np.inf, v[2]],
        lambda v: [v[0], v[1], v[2] * 0 + 1e30],
    ],
)
def test_first_parameters_that_are_none(change: Any) -> None:
    with pytest.raises(ProtocolError, match="model"), np.errstate(all="ignore"):
        Model(DEFINITION, change(draw(0)), Codec.RAW)


def test_unknown_rules_are_named() -> None:
    with pytest.raises(ValueError, match="multi_krum"):
        Model(DEFINITION, draw(0), Codec.RAW, "krum")


def test_parameters_have_their_shapes() -> None:
    made = model()
    shapes = [list(a.shape) for a in made.true_parameters()]
    assert shapes == [shape for _, shape in SHAPES]
    np.testing.assert_array_equal(flat(made.true_parameters()), flat(draw(0)))


def test_first_parameters_are_the_model_s_own() -> None:
    values = draw(0)
    made = Model(DEFINITION, values, Codec.RAW)
    values[0][:] = 7
    np.testing.assert_array_equal(flat(made.true_parameters()), flat(draw(0)))
