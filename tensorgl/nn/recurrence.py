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
from tensorgl.ops.joining import cat, stack
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
        self.even = self.sizes[0] == self.sizes[-1]

    def split(self, packed: Tensor) -> Sequence[Tensor]:
        """One tensor a step."""
        parts = packed.split(self.sizes)
        return parts[::-1] if self.reverse else parts

    def back(self, *tensors: Tensor | None) -> Any:
        """The number of rows and the parts of several tensors, step by step from the last one.

        A tensor that is None, as a gradient may be, has None for every step.
        """
        sizes = self.sizes if self.reverse else self.sizes[::-1]
        parts = ([None] * len(sizes) if t is None else self.split(t)[::-1] for t in tensors)
        return zip(sizes, *parts, strict=True)

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """The inverse of `split`."""
        return cat(parts[::-1] if self.reverse else parts)

    def before(self, packed: Tensor, start: Tensor) -> Tensor:
        """The state that each step was given, from those that the steps ended with."""
        rows = start.shape[0]
        if self.even and self.reverse:
            return cat((packed[rows:], start))
        if self.even:
            return cat((start, packed[: packed.shape[0] - rows]))
        parts = self.split(packed)
        given = zip((start, *parts[:-1]), parts, strict=True)
        return self.join([_carried(state, start, part.shape[0]) for state, part in given])


def _carried(state: Tensor, start: Tensor, rows: int) -> Tensor:
    """The states for a step of `rows` rows; sequences that begin there have theirs from `start`."""
    have = state.shape[0]
    if rows == have:
        return state
    return state[:rows] if rows < have else cat((state, start[have:rows]))


class _Carry:
    """The gradient of a carried state on its way back; gathers that of the start."""

    def __init__(self, like: Tensor) -> None:
        self.like = like
        self.gradient: Any = None  # of the state that the step after was given
        self.begun: list[Tensor] = []  # of the rows of the start, the last ones first

    def plus(self, g: Tensor | None, rows: int) -> Tensor:
        """The gradient of a step's state: what the step after sent back, and `g` if not None."""
        back = self.gradient
        if back is None:
            return self._zeros(rows) if g is None else g
        have = back.shape[0]
        if rows < have:
            self.begun.append(back[rows:])
            back = back[:rows]
        elif rows > have:
            back = cat((back, self._zeros(rows - have)))
        return back if g is None else back + g

    def _zeros(self, rows: int) -> Tensor:
        return self.like.new_zeros((rows, self.like.shape[1]))

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


def _run(
    steps: Steps,
    forward: Callable[..., Sequence[list[Tensor]]],
    backward: Callable[..., Sequence[Tensor | None]],
    inputs: Sequence[Any],
    keep: Sequence[Any],
    results: int,
) -> tuple[Tensor, ...]:
    """Take all steps, recorded as one node.

    `forward(*inputs)` gives lists of steps, of which the first `results` are the results and the
    others are only for backward. `backward(gradients, keep, outs)` gives the gradient of each input
    from those of all lists, which may be None. `keep` are the inputs that it needs.
    """
    record = mode.grad and any(t is not None and t.requires_grad for t in inputs)
    with no_grad():
        lists = forward(*inputs)
        outs = tuple(steps.join(parts) for parts in (lists if record else lists[:results]))
    if record:
        edges = tuple((t._node or t) if t is not None and t.requires_grad else None for t in inputs)
        node = _TimeLoop(_loop, edges, tuple(keep), (), None)
        node.rule = backward
        node.set_outputs(outs, save=True)
    return outs[:results]


def _transposed(w: Tensor, steps: Steps) -> Tensor:
    """`w.T`, laid out anew where many products follow: BLAS is quicker on rows without gaps."""
    return w.t() if len(steps.sizes) == 1 else w.t().contiguous()


def rnn_loop(x: Tensor, w: Tensor, h0: Tensor, steps: Steps, relu: bool) -> Tensor:
    """`h = f(x + h @ w.T)`, with tanh or relu as `f`: the states after all steps."""

    def forward(x: Tensor, w: Tensor, h0: Tensor) -> Any:
        wt, h, hs = _transposed(w, steps), h0, []
        for xt in steps.split(x):
            z = xt + _carried(h, h0, xt.shape[0]) @ wt
            h = z.relu() if relu else z.tanh()
            hs.append(h)
        return (hs,)

    def backward(gradients: Any, kept: Any, outs: Any) -> Any:
        (w, h0), (h,) = kept, outs
        slope = (h > 0).to(h.dtype) if relu else 1 - h * h
        carry, dzs = _Carry(h0), []
        for rows, g, k in steps.back(gradients[0], slope):
            dz = carry.plus(g, rows) * k
            carry.gradient = dz @ w
            dzs.append(dz)
        dx = steps.join(dzs[::-1])
        return dx, dx.t() @ steps.before(h, h0), carry.of_start()

    return _run(steps, forward, backward, (x, w, h0), (w, h0), 1)[0]


