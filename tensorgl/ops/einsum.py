"""Einstein summation: the grammar, and contraction from left to right through matmul and mul.

After parsing, a dim has a label: a letter, or for a dim under an ellipsis a negative number that
counts from the right, so that ellipses of different lengths align as broadcasting does.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from string import ascii_letters, ascii_lowercase, ascii_uppercase
from typing import Any

from tensorgl import primitives as p
from tensorgl.dispatch import call2, call_view, op
from tensorgl.ops.arithmetic import mul
from tensorgl.ops.movement import permute, reshape
from tensorgl.ops.reduction import sum

__all__ = ["einsum"]

Tensor = Any
Label = str | int
Labels = tuple[Label, ...]

_SUBLIST_LETTERS = ascii_uppercase + ascii_lowercase


@op
def einsum(*args: Any) -> Tensor:
    """Sum of products of operands over the dims that `equation` names: `einsum("ij,jk->ik", a, b)`.

    Each dim of each operand has a letter; spaces do not count. The result has the letters after
    `->`, or without it those that occur once, in alphabetical order. A letter that occurs twice in
    an operand takes its and `...` stands for dims that broadcast.

    Args:
        args: the equation and its operands (or one list of them); or operands each followed by a
            list of numbers in [0, 52) or `...`, and at last such a list for the result.

    Raises:
        RuntimeError: the equation is malformed, or does not fit the operands' shapes.
        ValueError: there is no operand, or a number in a list is out of range.
    """
    equation, operands = _arguments(args)
    inputs, output = _parsed(equation, tuple(x.ndim for x in operands))
    terms = [
        _without_repeats(x, n, k) for k, (x, n) in enumerate(zip(operands, inputs, strict=True))
    ]
    terms = _without_broadcast(terms)
    result, labels = terms[0]
    for k, (x, names) in enumerate(terms[1:], 2):
        wanted = {*output, *(label for _, later in terms[k:] for label in later)}
        result, labels = _product(result, labels, x, names, wanted)
    result, labels = _summed(result, labels, set(output))
    return _permuted(result, labels, output)


def _arguments(args: tuple[Any, ...]) -> tuple[str, tuple[Tensor, ...]]:
    """The equation and its operands, with lists of numbers spelled as letters."""
    if len(args) < 2:
        raise ValueError(
            "einsum(): must specify the equation string and at least one operand, or at least one "
            "operand and its subscripts list"
        )
    if isinstance(args[0], str):
        operands = args[1:]
        if len(operands) == 1 and isinstance(operands[0], list | tuple):
            operands = tuple(operands[0])
        return args[0], operands
    equation = ",".join(map(_spelled, args[1::2]))
    if len(args) % 2:  # the last is the result's list
        return f"{equation}->{_spelled(args[-1])}", args[:-1:2]
    return equation, args[::2]


def _spelled(subscripts: Sequence[Any]) -> str:
    for n in subscripts:
        if n is not ... and not 0 <= n < len(_SUBLIST_LETTERS):
            raise ValueError(
                "einsum(): subscript in subscript list is not within the valid range [0, 52), "
                f"given {n}"
            )
    return "".join("..." if n is ... else _SUBLIST_LETTERS[n] for n in subscripts)


@lru_cache(maxsize=256)
def _parsed(equation: str, ndims: tuple[int, ...]) -> tuple[tuple[Labels, ...], Labels]:
    """The labels of the operands' dims, and of the result's."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    parts = left.split(",")
    if len(parts) != len(ndims):
        relation = "fewer" if len(parts) > len(ndims) else "more"
        raise RuntimeError(
            f"einsum(): {relation} operands were provided than specified in the equation: "
            f"{len(ndims)} for {len(parts)} in '{equation}'"
        )
    inputs: list[Labels] = []
    for k, (part, ndim) in enumerate(zip(parts, ndims, strict=True)):
        letters = _checked(part, f"operand {k}").replace("...", "")
        if len(letters) != ndim and (len(letters) > ndim or "..." not in part):
            raise RuntimeError(
                f"einsum(): the number of subscripts in the equation ({len(letters)}) does not "
                f"match the number of dimensions ({ndim}) for operand {k}"
                + ("" if "..." in part else " and no ellipsis was given")
            )
        inputs.append(_labels(part, ndim - len(letters)))
    covered = max((-n for names in inputs for n in names if isinstance(n, int)), default=0)
    if arrow:
        output = _labels(_checked(right, "output"), covered)
        _check_output(output, inputs)
    else:
        letters = sorted(c for c in left if c in ascii_letters and left.count(c) == 1)
        output = (*range(-covered, 0), *letters)
    return tuple(inputs), output


