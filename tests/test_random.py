"""Philox against its published vectors, the laws of what is drawn, and the state of generators."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from math import erf, erfc, exp, sqrt

import numpy as np
import pytest

import tensorgl as tg
from tensorgl.ops import sampling
from tensorgl.primitives.random import NORMAL_SCALE, normal_table

MASK = 0xFFFFFFFF


def philox(counter: tuple[int, ...], key: tuple[int, int]) -> tuple[int, ...]:
    """Philox4x32-10 in Python's integers, as the paper writes it."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        a, b = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (b >> 32) ^ c1 ^ k0, b & MASK, (a >> 32) ^ c3 ^ k1, a & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return c0, c1, c2, c3


def words(seed: int, offset: int, count: int) -> np.ndarray:
    """The words of a generator at an offset, by the function above."""
    key = (seed & MASK, seed >> 32)
    out = []
    for block in range(offset, offset + -(-count // 4)):
        block %= 1 << 64
        out += philox((block & MASK, block >> 32, 0, 0), key)
    return np.array(out[:count], np.uint64)


def generator(seed: int, offset: int = 0) -> tg.Generator:
    g = tg.Generator()
    g.state = seed, offset
    return g


def test_published_vectors() -> None:
    """The known answers of Random123, its authors' library."""
    assert philox((0,) * 4, (0, 0)) == (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)
    assert philox((MASK,) * 4, (MASK, MASK)) == (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)
    counter = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)
    expected = (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)
    assert philox(counter, (0xA4093822, 0x299F31D0)) == expected


@pytest.mark.parametrize(
    ("seed", "offset"),
    [(0, 0), (1, 5), ((1 << 64) - 1, (1 << 32) - 2), (0x299F31D0A4093822, 0x85A308D3243F6A88)],
)
def test_words(seed: int, offset: int) -> None:
    """Also where the low half of the counter overflows into the high one."""
    drawn = tg.randint(0, 1 << 32, (37,), generator=generator(seed, offset))
    assert drawn.tolist() == words(seed, offset, 37).tolist()


def test_many_chunks() -> None:
    count = (1 << 16) + 5
    drawn = tg.randint(0, 1 << 32, (count,), generator=generator(3)).numpy()
    last = words(3, count // 4 - 8, 4 * 8 + count % 4)
    assert drawn[-len(last) :].tolist() == last.tolist()


def test_uniform_by_its_definition() -> None:
    w = words(7, 0, 40)
    single = tg.rand(40, generator=generator(7)).numpy()
    assert (single == ((w >> 8) * 2.0**-24).astype(np.float32)).all()
    half = tg.rand(40, dtype=tg.float16, generator=generator(7)).numpy()
    assert (half == ((w >> 21) * 2.0**-11).astype(np.float16)).all()
    double = tg.rand(20, dtype=tg.float64, generator=generator(7)).numpy()
    assert (double == ((w[::2] >> 5) * 2.0**26 + (w[1::2] >> 6)) * 2.0**-53).all()


def normal_by_its_definition(word: int) -> float:
    base, drop = normal_table()
    u = (word << 1 | 1) & MASK
    e = u.bit_length() - 1
    v = u << (31 - e)  # the leading bit at position 31
    k = 64 * e + (v >> 25 & 63)
    magnitude = base[k] - (drop[k] * (v >> 9 & 0xFFFF) + (1 << 15) >> 16)
    return (-magnitude if word >> 31 else magnitude) * NORMAL_SCALE


def test_normal_by_its_definition() -> None:
    w = words(11, 0, 4000)
    expected = [normal_by_its_definition(int(x)) for x in w]
    drawn = tg.randn(4000, generator=generator(11))
    assert drawn.tolist() == expected
    fine = tg.randn(2000, dtype=tg.float64, generator=generator(11)).numpy()
    coarse = np.array(expected[::2])
    assert (np.abs(np.abs(fine) - np.abs(coarse)) < NORMAL_SCALE).all()
    assert (np.sign(fine) == np.where(w[::2] >> 31, -1, 1)).all()


def test_normal_table_is_the_same_everywhere() -> None:
    base, drop = normal_table()
    assert max(base) < 1 << 24
    assert max(drop) < 1 << 15  # so that drop * f + 2^15 fits into 31 bits
    digest = hashlib.sha256(np.array([base, drop], "<i4").tobytes()).hexdigest()
    assert digest == "3997189fa039eeca1c31661db012a4745372c3ba31bf77336d5c98d6845451c9"


def test_extreme_words() -> None:
    """The smallest and the largest tail: 0 exactly, and more than 6 deviations."""
    assert normal_by_its_definition(0x7FFFFFFF) == 0
    assert 6.33 < normal_by_its_definition(0) < 6.34


def test_the_normal_law() -> None:
    """Moments, and the distance of the distribution functions, of a million."""
    x = np.sort(tg.randn(1 << 20, generator=generator(5)).numpy().astype(np.float64))
    n = len(x)
    assert abs(x.mean()) < 4 / sqrt(n)
    assert abs(x.var() - 1) < 4 * sqrt(2 / n)
    assert abs((x**4).mean() - 3) < 4 * sqrt(96 / n)
    law = np.array([0.5 * (1 + erf(v / sqrt(2))) for v in x[::256]])
    assert np.abs(law - (np.arange(n)[::256] + 0.5) / n).max() < 1.95 / sqrt(n)
    assert 4.3 < np.abs(x).max() < 6.4


def test_the_chords_follow_the_law() -> None:
    """At the middle of each chord, where it is furthest from the curve."""
    base, drop = normal_table()
    for k in range(2048):
        e, s = divmod(k, 64)
        tail = 2.0 ** (e - 33) * (1 + (s + 0.5) / 64)
        error = abs(0.5 * erfc((base[k] - drop[k] / 2) * NORMAL_SCALE / sqrt(2)) - tail)
        assert error < 5e-6
        assert error < 4e-5 * tail


def test_one_mask_is_the_uniform_numbers_below() -> None:
    for keep in (0.0, 1e-8, 0.1, 0.5, 0.9, 1.0):
        mask = sampling.bernoulli_mask((1000,), keep, "cpu", generator(9))
        assert mask.dtype is tg.bool
        assert mask.tolist() == (tg.rand(1000, generator=generator(9)) < keep).tolist()
    assert sampling.bernoulli_mask((1000,), 1.0, "cpu").all()
    assert not sampling.bernoulli_mask((1000,), 0.0, "cpu").any()


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3, 4), (10, 1 << 32), (-(1 << 63), (1 << 63))])
def test_integers_stay_in_range_and_reach_it(low: int, high: int) -> None:
    x = tg.randint(low, high, (1 << 14,), generator=generator(1)).numpy()
    assert x.min() >= low
    assert x.max() <= high - 1
    middle = (low + high - 1) / 2
    assert abs(float(x.mean()) - middle) <= (high - low) / 50


