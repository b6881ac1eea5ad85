"""Recurrent layers over whole sequences."""

from __future__ import annotations

import warnings
from typing import Any

from tensorgl.creation import empty
from tensorgl.nn import functional as F
from tensorgl.nn.module import Module
from tensorgl.nn.parameter import Parameter
from tensorgl.nn.recurrence import Steps, gru_loop, lstm_loop, rnn_loop
from tensorgl.nn.rnn_cells import reset_uniform
from tensorgl.nn.utils.rnn import PackedSequence
from tensorgl.ops.joining import cat, stack
from tensorgl.tensor import Tensor
from tensorgl.values import tensor

__all__ = ["GRU", "LSTM", "RNN", "RNNBase"]

_GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "LSTM": 4, "GRU": 3}


class RNNBase(Module):
    """Layers of a recurrence, in one direction or both, over (T, N, features).

    The parameters of layer k are `weight_ih_lk` (gates hidden, input), `weight_hh_lk`, `bias_ih_lk`
    and `bias_hh_lk`, with the suffix `_reverse` for the other direction; all start as U(-b, b) with
    b = 1 / sqrt(hidden_size).
    """

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self._check_settings(dropout)
        gates = _GATES[mode] * hidden_size
        out_size = proj_size or hidden_size
        self._names: list[list[str]] = []
        for layer in range(num_layers):
            width = input_size if layer == 0 else out_size * (2 if bidirectional else 1)
            shapes = {"weight_ih": (gates, width), "weight_hh": (gates, out_size)}
            if bias:
                shapes |= {"bias_ih": (gates,), "bias_hh": (gates,)}
            if proj_size:
                shapes["weight_hr"] = (proj_size, hidden_size)
            for suffix in ("", "_reverse")[: 1 + bidirectional]:
                names = {kind: f"{kind}_l{layer}{suffix}" for kind in shapes}
                for kind, shape in shapes.items():
                    value = Parameter(empty(shape, device=device, dtype=dtype))
                    self.register_parameter(names[kind], value)
                self._names.append(list(names.values()))
        self.reset_parameters()

    def _check_settings(self, dropout: Any) -> None:
        if isinstance(dropout, bool) or not 0 <= dropout <= 1:
            raise ValueError(
                "dropout should be a number in range [0, 1] representing the probability of an "
                "element being zeroed"
            )
        for name in ("hidden_size", "num_layers"):
            value = getattr(self, name)
            if not isinstance(value, int):
                raise TypeError(f"{name} should be of type int, got: {type(value).__name__}")
            if value <= 0:
                raise ValueError(f"{name} must be greater than zero")
        if dropout and self.num_layers == 1:
            warnings.warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero dropout "
                f"expects num_layers greater than 1, but got dropout={dropout} and num_layers=1",
                UserWarning,
                stacklevel=4,
            )
        if self.proj_size < 0:
            raise ValueError(
                "proj_size should be a positive integer or zero to disable projections"
            )
        if self.proj_size >= self.hidden_size:
            raise ValueError("proj_size has to be smaller than hidden_size")

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._names]

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        reset_uniform(self, self.hidden_size)

    def flatten_parameters(self) -> None:
        """Do nothing: there is no other memory layout that would be quicker."""

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if self.proj_size:
            text += f", proj_size={self.proj_size}"
        if self.num_layers != 1:
            text += f", num_layers={self.num_layers}"
        if not self.bias:
            text += f", bias={self.bias}"
        if self.batch_first:
            text += f", batch_first={self.batch_first}"
        if self.dropout:
            text += f", dropout={self.dropout}"
        if self.bidirectional:
            text += f", bidirectional={self.bidirectional}"
        return text

    # -- the pass over layers -----------------------------------------------------------------

    def _direction(
        self, x: Tensor, weights: list[Any], states: list[Tensor], steps: Steps
    ) -> list[Tensor]:
        """One direction of one layer: for each kind of state, its values after all steps."""
        w_ih, w_hh, *more = weights
        h0 = states[0]
        if self.mode == "GRU":
            b_ih, b_hh = more or (None, None)
            return [gru_loop(F.linear(x, w_ih, b_ih), w_hh, b_hh, h0, steps)]
        x = F.linear(x, w_ih, more[0] + more[1] if self.bias else None)
        if self.mode == "LSTM":
            w_hr = more[-1] if self.proj_size else None
            return list(lstm_loop(x, w_hh, w_hr, h0, states[1], steps))
        return [rnn_loop(x, w_hh, h0, steps, self.mode == "RNN_RELU")]

    def _layers(
        self, x: Tensor, sizes: list[int], starts: list[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """The last layer's states after all steps, and for each kind of state the final ones."""
        finals: list[list[Tensor]] = [[] for _ in starts]
        weights = self.all_weights
        directions = 1 + self.bidirectional
        for layer in range(self.num_layers):
            outs = []
            for reverse in range(directions):
                k = directions * layer + reverse
                steps = Steps(sizes, reverse == 1)
                states = self._direction(x, weights[k], [s[k] for s in starts], steps)
                outs.append(states[0])
                for final, state in zip(finals, states, strict=True):
                    final.append(_last(state, steps))
            x = outs[0] if directions == 1 else cat(outs, 1)
            if self.dropout and layer < self.num_layers - 1:
                x = F.dropout(x, self.dropout, self.training)
        return x, [stack(final) for final in finals]

    def _check(self, input: Tensor) -> None:
        weight = self.all_weights[0][0]
        if input.dtype is not weight.dtype:
            raise ValueError(
                f"RNN input dtype ({input.dtype}) does not match weight dtype ({weight.dtype}). "
                f"Convert input: input.to({weight.dtype}), or convert model: "
                f"model.to({input.dtype})"
            )
        if input.shape[-1] != self.input_size:
            raise RuntimeError(
                "input.size(-1) must be equal to input_size. Expected "
                f"{self.input_size}, got {input.shape[-1]}"
            )

    def _starts(self, hidden: Any, batch: int, like: Tensor) -> list[Tensor]:
        """The given initial states, checked; zeros for None."""
        rows = self.num_layers * (1 + self.bidirectional)
        sizes = [self.proj_size or self.hidden_size]
        if self.mode == "LSTM":
            sizes.append(self.hidden_size)
        if hidden is None:
            return [like.new_zeros((rows, batch, n)) for n in sizes]
        for k, (state, n) in enumerate(zip(hidden, sizes, strict=True)):
            if state.shape != (rows, batch, n):
                name = f"hidden[{k}]" if self.mode == "LSTM" else "hidden"
                raise RuntimeError(
                    f"Expected {name} size {(rows, batch, n)}, got {list(state.shape)}"
                )
        return list(hidden)

    def _run(self, input: Any, hidden: Any) -> tuple[Any, list[Tensor]]:
        """The output and the final states; `hidden` is None or a tuple of states."""
        if isinstance(input, PackedSequence):
            return self._run_packed(input, hidden)
        if input.ndim not in (2, 3):
            raise ValueError(
                f"{self._get_name()}: Expected input to be 2D or 3D, got {input.ndim}D instead"
            )
        batched = input.ndim == 3
        if hidden is not None:
            self._check_hidden_dims(hidden, input.ndim)
        if not batched:
            input = input.unsqueeze(1)
            hidden = None if hidden is None else tuple(s.unsqueeze(1) for s in hidden)
        elif self.batch_first:
            input = input.transpose(0, 1)
        self._check(input)
        length, batch, features = input.shape
        if length == 0:
            raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
        starts = self._starts(hidden, batch, input)
        flat = input.reshape(length * batch, features)
        out, finals = self._layers(flat, [batch] * length, starts)
        out = out.reshape(length, batch, out.shape[1])
        if not batched:
            return out.squeeze(1), [f.squeeze(1) for f in finals]
        return out.transpose(0, 1) if self.batch_first else out, finals

    def _run_packed(self, input: PackedSequence, hidden: Any) -> tuple[Any, list[Tensor]]:
        data, batch_sizes, order, inverse = input
        self._check(data)
        sizes = batch_sizes.tolist()
        if hidden is not None and order is not None:
            hidden = tuple(s.index_select(1, order) for s in hidden)
        starts = self._starts(hidden, sizes[0], data)
        out, finals = self._layers(data, sizes, starts)
        if inverse is not None:
            finals = [f.index_select(1, inverse) for f in finals]
        return PackedSequence(out, batch_sizes, order, inverse), finals

    def _check_hidden_dims(self, hidden: tuple[Tensor, ...], ndim: int) -> None:
        given = [s.ndim for s in hidden]
        if all(d == ndim for d in given):
            return
        what = f"For {'unbatched' if ndim == 2 else 'batched'} {ndim}-D input, "
        if self.mode == "LSTM":
            raise RuntimeError(
                f"{what}hx and cx should also be {ndim}-D but got ({given[0]}-D, {given[1]}-D) "
                "tensors"
            )
        raise RuntimeError(f"{what}hx should also be {ndim}-D but got {given[0]}-D tensor")


def _last(states: Tensor, steps: Steps) -> Tensor:
    """The state of each sequence after its last step."""
    sizes = steps.sizes
    if steps.reverse:
        return states[: sizes[0]]
    if steps.even:
        return states[states.shape[0] - sizes[-1] :]
    rows, offset = list(range(sizes[0])), 0
    for size in sizes:
        rows[:size] = range(offset, offset + size)
        offset += size
    return states.index_select(0, tensor(rows, device=states.device))


class _OneState(RNNBase):
    """A recurrence of one kind of state."""

    def forward(self, input: Any, hx: Tensor | None = None) -> Any:
        out, (final,) = self._run(input, None if hx is None else (hx,))
        return out, final


class RNN(_OneState):
    """`h = f(W_ih x + b_ih + W_hh h + b_hh)`, with "tanh" or "relu" as `nonlinearity` f.

    Returns:
        The states of the last layer, (T, N, directions hidden), and the final state of every layer,
        (layers directions, N, hidden). With `batch_first`, N and T change places in the first.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(
                f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'."
            )
        super().__init__(
            f"RNN_{nonlinearity.upper()}",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device=device,
            dtype=dtype,
        )
        self.nonlinearity = nonlinearity


class GRU(_OneState):
    """The gated recurrent unit; see `gru_loop` for the formula and RNN for the shapes."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            "GRU",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device=device,
            dtype=dtype,
        )


class LSTM(RNNBase):
    """Long short-term memory; see `lstm_loop` for the formula and RNN for the shapes.

    It takes and returns a pair of states, (h, c). With `proj_size`, h is projected to that size.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            "LSTM",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            proj_size,
            device,
            dtype,
        )

    def forward(self, input: Any, hx: tuple[Tensor, Tensor] | None = None) -> Any:
        out, finals = self._run(input, hx)
        return out, tuple(finals)
