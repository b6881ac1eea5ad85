"""The arrays of a run: the hub's parameters, the optimizer's state, and what all replicas have.

The vector of parameters is cut into buckets, and every bucket is stepped by itself, by a real
optimizer of tensorgl on the flat bucket: all of those allowed here treat each element alike. If the
model has batch norms, one more bucket is of their running statistics, which statistics.py moves.

With a lossy codec on the way down, replicas lag a little behind the hub. It sends the difference of
its parameters to what they have (the view), so that what the codec lost is in the next difference.
The same numbers give the same bits again, after a restart, too: nothing here sums up in an order that
could be another one.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np

from tensorgl import optim
from tensorgl.distributed.codecs import (
    CHUNK,
    Payload,
    chunk_sizes,
    decode,
    decode_bucket,
    encode_bucket,
    weighted_sum,
)
from tensorgl.distributed.rules import COMBINED, ELEMENTWISE, RULES
from tensorgl.distributed.statistics import (
    BUFFERS,
    Statistics,
    bucket_codecs,
    columns,
    cut,
    merge,
    move,
    unsound,
)
from tensorgl.distributed.wire import Codec, ProtocolError
from tensorgl.optim.flat import Elementwise
from tensorgl.tensor import Tensor
from tensorgl.values import from_numpy

__all__ = ["OPTIMIZERS", "Model", "check_optimizer"]

Array: TypeAlias = np.ndarray[Any, Any]
Parts: TypeAlias = Sequence[tuple[float, Sequence[Payload]]]
"""The weight of each contribution, and the payloads of its chunks of one bucket."""

OPTIMIZERS: dict[str, type[Elementwise]] = {
    name: kind
    for name, kind in vars(optim).items()
    if isinstance(kind, type) and issubclass(kind, Elementwise)
}
_log = logging.getLogger(__name__)
_LARGEST_OPTION = 1e6  # so that what is computed of them at any step is within float32
_LARGEST = np.float32(1e18)  # of a parameter; so that differences and squares of them stay finite


@dataclass(frozen=True, slots=True)
class _Bucket:
    """One bucket after a round."""

    values: Array
    view: Array  # the same object as values if the codec loses nothing
    state: dict[str, Any]  # the optimizer's: arrays and numbers


def check_optimizer(value: dict[str, Any]) -> None:
    """Whether a definition of the optimizer (see messages.py) is one that a hub can step.

    Raises:
        ProtocolError: its class is none of OPTIMIZERS, or its options are not that class's.
    """
    name = value["name"]
    if name not in OPTIMIZERS:
        raise ProtocolError(f"optimizer: expected one of {', '.join(OPTIMIZERS)}, given {name}")
    if not value["options"] or max(value["groups"], default=0) >= len(value["options"]):
        raise ProtocolError("optimizer: a bucket's group has no options")
    one = _Bucket(np.ones(1, np.float32), np.ones(1, np.float32), {})
    for options in value["options"]:
        for option, given in options.items():
            numbers = given if isinstance(given, list) else [given or 0]
            if not all(abs(number) <= _LARGEST_OPTION for number in numbers):
                raise ProtocolError(f"optimizer: {option} is beyond {_LARGEST_OPTION:g}")
        try:  # the second step uses options that the first has no use for
            values, state = _step(name, options, None, one, np.ones(1, np.float32))
            _step(name, options, None, _Bucket(values, values, state), np.ones(1, np.float32))
        except (TypeError, ValueError, IndexError, ArithmeticError) as error:
            raise ProtocolError(f"optimizer: {name}: {error}"[:200]) from None


class Model:
    """The parameters of a run and what is done with them.

    Args:
        definition: of the model, as in messages.py.
        values: the first parameters, flat float32, one array a bucket.
        down: the codec of what replicas are sent.
        rule: one of rules.RULES.

    Attributes:
        codecs: of what replicas are sent of each bucket.

    Raises:
        ProtocolError: the values are not those of the definition.
    """

    def __init__(
        self, definition: dict[str, Any], values: Sequence[Array], down: Codec, rule: str = "mean"
    ) -> None:
        if rule not in RULES:
            raise ValueError(f"rule: expected one of {', '.join(RULES)}, given {rule}")
        sizes = definition["buckets"]
        elements = sum(prod(shape) for _, shape in definition["parameters"])
        self._norms: Statistics = definition.get("statistics", ())
        last = columns(self._norms)
        if (
            [len(v) for v in values] != sizes
            or sum(sizes) != elements + last
            or (last and sizes[-1] != last)
        ):
            raise ProtocolError("model: expected as many values as the parameters have")
        if not all(map(_is_sound, values)):
            raise ProtocolError("model: the parameters are not all finite, or beyond 1e18")
        if last and (reason := unsound(self._norms, values[-1])):
            raise ProtocolError(f"model: {reason}")
        self.definition, self.down, self.rule = definition, down, rule
        self.codecs = bucket_codecs(self._norms, len(sizes), down)
        self._own = sizes[: len(sizes) - (1 if last else 0)]
        self.optimizer: dict[str, Any] | None = None
        self._buckets: list[_Bucket] = []
        for array in values:
            own = np.array(array, np.float32)
            self._buckets.append(_Bucket(own, own, {}))
        self._trials: dict[int, tuple[Array, _Bucket]] = {}  # gradient, and what comes of it
        self._factors: Array = np.empty(0)

    @property
    def sizes(self) -> list[int]:
        """The elements of each bucket."""
        return self.definition["buckets"]

    def define_optimizer(self, value: dict[str, Any]) -> None:
        """Step by this one from now on.

        Raises:
            ProtocolError: as of check_optimizer; or it is not for as many buckets.
        """
        check_optimizer(value)
        if len(value["groups"]) != len(self._own):
            raise ProtocolError("optimizer: expected a group for each bucket of the model")
        self.optimizer = value

    @property
    def compares(self) -> bool:
        """Whether the rule has to see whole contributions, by `compare`, before any trial."""
        return self.rule in COMBINED

    def compare(
        self, contributions: Sequence[tuple[float, Sequence[Sequence[Payload]]]], codec: Codec
    ) -> None:
        """Decide what each contribution of a round counts; their trials follow, in the same order.

        Args:
            contributions: the weight of each, and by bucket the payloads of its chunks.
            codec: theirs.
        """
        n = len(contributions)
        products = np.zeros((n, n))
        for bucket, size in enumerate(self._own):
            for k, elements in enumerate(chunk_sizes(size)):
                rows = np.empty((n, elements), np.float64)
                for row, (_, payloads) in zip(rows, contributions, strict=True):
                    row[:] = decode(codec, payloads[bucket][k], elements)
                products += rows @ rows.T
        self._factors = COMBINED[self.rule]([weight for weight, _ in contributions], products)

    def trial(
        self, bucket: int, parts: Parts, codec: Codec, lr: Sequence[float] = ()
    ) -> list[bytes]:
        """Reduce a bucket and take a step, from where the last round ended.

        Args:
            bucket: its number.
            parts: of all contributions that count, in an order that is the same for everybody.
            codec: theirs, unless the bucket is of statistics.
            lr: learning rates, by group; those that are missing are as defined.

        Returns:
            The payloads of the chunks that replicas are sent: new values if the codec is raw, else
            what is to be added to theirs.
        """
        return self._try(bucket, self._reduced(bucket, parts, codec), lr)

    def gradients(self) -> list[Array]:
        """What the trials stepped by, one array a bucket."""
        return [self._trials[bucket][0] for bucket in range(len(self._buckets))]

    def commit(self) -> str:
        """Make the trials of all buckets final.

        Returns:
            The hash of the view.
        """
        self._buckets = [self._trials[bucket][1] for bucket in range(len(self._buckets))]
        self._trials.clear()
        return self.hash

    def replay(self, gradients: Sequence[Array], lr: Sequence[float] = ()) -> str:
        """A round again, by the `gradients` that it had.

        Returns:
            The hash of the view, which is the one that `commit` gave.
        """
        for bucket, gradient in enumerate(gradients):
            self._try(bucket, np.array(gradient, np.float32), lr)
        return self.commit()

    @property
    def hash(self) -> str:
        """Of the view: blake2b-128 of `parameters`."""
        state = hashlib.blake2b(digest_size=16)
        for bucket in self._buckets:
            state.update(bucket.view.astype("<f4", copy=False).data)
        return state.hexdigest()

    def parameters(self) -> bytes:
        """The view, as all replicas have it: little-endian float32, all buckets in order."""
        return b"".join(_bytes(bucket.view) for bucket in self._buckets)

    def true_parameters(self) -> list[Array]:
        """By parameter, in its shape: without what the codec has lost of it so far."""
        flat = np.concatenate([bucket.values for bucket in self._buckets])
        arrays: list[Array] = []
        at = 0
        for _, shape in self.definition["parameters"]:
            arrays.append(flat[at : at + prod(shape)].reshape(shape))
            at += prod(shape)
        return arrays

    def true_buffers(self) -> dict[str, Array]:
        """By name, the running statistics of batch norms."""
        found: dict[str, Array] = {}
        last = self._buckets[-1].values
        for (name, *_), parts in zip(self._norms, cut(self._norms, last), strict=True):
            for kind, values in zip(BUFFERS, parts, strict=True):
                found[f"{name}.{kind}" if name else kind] = values
        return found

    def state(self) -> tuple[dict[str, Any], list[Array]]:
        """All that `restore` needs: plain values, and arrays that nobody changes any more."""
        arrays: list[Array] = []
        numbers: list[dict[str, float]] = []
        names: list[list[str]] = []
        for bucket, codec in zip(self._buckets, self.codecs, strict=True):
            kept = {k: v for k, v in bucket.state.items() if isinstance(v, np.ndarray)}
            names.append(list(kept))
            numbers.append({k: v for k, v in bucket.state.items() if k not in kept})
            arrays.append(bucket.values)
            if codec is not Codec.RAW:
                arrays.append(bucket.view)
            arrays += kept.values()
        header = {
            "definition": self.definition,
            "optimizer": self.optimizer,
            "down": int(self.down),
            "names": names,
            "numbers": numbers,
        }
        return header, arrays

    @classmethod
    def restore(cls, header: dict[str, Any], arrays: Sequence[Array], rule: str) -> Model:
        """The model that `state` told of, which goes on by this rule."""
        left = iter(arrays)
        down, definition = Codec(header["down"]), header["definition"]
        codecs = bucket_codecs(definition.get("statistics", ()), len(definition["buckets"]), down)
        buckets: list[_Bucket] = []
        for names, numbers, codec in zip(header["names"], header["numbers"], codecs, strict=True):
            values = np.array(next(left), np.float32)
            view = values if codec is Codec.RAW else np.array(next(left), np.float32)
            state = {name: np.array(next(left), np.float32) for name in names}
            buckets.append(_Bucket(values, view, state | numbers))
        model = cls(definition, [b.values for b in buckets], down, rule)
        model._buckets = buckets
        model.optimizer = header["optimizer"]
        return model

    def _reduced(self, bucket: int, parts: Parts, codec: Codec) -> Array:
        """The gradient of a bucket, or what its statistics come to, as float32."""
        if bucket == len(self._own):
            return self._merged(bucket, parts)
        gradient = np.empty(self.sizes[bucket], np.float32)
        weights = [weight for weight, _ in parts]
        for k, elements in enumerate(chunk_sizes(self.sizes[bucket])):
            out = gradient[k * CHUNK : k * CHUNK + elements]
            if self.rule in ELEMENTWISE:
                rows = np.stack([decode(codec, chunks[k], elements) for _, chunks in parts])
                out[:] = ELEMENTWISE[self.rule](rows)
                continue
            payloads = [chunks[k] for _, chunks in parts]
            if self.compares:
                out[:] = weighted_sum(codec, payloads, self._factors, elements)
            else:
                out[:] = weighted_sum(codec, payloads, weights, elements) / sum(weights)
        return gradient

    def _merged(self, bucket: int, parts: Parts) -> Array:
        assert self.optimizer
        size = self.sizes[bucket]
        rows = np.stack([decode_bucket(Codec.RAW, chunks, size) for _, chunks in parts])
        weights = [weight for weight, _ in parts]
        apart = self.optimizer["local_steps"] > 0
        return merge(self._norms, weights, rows, apart, self.rule != "mean")

    def _stepped(
        self, bucket: int, gradient: Array, lr: Sequence[float]
    ) -> tuple[Array, dict[str, Any]]:
        """Values and the optimizer's state after a step."""
        if self.optimizer is None:
            raise RuntimeError("a trial needs an optimizer: call define_optimizer first")
        before = self._buckets[bucket]
        if bucket == len(self._own):
            return move(self._norms, before.values, gradient, self.optimizer["local_steps"]), {}
        group = self.optimizer["groups"][bucket]
        rate = lr[group] if group < len(lr) else None
        options = self.optimizer["options"][group]
        return _step(self.optimizer["name"], options, rate, before, gradient)

    def _try(self, bucket: int, gradient: Array, lr: Sequence[float]) -> list[bytes]:
        before = self._buckets[bucket]
        values, state = self._stepped(bucket, gradient, lr)
        if not _is_sound(values) or not all(
            np.isfinite(v).all() for v in state.values() if isinstance(v, np.ndarray)
        ):
            # What overflows would be lost for good, and all replicas with it.
            _log.warning(
                "bucket %d: the step is not taken, as numbers in it are not finite or beyond 1e18; "
                "is the learning rate too high?",
                bucket,
            )
            values, state = before.values, before.state
        codec = self.codecs[bucket]
        if codec is Codec.RAW:
            payloads = encode_bucket(codec, values)
            after = _Bucket(values, values, state)
        else:
            payloads = encode_bucket(codec, values - before.view)
            change = decode_bucket(codec, payloads, len(values))
            after = _Bucket(values, before.view + change, state)
        self._trials[bucket] = gradient, after
        return payloads


