"""Every schedule against PyTorch's rates, state round trips, and errors."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest

import tensorgl as tg
from tensorgl.optim import lr_scheduler as m

SCHEDULES: dict[str, Callable[[Any, Any], Any]] = {
    "lambda": lambda m, o: m.LambdaLR(o, lambda e: 0.95**e),
    "mult": lambda m, o: m.MultiplicativeLR(o, lambda e: 0.95),
    "step": lambda m, o: m.StepLR(o, 3, 0.5),
    "multi": lambda m, o: m.MultiStepLR(o, [2, 5, 5, 9], 0.3),
    "const": lambda m, o: m.ConstantLR(o, 0.3, 4),
    "linear": lambda m, o: m.LinearLR(o, 0.25, 0.9, 6),
    "exp": lambda m, o: m.ExponentialLR(o, 0.9),
    "poly": lambda m, o: m.PolynomialLR(o, 8, 2.0),
    "cos": lambda m, o: m.CosineAnnealingLR(o, 5, 0.01),
    "warm": lambda m, o: m.CosineAnnealingWarmRestarts(o, 3, 2, 0.01),
    "warm1": lambda m, o: m.CosineAnnealingWarmRestarts(o, 4, 1, 0.01),
    "cyc": lambda m, o: m.CyclicLR(o, 0.01, [0.1, 0.2], 3, 4),
    "cyc2": lambda m, o: m.CyclicLR(o, 0.01, 0.1, 3, mode="triangular2"),
    "cyc3": lambda m, o: m.CyclicLR(o, 0.01, 0.1, 3, mode="exp_range", gamma=0.97),
    "one": lambda m, o: m.OneCycleLR(o, 0.3, 20),
    "one3": lambda m, o: m.OneCycleLR(
        o, [0.3, 0.2], 20, three_phase=True, anneal_strategy="linear"
    ),
    "seq": lambda m, o: m.SequentialLR(o, [m.LinearLR(o, 0.1, 1, 3), m.ExponentialLR(o, 0.8)], [4]),
    "seq3": lambda m, o: m.SequentialLR(
        o, [m.ConstantLR(o, 0.1, 3), m.CosineAnnealingLR(o, 5), m.StepLR(o, 2)], [4, 9]
    ),
    "chain": lambda m, o: m.ChainedScheduler([m.LinearLR(o, 0.1, 1, 3), m.ExponentialLR(o, 0.8)]),
    "plateau": lambda m, o: m.ReduceLROnPlateau(o, patience=2, cooldown=1),
}

# What PyTorch 2.13 sets, epoch by epoch: the rates of two groups, and the first one's momentum.
EXPECTED: dict[str, list[list[float]]] = {
    "lambda": [
        [0.1, 0.5, 0.9],
        [0.095, 0.475, 0.9],
        [0.09025, 0.45125, 0.9],
        [0.0857375, 0.4286875, 0.9],
        [0.081450625, 0.407253125, 0.9],
        [0.077378094, 0.386890469, 0.9],
        [0.073509189, 0.367545945, 0.9],
        [0.06983373, 0.349168648, 0.9],
        [0.066342043, 0.331710216, 0.9],
        [0.063024941, 0.315124705, 0.9],
        [0.059873694, 0.29936847, 0.9],
        [0.056880009, 0.284400046, 0.9],
        [0.054036009, 0.270180044, 0.9],
        [0.051334208, 0.256671042, 0.9],
    ],
    "mult": [
        [0.1, 0.5, 0.9],
        [0.095, 0.475, 0.9],
        [0.09025, 0.45125, 0.9],
        [0.0857375, 0.4286875, 0.9],
        [0.081450625, 0.407253125, 0.9],
        [0.077378094, 0.386890469, 0.9],
        [0.073509189, 0.367545945, 0.9],
        [0.06983373, 0.349168648, 0.9],
        [0.066342043, 0.331710216, 0.9],
        [0.063024941, 0.315124705, 0.9],
        [0.059873694, 0.29936847, 0.9],
        [0.056880009, 0.284400046, 0.9],
        [0.054036009, 0.270180044, 0.9],
        [0.051334208, 0.256671042, 0.9],
    ],
    "step": [
        [0.1, 0.5, 0.9],
        [0.1, 0.5, 0.9],
        [0.1, 0.5, 0.9],
        [0.05, 0.25, 0.9],
        [0.05, 0.25, 0.9],
        [0.05, 0.25, 0.9],
        [0.025, 0.125, 0.9],
        [0.025, 0.125, 0.9],
        [0.025, 0.125, 0.9],
        [0.0125, 0.0625, 0.9],
        [0.0125, 0.0625, 0.9],
        [0.0125, 0.0625, 0.9],
        [0.00625, 0.03125, 0.9],
        [0.00625, 0.03125, 0.9],
    ],
    "multi": [
        [0.1, 0.5, 0.9],
        [0.1, 0.5, 0.9],
        [0.03, 0.15, 0.9],
        [0.03, 0.15, 0.9],
        [0.03, 0.15, 0.9],
        [0.0027, 0.0135, 0.9],
        [0.0027, 0.0135, 0.9],
        [0.0027, 0.0135, 0.9],
        [0.0027, 0.0135, 0.9],
        [0.00081, 0.00405, 0.9],
        [0.00081, 0.00405, 0.9],
        [0.00081, 0.00405, 0.9],
        [0.00081, 0.00405, 0.9],
        [0.00081, 0.00405, 0.9],
    ],
    "const": [
        [0.03, 0.15, 0.9],
        [0.03, 0.15, 0.9],
        [0.03, 0.15, 0.9],
        [0.03, 0.15, 0.9],
        [0.1, 0.5, 0.9],
        [0.1, 0.5, 0.9],
        [0.1, 0.5, 0.9],
        [0.1, 0.5, 0.9],
        [0.1, 0.5, 0.9],
        [0.1, 0.5, 0.9],
        [0.1, 0.5, 0.9],
        [0.1, 0.5, 0.9],
        [0.1, 0.5, 0.9],
        [0.1, 0.5, 0.9],
    ],
    "linear": [
        [0.025, 0.125, 0.9],
        [0.035833333, 0.179166667, 0.9],
        [0.046666667, 0.233333333, 0.9],
        [0.0575, 0.2875, 0.9],
        [0.068333333, 0.341666667, 0.9],
        [0.079166667, 0.395833333, 0.9],
        [0.09, 0.45, 0.9],
        [0.09, 0.45, 0.9],
        [0.09, 0.45, 0.9],
        [0.09, 0.45, 0.9],
        [0.09, 0.45, 0.9],
        [0.09, 0.45, 0.9],
        [0.09, 0.45, 0.9],
        [0.09, 0.45, 0.9],
    ],
    "exp": [
        [0.1, 0.5, 0.9],
        [0.09, 0.45, 0.9],
        [0.081, 0.405, 0.9],
        [0.0729, 0.3645, 0.9],
        [0.06561, 0.32805, 0.9],
        [0.059049, 0.295245, 0.9],
        [0.0531441, 0.2657205, 0.9],
        [0.04782969, 0.23914845, 0.9],
        [0.043046721, 0.215233605, 0.9],
        [0.038742049, 0.193710245, 0.9],
        [0.034867844, 0.17433922, 0.9],
        [0.03138106, 0.156905298, 0.9],
        [0.028242954, 0.141214768, 0.9],
        [0.025418658, 0.127093291, 0.9],
    ],
    "poly": [
        [0.1, 0.5, 0.9],
        [0.0765625, 0.3828125, 0.9],
        [0.05625, 0.28125, 0.9],
        [0.0390625, 0.1953125, 0.9],
        [0.025, 0.125, 0.9],
        [0.0140625, 0.0703125, 0.9],
        [0.00625, 0.03125, 0.9],
        [0.0015625, 0.0078125, 0.9],
        [0.0, 0.0, 0.9],
        [0.0, 0.0, 0.9],
        [0.0, 0.0, 0.9],
        [0.0, 0.0, 0.9],
        [0.0, 0.0, 0.9],
        [0.0, 0.0, 0.9],
    ],
    "cos": [
        [0.1, 0.5, 0.9],
        [0.091405765, 0.453209164, 0.9],
        [0.068905765, 0.330709164, 0.9],
        [0.041094235, 0.179290836, 0.9],
        [0.018594235, 0.056790836, 0.9],
        [0.01, 0.01, 0.9],
        [0.018594235, 0.056790836, 0.9],
        [0.041094235, 0.179290836, 0.9],
        [0.068905765, 0.330709164, 0.9],
        [0.091405765, 0.453209164, 0.9],
        [0.1, 0.5, 0.9],
        [0.091405765, 0.453209164, 0.9],
        [0.068905765, 0.330709164, 0.9],
        [0.041094235, 0.179290836, 0.9],
    ],
    "warm": [
        [0.1, 0.5, 0.9],
        [0.0775, 0.3775, 0.9],
        [0.0325, 0.1325, 0.9],
        [0.1, 0.5, 0.9],
        [0.093971143, 0.467176224, 0.9],
        [0.0775, 0.3775, 0.9],
        [0.055, 0.255, 0.9],
        [0.0325, 0.1325, 0.9],
        [0.016028857, 0.042823776, 0.9],
        [0.1, 0.5, 0.9],
        [0.098466662, 0.491651827, 0.9],
        [0.093971143, 0.467176224, 0.9],
        [0.086819805, 0.428241161, 0.9],
        [0.0775, 0.3775, 0.9],
    ],
    "warm1": [
        [0.1, 0.5, 0.9],
        [0.086819805, 0.428241161, 0.9],
        [0.055, 0.255, 0.9],
        [0.023180195, 0.081758839, 0.9],
        [0.1, 0.5, 0.9],
        [0.086819805, 0.428241161, 0.9],
        [0.055, 0.255, 0.9],
        [0.023180195, 0.081758839, 0.9],
        [0.1, 0.5, 0.9],
        [0.086819805, 0.428241161, 0.9],
        [0.055, 0.255, 0.9],
        [0.023180195, 0.081758839, 0.9],
        [0.1, 0.5, 0.9],
        [0.086819805, 0.428241161, 0.9],
    ],
    "cyc": [
        [0.01, 0.01, 0.9],
        [0.04, 0.073333333, 0.866666667],
        [0.07, 0.136666667, 0.833333333],
        [0.1, 0.2, 0.8],
        [0.0775, 0.1525, 0.825],
        [0.055, 0.105, 0.85],
        [0.0325, 0.0575, 0.875],
        [0.01, 0.01, 0.9],
        [0.04, 0.073333333, 0.866666667],
        [0.07, 0.136666667, 0.833333333],
        [0.1, 0.2, 0.8],
        [0.0775, 0.1525, 0.825],
        [0.055, 0.105, 0.85],
        [0.0325, 0.0575, 0.875],
    ],
    "cyc2": [
        [0.01, 0.01, 0.9],
        [0.04, 0.04, 0.866666667],
        [0.07, 0.07, 0.833333333],
        [0.1, 0.1, 0.8],
        [0.07, 0.07, 0.833333333],
        [0.04, 0.04, 0.866666667],
        [0.01, 0.01, 0.9],
        [0.025, 0.025, 0.883333333],
        [0.04, 0.04, 0.866666667],
        [0.055, 0.055, 0.85],
        [0.04, 0.04, 0.866666667],
        [0.025, 0.025, 0.883333333],
        [0.01, 0.01, 0.9],
        [0.0175, 0.0175, 0.891666667],
    ],
    "cyc3": [
        [0.01, 0.01, 0.9],
        [0.0391, 0.0391, 0.867666667],
        [0.066454, 0.066454, 0.837273333],
        [0.09214057, 0.09214057, 0.8087327],
        [0.063117569, 0.063117569, 0.840980479],
        [0.035762021, 0.035762021, 0.871375532],
        [0.01, 0.01, 0.9],
        [0.034239485, 0.034239485, 0.873067239],
        [0.057024602, 0.057024602, 0.847750443],
        [0.078420795, 0.078420795, 0.823976894],
        [0.054245448, 0.054245448, 0.850838392],
        [0.031459042, 0.031459042, 0.87615662],
        [0.01, 0.01, 0.9],
        [0.030190813, 0.030190813, 0.877565764],
    ],
    "one": [
        [0.012, 0.012, 0.95],
        [0.039501553, 0.039501553, 0.94045085],
        [0.111501553, 0.111501553, 0.91545085],
        [0.200498447, 0.200498447, 0.88454915],
        [0.272498447, 0.272498447, 0.85954915],
        [0.3, 0.3, 0.85],
        [0.296239202, 0.296239202, 0.851253604],
        [0.28514539, 0.28514539, 0.854951557],
        [0.267274853, 0.267274853, 0.860908426],
        [0.243523696, 0.243523696, 0.86882551],
        [0.215082901, 0.215082901, 0.878305813],
        [0.183378607, 0.183378607, 0.888873953],
        [0.1500006, 0.1500006, 0.9],
        [0.116622593, 0.116622593, 0.911126047],
    ],
    "one3": [
        [0.012, 0.008, 0.95],
        [0.0696, 0.0464, 0.93],
        [0.1272, 0.0848, 0.91],
        [0.1848, 0.1232, 0.89],
        [0.2424, 0.1616, 0.87],
        [0.3, 0.2, 0.85],
        [0.2424, 0.1616, 0.87],
        [0.1848, 0.1232, 0.89],
        [0.1272, 0.0848, 0.91],
        [0.0696, 0.0464, 0.93],
        [0.012, 0.008, 0.95],
        [0.0106668, 0.0071112, 0.95],
        [0.0093336, 0.0062224, 0.95],
        [0.0080004, 0.0053336, 0.95],
    ],
    "seq": [
        [0.01, 0.05, 0.9],
        [0.04, 0.2, 0.9],
        [0.07, 0.35, 0.9],
        [0.1, 0.5, 0.9],
        [0.1, 0.5, 0.9],
        [0.08, 0.4, 0.9],
        [0.064, 0.32, 0.9],
        [0.0512, 0.256, 0.9],
        [0.04096, 0.2048, 0.9],
        [0.032768, 0.16384, 0.9],
        [0.0262144, 0.131072, 0.9],
        [0.02097152, 0.1048576, 0.9],
        [0.016777216, 0.08388608, 0.9],
        [0.013421773, 0.067108864, 0.9],
    ],
    "seq3": [
        [0.01, 0.05, 0.9],
        [0.01, 0.05, 0.9],
        [0.01, 0.05, 0.9],
        [0.1, 0.5, 0.9],
        [0.1, 0.5, 0.9],
        [0.09045085, 0.452254249, 0.9],
        [0.06545085, 0.327254249, 0.9],
        [0.03454915, 0.172745751, 0.9],
        [0.00954915, 0.047745751, 0.9],
        [0.1, 0.5, 0.9],
        [0.1, 0.5, 0.9],
        [0.01, 0.05, 0.9],
        [0.01, 0.05, 0.9],
        [0.001, 0.005, 0.9],
    ],
    "chain": [
        [0.01, 0.05, 0.9],
        [0.032, 0.16, 0.9],
        [0.0448, 0.224, 0.9],
        [0.0512, 0.256, 0.9],
        [0.04096, 0.2048, 0.9],
        [0.032768, 0.16384, 0.9],
        [0.0262144, 0.131072, 0.9],
        [0.02097152, 0.1048576, 0.9],
        [0.016777216, 0.08388608, 0.9],
        [0.013421773, 0.067108864, 0.9],
        [0.010737418, 0.053687091, 0.9],
        [0.008589935, 0.042949673, 0.9],
        [0.006871948, 0.034359738, 0.9],
        [0.005497558, 0.027487791, 0.9],
    ],
    "plateau": [
        [0.1, 0.5, 0.9],
        [0.1, 0.5, 0.9],
        [0.1, 0.5, 0.9],
        [0.1, 0.5, 0.9],
        [0.1, 0.5, 0.9],
        [0.01, 0.05, 0.9],
        [0.01, 0.05, 0.9],
        [0.01, 0.05, 0.9],
        [0.01, 0.05, 0.9],
        [0.001, 0.005, 0.9],
        [0.001, 0.005, 0.9],
        [0.001, 0.005, 0.9],
        [0.001, 0.005, 0.9],
        [0.001, 0.005, 0.9],
    ],
}

METRICS = [3, 2, 2.5, 2.6, 2.7, 2.8, 2.9, 3, 3, 3, 1, 1, 1, 1]


def optimizer() -> tg.optim.Optimizer:
    groups = [
        {"params": [tg.ones(1, requires_grad=True)]},
        {"params": [tg.ones(1, requires_grad=True)], "lr": 0.5},
    ]
    return tg.optim.SGD(groups, lr=0.1, momentum=0.9)


def follow(o: tg.optim.Optimizer, s: Any, first: int, last: int) -> list[list[float]]:
    rows = []
    for epoch in range(first, last):
        rows.append([*(g["lr"] for g in o.param_groups), o.param_groups[0]["momentum"]])
        o.step()
        s.step(METRICS[epoch]) if isinstance(s, m.ReduceLROnPlateau) else s.step()
    return rows


@pytest.mark.parametrize("name", SCHEDULES)
def test_rates_are_pytorchs(name: str) -> None:
    o = optimizer()
    rows = follow(o, SCHEDULES[name](m, o), 0, 14)
    for row, expected in zip(rows, EXPECTED[name], strict=True):
        assert row == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("name", SCHEDULES)
def test_state_dict_continues(name: str) -> None:
    o = optimizer()
    s = SCHEDULES[name](m, o)
    follow(o, s, 0, 6)
    state, groups = s.state_dict(), o.state_dict()
    buffer = io.BytesIO()
    tg.save(groups, buffer)
    expected = follow(o, s, 6, 13)
    other = optimizer()
    resumed = SCHEDULES[name](m, other)
    buffer.seek(0)
    other.load_state_dict(tg.load(buffer))
    resumed.load_state_dict(state)
    assert follow(other, resumed, 6, 13) == expected


# What PyTorch 2.13 sets the first rate to by `step(7)`, and by the `step()` after it.
JUMPS = {
    "lambda": (0.0698337, 0.066342),
    "step": (0.025, 0.025),
    "multi": (0.0027, 0.0027),
    "const": (0.1, 0.1),
    "linear": (0.09, 0.09),
    "exp": (0.0478297, 0.0430467),
    "poly": (0.0015625, 0.0),
    "cos": (0.0410942, 0.0689058),
    "warm": (0.0325, 0.0160289),
    "one": (0.2851454, 0.2672749),
}


@pytest.mark.parametrize("name", JUMPS)
def test_steps_to_an_epoch(name: str) -> None:
    o = optimizer()
    s = SCHEDULES[name](m, o)
    o.step()
    with nullcontext() if name == "warm" else pytest.warns(UserWarning, match="deprecated"):
        s.step(7)
    first = s.get_last_lr()[0]
    s.step()
    assert (first, s.get_last_lr()[0]) == pytest.approx(JUMPS[name], abs=1e-7)
    assert (s.last_epoch, s._step_count) == (8, 3)


def test_every_schedule_is_tested() -> None:
    made = {type(f(m, optimizer())).__name__ for f in SCHEDULES.values()}
    assert made == set(m.__all__) - {"LRScheduler"}


def test_stepping_before_the_optimizer_warns() -> None:
    o = optimizer()
    s = m.ExponentialLR(o, 0.9)
    with pytest.warns(UserWarning, match="before `optimizer.step"):
        s.step()


BAD: list[tuple[Callable[[Any], Any], type[Exception], str]] = [
    (lambda o: m.StepLR(1, 2), TypeError, "int is not an Optimizer"),
    (lambda o: m.LambdaLR(o, [lambda e: 1.0]), ValueError, "same length as optimizer.param_groups"),
    (lambda o: m.ConstantLR(o, factor=2), ValueError, "between 0 and 1"),
    (lambda o: m.LinearLR(o, start_factor=0), ValueError, "greater than 0"),
    (lambda o: m.OneCycleLR(o, 0.1), ValueError, "total_steps OR"),
    (lambda o: m.OneCycleLR(o, 0.1, 10, anneal_strategy="x"), ValueError, "'cos' or 'linear'"),
    (lambda o: m.CosineAnnealingWarmRestarts(o, 0), ValueError, "positive integer T_0"),
    (lambda o: m.CyclicLR(o, 0.1, 1, mode="x"), ValueError, "mode is invalid"),
    (lambda o: m.SequentialLR(o, [m.StepLR(o, 2)], [3]), ValueError, "one more than"),
    (lambda o: m.ChainedScheduler([]), ValueError, "at least one scheduler"),
    (lambda o: m.ReduceLROnPlateau(o, factor=1.0), ValueError, "Factor should be < 1.0"),
    (lambda o: m.StepLR(o, 2, last_epoch=3), KeyError, "initial_lr"),
]


@pytest.mark.parametrize(("build", "error", "message"), BAD)
def test_bad_arguments(build: Callable[[Any], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        build(optimizer())


def test_one_cycle_ends() -> None:
    o = optimizer()
    s = m.OneCycleLR(o, 0.1, total_steps=3)
    o.step()
    for _ in range(3):
        s.step()
    with pytest.raises(ValueError, match="Tried to step 4 times"):
        s.step()
