"""What the case table cannot say of nn.functional: kinks, in-place forms, masks, statistics, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tensorgl as tg
from tensorgl.nn import functional as F

rng = np.random.default_rng(0)


def randn(*shape: int, grad: bool = False) -> tg.Tensor:
    return tg.tensor(rng.standard_normal(shape), dtype=tg.float64, requires_grad=grad)


def slopes(function, points: list[float], *args: float) -> list[float]:  # type: ignore[no-untyped-def]
    x = tg.tensor(points, dtype=tg.float64, requires_grad=True)
    function(x, *args).sum().backward()
    return x.grad.tolist()


# -- activations ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "points", "expected"),
    [
        (F.relu, [-1, 0, 1], [0, 0, 1]),
        (F.relu6, [0, 3, 6], [0, 1, 0]),
        (F.hardtanh, [-1, 0, 1], [0, 1, 0]),
        (F.hardsigmoid, [-3, 0, 3], [0, 1 / 6, 0]),
        (F.hardswish, [-3, 0, 3], [0, 0.5, 1]),
        (F.leaky_relu, [-1, 0, 1], [0.01, 0.01, 1]),
        (F.hardshrink, [-0.5, 0, 0.5], [0, 0, 0]),
        (F.softshrink, [-0.5, 0, 0.5], [0, 0, 0]),
        (F.elu, [0, 1], [1, 1]),
        (F.logsigmoid, [0], [0.5]),
        (F.softplus, [0, 20, 21], [0.5, 1, 1]),
        (F.softsign, [0], [1]),
    ],
)
def test_slope_at_kinks(function, points, expected) -> None:  # type: ignore[no-untyped-def]
    assert slopes(function, points) == pytest.approx(expected, abs=1e-8)


def test_threshold_passes_what_is_above_only() -> None:
    assert slopes(F.threshold, [0, 1, 2], 1.0, 9.0) == [0, 0, 1]


@pytest.mark.parametrize("name", ["celu", "elu", "hardswish", "leaky_relu", "mish", "relu", "silu"])
def test_inplace_argument(name: str) -> None:
    function = getattr(F, name)
    leaf, other = randn(3, 4, grad=True), randn(3, 4)
    y = leaf * 1
    assert function(y, inplace=True) is y
    (y * other).sum().backward()
    twin = leaf.detach().requires_grad_()
    (function(twin * 1) * other).sum().backward()
    assert tg.equal(leaf.grad, twin.grad)


@pytest.mark.parametrize("name", ["celu", "elu", "hardtanh", "leaky_relu", "relu", "rrelu", "selu"])
def test_inplace_function(name: str) -> None:
    x = randn(5)
    expected = getattr(F, name)(x.clone())
    assert getattr(F, name + "_")(x) is x
    assert tg.equal(x, expected)


def test_integers_keep_their_dtype_or_raise() -> None:
    x = tg.tensor([-2, 0, 5])
    assert F.relu(x).tolist() == [0, 0, 5]
    assert F.relu(x).dtype is tg.int64
    assert F.threshold(x, 0.5, 3.0).tolist() == [3, 3, 5]
    for function in (F.gelu, F.elu, F.silu, F.softplus, F.leaky_relu):
        with pytest.raises(NotImplementedError, match="Long"):
            function(x)
    with pytest.raises(NotImplementedError, match="Bool"):
        F.relu(x > 0)
    with pytest.raises(TypeError, match="must be Tensor, not list"):
        F.relu([1.0])


def test_half_precision_rounds_once() -> None:
    x = tg.tensor(rng.standard_normal(1000), dtype=tg.float16)
    for function in (F.gelu, F.mish, F.silu, F.logsigmoid):
        assert tg.equal(function(x), function(x.float()).half())
    wide = x.reshape(4, 250) * 100
    assert tg.equal(F.layer_norm(wide, (250,)), F.layer_norm(wide.float(), (250,)).half())


def test_rrelu_draws_slopes_between_its_bounds() -> None:
    slope = -F.rrelu(-tg.ones(1000), 0.2, 0.4, training=True).numpy()
    assert 0.2 <= slope.min() < 0.21
    assert 0.39 < slope.max() <= 0.4
    assert -F.rrelu(-tg.ones(1), 0.2, 0.4).item() == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: F.gelu(randn(2), approximate="erf"), RuntimeError),
        (lambda: F.hardtanh(randn(2), 1, -1), ValueError),
        (lambda: F.softshrink(randn(2), -1), RuntimeError),
        (lambda: F.celu(randn(2), 0), RuntimeError),
        (lambda: F.rrelu(randn(2), 0.4, 0.2), RuntimeError),
        (lambda: F.prelu(randn(2, 3), randn(2)), RuntimeError),
        (lambda: F.prelu(randn(2, 3), randn(3, 1)), RuntimeError),
        (lambda: F.glu(randn(2, 3)), RuntimeError),
        (lambda: F.glu(randn()), RuntimeError),
    ],
)
def test_activation_errors(call, error) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error):
        call()


# -- softmax --------------------------------------------------------------------------------------


def test_softmax_of_extremes() -> None:
    x = tg.tensor([[1e4, 0.0, -1e4], [-math.inf, 1.0, 1.0], [-math.inf] * 3])
    p = F.softmax(x, 1)
    assert p[:2].tolist() == [[1, 0, 0], [0, 0.5, 0.5]]
    assert p[2].isnan().all()
    assert F.log_softmax(x, 1)[0].tolist() == [0, -1e4, -2e4]


def test_softmax_of_a_number_and_of_nothing() -> None:
    assert F.softmax(tg.tensor(3.0), 0).item() == 1
    assert F.log_softmax(tg.tensor(3.0), -1).item() == 0
    assert F.softmax(tg.ones(0, 3), 0).shape == (0, 3)


def test_softmax_dtype() -> None:
    x = tg.tensor([[1, 2, 3]])
    assert F.softmax(x, 1, dtype=tg.float64).dtype is tg.float64
    assert x.softmax(1, tg.float32).dtype is tg.float32
    with pytest.raises(NotImplementedError, match="Long"):
        F.softmax(x, 1)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmin"])
def test_implicit_dim_is_deprecated(name: str) -> None:
    x, function = randn(2, 3), getattr(F, name)
    with pytest.warns(UserWarning, match="Implicit dimension choice"):
        assert tg.equal(function(x), function(x, 1))


def test_hard_gumbel_softmax_is_one_hot_and_learns() -> None:
    logits = tg.tensor([[1.0, 2.0, 0.0]]).expand(5000, 3).clone().requires_grad_()
    hard = F.gumbel_softmax(logits, tau=0.5, hard=True)
    counts = hard.detach().sum(0) / 5000
    assert hard.detach().sum(1).eq(1).all()
    np.testing.assert_allclose(counts.numpy(), F.softmax(logits[0], 0).detach().numpy(), atol=0.03)
    (hard * tg.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert logits.grad.abs().sum() > 0


# -- normalisation --------------------------------------------------------------------------------


def test_batch_norm_moves_running_statistics() -> None:
    x, mean, var = randn(6, 3, 2, grad=True), tg.zeros(3), tg.ones(3)
    F.batch_norm(x, mean, var, training=True, momentum=0.25)
    values = x.detach().numpy()
    np.testing.assert_allclose(mean.numpy(), values.mean((0, 2)) / 4, atol=1e-6)
    np.testing.assert_allclose(var.numpy(), 0.75 + values.var((0, 2), ddof=1) / 4, atol=1e-6)
    assert not mean.requires_grad
    before = mean.clone()
    F.batch_norm(x, mean, var)
    assert tg.equal(mean, before)


def test_instance_norm_moves_running_statistics() -> None:
    x, mean, var = randn(4, 3, 5), tg.zeros(3), tg.ones(3)
    F.instance_norm(x, mean, var, momentum=1.0)
    np.testing.assert_allclose(mean.numpy(), x.numpy().mean((0, 2)), atol=1e-6)
    np.testing.assert_allclose(var.numpy(), x.numpy().var(2, ddof=1).mean(0), atol=1e-6)
    out = F.instance_norm(x, mean, var, use_input_stats=False)
    np.testing.assert_allclose(out.numpy(), F.batch_norm(x, mean, var).numpy())


def test_layer_norm_far_from_zero() -> None:
    x = randn(3, 64).float() + 1000
    out = F.layer_norm(x, (64,)).numpy()
    assert abs(out.mean(1)).max() < 1e-3
    np.testing.assert_allclose(out.std(1), 1, atol=1e-3)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: F.batch_norm(randn(1, 3), None, None, training=True), ValueError),
        (lambda: F.batch_norm(randn(2, 3), None, None), RuntimeError),
        (lambda: F.batch_norm(randn(2, 3), tg.zeros(2), tg.ones(2)), RuntimeError),
        (lambda: F.instance_norm(randn(2, 3, 1)), ValueError),
        (lambda: F.group_norm(randn(2, 3), 2), RuntimeError),
        (lambda: F.group_norm(randn(3), 3), RuntimeError),
        (lambda: F.group_norm(randn(1, 3), 3), ValueError),
        (lambda: F.layer_norm(randn(2, 3), (4,)), RuntimeError),
        (lambda: F.layer_norm(randn(2, 3), (3,), randn(4)), RuntimeError),
        (lambda: F.layer_norm(tg.ones(2, 3, dtype=tg.int64), (3,)), NotImplementedError),
        (lambda: F.local_response_norm(randn(2, 3), 2), ValueError),
    ],
)
def test_normalisation_errors(call, error) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error):
        call()


# -- linear, embedding ----------------------------------------------------------------------------


def test_linear_result_may_be_written_over() -> None:
    x, w = randn(2, 3, 4, grad=True), randn(5, 4, grad=True)
    F.relu(F.linear(x, w), inplace=True).sum().backward()
    y = x.detach().numpy() @ w.detach().numpy().T
    np.testing.assert_allclose(x.grad.numpy(), (y > 0) @ w.detach().numpy())


def test_linear_shapes_and_errors() -> None:
    assert F.linear(randn(4), randn(5, 4)).shape == (5,)
    assert F.linear(randn(2, 3, 4), randn(4), randn()).shape == (2, 3)
    assert F.linear(randn(2, 0, 4), randn(5, 4), randn(5)).shape == (2, 0, 5)
    assert F.linear(tg.ones(2, 0), tg.ones(3, 0), tg.ones(3)).tolist() == [[1, 1, 1]] * 2
    with pytest.raises(RuntimeError, match="2x3 and 4x5"):
        F.linear(randn(2, 3), randn(5, 4))
    with pytest.raises(RuntimeError, match="at least 1D"):
        F.linear(randn(), randn(5, 4))


def test_embedding_options() -> None:
    index = tg.tensor([[0, 2], [2, 1]])
    weight = randn(3, 4, grad=True)
    F.embedding(index, weight, padding_idx=-3).sum().backward()
    assert weight.grad[:, 0].tolist() == [0, 1, 2]
    weight.grad = None
    F.embedding(index, weight, scale_grad_by_freq=True).sum().backward()
    assert weight.grad[:, 0].tolist() == [1, 1, 1]


def test_embedding_scales_long_rows_in_place() -> None:
    weight = tg.tensor([[3.0, 4.0], [0.3, 0.4], [30.0, 40.0]], requires_grad=True)
    out = F.embedding(tg.tensor([0, 1]), weight, max_norm=1.0)
    np.testing.assert_allclose(out.detach().numpy(), [[0.6, 0.8], [0.3, 0.4]], rtol=1e-6)
    assert weight[2].tolist() == [30, 40]


@pytest.mark.parametrize(
    ("index", "options", "error"),
    [
        ([1.0], {}, RuntimeError),
        ([3], {}, IndexError),
        ([-1], {}, IndexError),
        ([0], {"padding_idx": 3}, AssertionError),
        ([0], {"sparse": True}, NotImplementedError),
    ],
)
def test_embedding_errors(index, options, error) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error):
        F.embedding(tg.tensor(index), randn(3, 4), **options)


def bags(index: list[int], offsets: list[int], **options: object) -> list[float]:
    weight = tg.tensor([[1.0], [-2.0], [4.0], [8.0]])
    out = F.embedding_bag(tg.tensor(index, dtype=tg.int64), weight, tg.tensor(offsets), **options)
    return out[:, 0].tolist()


def test_embedding_bag_offsets() -> None:
    index = [0, 1, 2, 3, 1]
    assert bags(index, [0, 2, 2], mode="sum") == [-1, 0, 10]
    assert bags(index, [0, 2, 2]) == [-0.5, 0, pytest.approx(10 / 3)]
    assert bags(index, [0, 2, 2], mode="max") == [1, 0, 8]
    assert bags(index, [0, 2, 5], mode="sum", include_last_offset=True) == [-1, 10]
    assert bags(index, [0, 2], mode="mean", padding_idx=1) == [1, 6]
    assert bags([1, 1, 0], [0, 2], mode="max", padding_idx=1) == [0, 1]
    assert bags([], [0, 0], mode="max") == [0, 0]


def test_embedding_bag_weights_learn() -> None:
    weights = tg.tensor([[2.0, 3.0]], requires_grad=True)
    table = tg.tensor([[1.0], [-2.0]], requires_grad=True)
    out = F.embedding_bag(tg.tensor([[0, 1]]), table, mode="sum", per_sample_weights=weights)
    out.sum().backward()
    assert out.item() == -4
    assert weights.grad.tolist() == [[1, -2]]
    assert table.grad.tolist() == [[2], [3]]


@pytest.mark.parametrize(
    ("index", "offsets", "options", "error"),
    [
        ([0, 1], None, {}, ValueError),
        ([[0, 1]], [0], {}, ValueError),
        ([[[0, 1]]], None, {}, ValueError),
        ([0, 1], [1], {}, RuntimeError),
        ([0, 1], [0, 3], {}, RuntimeError),
        ([[0, 1]], None, {"mode": "prod"}, ValueError),
        ([[0, 1]], None, {"mode": "max", "scale_grad_by_freq": True}, ValueError),
        ([[0, 1]], None, {"per_sample_weights": tg.ones(1, 2)}, NotImplementedError),
        ([[0, 1]], None, {"mode": "sum", "per_sample_weights": tg.ones(2)}, ValueError),
    ],
)
def test_embedding_bag_errors(index, offsets, options, error) -> None:  # type: ignore[no-untyped-def]
    offsets = None if offsets is None else tg.tensor(offsets)
    with pytest.raises(error):
        F.embedding_bag(tg.tensor(index), tg.ones(3, 4), offsets, **options)


def test_one_hot() -> None:
    assert F.one_hot(tg.tensor([2, 0])).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert F.one_hot(tg.tensor([], dtype=tg.int64), 3).shape == (0, 3)
    for values, classes in (([3], 3), ([-1], -1), ([], -1)):
        with pytest.raises(RuntimeError):
            F.one_hot(tg.tensor(values, dtype=tg.int64), classes)
    with pytest.raises(RuntimeError, match="LongTensor"):
        F.one_hot(tg.tensor([1.0]))


# -- dropout --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape", "lead"),
    [
        ("dropout", (40, 50), 2),
        ("dropout1d", (40, 50, 3), 2),
        ("dropout1d", (2000, 3), 1),
        ("dropout2d", (40, 50, 3, 2), 2),
        ("dropout3d", (40, 50, 2, 2, 2), 2),
        ("dropout3d", (2000, 2, 2, 2), 1),
    ],
)
def test_dropout_drops_alike_what_shares_a_channel(
    name: str, shape: tuple[int, ...], lead: int
) -> None:
    x = tg.ones(shape, requires_grad=True)
    out = getattr(F, name)(x, 0.25)
    out.sum().backward()
    factor = out.detach().numpy().reshape(math.prod(shape[:lead]), -1)
    assert set(np.unique(factor)) == {np.float32(0), np.float32(1 / 0.75)}
    assert (factor == factor[:, :1]).all()
    assert abs((factor == 0).mean() - 0.25) < 0.04
    assert tg.equal(x.grad, out.detach())


@pytest.mark.parametrize("name", ["alpha_dropout", "feature_alpha_dropout"])
def test_alpha_dropout_keeps_mean_and_variance(name: str) -> None:
    out = getattr(F, name)(randn(300, 300, 3), 0.3, training=True).numpy()
    assert abs(out.mean()) < 0.01
    assert abs(out.std() - 1) < 0.01


@pytest.mark.parametrize(
    "name", ["alpha_dropout", "dropout", "dropout1d", "dropout2d", "dropout3d"]
)
def test_dropout_limits(name: str) -> None:
    function, x = getattr(F, name), randn(3, 4)
    assert function(x, 0.5, False) is x
    assert function(x, 0.0, True) is x
    assert (function(x, 1.0, True) == 0).all()
    assert function(x, 0.5, True, True) is x
    for p in (-0.1, 1.1):
        with pytest.raises(ValueError, match="between 0 and 1"):
            function(x, p)


# -- attention ------------------------------------------------------------------------------------


def test_attention_mask_of_bools_is_one_of_infinities() -> None:
    q, k, v = randn(2, 3, 4), randn(2, 5, 4), randn(2, 5, 4)
    allowed = tg.tensor(rng.random((3, 5)) < 0.6)
    allowed[0] = False  # a query that may attend to nothing
    bias = tg.zeros(3, 5, dtype=tg.float64).masked_fill(~allowed, -math.inf)
    a = F.scaled_dot_product_attention(q.requires_grad_(), k, v, allowed)
    b = F.scaled_dot_product_attention(q, k, v, bias)
    assert tg.equal(a, b)
    assert (a[:, 0] == 0).all()
    a.sum().backward()
    assert q.grad.isfinite().all()


def test_attention_shares_heads() -> None:
    q, k, v = randn(2, 6, 3, 4), randn(2, 2, 5, 4), randn(2, 2, 5, 4)
    shared = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    k, v = k.repeat_interleave(3, 1), v.repeat_interleave(3, 1)
    assert tg.equal(shared, F.scaled_dot_product_attention(q, k, v))
    with pytest.raises(RuntimeError, match="must divide"):
        F.scaled_dot_product_attention(q, k[:, :4], v[:, :4], enable_gqa=True)


def test_attention_errors() -> None:
    x = randn(3, 4)
    with pytest.raises(RuntimeError, match="at least 2-d"):
        F.scaled_dot_product_attention(x[0], x[0], x[0])
    with pytest.raises(RuntimeError, match="bool or float"):
        F.scaled_dot_product_attention(x, x, x, tg.ones(3, 3, dtype=tg.int64))


# -- losses ---------------------------------------------------------------------------------------


def test_cross_entropy_ignores() -> None:
    x = randn(4, 3, grad=True)
    target = tg.tensor([0, -100, 2, -100])
    loss = F.cross_entropy(x, target)
    loss.backward()
    expected = F.cross_entropy(x[::2], target[::2])
    assert loss.item() == pytest.approx(expected.item())
    assert (x.grad[1::2] == 0).all()
    assert F.cross_entropy(x, target, reduction="none")[1].item() == 0


def test_cross_entropy_with_everything_ignored() -> None:
    x = randn(2, 3, grad=True)
    loss = F.cross_entropy(x, tg.tensor([1, 1]), ignore_index=1)
    loss.backward()
    assert loss.isnan()
    assert (x.grad == 0).all()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_of_extreme_logits(smoothing: float) -> None:
    x = tg.tensor([[1e4, 0.0, -1e4], [-1e4, 1e4, 0.0]], requires_grad=True)
    loss = F.cross_entropy(x, tg.tensor([2, 1]), label_smoothing=smoothing)
    loss.backward()
    assert loss.item() == pytest.approx(1e4)
    assert x.grad.isfinite().all()


def test_cross_entropy_of_impossible_classes() -> None:
    x = tg.tensor([[-math.inf, 0.0, 0.0], [-math.inf, 0.0, 0.0]])
    loss = F.cross_entropy(x, tg.tensor([1, -100]), reduction="none")
    assert loss.tolist() == [pytest.approx(math.log(2)), 0]


def test_cross_entropy_takes_one_row_and_bytes() -> None:
    x = randn(3)
    whole = F.cross_entropy(x[None], tg.tensor([2]))
    assert tg.equal(F.cross_entropy(x, tg.tensor(2)), whole)
    assert F.cross_entropy(x, tg.tensor(2), reduction="none").shape == ()
    assert tg.equal(F.cross_entropy(x[None], tg.tensor([2], dtype=tg.uint8)), whole)


@pytest.mark.parametrize(
    ("target", "options", "error"),
    [
        ([0, 3], {}, IndexError),
        ([0, -1], {}, IndexError),
        ([0], {}, ValueError),
        ([0.0, 1.0], {}, RuntimeError),
        ([[0], [1]], {}, RuntimeError),
        ([0, 1], {"weight": tg.ones(2)}, RuntimeError),
        ([0, 1], {"reduction": "max"}, ValueError),
        ([0, 1], {"label_smoothing": 2.0}, RuntimeError),
        ([[0, 1, 0], [1, 0, 0]], {}, RuntimeError),
        ([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]], {"ignore_index": 1}, RuntimeError),
    ],
)
def test_cross_entropy_errors(target, options, error) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error):
        F.cross_entropy(tg.ones(2, 3), tg.tensor(target), **options)


def test_second_gradient_of_cross_entropy_with_weights() -> None:
    target = tg.tensor([0, 2, -100, 1])
    weight = tg.tensor([0.5, 1.0, 2.0], dtype=tg.float64)
    x = randn(4, 3, grad=True)
    for reduction in ("mean", "sum", "none"):

        def function(x: tg.Tensor, reduction: str = reduction) -> tg.Tensor:
            return F.cross_entropy(x, target, weight, reduction=reduction)

        tg.autograd.gradgradcheck(function, [x])


def test_binary_losses_of_certainty() -> None:
    sure = tg.tensor([0.0, 1.0])
    assert F.binary_cross_entropy(sure, 1 - sure).item() == 100
    logits = tg.tensor([1e4, -1e4, 1e4], requires_grad=True)
    target = tg.tensor([0.0, 1.0, 1.0])
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    assert loss.tolist() == [1e4, 1e4, 0]
    loss.sum().backward()
    assert logits.grad.tolist() == [1, -1, 0]
    weighted = F.binary_cross_entropy_with_logits(logits, target, pos_weight=tg.tensor(3.0))
    assert weighted.item() == pytest.approx(4e4 / 3)


def test_soft_margin_loss_of_extremes() -> None:
    x = tg.tensor([1e4, -1e4])
    assert F.soft_margin_loss(x, tg.ones(2), reduction="none").tolist() == [0, 1e4]


def test_kl_div_of_impossible_events() -> None:
    target = tg.tensor([0.0, 1.0])
    loss = F.kl_div(tg.tensor([-1.0, -2.0]), target, reduction="none")
    assert loss.tolist() == [0, 2]
    with pytest.warns(UserWarning, match="batchmean"):
        F.kl_div(loss, loss + 1)


def test_weighted_means() -> None:
    x, y, w = tg.tensor([1.0, 2.0]), tg.zeros(2), tg.tensor([3.0, 1.0])
    assert F.mse_loss(x, y, weight=w).item() == 7 / 4
    assert F.l1_loss(x, y, weight=w).item() == 5 / 4
    assert F.huber_loss(x, y, weight=w).item() == (1.5 + 1.5) / 2


def test_broadcast_target_warns() -> None:
    with pytest.warns(UserWarning, match="likely lead to incorrect results"):
        assert F.mse_loss(tg.ones(3, 2), tg.zeros(2)).item() == 1


def test_gaussian_nll_loss_clamps_small_variance_but_lets_it_learn() -> None:
    var = tg.tensor([0.0], dtype=tg.float64, requires_grad=True)
    loss = F.gaussian_nll_loss(tg.ones(1, dtype=tg.float64), tg.ones(1), var, eps=1e-2)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(1e-2) / 2)
    assert var.grad.item() == pytest.approx(50)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: F.mse_loss(randn(2), randn(2), reduction="max"), ValueError),
        (lambda: F.mse_loss(randn(2), randn(2), weight=randn(3)), ValueError),
        (lambda: F.binary_cross_entropy(tg.ones(2), tg.ones(1)), ValueError),
        (lambda: F.binary_cross_entropy(tg.tensor([1.2]), tg.ones(1)), RuntimeError),
        (lambda: F.binary_cross_entropy(tg.tensor([math.nan]), tg.ones(1)), RuntimeError),
        (lambda: F.binary_cross_entropy(tg.ones(1), tg.tensor([-0.1])), RuntimeError),
        (lambda: F.binary_cross_entropy_with_logits(tg.ones(2), tg.ones(1)), ValueError),
        (lambda: F.smooth_l1_loss(randn(2), randn(2), beta=-1), RuntimeError),
        (lambda: F.huber_loss(randn(2), randn(2), delta=0), RuntimeError),
        (lambda: F.gaussian_nll_loss(randn(2, 3), randn(2, 3), -tg.ones(2, 3)), ValueError),
        (lambda: F.gaussian_nll_loss(randn(2, 3), randn(2, 3), tg.ones(2, 2)), ValueError),
        (lambda: F.margin_ranking_loss(randn(2), randn(2), randn(2, 1)), RuntimeError),
        (lambda: F.cosine_embedding_loss(randn(3), randn(3), randn(1)), RuntimeError),
        (lambda: F.triplet_margin_loss(randn(2, 3), randn(2, 3), randn(3)), RuntimeError),
        (lambda: F.triplet_margin_loss(*[randn(2, 3)] * 3, margin=-1.0), ValueError),
        (lambda: F.multi_margin_loss(randn(2, 3), tg.tensor([0])), RuntimeError),
        (lambda: F.multi_margin_loss(randn(2, 3), tg.tensor([0, 1]), p=3), ValueError),
        (lambda: F.multilabel_margin_loss(randn(2, 3), tg.tensor([0, 1])), RuntimeError),
        (lambda: F.pdist(randn(3)), RuntimeError),
    ],
)
def test_loss_errors(call, error) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error):
        call()


# -- connectionist temporal classification --------------------------------------------------------


def ctc(logp: tg.Tensor, targets: object, times: object, sizes: object, **kw: object) -> tg.Tensor:
    return F.ctc_loss(logp, tg.tensor(targets), times, sizes, reduction="none", **kw)


def test_ctc_reads_no_further_than_its_lengths() -> None:
    logp = F.log_softmax(randn(6, 2, 4), -1)
    both = ctc(logp, [[1, 2, 3], [2, 0, 0]], (6, 3), (3, 1))
    alone = [
        ctc(logp[:, :1], [[1, 2, 3]], (6,), (3,)).item(),
        ctc(logp[:3, 1:], [[2]], (3,), (1,)).item(),
    ]
    assert both.tolist() == pytest.approx(alone)
    joined = ctc(logp, [1, 2, 3, 2], tg.tensor([6, 3]), tg.tensor([3, 1]))
    assert tg.equal(joined, both)
    mean = F.ctc_loss(logp, tg.tensor([1, 2, 3, 2]), (6, 3), (3, 1))
    assert mean.item() == pytest.approx((alone[0] / 3 + alone[1]) / 2)
    single = F.ctc_loss(logp[:, 0], tg.tensor([1, 2, 3]), tg.tensor(6), tg.tensor(3))
    assert single.item() == pytest.approx(alone[0] / 3)


def test_ctc_of_a_target_that_does_not_fit() -> None:
    logp = F.log_softmax(randn(2, 1, 4), -1).requires_grad_()
    assert ctc(logp, [[1, 1]], (2,), (2,)).item() == math.inf
    loss = ctc(logp, [[1, 1]], (2,), (2,), zero_infinity=True)
    loss.sum().backward()
    assert loss.item() == 0
    assert (logp.grad == 0).all()


@pytest.mark.parametrize(
    ("times", "sizes", "blank"),
    [((3, 2), (2, 2), 0), ((2,), (2, 2), 0), ((2, 2), (2, 3), 0), ((2, 2), (2, 2), 4)],
)
def test_ctc_errors(times, sizes, blank) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(RuntimeError, match="ctc_loss"):
        ctc(randn(2, 2, 4), [[1, 2], [1, 2]], times, sizes, blank=blank)
