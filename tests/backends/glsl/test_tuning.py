"""Variants of kernels: what heads say, which one is chosen, and that all of them compute the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorgl as tg
from tensorgl.backends.glsl import GlslBackend, findings, tuning
from tensorgl.backends.glsl.device import Limits
from tensorgl.backends.glsl.findings import Finding, Variant, decoded, device_name, encoded
from tensorgl.backends.glsl.lowering.matmul_choice import MATMUL, Problem, Side
from tensorgl.backends.glsl.tuning import Tuning
from tests.gl import use

LIMITS = Limits(
    "fragment", "", "llvmpipe (LLVM 15.0.6, 256 bits)", True, 8, 16, 1 << 24, 16384, 1 << 14, 256
)
PRODUCT = Problem(
    (1, 1, 1), 100, 100, 100, Side((0, 0, 0), 100, 1, True), Side((0, 0, 0), 1, 100, True), True
)
KEY = ("matmul", MATMUL.key(PRODUCT))


def numbers(*shape: int, seed: int = 0) -> tg.Tensor:
    values = np.random.default_rng(seed).standard_normal(shape).astype("f4")
    return tg.tensor(values, device="gl", requires_grad=True)


def product() -> list[tg.Tensor]:
    return [numbers(50, 130) @ numbers(130, 36, seed=1)]


def convolution(
    x: tuple[int, ...], w: tuple[int, ...], **options: Any
) -> Callable[[], list[tg.Tensor]]:
    def run() -> list[tg.Tensor]:
        a, b = numbers(*x), numbers(*w, seed=1)
        y = tg.nn.functional.conv2d(a, b, **options)
        return [y, *tg.autograd.grad(y.square().sum(), (a, b))]

    return run


PROBLEMS = {
    "product": product,
    "ragged product": lambda: [numbers(3, 33, 70) @ numbers(3, 70, 5, seed=1)],
    "3x3": convolution((4, 8, 12, 12), (8, 8, 3, 3), padding=1),
    "few channels": convolution((4, 1, 8, 8), (8, 1, 3, 3), padding=1),
    "depthwise": convolution((3, 8, 7, 7), (8, 1, 3, 3), groups=8, stride=2),
    "strided": convolution((4, 4, 9, 9), (8, 4, 2, 2), stride=2),
}


@pytest.fixture
def untuned(gl_target: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[GlslBackend]:
    """A backend that was not tuned, and that is asked for what it meets."""
    backend = use(gl_target)
    monkeypatch.setattr(backend, "tuning", Tuning(backend.device.limits, asked={}))
    backend._plans.clear()
    yield backend
    backend._plans.clear()


@pytest.mark.parametrize("problem", PROBLEMS)
def test_variants_compute_the_same(problem: str, untuned: GlslBackend) -> None:
    run, tuning = PROBLEMS[problem], untuned.tuning
    expected = [t.detach().cpu().numpy() for t in run()]
    asked = dict(tuning.asked or {})
    assert asked
    for key, (family, met) in asked.items():
        best = family.cheapest(met, tuning.limits)
        for variant in [*family.variants(met, tuning.limits)][::3]:
            assert family.can(variant, met, tuning.limits)
            tuning.use({key: variant})
            assert tuning.choose(family, met) == variant
            if variant != best:
                for found, known in zip(run(), expected, strict=True):
                    error = abs(found.detach().cpu().numpy() - known).max()
                    assert error < 1e-5 * abs(known).max() * 8, variant


def test_other_choices_make_other_plans(untuned: GlslBackend) -> None:
    def launches() -> int:
        before = untuned.counters()["launches"]
        product()[0].cpu()
        return untuned.counters()["launches"] - before

    one = Variant.of("matmul.rows", R=1, PARTS=1, PAD=0, LOCAL=64)
    parts = Variant.of("matmul.rows", R=1, PARTS=4, PAD=0, LOCAL=64)
    product()[0].cpu()
    (key,) = untuned.tuning.asked or {}
    counts = []
    for choice in (one, parts, one):
        untuned.tuning.use({key: choice})
        counts.append(launches())
    assert counts[0] == counts[2] < counts[1]


class TestHeads:
    def space(self, *lines: str) -> tuning.Space:
        return tuning._space("some.kernel", "\n".join(lines))

    def test_parameters_and_conditions(self) -> None:
        space = self.space(
            "// what it does", "// tune A B: 1 2, 3 4", "// tune C: 5 6", "// only A + C < 9"
        )
        found = [dict(v.values) for v in space.variants({})]
        assert found == [
            {"A": 1, "B": 2, "C": 5},
            {"A": 1, "B": 2, "C": 6},
            {"A": 3, "B": 4, "C": 5},
        ]
        assert space.base == "some.kernel"

    def test_what_is_only_measured(self) -> None:
        space = self.space("// vary A: 1 2", "// tune B: 3 4")
        assert [(v["A"], v["B"]) for v in space.variants({}, estimated=True)] == [(1, 3), (1, 4)]
        assert len(list(space.variants({}))) == 4

    def test_a_condition_on_the_problem(self) -> None:
        space = self.space("// tune R: 8 4", "// only R <= OUTPUTS", "// variant of matmul.rows")
        assert [v["R"] for v in space.variants({"OUTPUTS": 4})] == [4]
        assert space.base == "matmul.rows"

    def test_a_file_is_enough_for_a_new_variant(self, monkeypatch: pytest.MonkeyPatch) -> None:
        new = self.space("// tune R: 4", "// variant of matmul.rows")
        monkeypatch.setattr(tuning, "_spaces", lambda: {**before, "some.kernel": new})
        before = {s.kernel: s for s in (*tuning.spaces("matmul"), *tuning.spaces("matmul.rows"))}
        tuning.spaces.cache_clear()
        try:
            known = Tuning(LIMITS)
            assert (
                known.choose(MATMUL, PRODUCT).kernel == "matmul.rows"
            )  # nothing is known of the new one
            best = Variant.of("some.kernel", R=4)
            known.use({KEY: best})
            assert known.choose(MATMUL, PRODUCT) == best
        finally:
            tuning.spaces.cache_clear()

    def test_a_file_that_names_a_target_is_for_that_alone(self) -> None:
        assert not any(v.kernel.endswith(".compute") for v in MATMUL.variants(PRODUCT, LIMITS))


class TestChoices:
    @pytest.mark.parametrize(
        "unable",
        [
            Variant.of("matmul.gone", R=4, PARTS=1, PAD=0, LOCAL=64),
            Variant.of("matmul.rows", R=4),
            Variant.of("matmul.rows", R=16, PARTS=1, PAD=0, LOCAL=64),
            Variant.of("matmul.rows", R=3, PARTS=1, PAD=0, LOCAL=64),
            Variant.of("matmul.rows", R=-1, PARTS=1, PAD=0, LOCAL=64),
            Variant.of("matmul.rows", R=4, PARTS=64, PAD=0, LOCAL=64),
            Variant.of("conv.rows", R=4, WIDE=1, LOCAL=64),
        ],
        ids=str,
    )
    def test_what_cannot_compute_it_is_left_out(self, unable: Variant) -> None:
        known = Tuning(LIMITS)
        known.use({KEY: unable})
        assert known.choose(MATMUL, PRODUCT) == MATMUL.cheapest(PRODUCT, LIMITS)


FINDING = Finding(
    "matmul", KEY[1], Variant.of("matmul.rows", R=4, PARTS=2, PAD=0, LOCAL=64), 1.25, "matmul-100"
)
NONE = Finding("matmul", (1, 2), None, 1.0, "matmul-2")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's file, which is not there yet."""
    path = tmp_path / "cache" / "tuning.json"
    monkeypatch.setenv("TENSORGL_TUNING", str(path))
    return path


