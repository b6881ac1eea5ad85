"""Backward through the recorded graph.

Nodes run in the reverse of the order in which they were recorded, from a heap, so that a chain of
any length needs no recursion. This module knows tensors only by the graph state they carry.
"""

# The core is several modules of one design: they see each other's underscored state.
# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Any

from tensorgl.autograd.graph import Node, Part, Stage, TensorBase, mode, share

__all__ = ["backward", "grad", "run_backward"]


def run_backward(
    roots: Sequence[Any],
    gradients: Sequence[Any],
    targets: Sequence[Any] | None,
    retain_graph: bool,
    create_graph: bool,
    accumulate: bool,
    inner: bool = False,
) -> dict[int, Any]:
    """Send `gradients` from `roots` back through the graph.

    Args:
        roots: tensors that require a gradient.
        gradients: one tensor for each, of the same shape.
        targets: edges (nodes or leaf tensors) whose gradients are wanted; None for every leaf.
        retain_graph: keep what was saved.
        create_graph: record what the rules compute.
        accumulate: add the gradients of the leaves to their `grad`.
        inner: the targets are where another backward goes on: nothing beyond them runs, nor do their
            hooks.

    Returns:
        The gradient of each target by `id`.
    """
    wanted = None if targets is None else {id(t) for t in targets}
    through, receivers = (None, None) if wanted is None else _paths(roots, wanted, inner)
    pending: dict[int, Any] = {}  # gradients that have arrived, by the id of their edge
    heap: list[tuple[int, Node]] = []
    leaves: list[Any] = []
    found: dict[int, Any] = {}

    def send(edge: Any, g: Any) -> None:
        key = id(edge)
        if key in pending:
            pending[key] = pending[key] + g
        else:
            pending[key] = g
            if isinstance(edge, Node):
                heappush(heap, (-edge.seq, edge))
            else:
                leaves.append(edge)

    def send_part(part: Part, g: Any) -> None:
        call = part.edges[0]
        results = pending.get(id(call))
        if results is None:
            results = pending[id(call)] = [None] * call.count
            heappush(heap, (-call.seq, call))
        results[part.index] = g

    def finish(leaf: Any) -> None:
        g = pending.pop(id(leaf))
        if leaf._hooks and not inner:
            g = _run_hooks(leaf._hooks, Stage.TENSOR, g)
        if wanted is not None:
            found[id(leaf)] = g
        if accumulate:
            leaf._accumulate_grad(g)
            if leaf._hooks:
                _run_hooks(leaf._hooks, Stage.POST, leaf)

    early = accumulate and wanted is None and mode.early and mode.observer is None
    last = _last_readers(roots) if early else {}
    anomaly = mode.anomaly
    previous, mode.grad = mode.grad, create_graph
    try:
        for root, g in zip(roots, gradients, strict=True):
            edge = root._node or root
            if receivers is None or id(edge) in receivers:
                send(edge, g)
        while heap:
            _, node = heappop(heap)
            g = pending.pop(id(node))
            if node.hooks and not (inner and wanted is not None and id(node) in wanted):
                g = _run_hooks(node.hooks, Stage.TENSOR, g)
                g = _run_hooks(node.hooks, Stage.RETAIN, g)
            if wanted is not None and through is not None:
                if id(node) in wanted:
                    found[id(node)] = g
                if id(node) not in through:
                    continue
            if isinstance(node, Part):
                send_part(node, g)
                continue
            if node.hooks:
                g = _run_hooks(node.hooks, Stage.PRE, g)
            parts = node.backward(g, receivers)
            if node.hooks:
                parts = _run_post_hooks(node.hooks, parts, g)
            if anomaly:
                _check_finite(node, parts)
            if not retain_graph:
                node.release()
            for edge, part in zip(node.edges, parts, strict=True):
                if part is None or (receivers is not None and id(edge) not in receivers):
                    continue
                if part._aval is not edge._aval:
                    part = part._reduce_to(edge._aval, node)
                send(edge, part)
            for leaf in last.get(id(node), ()):
                if id(leaf) in pending:
                    finish(leaf)
        if mode.observer is not None:
            mode.observer(roots, leaves if accumulate else ())
        for leaf in leaves:
            if id(leaf) in pending:
                finish(leaf)
    finally:
        mode.grad = previous
    return found


