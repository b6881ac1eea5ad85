"""Views share memory, versions and history with their base; writes in place keep gradients right."""

from __future__ import annotations

import numpy as np
import pytest

import tensorgl as tg

VIEWS = {
    "alias": lambda x: x[...],
    "as_strided": lambda x: x.as_strided((2, 2), (3, 1), 1),
    "chunk": lambda x: x.chunk(2)[1],
    "detach": lambda x: x.detach(),
    "diagonal": lambda x: x.diagonal(1),
    "expand": lambda x: x.expand(2, 4, 3),
    "flatten": lambda x: x.flatten(),
    "getitem": lambda x: x[1:, 2],
    "H": lambda x: x.H,
    "int": lambda x: x[-1],
    "mT": lambda x: x.mT,
    "movedim": lambda x: x.movedim(0, 1),
    "narrow": lambda x: x.narrow(1, 1, 2),
    "permute": lambda x: x.permute(1, 0),
    "ravel": lambda x: x.ravel(),
    "reshape": lambda x: x.reshape(2, 6),
    "select": lambda x: x.select(1, 2),
    "split": lambda x: x.split((1, 3))[1],
    "squeeze": lambda x: x.squeeze(),
    "steps": lambda x: x[::2, ::2],
    "T": lambda x: x.T,
    "unbind": lambda x: x.unbind(1)[0],
    "unflatten": lambda x: x.unflatten(0, (2, 2)),
    "unfold": lambda x: x.unfold(0, 2, 1),
    "unsqueeze": lambda x: x.unsqueeze(1),
    "view": lambda x: x.view(-1),
}
COPIES = {
    "cat": lambda x: tg.cat((x,)),
    "clone": lambda x: x.clone(),
    "flip": lambda x: x.flip(0),
    "index": lambda x: x[[0, 1]],
    "mask": lambda x: x[x >= 0],
    "repeat": lambda x: x.repeat(1, 1),
    "repeat_interleave": lambda x: x.repeat_interleave(1, 0),
    "reshape of a transpose": lambda x: x.T.reshape(-1),
    "roll": lambda x: x.roll(0, 0),
    "rot90": lambda x: x.rot90(0),
    "tril": lambda x: x.tril(9),
}


def sample(shape: tuple[int, ...] = (4, 3), requires_grad: bool = False) -> tg.Tensor:
    values = np.random.default_rng(0).standard_normal(shape)
    return tg.tensor(values, requires_grad=requires_grad)


@pytest.mark.parametrize("name", VIEWS)
def test_a_write_to_the_base_is_seen_in_the_view(name: str) -> None:
    base = sample()
    view = VIEWS[name](base)
    base.copy_(tg.arange(12, dtype=tg.float64).view(4, 3))
    expected = VIEWS[name](tg.arange(12, dtype=tg.float64).view(4, 3))
    assert view.tolist() == expected.tolist()
    assert view._version == base._version == 1


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_has_memory_of_its_own(name: str) -> None:
    base = sample()
    copy = COPIES[name](base)
    before = copy.tolist()
    base.zero_()
    assert copy.tolist() == before


def test_view_needs_memory_in_order() -> None:
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        sample().T.view(-1)
    assert sample().T.view(3, 2, 2).shape == (3, 2, 2)


def test_strides_and_offsets_are_those_of_the_memory() -> None:
    x = sample((4, 3, 2))
    assert (x.stride(), x.storage_offset()) == ((6, 2, 1), 0)
    part = x[1:, ::2].transpose(0, 2)
    assert (part.stride(), part.storage_offset()) == ((1, 4, 6), 6)
    assert x.expand(5, 4, 3, 2).stride(0) == 0
    assert not part.is_contiguous()
    assert part.contiguous().is_contiguous()
    assert x.contiguous() is x