def _step(
    name: str, options: dict[str, Any], lr: float | None, before: _Bucket, gradient: Array
) -> tuple[Array, dict[str, Any]]:
    """One step of an optimizer on one flat bucket; values and state after it.

    Raises:
        TypeError, ValueError: the options are not this optimizer's.
    """
    kind: Any = OPTIMIZERS[name]
    values = before.values.copy()
    parameter = from_numpy(values)
    known = inspect.signature(kind).parameters
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    optimizer = kind([parameter], **{k: v for k, v in given.items() if k in known})
    group = optimizer.param_groups[0]
    for option in given.keys() - known.keys():
        # As decoupled_weight_decay of AdamW, which is in its groups, but nothing to choose.
        if option not in group or group[option] != given[option]:
            raise TypeError(f"{option} = {given[option]} is none of its options")
    group["fused"] = False
    if lr is not None:
        group["lr"] = lr
    optimizer.state[parameter] = {
        k: from_numpy(v.copy()) if isinstance(v, np.ndarray) else v for k, v in before.state.items()
    }
    parameter.grad = from_numpy(gradient)
    optimizer.step()
    state = optimizer.state[parameter]
    return values, {k: v.numpy() if isinstance(v, Tensor) else v for k, v in state.items()}


def _is_sound(values: Array) -> bool:
    # Written so that a NaN is not.
    return len(values) == 0 or bool(values.max() <= _LARGEST and values.min() >= -_LARGEST)


def _bytes(values: Array) -> bytes:
    return values.astype("<f4", copy=False).tobytes()