def _run_hooks(hooks: dict[int, Any], stage: Stage, g: Any) -> Any:
    """The gradient (a list of them for a MultiNode) after the hooks of a stage."""
    for when, hook in tuple(hooks.values()):
        if when is not stage:
            continue
        _share_all(g)
        result = hook(g)
        if result is None:
            continue
        if isinstance(g, TensorBase):
            _check_replacement(hook, result, g)
            share(result)
        g = result
    return g


def _check_replacement(hook: Any, result: Any, g: Any) -> None:
    if not isinstance(result, TensorBase):
        raise TypeError(f"expected a Tensor, but hook returned '{type(result).__name__}'")
    if result._aval.shape != g._aval.shape:
        name = getattr(hook, "__name__", "hook")
        raise RuntimeError(
            f"hook '{name}' has changed the size of value from {list(g._aval.shape)} to "
            f"{list(result._aval.shape)}"
        )


def _run_post_hooks(hooks: dict[int, Any], parts: list[Any], g: Any) -> list[Any]:
    """The gradients of a node's inputs after its hooks, which also see those of its results."""
    for when, hook in tuple(hooks.values()):
        if when is Stage.POST:
            _share_all(parts)
            result = hook(tuple(parts), (g,) if isinstance(g, TensorBase) else tuple(g))
            if result is not None:
                parts = [result] if isinstance(result, TensorBase) else list(result)
    return parts


def _share_all(g: Any) -> None:
    for given in (g,) if isinstance(g, TensorBase) else g:
        if given is not None:
            share(given)


def _check_finite(node: Node, parts: list[Any]) -> None:
    """In anomaly mode: raise at the first node that makes NaN."""
    for k, part in enumerate(parts):
        if part is not None and part.isnan().any():
            raise RuntimeError(f"Function '{node.name()}' returned nan values in its {k}th output.")


def _paths(roots: Sequence[Any], wanted: set[int], inner: bool) -> tuple[set[int], set[int]]:
    """The ids of the nodes under `roots` that lead to a wanted edge, and with them the wanted ones.

    With `inner`, no path leads through a wanted one.
    """
    through: set[int] = set()
    receivers = set(wanted)
    for node in _recorded(roots):
        if any(id(e) in receivers for e in node.edges):
            through.add(id(node))
            receivers.add(id(node))
    return through - wanted if inner else through, receivers


def _recorded(roots: Sequence[Any]) -> list[Node]:
    """The nodes under `roots`, in the order in which they were recorded."""
    nodes: dict[int, Node] = {}
    stack = [root._node for root in roots if root._node is not None]
    while stack:
        node = stack.pop()
        if id(node) not in nodes:
            nodes[id(node)] = node
            stack.extend(e for e in node.edges if isinstance(e, Node))
    return sorted(nodes.values(), key=lambda n: n.seq)


def _last_readers(roots: Sequence[Any]) -> dict[int, list[Any]]:
    """The leaves whose gradients are complete once a node has run, by the node's id."""
    known: set[int] = set()
    last: dict[int, list[Any]] = {}
    for node in _recorded(roots):  # the first recorded is the last to run
        for edge in node.edges:
            if not isinstance(edge, Node) and edge is not None and id(edge) not in known:
                known.add(id(edge))
                last.setdefault(id(node), []).append(edge)
    return last


def _as_tuple(x: Any) -> tuple[Any, ...]:
    return (x,) if isinstance(x, TensorBase) else tuple(x)


def _start_gradients(roots: tuple[Any, ...], gradients: Any) -> list[Any]:
    """One gradient a root: what was given, or 1 for a scalar."""
    if gradients is None or isinstance(gradients, TensorBase):
        gradients = (gradients,) + (None,) * (len(roots) - 1)
    if len(gradients) != len(roots):
        raise RuntimeError(f"got {len(roots)} tensors and {len(gradients)} gradients")
    return [
        _start_gradient(k, root, g)
        for k, (root, g) in enumerate(zip(roots, gradients, strict=True))
    ]