def test_small_ranges_are_even() -> None:
    counts = np.bincount(tg.randint(7, (70000,), generator=generator(2)).numpy(), minlength=7)
    assert ((counts - 10000) ** 2 / 10000).sum() < 22.5  # chi squared of 6, one in a thousand


def test_randperm() -> None:
    for n in (0, 1, 1000):
        assert sorted(tg.randperm(n).tolist()) == list(range(n))
    assert tg.randperm(5, dtype=tg.int32).dtype is tg.int32
    g = generator(1)
    firsts = np.bincount([tg.randperm(3, generator=g)[0].item() for _ in range(600)], minlength=3)
    assert (firsts > 140).all()


def test_multinomial() -> None:
    weights = tg.tensor([0.0, 1.0, 3.0, 0.0])
    drawn = tg.multinomial(weights, 8000, replacement=True, generator=generator(4))
    counts = np.bincount(drawn.numpy(), minlength=4)
    assert counts[0] == counts[3] == 0
    assert abs(counts[1] - 2000) < 160
    without = tg.multinomial(tg.ones(5), 5)
    assert sorted(without.tolist()) == list(range(5))
    rows = tg.multinomial(tg.tensor([[1.0, 0.0], [0.0, 2.0]]), 1)
    assert rows.tolist() == [[0], [1]]
    assert tg.multinomial(tg.ones(0, 2), 1).shape == (0, 1)