@pytest.mark.parametrize("name", [n for n in VIEWS if n not in ("expand", "detach", "unfold")])
def test_the_gradient_of_a_write_through_a_view(name: str) -> None:
    """Writing through a view gives the gradients of building the same tensor by index."""

    def written(x: tg.Tensor, w: tg.Tensor) -> tg.Tensor:
        base = x * 2
        view = VIEWS[name](base)
        view.mul_(w)
        return (base * base).sum() + view.sum()

    def built(x: tg.Tensor, w: tg.Tensor) -> tg.Tensor:
        base = x * 2
        places = VIEWS[name](tg.arange(12).view(4, 3))
        values = base.take(places) * w
        base = base.put(places, values)
        return (base * base).sum() + values.sum()

    results = []
    for function in (written, built):
        x, w = sample(requires_grad=True), tg.tensor(1.5, dtype=tg.float64, requires_grad=True)
        first = tg.autograd.grad(function(x, w), (x, w), create_graph=True)
        second = tg.autograd.grad(first[0].sum() * first[1], (x, w))
        results.append([g.detach().numpy() for g in (*first, *second)])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_a_view_taken_before_a_write_to_its_base_has_the_new_history() -> None:
    x = sample(requires_grad=True)
    base = x.clone()
    row, column = base[0], base[:, 1]
    base.mul_(3)
    row.add_(column.sum())
    (row.sum() + column.sum()).backward()
    expected = np.zeros((4, 3))
    expected[0] = 3
    expected[:, 1] += 3 * (3 + 1 + 1)  # in each element of the row, of which one is in the column
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), expected)


def test_the_base_need_not_be_in_row_major_order() -> None:
    x, w = sample(requires_grad=True), tg.tensor(2.0, dtype=tg.float64, requires_grad=True)
    base = x.T * 3
    flat = base.T.view(-1)
    flat[2:5].mul_(w)
    base.sum().backward()
    assert w.grad is not None
    np.testing.assert_allclose(w.grad.numpy(), 3 * x.detach().view(-1)[2:5].sum().numpy())
    assert x.grad is not None
    assert x.grad.view(-1).tolist() == [3, 3, 6, 6, 6, *[3] * 7]


def test_copy_casts_broadcasts_and_passes_the_gradient_on() -> None:
    source = tg.ones(3, requires_grad=True)
    target = tg.zeros(2, 3, dtype=tg.float64)
    target.copy_(source).sum().backward()
    assert source.grad is not None
    assert (source.grad.tolist(), source.grad.dtype) == ([2.0] * 3, tg.float32)
    assert tg.zeros(2, dtype=tg.int64).copy_(tg.tensor([1.7, -1.7])).tolist() == [1, -1]


def test_a_copied_tensor_keeps_its_own_hooks() -> None:
    seen = []
    source = tg.ones(2, requires_grad=True) * 2
    source.register_hook(seen.append)
    target = tg.zeros(2).copy_(source)
    target.register_hook(lambda g: g * 10)
    (target.sum() + source.sum()).backward()
    assert [g.tolist() for g in seen] == [[11.0, 11.0]]


def test_parts_of_a_split_share_one_gradient() -> None:
    x = sample(requires_grad=True)
    first, _, third = x.split((1, 1, 2))
    (first.sum() * 2 + third.sum() * 3).backward()
    assert x.grad is not None
    assert x.grad[:, 0].tolist() == [2, 0, 3, 3]
    rows = x.unbind()
    assert rows[0].grad_fn is not None
    (g,) = tg.autograd.grad(rows[3].sum(), x)
    assert g[:, 0].tolist() == [0, 0, 0, 1]


def test_as_strided_adds_up_what_overlaps() -> None:
    x = sample((5,), requires_grad=True)
    windows = x.as_strided((3, 3), (1, 1))
    (g,) = tg.autograd.grad(windows.sum(), x)
    assert g.tolist() == [1, 2, 3, 2, 1]
    with pytest.raises(RuntimeError, match="out of bounds"):
        x.as_strided((3, 4), (1, 1))
    with pytest.raises(RuntimeError, match="gaps"):
        tg.from_numpy(np.zeros((4, 4)))[:, ::2].detach().as_strided((2,), (1,))


