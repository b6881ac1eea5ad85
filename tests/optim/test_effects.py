"""What a step does in Python goes through `effect`, so that a recorded step can be given new numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import tensorgl as tg
from tensorgl import effects
from tensorgl.effects import effect
from tensorgl.optim import lr_scheduler
from tests.optim.test_flat import OPTIONS, build, content, give_gradients, parameters, train

Function = Callable[[], tuple[float, ...]]


@contextmanager
def recording(recorder: Callable[[Function], tuple[float, ...]]) -> Iterator[None]:
    effects.recorder = recorder
    try:
        yield
    finally:
        effects.recorder = None


def test_without_a_recorder_the_function_is_called() -> None:
    assert effect(lambda: (1.0, 2)) == (1.0, 2)


def test_an_effect_within_an_effect_is_part_of_it() -> None:
    seen: list[Function] = []

    def recorder(function: Function) -> tuple[float, ...]:
        seen.append(function)
        return function()

    with recording(recorder):
        assert effect(lambda: effect(lambda: (3,))) == (3,)
        assert effect(lambda: (4,)) == (4,)
        with pytest.raises(ZeroDivisionError):
            effect(lambda: effect(lambda: (1 / 0,)))
        assert effects.recorder is recorder
    assert len(seen) == 3


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(("kind", "options"), OPTIONS)
def test_numbers_are_all_that_changes_from_step_to_step(
    kind: str, options: dict[str, Any], fused: bool
) -> None:
    """An optimizer that is given the numbers of another one does what that one does."""

    def make(rate: float) -> tuple[Any, list[Any]]:
        params = parameters()
        groups = [{"params": params[:2]}, {"params": params[2:], "lr": 2 * rate}]
        return build(kind, groups, **options | {"lr": rate, "fused": fused}), params

    (follower, params), (leader, reference) = make(0.5), make(0.1)
    for name, factor in (("weight_decay", 0.5), ("eps", 3.0), ("rho", 0.9), ("momentum", 0.7)):
        for group in leader.param_groups:
            if name in group:
                group[name] *= factor
    for t in range(8):
        given: list[tuple[float, ...]] = []

        def note(function: Function, given: list[tuple[float, ...]] = given) -> tuple[float, ...]:
            given.append(function())
            return given[-1]

        with recording(note):
            train(leader, reference, t, t + 1)
        numbers = iter(given)

        def follow(function: Function, numbers: Any = numbers) -> tuple[float, ...]:
            own, leaders = function(), next(numbers)
            assert len(own) == len(leaders)
            assert all(isinstance(x, float) for x in leaders)
            return leaders

        with recording(follow):
            train(follower, params, t, t + 1)
        assert next(numbers, None) is None
    state = content(leader)
    if kind == "NAdam":  # whose product of momenta is a count, and so its own
        for values in state[1].values():
            values.pop("mu_product")
        mine = content(follower)
        for values in mine[1].values():
            values.pop("mu_product")
        assert mine == state
    else:
        assert content(follower) == state


def test_a_function_called_again_gives_the_numbers_of_the_next_step() -> None:
    functions: list[Function] = []

    def recorder(function: Function) -> tuple[float, ...]:
        functions.append(function)
        return function()

    params = parameters([(3,), (2, 2)])
    optimizer = tg.optim.Adam(params, lr=0.1, fused=True)
    schedule = lr_scheduler.ExponentialLR(optimizer, 0.5)
    give_gradients(params, 0)
    with recording(recorder):
        optimizer.step()
        schedule.step()
    update, scheduled = functions
    assert scheduled() == ()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.025)
    rate = update()[-1]
    assert rate == -0.025 / (1 - 0.9**2)
    assert [optimizer.state[p]["step"] for p in params] == [2, 2]
    form = optimizer.form()
    optimizer.param_groups[0]["lr"] = 0.2
    assert optimizer.form() == form
    optimizer.param_groups[0]["weight_decay"] = 0.1  # another formula: what was recorded is void
    assert optimizer.form() != form


def test_groups_that_come_to_differ_give_more_numbers() -> None:
    params = parameters([(3,), (3,)])
    optimizer = tg.optim.SGD([{"params": params[:1]}, {"params": params[1:]}], lr=0.1, fused=True)
    counts: list[int] = []

    def recorder(function: Function) -> tuple[float, ...]:
        numbers = function()
        counts.append(len(numbers))
        return numbers

    with recording(recorder):
        train(optimizer, params, 0, 2)
        optimizer.param_groups[1]["lr"] = 0.2
        train(optimizer, params, 2, 3)
        optimizer.param_groups[1]["lr"] = 0.1
        train(optimizer, params, 3, 4)
    assert counts == [4, 4, 5, 5]


SCHEDULES: list[Callable[[Any], Any]] = [
    lambda o: lr_scheduler.StepLR(o, 1),
    lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=9),
    lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 2),
    lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.ConstantLR(o), lr_scheduler.ExponentialLR(o, 0.9)], [2]
    ),
    lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.ConstantLR(o), lr_scheduler.ExponentialLR(o, 0.9)]
    ),
]


@pytest.mark.parametrize("make", SCHEDULES)
@pytest.mark.filterwarnings("ignore:Detected call")
def test_a_schedule_goes_on_when_it_is_called_again(make: Callable[[Any], Any]) -> None:
    straight = make(tg.optim.Adam(parameters()))
    schedule = make(tg.optim.Adam(parameters()))
    functions: list[Function] = []

    def recorder(function: Function) -> tuple[float, ...]:
        functions.append(function)
        return function()

    with recording(recorder):
        schedule.step()
    straight.step()
    (again,) = functions
    for _ in range(4):
        assert again() == ()
        straight.step()
    assert schedule.get_last_lr() == straight.get_last_lr()
    assert (
        schedule.optimizer.param_groups[0]["betas"] == straight.optimizer.param_groups[0]["betas"]
    )


def test_schedules_with_arguments() -> None:
    functions: list[Function] = []

    def recorder(function: Function) -> tuple[float, ...]:
        functions.append(function)
        return function()

    optimizer = tg.optim.SGD(parameters(), lr=1.0)
    plateau = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
    restarts = lr_scheduler.CosineAnnealingWarmRestarts(tg.optim.SGD(parameters(), lr=1.0), 2)
    with recording(recorder):
        plateau.step(1.0)
        plateau.step(2.0)
        restarts.step(0.5)
    assert len(functions) == 3
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1)


def test_random_offsets_go_on() -> None:
    generator = tg.Generator().manual_seed(5)
    functions: list[Function] = []

    def recorder(function: Function) -> tuple[float, ...]:
        functions.append(function)
        return function()

    with recording(recorder):
        tg.rand(10, generator=generator)
    (take,) = functions
    first = take()
    assert first == (5, 0, 3, 0)
    assert generator.state == (5, 6)
    with recording(lambda function: (5, 0, 0, 0)):
        values = tg.rand(10, generator=generator)
    assert tg.equal(values, tg.rand(10, generator=tg.Generator().manual_seed(5)))