def lstm_loop(
    x: Tensor, w: Tensor, w_hr: Tensor | None, h0: Tensor, c0: Tensor, steps: Steps
) -> tuple[Tensor, ...]:
    """`i, f, g, o` of `x + h @ w.T`; `c = f c + i g`; `h = o tanh(c)`, times `w_hr.T` if given.

    Returns:
        h and c after all steps.

    Source: Hochreiter and Schmidhuber, Long short-term memory; Gers et al., Learning to forget.
    """
    n = c0.shape[1]

    def gates(z: Tensor) -> tuple[Tensor, ...]:
        i, f, _, o = z.sigmoid().split(n, 1)
        return i, f, z.narrow(1, 2 * n, n).tanh(), o

    def forward(x: Tensor, w: Tensor, w_hr: Tensor | None, h0: Tensor, c0: Tensor) -> Any:
        wt, h, c = _transposed(w, steps), h0, c0
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
        return hs, cs, zs

    def backward(gradients: Any, kept: Any, outs: Any) -> Any:
        (w, w_hr, h0, c0), (h, c, z) = kept, outs
        i, f, g, o = gates(z)
        t = c.tanh()
        # The gradient of z per gradient of c, or of o tanh(c) for the output gate.
        slopes = cat(
            (
                i * (1 - i) * g,
                f * (1 - f) * steps.before(c, c0),
                i * (1 - g * g),
                o * (1 - o) * t,
            ),
            1,
        )
        c_slope = o * (1 - t * t)
        h_carry, c_carry, dzs, dhs = _Carry(h0), _Carry(c0), [], []
        for rows, gh, gc, gz, k, kc, ft in steps.back(*gradients, slopes, c_slope, f):
            dh = h_carry.plus(gh, rows)
            dm = dh if w_hr is None else dh @ w_hr
            dc = c_carry.plus(gc, rows) + dm * kc
            dz = cat((dc, dc, dc, dm), 1) * k
            if gz is not None:
                dz = dz + gz
            h_carry.gradient, c_carry.gradient = dz @ w, dc * ft
            dzs.append(dz)
            dhs.append(dh)
        dx = steps.join(dzs[::-1])
        dw = dx.t() @ steps.before(h, h0)
        dw_hr = None if w_hr is None else steps.join(dhs[::-1]).t() @ (o * t)
        return dx, dw, dw_hr, h_carry.of_start(), c_carry.of_start()

    return _run(steps, forward, backward, (x, w, w_hr, h0, c0), (w, w_hr, h0, c0), 2)


def gru_loop(x: Tensor, w: Tensor, b: Tensor | None, h0: Tensor, steps: Steps) -> Tensor:
    """`r, z` of `x + y`, `n = tanh(x_n + r y_n)` with `y = h @ w.T + b`; `h = (1 - z) n + z h`.

    Source: Cho et al., Learning phrase representations using RNN encoder-decoder.
    """
    n = h0.shape[1]

    def gates(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        r, z = (x.narrow(1, 0, 2 * n) + y.narrow(1, 0, 2 * n)).sigmoid().split(n, 1)
        return r, z, (x.narrow(1, 2 * n, n) + r * y.narrow(1, 2 * n, n)).tanh()

    def forward(x: Tensor, w: Tensor, b: Tensor | None, h0: Tensor) -> Any:
        wt, h, hs, ys = _transposed(w, steps), h0, [], []
        for xt in steps.split(x):
            h = _carried(h, h0, xt.shape[0])
            y = h @ wt if b is None else h @ wt + b
            _, z, new = gates(xt, y)
            h = new + z * (h - new)
            hs.append(h)
            ys.append(y)
        return hs, ys

    def backward(gradients: Any, kept: Any, outs: Any) -> Any:
        (x, w, h0), (h, y) = kept, outs
        r, z, new = gates(x, y)
        h_before = steps.before(h, h0)
        # The gradients of r, z and n before their nonlinearities per gradient of h.
        n_slope = (1 - z) * (1 - new * new)
        r_slope = n_slope * y.narrow(1, 2 * n, n) * r * (1 - r)
        z_slope = (h_before - new) * z * (1 - z)
        slopes = stack((r_slope, z_slope, n_slope * r), 1)
        carry, dys, dhs = _Carry(h0), [], []
        for rows, gh, gy, k, zt in steps.back(*gradients, slopes, z):
            dh = carry.plus(gh, rows)
            dy = (dh.unsqueeze(1) * k).reshape(rows, 3 * n)
            if gy is not None:
                dy = dy + gy
            carry.gradient = dy @ w + dh * zt
            dys.append(dy)
            dhs.append(dh)
        dy, dh = steps.join(dys[::-1]), steps.join(dhs[::-1])
        dx = cat((dh * r_slope, dh * z_slope, dh * n_slope), 1)
        return dx, dy.t() @ h_before, dy.sum(0), carry.of_start()

    return _run(steps, forward, backward, (x, w, b, h0), (x, w, h0), 1)[0]
