"""What the case table cannot say of convolution, pooling and resampling: ties, NaN, layouts, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tensorgl as tg
import tensorgl.nn.functional as F

inf, nan = math.inf, math.nan


def random(*shape: int, dtype: str = "float64") -> tg.Tensor:
    return tg.from_numpy(np.random.default_rng(len(shape)).standard_normal(shape).astype(dtype))


# convolution


def test_unbatched_input_gives_unbatched_result() -> None:
    x, w = random(3, 6, 5), random(4, 3, 3, 3)
    assert tg.equal(tg.conv2d(x, w), tg.conv2d(x[None], w)[0])
    assert tg.conv_transpose1d(random(3, 5), random(3, 2, 4)).shape == (2, 8)


@pytest.mark.parametrize("channels", [1, 3, 9])
def test_result_is_contiguous(channels: int) -> None:
    out = tg.conv2d(random(2, channels, 5, 5), random(4, channels, 3, 3))
    assert out.is_contiguous()
    assert out.view(2, -1).shape == (2, 36)


@pytest.mark.parametrize(("shape", "weight"), [((1, 2, 700, 300), 3), ((1, 9, 300, 150), 9)])
def test_large_image_goes_by_blocks_of_rows(shape: tuple[int, ...], weight: int) -> None:
    """More columns than a block holds give the same as two halves."""
    x, w = random(*shape, dtype="float32"), random(2, shape[1], weight, 3, dtype="float32")
    x.requires_grad_()
    w.requires_grad_()
    out = tg.conv2d(x, w, stride=(2, 1))
    rows = out.shape[2] // 2
    upper = tg.conv2d(x[:, :, : 2 * rows + weight - 2], w, stride=(2, 1))
    lower = tg.conv2d(x[:, :, 2 * rows :], w, stride=(2, 1))
    halves = tg.cat((upper, lower), 2)
    g = random(*out.shape, dtype="float32")
    for a, b in zip(
        (out, *tg.autograd.grad(out, (x, w), g)),
        (halves, *tg.autograd.grad(halves, (x, w), g)),
        strict=True,
    ):
        assert (a - b).abs().max().item() <= 1e-4 * b.abs().max().item()


def test_half_precision_computes_in_single() -> None:
    x, w = random(1, 64, 4, 4), random(8, 64, 3, 3)
    x, w = x.half(), w.half()
    exact = tg.conv2d(x.double(), w.double())
    assert (tg.conv2d(x, w) - exact).abs().max().item() < 0.02
    assert tg.conv2d(x, w).dtype is tg.float16


def test_integers_convolve() -> None:
    x = tg.arange(9).reshape(1, 1, 3, 3)
    assert tg.conv2d(x, tg.ones(1, 1, 2, 2, dtype=tg.int64)).tolist() == [[[[8, 12], [20, 24]]]]


def test_only_wanted_gradients_are_worked_out() -> None:
    x, w = random(2, 3, 5, 5), random(4, 3, 3, 3).requires_grad_()
    tg.conv2d(x, w).sum().backward()
    assert x.grad is None
    assert w.grad.shape == w.shape


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        (r"expected input\[2, 3, 6, 6\] to have 4 channels, but got 3", {"weight": (4, 4, 3, 3)}),
        ("multiple of groups", {"weight": (4, 1, 3, 3), "groups": 3}),
        ("non-positive groups", {"groups": 0}),
        ("not greater than the padded input", {"weight": (4, 3, 7, 3)}),
        ("expected bias to be 1-dimensional with 4 elements", {"bias": (3,)}),
        ("stride must be at least 1", {"stride": 0}),
        ("padding must be at least 0", {"padding": -1}),
        ("list of 2 values", {"dilation": (1, 1, 1)}),
        ("not supported for strided", {"padding": "same", "stride": 2}),
        ("Invalid padding string: 'full'", {"padding": "full"}),
        ("expected a 4-D weight", {"weight": (4, 3, 3)}),
        ("3D .unbatched. or 4D .batched. input to conv2d", {"input": (3, 6)}),
    ],
)
def test_convolution_says_what_does_not_fit(message: str, arguments: dict[str, object]) -> None:
    shapes = {"input": (2, 3, 6, 6), "weight": (4, 3, 3, 3)} | arguments
    given = {k: random(*v) if k in ("input", "weight", "bias") else v for k, v in shapes.items()}
    with pytest.raises(RuntimeError, match=message):
        tg.conv2d(**given)


def test_convolution_wants_one_dtype() -> None:
    with pytest.raises(RuntimeError, match=r"cast one with \.to\(dtype\)"):
        tg.conv1d(random(1, 2, 4), random(1, 2, 2).float())
    with pytest.raises(RuntimeError, match="bias type"):
        tg.conv1d(random(1, 2, 4), random(1, 2, 2), random(1).float())


def test_output_padding_is_less_than_stride_or_dilation() -> None:
    x, w = random(1, 2, 4), random(2, 1, 3)
    with pytest.raises(RuntimeError, match="output padding must be smaller"):
        tg.conv_transpose1d(x, w, stride=2, output_padding=2)
    with pytest.raises(RuntimeError, match="too small"):
        tg.conv_transpose1d(x, w, padding=3)


# pooling


def test_first_of_equal_maxima_takes_the_gradient() -> None:
    x = tg.tensor([[[1.0, 2.0], [2.0, 2.0]]], requires_grad=True)
    out, place = F.max_pool2d(x, 2, return_indices=True)
    out.sum().backward()
    assert (place.tolist(), x.grad.tolist()) == ([[[1]]], [[[0, 1], [0, 0]]])


def test_nan_is_the_maximum_and_takes_the_gradient() -> None:
    x = tg.tensor([[[nan, 5.0, nan, 1.0, inf, 0.0]]], requires_grad=True)
    out, place = F.max_pool1d(x, 3, return_indices=True)
    out.sum().backward()
    assert math.isnan(out[0, 0, 0].item())
    assert (out[0, 0, 1].item(), place.tolist()) == (inf, [[[2, 4]]])
    assert x.grad.tolist() == [[[0, 0, 1, 0, 1, 0]]]


def test_padding_is_less_than_minus_infinity() -> None:
    out, place = F.max_pool1d(tg.full((1, 1, 2), -inf), 2, 1, 1, return_indices=True)
    assert (out.tolist(), place.tolist()) == ([[[-inf] * 3]], [[[0, 0, 1]]])


def test_infinite_gradient_stays_where_it_belongs() -> None:
    x = tg.tensor([[[1.0, 2.0, 3.0, 0.0]]], requires_grad=True)
    (g,) = tg.autograd.grad(F.max_pool1d(x, 2), x, tg.tensor([[[inf, nan]]]))
    assert g[0, 0, [0, 1, 3]].tolist() == [0, inf, 0]
    assert math.isnan(g[0, 0, 2].item())


def test_result_of_max_pooling_may_be_overwritten() -> None:
    x = random(1, 1, 4, 4).requires_grad_()
    out = F.max_pool2d(x, 2)
    out.relu_()
    out.sum().backward()
    assert x.grad.sum().item() == (F.max_pool2d(x, 2) > 0).sum().item()


@pytest.mark.parametrize("dtype", [tg.int64, tg.uint8, tg.float16])
def test_max_pooling_keeps_the_dtype(dtype: tg.dtype) -> None:
    out = F.max_pool2d(tg.arange(16, dtype=dtype).reshape(1, 4, 4), 3, 2, 1)
    assert out.dtype is dtype
    assert out.tolist() == [[[5, 7], [13, 15]]]


def test_large_windows_number_their_taps_beyond_a_byte() -> None:
    x = tg.zeros(1, 1, 20, 20)
    x[0, 0, 17, 3] = 1
    assert F.max_pool2d(x, 20, return_indices=True)[1].item() == 17 * 20 + 3


def test_ceil_mode_drops_a_window_that_would_start_in_the_padding_after() -> None:
    assert F.max_pool1d(random(1, 1, 4), 2, 2, 1, ceil_mode=True).shape == (1, 1, 3)
    assert F.max_pool1d(random(1, 1, 5), 2, 3, 1, ceil_mode=True).shape == (1, 1, 2)
    assert F.max_pool1d(random(1, 1, 5), 2, 2, ceil_mode=True).shape == (1, 1, 3)


def test_average_counts_the_padding_but_nothing_beyond() -> None:
    ones = tg.ones(1, 1, 4)
    kw = {"kernel_size": 3, "stride": 3, "padding": 1, "ceil_mode": True}
    assert F.avg_pool1d(ones, **kw).allclose(tg.tensor([[[2 / 3, 2 / 3]]]))
    assert F.avg_pool1d(ones, **kw, count_include_pad=False).tolist() == [[[1, 1]]]


def test_integers_average_towards_zero() -> None:
    assert F.avg_pool1d(tg.tensor([[3, 4, -3, -4]]), 2).tolist() == [[3, -3]]


def test_pooling_says_what_does_not_fit() -> None:
    x = random(1, 1, 4, 4)
    with pytest.raises(RuntimeError, match="at most half"):
        F.max_pool2d(x, 2, padding=2)
    with pytest.raises(RuntimeError, match="Output size is too small"):
        F.avg_pool2d(x, 5)
    with pytest.raises(RuntimeError, match="3D or 4D"):
        F.max_pool2d(x[0, 0], 2)
    with pytest.raises(RuntimeError, match="divisor"):
        F.avg_pool2d(x, 2, divisor_override=0)
    with pytest.raises(RuntimeError, match="output_size must be 2 numbers"):
        F.adaptive_avg_pool2d(x, (1, 2, 3))
    with pytest.raises(NotImplementedError, match="Bool"):
        F.max_pool2d(x > 0, 2)
    with pytest.raises(NotImplementedError, match="Long"):
        F.adaptive_avg_pool2d(x.long(), 2)


def test_adaptive_pooling_to_nothing() -> None:
    x = random(2, 3, 4, 5)
    assert F.adaptive_avg_pool2d(x, (0, 3)).shape == (2, 3, 0, 3)
    values, places = F.adaptive_max_pool2d(x, (2, 0), return_indices=True)
    assert values.shape == places.shape == (2, 3, 2, 0)


def test_adaptive_pooling_keeps_an_infinity_in_its_windows() -> None:
    x = tg.tensor([[[inf, 1.0, 2.0, 3.0, 4.0]]])
    assert F.adaptive_avg_pool1d(x, 3).tolist() == [[[inf, 2, 3.5]]]


def test_unpooling_checks_size_and_places() -> None:
    x, places = F.max_pool1d(random(1, 1, 6), 2, return_indices=True)
    assert F.max_unpool1d(x, places, 2, output_size=(1, 1, 7)).shape == (1, 1, 7)
    with pytest.raises(ValueError, match="must be between 4 and 8"):
        F.max_unpool1d(x, places, 2, output_size=(8,))
    with pytest.raises(RuntimeError, match="int64"):
        F.max_unpool1d(x, x, 2)
    with pytest.raises(RuntimeError, match="out of bounds"):
        F.max_unpool1d(x, places + 9, 2)


# patches


def test_folded_windows_count_how_often_each_element_is_seen() -> None:
    ones = tg.ones(1, 1, 3, 4)
    assert F.fold(F.unfold(ones, 2), (3, 4), 2).tolist() == [
        [[[1, 2, 2, 1], [2, 4, 4, 2], [1, 2, 2, 1]]]
    ]


def test_patches_say_what_does_not_fit() -> None:
    with pytest.raises(RuntimeError, match="sliding blocks"):
        F.unfold(random(1, 1, 3, 3), 4)
    with pytest.raises(RuntimeError, match=r"input.size\(2\)=5"):
        F.fold(random(1, 4, 5), (3, 3), 2)
    with pytest.raises(RuntimeError, match="divisible by the product of kernel_size"):
        F.fold(random(1, 3, 4), (3, 3), 2)
    with pytest.raises(RuntimeError, match="not divisible by 4"):
        F.pixel_shuffle(random(1, 3, 2, 2), 2)
    with pytest.raises(RuntimeError, match="not divisible by 2"):
        F.pixel_unshuffle(random(1, 1, 3, 2), 2)
    with pytest.raises(RuntimeError, match="Got 3 channels and 2 groups"):
        F.channel_shuffle(random(1, 3, 2), 2)


# resampling


def test_bytes_resample_to_the_nearest() -> None:
    x = tg.arange(3, dtype=tg.uint8).reshape(1, 1, 3)
    out = F.interpolate(x, scale_factor=2)
    assert (out.dtype, out.tolist()) == (tg.uint8, [[[0, 0, 1, 1, 2, 2]]])


def test_scale_factor_or_the_ratio_of_sizes() -> None:
    x = tg.arange(5.0).reshape(1, 1, 5)
    by_factor = F.interpolate(x, scale_factor=1.5, mode="linear")
    by_ratio = F.interpolate(x, scale_factor=1.5, mode="linear", recompute_scale_factor=True)
    assert by_factor.shape == by_ratio.shape == (1, 1, 7)
    assert by_factor[0, 0, 1].item() == pytest.approx(0.5)
    assert by_ratio[0, 0, 1].item() == pytest.approx(1.5 * 5 / 7 - 0.5)


def test_nan_reaches_only_its_neighbours() -> None:
    x = tg.tensor([[[0.0, 1.0, 2.0, nan]]])
    assert F.interpolate(x, 8, mode="linear")[0, 0, :4].tolist() == [0, 0.25, 0.75, 1.25]


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (ValueError, {}),
        (ValueError, {"size": 3, "scale_factor": 2}),
        (ValueError, {"size": (3, 3, 3)}),
        (ValueError, {"size": 3, "align_corners": True}),
        (ValueError, {"size": 3, "recompute_scale_factor": True}),
        (ValueError, {"size": 3, "antialias": True}),
        (NotImplementedError, {"size": 3, "mode": "linear"}),
        (NotImplementedError, {"size": 3, "mode": "cubic"}),
        (RuntimeError, {"size": 0}),
    ],
)
def test_interpolate_rejects(error: type[Exception], arguments: dict[str, object]) -> None:
    with pytest.raises(error):
        F.interpolate(random(1, 1, 4, 4), **arguments)


def test_integers_have_no_resampling() -> None:
    with pytest.raises(NotImplementedError, match="Long"):
        F.interpolate(tg.arange(4).reshape(1, 1, 4), 2)


def test_grid_functions_warn_of_their_default() -> None:
    with pytest.warns(UserWarning, match="align_corners"):
        grid = F.affine_grid(tg.eye(2, 3)[None], (1, 1, 3, 3))
    with pytest.warns(UserWarning, match="align_corners"):
        out = F.grid_sample(tg.arange(9.0).reshape(1, 1, 3, 3), grid)
    assert out.allclose(tg.arange(9.0).reshape(1, 1, 3, 3), atol=1e-6)


def test_no_gradient_comes_from_beyond_the_border() -> None:
    grid = tg.tensor([[[[-3.0, 0.1], [0.2, 5.0]]]], requires_grad=True)
    image = tg.arange(16.0).reshape(1, 1, 4, 4)
    F.grid_sample(image, grid, padding_mode="border", align_corners=True).sum().backward()
    dx, dy = grid.grad[0, 0].unbind(-1)
    assert (dx[0].item(), dy[1].item()) == (0, 0)
    assert (dx[1].item(), dy[0].item()) == (1.5, 6)


def test_grid_sample_says_what_does_not_fit() -> None:
    image, grid = random(1, 1, 3, 3), random(1, 2, 2, 2)
    with pytest.raises(ValueError, match="expected mode"):
        F.grid_sample(image, grid, "cubic")
    with pytest.raises(ValueError, match="expected padding_mode"):
        F.grid_sample(image, grid, padding_mode="edge")
    with pytest.raises(RuntimeError, match="same batch size"):
        F.grid_sample(image, random(2, 2, 2, 2), align_corners=True)
    with pytest.raises(RuntimeError, match="size 2 in last dimension"):
        F.grid_sample(image, random(1, 2, 2, 3), align_corners=True)
    with pytest.raises(RuntimeError, match="expected scalar type Double"):
        F.grid_sample(image, grid.float(), align_corners=True)
    with pytest.raises(ValueError, match="Nx2x3"):
        F.affine_grid(random(1, 3, 4), (1, 1, 2, 2), align_corners=True)