def _checked(part: str, where: str) -> str:
    """The subscripts of one operand or of the result, if they are letters and at most one `...`."""
    before, _, after = part.partition("...")
    for c in before + after:
        if c not in ascii_letters:
            raise RuntimeError(
                f"einsum(): invalid subscript '{c}' given for {where}, subscripts must be in "
                "[a-zA-Z], with at most one ellipsis (...)"
            )
    return part


def _labels(part: str, covered: int) -> Labels:
    before, ellipsis, after = part.partition("...")
    return (*before, *(range(-covered, 0) if ellipsis else ()), *after)


def _check_output(output: Labels, inputs: list[Labels]) -> None:
    for label in output:
        if output.count(label) > 1:
            raise RuntimeError(
                f"einsum(): output subscript {label} appears more than once in the output"
            )
        if not any(label in names for names in inputs):
            raise RuntimeError(
                f"einsum(): output subscript {label} does not appear in the equation for any input "
                "operand"
            )


def _without_repeats(x: Tensor, labels: Labels, operand: int) -> tuple[Tensor, Labels]:
    """Diagonals where a label occurs twice."""
    while len(set(labels)) < len(labels):
        second = next(k for k, label in enumerate(labels) if label in labels[:k])
        label = labels[second]
        first = labels.index(label)
        if x.shape[first] != x.shape[second]:
            raise RuntimeError(
                f"einsum(): subscript {label} is repeated for operand {operand} but the sizes "
                f"don't match, {x.shape[second]} != {x.shape[first]}"
            )
        x = call_view(p.diagonal, x, (0, first, second))
        labels = (*(n for k, n in enumerate(labels) if k not in (first, second)), label)
    return x, labels


def _without_broadcast(terms: list[tuple[Tensor, Labels]]) -> list[tuple[Tensor, Labels]]:
    """The operands without their dims of size 1 where another has a larger size for the label."""
    sizes: dict[Label, int] = {}
    for operand, (x, labels) in enumerate(terms):
        for label, n in zip(labels, x.shape, strict=True):
            known = sizes.get(label, 1)
            if known != 1 != n != known:
                name = "..." if isinstance(label, int) else label
                raise RuntimeError(
                    f"einsum(): subscript {name} has size {n} for operand {operand} which does not "
                    f"broadcast with previously seen size {known}"
                )
            sizes[label] = n if known == 1 else known
    result = []
    for x, labels in terms:
        kept = [k for k, label in enumerate(labels) if x.shape[k] == sizes[label]]
        if len(kept) < len(labels):
            x = reshape(x, tuple(x.shape[k] for k in kept))
            labels = tuple(labels[k] for k in kept)
        result.append((x, labels))
    return result


def _summed(x: Tensor, labels: Labels, wanted: set[Label]) -> tuple[Tensor, Labels]:
    """Sums over the dims whose label is not wanted."""
    dims = tuple(k for k, label in enumerate(labels) if label not in wanted)
    if not dims:
        return x, labels
    return sum(x, dims), tuple(label for label in labels if label in wanted)


def _permuted(x: Tensor, labels: Labels, order: Labels) -> Tensor:
    return x if labels == order else permute(x, tuple(labels.index(label) for label in order))


def _reshaped(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    return x if x.shape == shape else reshape(x, shape)


def _product(
    a: Tensor, a_labels: Labels, b: Tensor, b_labels: Labels, wanted: set[Label]
) -> tuple[Tensor, Labels]:
    """The product of two operands, summed over the labels that nobody wants any more."""
    a, a_labels = _summed(a, a_labels, wanted | set(b_labels))
    b, b_labels = _summed(b, b_labels, wanted | set(a_labels))
    shared = [n for n in a_labels if n in b_labels]
    batch = tuple(n for n in shared if n in wanted)
    inner = tuple(n for n in shared if n not in wanted)
    rows = tuple(n for n in a_labels if n not in b_labels)
    columns = tuple(n for n in b_labels if n not in a_labels)
    size = dict(zip(a_labels + b_labels, (*a.shape, *b.shape), strict=True))

    def sizes(labels: Labels) -> tuple[int, ...]:
        return tuple(size[label] for label in labels)

    labels = (*batch, *rows, *columns)
    if not inner:
        a = _permuted(a, a_labels, batch + rows)
        a = _reshaped(a, (*a.shape, *(1 for _ in columns)))
        b = _permuted(b, b_labels, batch + columns)
        b = _reshaped(b, (*sizes(batch), *(1 for _ in rows), *sizes(columns)))
        return mul(a, b), labels
    m, k, n = prod(sizes(rows)), prod(sizes(inner)), prod(sizes(columns))
    a = _reshaped(_permuted(a, a_labels, batch + rows + inner), (*sizes(batch), m, k))
    b = _reshaped(_permuted(b, b_labels, batch + inner + columns), (*sizes(batch), k, n))
    return _reshaped(call2(p.matmul, a, b), sizes(labels)), labels
