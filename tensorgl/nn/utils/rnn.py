"""Sequences of different lengths in one tensor: padded to the longest, or packed without gaps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from tensorgl.creation import arange
from tensorgl.dtypes import float16, float32, float64, int64
from tensorgl.nn import functional as F
from tensorgl.ops.joining import stack
from tensorgl.tensor import Tensor
from tensorgl.values import as_tensor

__all__ = [
    "PackedSequence",
    "invert_permutation",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]


class _Packed(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(_Packed):
    """Sequences sorted by length, the longest first, as one tensor, time step after time step.

    `batch_sizes[t]` rows of `data` are step t of as many sequences. `sorted_indices` are the places
    that the sequences had before sorting, `unsorted_indices` the inverse; None if they were sorted.
    """

    __slots__ = ()

    def __new__(
        cls,
        data: Tensor,
        batch_sizes: Tensor | None = None,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:
        if batch_sizes is None:
            raise ValueError("PackedSequence: expected batch_sizes, given None")
        if batch_sizes.device.type != "cpu":
            raise ValueError(
                "batch_sizes should always be on CPU. Instances of PackedSequence should be "
                "created by functions like pack_sequence and pack_padded_sequence in nn.utils.rnn"
            )
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def _map(self, fn: Callable[[Tensor], Tensor]) -> PackedSequence:
        data = fn(self.data)
        indices = (
            None if i is None else i.to(data.device)
            for i in (self.sorted_indices, self.unsorted_indices)
        )
        return PackedSequence(data, self.batch_sizes, *indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The same with `data` in another dtype or everything on another device."""
        return self._map(lambda t: t.to(*args, **kwargs))

    def cpu(self) -> PackedSequence:
        """The same on the cpu."""
        return self.to("cpu")

    def float(self) -> PackedSequence:
        """The same in float32."""
        return self.to(float32)

    def double(self) -> PackedSequence:
        """The same in float64."""
        return self.to(float64)

    def half(self) -> PackedSequence:
        """The same in float16."""
        return self.to(float16)


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The indices that undo a permutation."""
    return None if permutation is None else permutation.argsort()


def _present(lengths: Tensor, longest: int) -> Tensor:
    """(T, N): whether step t is one of sequence n."""
    return arange(longest, device=lengths.device).unsqueeze(1) < lengths.unsqueeze(0)


def pack_padded_sequence(
    input: Tensor,
    lengths: Tensor | Sequence[int],
    batch_first: bool = False,
    enforce_sorted: bool = True,
) -> PackedSequence:
    """Pack sequences (T, N, *), or (N, T, *) with `batch_first`, of `lengths[n]` steps each.

    With `enforce_sorted` the longest must come first; else they are sorted here, and sorted back by
    `pad_packed_sequence`.

    Raises:
        RuntimeError: the lengths do not fit, are not positive, or are not sorted but should be.
    """
    counts = as_tensor(lengths, dtype=int64, device="cpu")
    if batch_first:
        input = input.transpose(0, 1)
    time, batch = input.shape[:2]
    if counts.shape != (batch,):
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {counts.numel()} "
            f"(batch_size={batch})"
        )
    order = None
    if not enforce_sorted:
        counts, order = counts.sort(descending=True)
        order = order.to(input.device)
        input = input.index_select(1, order)
    sizes = counts.tolist()
    if not sizes or sizes[-1] <= 0:
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' "
            "that is <= 0"
        )
    if sizes != sorted(sizes, reverse=True):
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You "
            "can pass `enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to "
            "sidestep this requirement if you do not need ONNX exportability."
        )
    if sizes[0] > time:
        raise RuntimeError(
            f"Expected lengths of at most the padded length {time}, but got {sizes[0]}"
        )
    present = _present(counts, sizes[0])
    rows = present.reshape(-1).nonzero().squeeze(1).to(input.device)
    data = input.reshape(time * batch, *input.shape[2:]).index_select(0, rows)
    return PackedSequence(data, present.sum(1), order)


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """The inverse of `pack_padded_sequence`: the padded tensor, and the lengths.

    It is padded to `total_length`, or to the longest sequence's length.
    """
    data, batch_sizes, _, inverse = sequence
    longest, batch = batch_sizes.numel(), int(batch_sizes[0])
    time = longest if total_length is None else total_length
    if time < longest:
        raise ValueError(
            "Expected total_length to be at least the length of the longest sequence in input, but "
            f"got total_length={total_length} and max sequence length being {longest}"
        )
    present = arange(batch).unsqueeze(0) < batch_sizes.unsqueeze(1)
    rows = present.reshape(-1).nonzero().squeeze(1).to(data.device)
    flat = data.new_full((time * batch, *data.shape[1:]), padding_value)
    padded = flat.index_copy(0, rows, data).reshape(time, batch, *data.shape[1:])
    lengths = present.sum(0)
    if inverse is not None:
        padded = padded.index_select(1, inverse)
        lengths = lengths.index_select(0, inverse.cpu())
    return padded.transpose(0, 1) if batch_first else padded, lengths


def pad_sequence(
    sequences: Tensor | Iterable[Tensor],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Stack sequences (L, *), padded to the longest: (T, N, *), or (N, T, *) with `batch_first`."""
    if not isinstance(sequences, Tensor | Iterable):
        raise RuntimeError(
            "pad_sequence: Expected iterable for input sequences, but got arg of type: "
            f"{type(sequences)}"
        )
    if padding_side not in ("left", "right"):
        raise RuntimeError(
            f"Expected padding_side to be one of left or right, but got {padding_side}."
        )
    items = list(sequences)
    if not items:
        raise RuntimeError("received an empty list of sequences")
    longest = max(s.shape[0] for s in items)
    padded = []
    for s in items:
        gap = longest - s.shape[0]
        widths = (0, gap) if padding_side == "right" else (gap, 0)
        padded.append(F.pad(s, (*(0,) * (2 * s.ndim - 2), *widths), value=padding_value))
    return stack(padded, 0 if batch_first else 1)


def unpad_sequence(
    padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False
) -> list[Tensor]:
    """The sequences in a padded tensor, each of its own length."""
    if not batch_first:
        padded_sequences = padded_sequences.transpose(0, 1)
    return [s[:n] for s, n in zip(padded_sequences, lengths.tolist(), strict=True)]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack sequences (L, *); see `pack_padded_sequence`."""
    lengths = [s.shape[0] for s in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences in a packed one, in the order in which they were packed."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