class TestRefused:
    def test_write_to_a_leaf(self) -> None:
        leaf = sample(requires_grad=True)
        for write in (lambda: leaf.zero_(), lambda: leaf.t_(), lambda: leaf.copy_(sample())):
            with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
                write()

    def test_write_to_a_view_of_a_leaf(self) -> None:
        leaf = sample(requires_grad=True)
        with pytest.raises(RuntimeError, match="a view of a leaf"):
            leaf[0] = 1
        with tg.no_grad():
            leaf[0] = 1
        assert leaf[0].tolist() == [1, 1, 1]

    def test_backward_after_a_saved_tensor_was_overwritten_through_a_view(self) -> None:
        x = sample(requires_grad=True)
        base = x.clone()
        out = (base * base).sum()
        base.view(-1)[3] = 0
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            out.backward()

    def test_write_to_an_expanded_tensor(self) -> None:
        with pytest.raises(RuntimeError, match="single memory location"):
            tg.zeros(1, 3).expand(2, 3).add_(1)

    def test_write_to_a_view_made_without_recording(self) -> None:
        base = sample(requires_grad=True).clone()
        with tg.no_grad():
            view = base[0]
            view.zero_()
        with pytest.raises(RuntimeError, match="no_grad mode"):
            view.zero_()

    def test_result_of_another_shape(self) -> None:
        with pytest.raises(RuntimeError, match="doesn't match the broadcast shape"):
            tg.zeros(3).add_(tg.zeros(2, 3))


@pytest.mark.parametrize(
    ("method", "args", "shape"),
    [
        ("squeeze_", (), (3, 4)),
        ("squeeze_", (1,), (3, 4)),
        ("unsqueeze_", (0,), (1, 3, 1, 4)),
        ("transpose_", (0, 2), (4, 1, 3)),
        ("swapaxes_", (0, 1), (1, 3, 4)),
        ("swapdims_", (0, -1), (4, 1, 3)),
    ],
)
def test_shapes_change_in_place(method: str, args: tuple[int, ...], shape: tuple[int, ...]) -> None:
    x = sample((3, 1, 4), requires_grad=True)
    base = x * 1
    row = base[1]  # its recipe begins at the old shape
    assert getattr(base, method)(*args) is base
    assert tuple(base.shape) == shape
    row.mul_(2)
    base.sum().backward()
    assert x.grad is not None
    assert x.grad[:, 0, 0].tolist() == [1, 2, 1]


def test_a_shape_changed_in_place_keeps_the_base() -> None:
    base = sample((2, 3))
    view = base[:1].t_()
    view.fill_(7)
    assert base[0].tolist() == [7, 7, 7]


def test_cat_leaves_out_empty_vectors_but_not_their_dtype() -> None:
    x = tg.ones(2, 3, dtype=tg.int64)
    assert tg.cat((x, tg.zeros(0), x), 1).shape == (2, 6)
    assert tg.cat((x, tg.zeros(0))).dtype is tg.float32
    with pytest.raises(RuntimeError, match="Expected size 3 but got size 4 for tensor number 1"):
        tg.cat((x, tg.ones(2, 4)))
    with pytest.raises(RuntimeError, match="zero-dimensional tensor"):
        tg.cat((tg.tensor(1.0),))


@pytest.mark.parametrize(
    ("call", "same"),
    [
        (lambda x: tg.cat((x, x), axis=1), lambda x: tg.cat((x, x), 1)),
        (lambda x: tg.concat((x, x), axis=1), lambda x: tg.cat((x, x), 1)),
        (lambda x: tg.stack((x, x), axis=1), lambda x: tg.stack((x, x), 1)),
        (lambda x: x.unsqueeze(axis=1), lambda x: x.unsqueeze(1)),
        (lambda x: x[None, :1].squeeze(axis=0), lambda x: x[:1]),
        (lambda x: x.chunk(2, axis=1)[1], lambda x: x.chunk(2, 1)[1]),
        (lambda x: x.double().softmax(axis=1), lambda x: x.double().softmax(1)),
        (lambda x: x.split(split_size=2)[1], lambda x: x.split(2)[1]),
        (lambda x: x.repeat(repeats=(2, 1)), lambda x: x.repeat(2, 1)),
    ],
)
def test_other_names_of_arguments(call, same) -> None:  # type: ignore[no-untyped-def]
    assert tg.equal(call(sample()), same(sample()))


