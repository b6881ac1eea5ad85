"""The cells that take one step of a recurrence."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from tensorgl.creation import empty
from tensorgl.nn import functional as F
from tensorgl.nn import init
from tensorgl.nn.module import Module
from tensorgl.nn.parameter import Parameter
from tensorgl.nn.recurrence import Steps, gru_loop, lstm_loop, rnn_loop
from tensorgl.tensor import Tensor

__all__ = ["GRUCell", "LSTMCell", "RNNCell", "RNNCellBase"]


def reset_uniform(module: Module, hidden_size: int) -> None:
    """Draw all parameters from U(-b, b) with b = 1 / sqrt(hidden_size)."""
    bound = 1.0 / math.sqrt(hidden_size) if hidden_size > 0 else 0
    for weight in module.parameters():
        init.uniform_(weight, -bound, bound)


class RNNCellBase(Module):
    """One step of a recurrence: `weight_ih` (gates hidden, input), `weight_hh` and two biases."""

    gates: ClassVar[int]
    states: ClassVar[int] = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        rows = self.gates * hidden_size
        options = {"device": device, "dtype": dtype}
        self.weight_ih = Parameter(empty(rows, input_size, **options))
        self.weight_hh = Parameter(empty(rows, hidden_size, **options))
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, Parameter(empty(rows, **options)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        reset_uniform(self, self.hidden_size)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ", bias=False" * (not self.bias)

    def _step(self, x: Tensor, states: list[Tensor], steps: Steps) -> Any:
        """The states after one step of a batch."""
        raise NotImplementedError

    def _projected(self, x: Tensor) -> Tensor:
        """The input's part of the gates, with both biases."""
        bias = self.bias_ih + self.bias_hh if self.bias else None
        return F.linear(x, self.weight_ih, bias)

    def _run(self, input: Tensor, hidden: Any) -> tuple[Tensor, ...]:
        name = self._get_name()
        if input.ndim not in (1, 2):
            raise ValueError(f"{name}: Expected input to be 1D or 2D, got {input.ndim}D instead")
        for state in hidden or ():
            if state.ndim not in (1, 2):
                raise ValueError(
                    f"{name}: Expected hidden to be 1D or 2D, got {state.ndim}D instead"
                )
        batched = input.ndim == 2
        x = input if batched else input.unsqueeze(0)
        if x.shape[1] != self.input_size:
            raise RuntimeError(
                f"input has inconsistent input_size: got {x.shape[1]} expected {self.input_size}"
            )
        if hidden is None:
            states = [x.new_zeros((x.shape[0], self.hidden_size))] * self.states
        else:
            states = [s if batched else s.unsqueeze(0) for s in hidden]
        for k, state in enumerate(states):
            if state.ndim != 2 or state.shape[0] != x.shape[0]:
                raise RuntimeError(
                    f"Input batch size {x.shape[0]} doesn't match hidden{k} batch size "
                    f"{state.shape[0]}"
                )
            if state.shape[1] != self.hidden_size:
                raise RuntimeError(
                    f"hidden{k} has inconsistent hidden_size: got {state.shape[1]}, expected "
                    f"{self.hidden_size}"
                )
        results = self._step(x, states, Steps([x.shape[0]], False))
        return results if batched else tuple(r.squeeze(0) for r in results)


class RNNCell(RNNCellBase):
    """One step of RNN: (N, input) and (N, hidden) to (N, hidden)."""

    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype)
        self.nonlinearity = nonlinearity

    def extra_repr(self) -> str:
        text = super().extra_repr()
        return text + (f", nonlinearity={self.nonlinearity}" if self.nonlinearity != "tanh" else "")

    def _step(self, x: Tensor, states: list[Tensor], steps: Steps) -> Any:
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        relu = self.nonlinearity == "relu"
        return (rnn_loop(self._projected(x), self.weight_hh, states[0], steps, relu),)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._run(input, None if hx is None else (hx,))[0]


class GRUCell(RNNCellBase):
    """One step of GRU: (N, input) and (N, hidden) to (N, hidden)."""

    gates = 3

    def _step(self, x: Tensor, states: list[Tensor], steps: Steps) -> Any:
        x = F.linear(x, self.weight_ih, self.bias_ih)
        return (gru_loop(x, self.weight_hh, self.bias_hh, states[0], steps),)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._run(input, None if hx is None else (hx,))[0]


class LSTMCell(RNNCellBase):
    """One step of LSTM: (N, input) and a pair of (N, hidden) to a pair of (N, hidden)."""

    gates = 4
    states = 2

    def _step(self, x: Tensor, states: list[Tensor], steps: Steps) -> Any:
        h, c = states
        return lstm_loop(self._projected(x), self.weight_hh, None, h, c, steps)

    def forward(
        self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        h, c = self._run(input, hx)
        return h, c
