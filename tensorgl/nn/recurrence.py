"""The time loops of recurrent layers, forward and back, each recorded as one node of the graph.

All tensors are packed: (rows, features), the rows of one time step after those of another. Backward
uses that a recurrence is linear in its gradients: the coefficients of all time steps come from a
few ops over all rows, and only what is carried from step to step is left to the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tensorgl.autograd import no_grad
from tensorgl.autograd.graph import FREED, MultiNode, Vjp, mode
from tensorgl.nn import functional as F
from tensorgl.ops.joining import cat
from tensorgl.tensor import Tensor

__all__ = ["Steps", "gru_loop", "lstm_loop", "rnn_loop"]


class Steps:
    """How packed rows divide into time steps; lists of steps are in the order they are taken.

    Sequences are sorted by length, the longest first, so that those that go on are always the first
    rows: of `n` rows carried, the next step uses the first `m`, or takes in `m - n` new ones.
    """

    def __init__(self, sizes: Sequence[int], reverse: bool) -> None:
        self.sizes = list(sizes)
        self.reverse = reverse

    def split(self, packed: Tensor) -> Sequence[Tensor]:
        """One tensor a step."""
        parts = packed.split(self.sizes)
        return parts[::-1] if self.reverse else parts

    def split_gradient(self, packed: Tensor | None) -> Sequence[Tensor | None]:
        """The same of a gradient that may not have arrived."""
        return [None] * len(self.sizes) if packed is None else self.split(packed)

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """The inverse of `split`."""
        return cat(parts[::-1] if self.reverse else parts)

    def before(self, packed: Tensor, start: Tensor) -> Sequence[Tensor]:
        """The state that each step was given, from those that the steps ended with."""
        parts = self.split(packed)
        return [
            _carried(state, start, part.shape[0])
            for state, part in zip((start, *parts[:-1]), parts, strict=True)
        ]


def _carried(state: Tensor, start: Tensor, rows: int) -> Tensor:
    """The states for a step of `rows` rows; sequences that begin there have theirs from `start`."""
    have = state.shape[0]
    if rows == have:
        return state
    return state[:rows] if rows < have else cat((state, start[have:rows]))


class _Carry:
    """The gradient of a carried state on its way back; gathers that of the start."""

    def __init__(self) -> None:
        self.gradient: Any = None  # of the state that the step after was given
        self.begun: list[Tensor] = []  # of the rows of the start, the last ones first

    def plus(self, g: Tensor | None, state: Tensor) -> Tensor:
        """The gradient of `state`: what the step after sent back, and `g`, which may be None."""
        back, rows = self.gradient, state.shape[0]
        if back is None:
            return state.new_zeros(state.shape) if g is None else g
        have = back.shape[0]
        if rows < have:
            self.begun.append(back[rows:])
            back = back[:rows]
        elif rows > have:
            back = F.pad(back, (0, 0, 0, rows - have))
        return back if g is None else back + g

    def of_start(self) -> Tensor:
        """The gradient of the start, when the first step has sent back its own."""
        return cat((self.gradient, *self.begun[::-1])) if self.begun else self.gradient


class _TimeLoop(MultiNode):
    """A recorded loop: one pass back gives the gradients of all its inputs."""

    __slots__ = ("rule",)
    rule: Callable[..., Sequence[Tensor | None]]

    def backward(self, g: Any, wanted: Any = None) -> Any:
        if self.saved is None:
            raise RuntimeError(FREED)
        inputs = [self._value(k, k, None) for k in range(len(self.saved))]
        results = self.rule(g, inputs, self._output())
        return [
            None if edge is None else result
            for edge, result in zip(self.edges, results, strict=True)
        ]


_loop = Vjp("time_loop", (), (), {})


def _run(forward: Any, backward: Any, inputs: Sequence[Any], keep: Sequence[Any]) -> Any:
    """`forward(*inputs)`: a tuple of tensors, recorded as one node.

    Its gradient is `backward(gradients, keep, outs)`: one for each input, from those of the results,
    of which some may be None. `keep` are the inputs that backward needs.
    """
    record = mode.grad and any(t is not None and t.requires_grad for t in inputs)
    with no_grad():
        outs = forward(*inputs)
    if record:
        edges = tuple((t._node or t) if t is not None and t.requires_grad else None for t in inputs)
        node = _TimeLoop(_loop, edges, tuple(keep), (), None)
        node.rule = backward
        node.set_outputs(outs, save=True)
    return outs


def _back(*lists: Any) -> Any:
    """Steps of several lists together, the last one first."""
    return zip(*(x[::-1] for x in lists), strict=True)


def rnn_loop(x: Tensor, w: Tensor, h0: Tensor, steps: Steps, relu: bool) -> Tensor:
    """`h = f(x + h @ w.T)`, with tanh or relu as `f`: the states after all steps."""

    def forward(x: Tensor, w: Tensor, h0: Tensor) -> tuple[Tensor, ...]:
        wt, h, states = w.t(), h0, []
        for xt in steps.split(x):
            z = xt + _carried(h, h0, xt.shape[0]) @ wt
            h = z.relu() if relu else z.tanh()
            states.append(h)
        return (steps.join(states),)

    def backward(gradients: Any, kept: Any, outs: Any) -> Any:
        (w, h0), (h,) = kept, outs
        slope = (h > 0).to(h.dtype) if relu else 1 - h * h
        carry, parts = _Carry(), []
        gs = steps.split_gradient(gradients[0])
        for g, ht, k in _back(gs, steps.split(h), steps.split(slope)):
            dz = carry.plus(g, ht) * k
            carry.gradient = dz @ w
            parts.append(dz)
        dx = steps.join(parts[::-1])
        return dx, dx.t() @ steps.join(steps.before(h, h0)), carry.of_start()

    return _run(forward, backward, (x, w, h0), (w, h0))[0]


def lstm_loop(
    x: Tensor, w: Tensor, w_hr: Tensor | None, h0: Tensor, c0: Tensor, steps: Steps
) -> tuple[Tensor, Tensor]:
    """`i, f, g, o` of `x + h @ w.T`; `c = f c + i g`; `h = o tanh(c)`, times `w_hr.T` if given.

    Returns:
        h and c after all steps.

    Source: Hochreiter and Schmidhuber, Long short-term memory; Gers et al., Learning to forget.
    """
    n = c0.shape[1]

    def gates(z: Tensor) -> tuple[Tensor, ...]:
        i_f, g, o = z[:, : 2 * n].sigmoid(), z[:, 2 * n : 3 * n].tanh(), z[:, 3 * n :].sigmoid()
        return i_f[:, :n], i_f[:, n:], g, o

    def forward(x: Any, w: Any, w_hr: Any, h0: Any, c0: Any) -> tuple[Tensor, ...]:
        wt, h, c = w.t(), h0, c0
        hs, cs, zs = [], [], []
        for xt in steps.split(x):
            rows = xt.shape[0]
            z = xt + _carried(h, h0, rows) @ wt
            i, f, g, o = gates(z)
            c = f * _carried(c, c0, rows) + i * g
            h = o * c.tanh()
            if w_hr is not None:
                h = h @ w_hr.t()
            hs.append(h)
            cs.append(c)
            zs.append(z)
        return steps.join(hs), steps.join(cs), steps.join(zs)

    def backward(gradients: Any, kept: Any, outs: Any) -> Any:
        (w, w_hr, h0, c0), (h, c, z) = kept, outs
        i, f, g, o = gates(z)
        t = c.tanh()
        c_before = steps.join(steps.before(c, c0))
        # What a gate's gradient is per gradient of c, or of the unprojected h for the output gate.
        slopes = cat((i * (1 - i) * g, f * (1 - f) * c_before, i * (1 - g * g), o * (1 - o) * t), 1)
        c_slope = o * (1 - t * t)
        h_carry, c_carry, parts, dhs = _Carry(), _Carry(), [], []
        for gh, gc, gz, ht, ct, k, kc, ft in _back(
            *(steps.split_gradient(g) for g in gradients),
            *(steps.split(y) for y in (h, c, slopes, c_slope, f)),
        ):
            dh = h_carry.plus(gh, ht)
            dm = dh if w_hr is None else dh @ w_hr
            dc = c_carry.plus(gc, ct) + dm * kc
            dz = cat((dc, dc, dc, dm), 1) * k
            if gz is not None:
                dz = dz + gz
            h_carry.gradient, c_carry.gradient = dz @ w, dc * ft
            parts.append(dz)
            dhs.append(dh)
        dx = steps.join(parts[::-1])
        dw = dx.t() @ steps.join(steps.before(h, h0))
        dw_hr = None if w_hr is None else steps.join(dhs[::-1]).t() @ (o * t)
        return dx, dw, dw_hr, h_carry.of_start(), c_carry.of_start()

    return _run(forward, backward, (x, w, w_hr, h0, c0), (w, w_hr, h0, c0))[:2]


def gru_loop(x: Tensor, w: Tensor, b: Tensor | None, h0: Tensor, steps: Steps) -> Tensor:
    """`r, z` of `x + y`, `n = tanh(x_n + r y_n)` with `y = h @ w.T + b`; `h = (1 - z) n + z h`.

    Source: Cho et al., Learning phrase representations using RNN encoder-decoder.
    """
    n = h0.shape[1]

    def gates(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        r_z = (x[:, : 2 * n] + y[:, : 2 * n]).sigmoid()
        r = r_z[:, :n]
        return r, r_z[:, n:], (x[:, 2 * n :] + r * y[:, 2 * n :]).tanh()

    def forward(x: Any, w: Any, b: Any, h0: Any) -> tuple[Tensor, ...]:
        h, hs, ys = h0, [], []
        for xt in steps.split(x):
            h = _carried(h, h0, xt.shape[0])
            y = F.linear(h, w, b)
            _, z, new = gates(xt, y)
            h = new + z * (h - new)
            hs.append(h)
            ys.append(y)
        return steps.join(hs), steps.join(ys)

    def backward(gradients: Any, kept: Any, outs: Any) -> Any:
        (x, w, h0), (h, y) = kept, outs
        r, z, new = gates(x, y)
        h_before = steps.join(steps.before(h, h0))
        # What the gradients of r, z and n before their nonlinearities are per gradient of h.
        n_slope = (1 - z) * (1 - new * new)
        r_slope = n_slope * y[:, 2 * n :] * r * (1 - r)
        z_slope = (h_before - new) * z * (1 - z)
        slopes = cat((r_slope, z_slope, n_slope * r), 1)
        carry, parts, dhs = _Carry(), [], []
        for gh, gy, ht, k, zt in _back(
            *(steps.split_gradient(g) for g in gradients),
            *(steps.split(v) for v in (h, slopes, z)),
        ):
            dh = carry.plus(gh, ht)
            dy = cat((dh, dh, dh), 1) * k
            if gy is not None:
                dy = dy + gy
            carry.gradient = dy @ w + dh * zt
            parts.append(dy)
            dhs.append(dh)
        dy, dh = steps.join(parts[::-1]), steps.join(dhs[::-1])
        dx = cat((dh, dh, dh), 1) * cat((r_slope, z_slope, n_slope), 1)
        return dx, dy.t() @ h_before, dy.sum(0), carry.of_start()

    return _run(forward, backward, (x, w, b, h0), (x, w, h0))[0]