def test_a_view_as_another_dtype() -> None:
    x = tg.ones(2, 3).T
    bits = x.view(tg.int32)
    assert (bits.dtype, bits.tolist()) == (tg.int32, [[0x3F800000] * 2] * 3)
    bits[0] = 0x40000000
    assert x.tolist() == [[2, 2], [1, 1], [1, 1]]
    assert x._version == 1
    assert tg.equal(bits.view(dtype=tg.float32), x)
    assert x.is_contiguous(memory_format=tg.contiguous_format) is False
    with pytest.raises(RuntimeError, match="same size"):
        x.view(tg.int64)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda x: tg.cat([]), ValueError),
        (lambda x: tg.cat([x, 1]), TypeError),
        (lambda x: tg.stack([x, 1]), TypeError),
        (lambda x: tg.vstack([]), RuntimeError),
        (lambda x: tg.sum([1, 2]), TypeError),
        (lambda x: tg.squeeze([1, 2]), TypeError),
        (lambda x: ~x.float(), TypeError),
        (lambda x: x.index_copy_(0, tg.tensor([0]), x[0]), IndexError),
        (lambda x: x.index_copy_(0, tg.tensor([0]), x[:2]), IndexError),
        (lambda x: x.reshape(5, -1), RuntimeError),
        (lambda x: x.reshape(-1, -1), RuntimeError),
        (lambda x: x.permute(0, 0), RuntimeError),
        (lambda x: x.transpose(0, 2), IndexError),
        (lambda x: x.expand(4, 5), RuntimeError),
        (lambda x: x.unsqueeze(4), IndexError),
        (lambda x: x.narrow(0, 2, 3), RuntimeError),
        (lambda x: x.select(0, 4), IndexError),
        (lambda x: x.split((1, 1)), RuntimeError),
        (lambda x: x.chunk(0), RuntimeError),
        (lambda x: x.unfold(0, 5, 1), RuntimeError),
        (lambda x: x.diagonal(0, 1, 1), RuntimeError),
        (lambda x: tg.stack((x, x.T)), RuntimeError),
        (lambda x: x.movedim((0, 0), (0, 1)), RuntimeError),
        (lambda x: x.flatten(1, 0), RuntimeError),
        (lambda x: x[0].mT, RuntimeError),
        (lambda x: tg.nn.functional.pad(x, (1,)), RuntimeError),
        (lambda x: tg.nn.functional.pad(x, (-2, -2)), RuntimeError),
        (lambda x: tg.nn.functional.pad(x, (3, 0), "reflect"), RuntimeError),
        (lambda x: tg.nn.functional.pad(x, (1, 1), "mirror"), NotImplementedError),
    ],
)
def test_what_does_not_fit_is_refused(call, error) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error):
        call(sample())


def test_many_views_of_one_tensor_are_forgotten() -> None:
    x = sample()
    for k in range(1000):
        x[k % 4]
    assert x._memory is not None
    assert len(x._memory.views) < 20


def test_fill_diagonal() -> None:
    x = tg.zeros(7, 2)
    assert x.fill_diagonal_(1) is x
    assert x.nonzero().tolist() == [[0, 0], [1, 1]]
    assert tg.zeros(7, 2).fill_diagonal_(1, wrap=True).nonzero().tolist() == [
        [0, 0],
        [1, 1],
        [3, 0],
        [4, 1],
        [6, 0],
    ]
    assert tg.zeros(2, 2, 2).fill_diagonal_(1).nonzero().tolist() == [[0, 0, 0], [1, 1, 1]]
    for shape, words in (((3,), "larger than 1"), ((2, 2, 3), "equal length")):
        with pytest.raises(RuntimeError, match=words):
            tg.zeros(shape).fill_diagonal_(1)
    y = tg.ones(2, 2, requires_grad=True)
    (y * 3).fill_diagonal_(0).sum().backward()
    assert y.grad.tolist() == [[0, 3], [3, 0]]
