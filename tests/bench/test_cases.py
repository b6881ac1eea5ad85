"""The cases: what they compute, against numpy's float64, and on device "gl" against the CPU."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

import tensorgl as tg
from bench.cases import CASES, OPS
from bench.cases.case import TOLERANCE, Case
from bench.cases.inputs import classes, fill, tokens
from bench.measure import relative_error

GL = tg.device("gl")
QUICK = {name: case for name, case in CASES.items() if case.needs != "gpu"}
SLOW = ("resnet8", "char-gpt", "lstm")
"""Networks whose many kernels take a software driver seconds to compile."""
ON_GL = [name for name in QUICK if not name.startswith(SLOW) and "2048" not in name]


def by_hand(i: int, seed: int) -> float:
    """The formula of `fill`, in whole numbers."""
    h = (i * 2654435761 + seed * 974711 + 12345) % 2**32
    h ^= h >> 15
    h = h * 2246822519 % 2**32
    h ^= h >> 13
    return h / 2**32 * 2 - 1


@pytest.mark.parametrize("seed", [0, 1, 117, 100_000])
def test_fill_is_its_formula(seed: int) -> None:
    found = fill((3, 50_000), seed)
    assert found.dtype == np.float32
    for i in (0, 1, 2, 49_999, 50_000, 149_999):
        assert found.flat[i] == np.float32(by_hand(i, seed))
    assert abs(found.mean()) < 0.01
    assert abs(found.std() - 1 / math.sqrt(3)) < 0.01


def test_classes_and_tokens() -> None:
    assert classes(4, 10).tolist() == [3, 0, 7, 4]
    assert tokens(4, 65).tolist() == [7, 38, 4, 35]


def test_cases_are_data() -> None:
    for name, case in CASES.items():
        assert case.name == name
        assert case.op in OPS
        assert json.loads(json.dumps(case.sizes)) == case.sizes
        assert case.group in ("kernel", "training", "inference", "start")
        assert case.flops is None or case.flops > 0
        assert (case.bytes is not None) == (case.group == "kernel")
    assert {case.op for case in CASES.values()} == set(OPS)


@pytest.mark.parametrize("name", QUICK)
def test_every_case_builds_runs_and_checks(name: str) -> None:
    workload = QUICK[name].build(tg)
    found = workload.check()
    assert all(a.dtype == np.float64 and np.isfinite(a).all() for a in found)
    first, second = workload.run(), workload.run()
    if QUICK[name].op in ("train", "first_step"):
        assert [a.shape for a in found] == [(3,)]
        assert found[0][2] < found[0][1] < found[0][0]
        assert (first, second) == tuple(found[0][:2])  # from the first state, as check's were
    # Neither running nor checking changes what the other begins from.
    assert relative_error(workload.check(), found) == 0


Sizes = Mapping[str, Any]


def double(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    return [fill(shape, seed).astype(np.float64) for seed, shape in enumerate(shapes, 1)]


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def of_matmul(s: Sizes) -> list[np.ndarray]:
    a, b = double((s["m"], s["k"]), (s["k"], s["n"]))
    return [a @ b]


def of_copy(s: Sizes) -> list[np.ndarray]:
    (x,) = double((s["n"],))
    return [x + 1]


def of_chain(s: Sizes) -> list[np.ndarray]:
    (x,) = double((s["n"],))
    return [(np.exp(np.maximum(2 * x + 1, 0)) - 3) * x]


def of_broadcast(s: Sizes) -> list[np.ndarray]:
    x, scale, bias = double((s["rows"], s["cols"]), (s["rows"], 1), (s["cols"],))
    return [x * scale + bias]


def of_rows(function: Callable[..., np.ndarray]) -> Callable[[Sizes], list[np.ndarray]]:
    return lambda s: [function(*double((s["rows"], s["cols"])))]


def of_layer_norm(s: Sizes) -> list[np.ndarray]:
    x, weight, bias = double((s["rows"], s["cols"]), (s["cols"],), (s["cols"],))
    x -= x.mean(-1, keepdims=True)
    return [x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * weight + bias]


def of_conv_grads(s: Sizes) -> list[np.ndarray]:
    n, c, h, w, o, k, stride, padding, groups = s.values()
    out = [(side + 2 * padding - k) // stride + 1 for side in (h, w)]
    x, weight, g = double((n, c, h, w), (o, c // groups, k, k), (n, o, *out))
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    y, dx, dw = np.zeros_like(g), np.zeros_like(x), np.zeros_like(weight)
    for i in range(k):
        for j in range(k):
            rows = slice(i, i + stride * out[0], stride)
            columns = slice(j, j + stride * out[1], stride)
            for group in range(groups):
                ins = slice(group * c // groups, (group + 1) * c // groups)
                outs = slice(group * o // groups, (group + 1) * o // groups)
                part = x[:, ins, rows, columns]
                y[:, outs] += np.einsum("nchw,oc->nohw", part, weight[outs, :, i, j])
                back = np.einsum("nohw,oc->nchw", g[:, outs], weight[outs, :, i, j])
                dx[:, ins, rows, columns] += back
                dw[outs, :, i, j] = np.einsum("nohw,nchw->oc", g[:, outs], part)
    return [y, dx[:, :, padding : padding + h, padding : padding + w], dw]


def of_pool_grad(s: Sizes) -> list[np.ndarray]:
    n, c, h, w, k = s.values()
    x, g = double((n, c, h, w), (n, c, h // k, w // k))
    windows = x.reshape(n, c, h // k, k, w // k, k)
    y = windows.max((3, 5))
    dx = (windows == y[:, :, :, None, :, None]) * g[:, :, :, None, :, None]
    return [y, dx.reshape(x.shape)]


def of_embedding_grad(s: Sizes) -> list[np.ndarray]:
    table, g = double((s["vocab"], s["dim"]), (s["n"], s["dim"]))
    text, gradient = tokens(s["n"], s["vocab"]), np.zeros_like(table)
    np.add.at(gradient, text, g)
    return [table[text], gradient]


def of_attention(s: Sizes) -> list[np.ndarray]:
    q, k, v = double(*[tuple(s.values())] * 3)
    return [softmax(q @ k.swapaxes(-1, -2) / math.sqrt(s["d"])) @ v]


def of_adam(s: Sizes) -> list[np.ndarray]:
    """The first and the last of all after two updates with the same gradients."""
    numbers = double(*[(s["size"],)] * (2 * s["tensors"]))
    results = []
    for place in (0, s["tensors"] - 1):
        p, g = numbers[place], numbers[place + s["tensors"]]
        m = v = np.zeros_like(p)
        for t in (1, 2):
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            p = p - 0.001 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        results.append(p)
    return results


ORACLES: dict[str, Callable[[Sizes], list[np.ndarray]]] = {
    "matmul": of_matmul,
    "copy": of_copy,
    "chain": of_chain,
    "broadcast": of_broadcast,
    "transpose": of_rows(np.transpose),
    "sum": of_rows(lambda x: x.sum(-1)),
    "softmax": of_rows(softmax),
    "layer_norm": of_layer_norm,
    "conv": lambda s: of_conv_grads(s)[:1],
    "conv_grads": of_conv_grads,
    "pool": lambda s: of_pool_grad(s)[:1],
    "pool_grad": of_pool_grad,
    "embedding": lambda s: of_embedding_grad(s)[:1],
    "embedding_grad": of_embedding_grad,
    "attention": of_attention,
    "adam": of_adam,
    "readback": lambda s: [2 * x for x in double((s["n"],))],
    "small_add": lambda s: [sum(double((s["n"],), (s["n"],)))],
}


@pytest.mark.parametrize("name", [name for name, case in QUICK.items() if case.group == "kernel"])
def test_kernels_are_their_formulas(name: str) -> None:
    case = QUICK[name]
    assert relative_error(case.build(tg).check(), ORACLES[case.op](case.sizes)) < 5e-6


def test_networks_have_the_weights_that_inputs_py_says() -> None:
    from bench.cases.models import char_gpt, lenet, resnet8

    net, x, targets = lenet(tg)
    first, second = net[0].weight, net[3].weight
    assert relative_error([second.numpy(force=True)], [fill((16, 6, 5, 5), 101) / 150**0.5]) < 1e-7
    assert relative_error([first.numpy(force=True)], [fill((6, 1, 5, 5), 100) / 5]) < 1e-7
    assert not net[0].bias.any()
    np.testing.assert_array_equal(x.numpy(), fill((64, 1, 28, 28), 1))
    np.testing.assert_array_equal(targets.numpy(), classes(64, 10))
    net, x, _ = char_gpt(tg, batch=2)
    np.testing.assert_array_equal(x.numpy().ravel(), tokens(128, 65))
    places = net.places.weight.numpy(force=True)
    assert relative_error([places], [fill((64, 128), 101) * 0.02]) < 1e-7
    head = net.head.weight.numpy(force=True)
    assert relative_error([head], [fill((65, 128), 118) / 128**0.5]) < 1e-7
    net, _, _ = resnet8(tg, batch=2)
    assert sum(p.numel() for p in net.parameters()) == 78_042
    assert all((m.weight == 1).all() for m in net.modules() if isinstance(m, tg.nn.BatchNorm2d))


@pytest.mark.usefixtures("gl_target")
@pytest.mark.parametrize("name", ON_GL)
def test_cases_on_gl_equal_those_on_the_cpu(name: str) -> None:
    case: Case = CASES[name]
    with GL:
        found = case.build(tg).check()
    assert relative_error(found, case.build(tg).check()) < TOLERANCE / 10