class TestFiles:
    def test_what_is_kept_is_chosen(self, file: Path) -> None:
        assert findings.known(LIMITS) == []
        assert findings.keep(LIMITS, [FINDING, NONE]) == file
        assert findings.known(LIMITS) == [FINDING, NONE]
        assert Tuning.of(LIMITS).choose(MATMUL, PRODUCT) == FINDING.variant
        assert [p.name for p in file.parent.iterdir()] == [file.name]

    def test_devices_are_kept_apart(self, file: Path) -> None:
        other = Limits("compute", *list(vars(LIMITS).values())[1:])
        findings.keep(LIMITS, [FINDING])
        findings.keep(other, [NONE])
        assert findings.known(LIMITS) == [FINDING]
        assert findings.known(other) == [NONE]

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "[]",
            "{",
            "[" * 100_000,
            '{"d": [{}]}',
            encoded({"d": [FINDING]}).replace('"R": 4', '"R": "4"'),
            encoded({"d": [FINDING]}).replace('"matmul"', "[]"),
            encoded({"d": [NONE]}).replace("[1, 2]", '{"1": 2}'),
            encoded({"d": [NONE]}).replace("1.0", f"1{'0' * 400}"),
        ],
        ids=range(9),
    )
    def test_a_damaged_file_is_left_out_with_a_warning(self, file: Path, text: str) -> None:
        file.parent.mkdir()
        file.write_text(text)
        with pytest.warns(UserWarning, match="delete it, or tune again"):
            assert findings.known(LIMITS) == []

    def test_json(self) -> None:
        assert decoded(encoded({"d": [FINDING, NONE], "e": []})) == {"d": [FINDING, NONE], "e": []}

    def test_what_comes_with_the_package_names_kernels_that_are_there(self) -> None:
        for found in findings.shipped().values():
            for finding in found:
                assert finding.variant is None or finding.variant.kernel in tuning._spaces()

    def test_names_of_devices_leave_versions_out(self) -> None:
        assert device_name(LIMITS) == "llvmpipe (LLVM, 256 bits) / fragment / 8"