def test_first_without_replacement_has_the_weights() -> None:
    g, weights = generator(1), tg.tensor([1.0, 3.0])
    firsts = [tg.multinomial(weights, 2, generator=g)[0].item() for _ in range(2000)]
    assert abs(sum(firsts) - 1500) < 80


@pytest.mark.parametrize(
    ("weights", "count", "message"),
    [
        ([1.0, -1.0], 1, "element < 0"),
        ([1.0, float("nan")], 1, "nan"),
        ([0.0, 0.0], 1, "sum of probabilities"),
        ([1.0, 1.0], 3, "without replacement"),
        ([1.0, 1.0], 0, "n_sample <= 0"),
        ([[[1.0]]], 1, "1 or 2 dim"),
        ([1, 1], 1, "floating-point"),
    ],
)
def test_multinomial_refuses(weights: list, count: int, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        tg.multinomial(tg.tensor(weights), count)


def test_one_seed_one_stream() -> None:
    tg.manual_seed(3)
    first = tg.rand(5).tolist() + tg.randn(3).tolist()
    assert tg.initial_seed() == 3
    tg.manual_seed(3)
    assert tg.rand(5).tolist() + tg.randn(3).tolist() == first
    assert tg.rand(5).tolist() != first[:5]


def test_the_stream_is_that_of_the_device_before() -> None:
    """Numbers depend on the order of calls alone: a call on another device takes its share too."""
    tg.manual_seed(0)
    tg.rand(5, device="meta")
    after = tg.rand(3).tolist()
    tg.manual_seed(0)
    tg.rand(5)
    assert tg.rand(3).tolist() == after


def test_state_comes_back() -> None:
    tg.manual_seed(1)
    tg.rand(7)
    state = tg.get_rng_state()
    assert state.dtype is tg.uint8
    expected = tg.rand(4).tolist()
    tg.set_rng_state(state)
    assert tg.rand(4).tolist() == expected
    with pytest.raises(RuntimeError, match="16 bytes"):
        tg.set_rng_state(tg.zeros(3, dtype=tg.uint8))


def test_fork_leaves_the_generator_alone() -> None:
    tg.manual_seed(1)
    expected = tg.rand(2).tolist()
    tg.manual_seed(1)
    with tg.random.fork_rng():
        tg.manual_seed(99)
        tg.rand(10)
    assert tg.rand(2).tolist() == expected


def test_generators_are_independent() -> None:
    g = tg.Generator().manual_seed(5)
    before = tg.get_rng_state().tolist()
    a = tg.rand(3, generator=g)
    assert tg.get_rng_state().tolist() == before
    assert a.tolist() == tg.rand(3, generator=tg.Generator().manual_seed(5)).tolist()
    assert tg.Generator().initial_seed() == 67280421310721  # PyTorch's
    assert tg.Generator().manual_seed(-1).initial_seed() == (1 << 64) - 1
    with pytest.raises(ValueError, match="expected a seed"):
        g.manual_seed(1 << 64)
    assert g.seed() == g.initial_seed()


def test_each_process_starts_from_another_seed() -> None:
    command = [sys.executable, "-c", "import tensorgl; print(tensorgl.initial_seed())"]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(2)]
    assert runs[0].stdout != runs[1].stdout