def _start_gradient(k: int, root: Any, g: Any) -> Any:
    if not root._requires_grad:
        raise RuntimeError(
            f"element {k} of tensors does not require grad and does not have a grad_fn"
        )
    if g is None:
        if root._aval.size != 1:
            raise RuntimeError(
                "grad can be implicitly created only for scalar outputs, given one of shape "
                f"{list(root._aval.shape)}; pass a gradient of that shape"
            )
        return root.detach().new_ones(root._aval.shape)
    if g._aval.shape != root._aval.shape:
        raise RuntimeError(
            f"Mismatch in shape: grad_output[{k}] has a shape of {list(g._aval.shape)} and "
            f"output[{k}] has a shape of {list(root._aval.shape)}."
        )
    share(g)
    return g.to(root._aval.dtype)


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Add the gradient of `tensors` to the `grad` of every leaf that they were computed from.

    Args:
        tensors: one tensor or several.
        grad_tensors: the gradient of something with respect to each; may be None for scalars.
        retain_graph: keep what was saved, for a second backward; default: `create_graph`.
        create_graph: record the backward itself, so that its result can be differentiated.
        inputs: accumulate into these tensors only.

    Raises:
        RuntimeError: a root does not require a gradient, is no scalar and has no gradient given,
            or what its graph had saved was freed or overwritten.
    """
    roots = _as_tuple(tensors)
    gradients = _start_gradients(roots, grad_tensors)
    retain = create_graph if retain_graph is None else retain_graph
    targets = None
    if inputs is not None:
        chosen = _as_tuple(inputs)
        if not chosen:
            raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
        for t in chosen:
            t.retain_grad()
        targets = [t._node or t for t in chosen]
    run_backward(roots, gradients, targets, retain, create_graph, accumulate=True)


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """The gradients of `outputs` with respect to `inputs`, leaving every `grad` untouched.

    Args:
        outputs: one tensor or several.
        inputs: one tensor or several, each of which requires a gradient.
        grad_outputs: the gradient of something with respect to each output; may be None for scalars.
        retain_graph: keep what was saved, for a second backward; default: `create_graph`.
        create_graph: record the backward itself, so that its result can be differentiated.
        only_inputs: accepted as PyTorch does; it is always true.
        allow_unused: give None for an input that no output depends on, instead of raising.
        is_grads_batched: `grad_outputs` have a first dim more, over which the result is stacked.
        materialize_grads: give zeros instead of None there.

    Returns:
        One tensor (or None) for each input.

    Raises:
        RuntimeError: as for `backward`, and for an input that is not used unless that is allowed.
    """
    roots, wanted = _as_tuple(outputs), _as_tuple(inputs)
    if not wanted:
        raise RuntimeError("`inputs` argument to `grad()` cannot be empty.")
    for t in wanted:
        if not t._requires_grad:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    if materialize_grads:
        if allow_unused is False:
            raise ValueError(
                "Expected allow_unused to be True or not passed when materialize_grads=True, but got: "
                "allow_unused=False."
            )
        allow_unused = True
    retain = create_graph if retain_graph is None else retain_graph
    edges = [t._node or t for t in wanted]

    def run(cotangents: Any, retain: bool) -> list[Any]:
        gradients = _start_gradients(roots, cotangents)
        found = run_backward(roots, gradients, edges, retain, create_graph, accumulate=False)
        return [found.get(id(edge)) for edge in edges]

    results = (
        _batched(run, _as_tuple(grad_outputs), retain)
        if is_grads_batched
        else run(grad_outputs, retain)
    )
    for k, (t, g) in enumerate(zip(wanted, results, strict=True)):
        if g is None and not allow_unused:
            raise RuntimeError(
                f"The differentiated Tensor at index {k} appears to not have been used in the graph. "
                "Set allow_unused=True if this is the desired behavior."
            )
        if g is None and materialize_grads:
            results[k] = t.detach().new_zeros(t._aval.shape)
    return tuple(results)


def _batched(run: Callable[..., list[Any]], batches: tuple[Any, ...], retain: bool) -> list[Any]:
    """The gradients for each slice of the cotangents, stacked."""
    from tensorgl.ops.joining import stack  # only here is the engine's work written in ops

    count = batches[0]._aval.shape[0]
    rows = [run([b[k] for b in batches], retain or k + 1 < count) for k in range(count)]
    columns = list(zip(*rows, strict=True))
    return [None if c[0] is None else stack(c) for c in columns]