def test_threads_never_get_the_same_numbers() -> None:
    g = tg.Generator()
    drawn: list[int] = []

    def draw() -> None:
        for _ in range(200):
            drawn.append(tg.randint(0, 1 << 32, (4,), generator=g).tolist()[0])

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(set(drawn)) == 800


def samples(fill: str, *args: float, dtype: tg.dtype = tg.float64) -> np.ndarray:
    x = tg.zeros(40000, dtype=dtype)
    assert getattr(x, fill)(*args, generator=generator(8)) is x
    return x.numpy().astype(np.float64)


def test_filling_in_place() -> None:
    assert abs(samples("uniform_", -1, 3).mean() - 1) < 0.03
    x = samples("normal_", 2, 0.5)
    assert abs(x.mean() - 2) < 0.02
    assert abs(x.std() - 0.5) < 0.02
    assert abs(samples("exponential_", 2).mean() - 0.5) < 0.02
    k = samples("geometric_", 0.25)
    assert k.min() == 1
    assert abs(k.mean() - 4) < 0.1
    assert abs(samples("log_normal_", 0, 0.5).mean() - exp(0.125)) < 0.02
    assert abs(np.median(samples("cauchy_", 1, 2)) - 1) < 0.1
    assert set(samples("bernoulli_", 0.5)) == {0, 1}
    assert samples("random_", 3, 5).mean() == pytest.approx(3.5, abs=0.02)
    assert samples("random_", dtype=tg.uint8).max() == 255
    assert samples("random_", dtype=tg.float32).max() > 1 << 23


def test_probabilities_may_be_a_tensor() -> None:
    p = tg.tensor([0.0, 1.0])
    assert tg.bernoulli(p).tolist() == [0, 1]
    assert tg.zeros(3, 2).bernoulli_(p).tolist() == [[0, 1]] * 3
    assert tg.bernoulli(tg.zeros(2, dtype=tg.int64), 1.0).dtype is tg.int64


def test_normal_takes_tensors() -> None:
    mean, std = tg.tensor([[0.0], [100.0]]), tg.tensor([0.0, 1.0, 2.0])
    x = tg.normal(mean, std, generator=generator(6))
    assert x.shape == (2, 3)
    assert x[:, 0].tolist() == [0, 100]
    assert tg.normal(5.0, 0.0, (2,)).tolist() == [5, 5]
    assert not tg.normal(mean.requires_grad_(), std).requires_grad
    with pytest.raises(RuntimeError, match="std >= 0"):
        tg.normal(0.0, tg.tensor([-1.0]))


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: tg.rand(2, dtype=tg.int64), NotImplementedError),
        (lambda: tg.rand(-1), RuntimeError),
        (lambda: tg.rand(), TypeError),
        (lambda: tg.randint(5, 2), TypeError),
        (lambda: tg.randint(5, 5, (2,)), RuntimeError),
        (lambda: tg.randint(0, 300, (2,), dtype=tg.uint8), RuntimeError),
        (lambda: tg.randperm(-1), RuntimeError),
        (lambda: tg.randperm(300, dtype=tg.uint8), RuntimeError),
        (lambda: tg.bernoulli(tg.tensor([2.0])), RuntimeError),
        (lambda: tg.zeros(2).bernoulli_(1.5), RuntimeError),
        (lambda: tg.zeros(2).uniform_(2, 1), RuntimeError),
        (lambda: tg.zeros(2).normal_(0, -1), RuntimeError),
        (lambda: tg.zeros(2).exponential_(0), RuntimeError),
        (lambda: tg.zeros(2).geometric_(1.0), RuntimeError),
        (lambda: tg.zeros(2).log_normal_(0, 0), RuntimeError),
        (lambda: tg.zeros(2).cauchy_(0, 0), RuntimeError),
        (lambda: tg.zeros(2, requires_grad=True).uniform_(), RuntimeError),
        (lambda: tg.normal(0.0, 1.0), TypeError),
    ],
)
def test_refusals(call: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        call()  # type: ignore[operator]
