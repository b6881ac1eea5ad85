"""Cases of convolution, pooling, patches and resampling."""

import itertools
import warnings

import numpy as np

import tensorgl.nn.functional as functional
from tests.ops.harness import F, case


def each(value, nd):
    return value if isinstance(value, tuple) else (value,) * nd


def patches(x, kernel, stride=1, padding=0, dilation=1, fill=0.0):
    """(*lead, *positions, *kernel) of windows over the last dims."""
    nd = len(kernel)
    stride, padding, dilation = each(stride, nd), each(padding, nd), each(dilation, nd)
    x = np.pad(x, [(0, 0)] * (x.ndim - nd) + [(p, p) for p in padding], constant_values=fill)
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    w = np.lib.stride_tricks.sliding_window_view(x, reach, tuple(range(-nd, 0)))
    return w[(..., *(slice(None, None, s) for s in (*stride, *dilation)))]


def conv(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
    nd = w.ndim - 2
    columns = patches(x, w.shape[2:], stride, padding, dilation)
    out = []
    for part, weight in zip(np.split(columns, groups, 1), np.split(w, groups), strict=True):
        axes = (1, *range(-nd, 0))
        out.append(np.moveaxis(np.tensordot(part, weight, (axes, axes)), -1, 1))
    out = np.concatenate(out, 1)
    return out if b is None else out + b.reshape(-1, *(1,) * nd)


def conv_transpose(x, w, b=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    nd, size, taps = w.ndim - 2, x.shape[2:], w.shape[2:]
    s, p, e, d = (each(v, nd) for v in (stride, padding, output_padding, dilation))
    full = [(n - 1) * s[k] + d[k] * (taps[k] - 1) + 1 + e[k] for k, n in enumerate(size)]
    out = np.zeros((len(x), w.shape[1] * groups, *full))
    for at in itertools.product(*map(range, size)):
        for tap in itertools.product(*map(range, taps)):
            place = tuple(a * s[k] + t * d[k] for k, (a, t) in enumerate(zip(at, tap, strict=True)))
            for g in range(groups):
                ins = slice(g * w.shape[0] // groups, (g + 1) * w.shape[0] // groups)
                outs = slice(g * w.shape[1], (g + 1) * w.shape[1])
                out[(slice(None), outs, *place)] += (
                    x[(slice(None), ins, *at)] @ w[(ins, slice(None), *tap)]
                )
    out = out[(..., *(slice(p[k], n - p[k]) for k, n in enumerate(full)))]
    return out if b is None else out + b.reshape(-1, *(1,) * nd)


def max_pool(x, kernel, stride, padding=0, dilation=1):
    w = patches(x, kernel, stride, padding, dilation, -np.inf)
    return w.max(tuple(range(-len(kernel), 0)))


def max_places(x, kernel, stride, padding=0):
    """The maxima and where they lie, flat in the last dims."""
    nd = len(kernel)
    number = np.broadcast_to(np.arange(np.prod(x.shape[-nd:])).reshape(x.shape[-nd:]), x.shape)
    values = patches(x, kernel, stride, padding, fill=-np.inf)
    places = patches(number, kernel, stride, padding, fill=-1)
    shape = (*values.shape[:-nd], int(np.prod(kernel)))
    best = values.reshape(shape).argmax(-1)[..., None]
    return max_pool(x, kernel, stride, padding), np.take_along_axis(
        places.reshape(shape), best, -1
    )[..., 0]


def avg_pool(x, kernel, stride, padding=0, count=None):
    nd = len(kernel)
    total = patches(x, kernel, stride, padding).sum(tuple(range(-nd, 0)))
    if count is None:
        count = patches(np.ones(x.shape), kernel, stride, padding).sum(tuple(range(-nd, 0)))
    return total / count


def lp_pool(x, p, kernel):
    return (patches(x, kernel, kernel) ** p).sum(tuple(range(-len(kernel), 0))) ** (1 / p)


def adaptive(x, counts, reduce):
    """`reduce` of every box of an input cut into `counts` parts along its last dims."""
    nd = len(counts)
    out = np.zeros((*x.shape[:-nd], *counts))
    for at in itertools.product(*map(range, counts)):
        box = [
            slice(i * n // c, -((i + 1) * -n // c))
            for i, n, c in zip(at, x.shape[-nd:], counts, strict=True)
        ]
        out[(..., *at)] = reduce(x[(..., *box)], tuple(range(-nd, 0)))
    return out


def adaptive_places(x, counts):
    """Where the maxima lie; the values of `x` must be distinct."""
    top = adaptive(x, counts, np.max).reshape(-1, int(np.prod(counts)))
    flat = x.reshape(len(top), int(np.prod(x.shape[-len(counts) :])))
    places = np.array([[list(row).index(v) for v in t] for row, t in zip(flat, top, strict=True)])
    return places.reshape(*x.shape[: -len(counts)], *counts).astype(np.int64)


def adaptive_max(x, counts):
    return adaptive(x, counts, np.max), adaptive_places(x, counts)


def unpool(x, places, size):
    lead = x.shape[: -len(size)]
    out = np.zeros((*lead, int(np.prod(size))))
    np.put_along_axis(out, places.reshape(*lead, -1), x.reshape(*lead, -1), -1)
    return out.reshape(*lead, *size)


def fold(x, size, kernel, stride, padding, dilation=1):
    n, depth, _ = x.shape
    channels = depth // (kernel[0] * kernel[1])
    out = np.zeros((n, channels, size[0] + 2 * padding, size[1] + 2 * padding))
    reach = [dilation * (k - 1) + 1 for k in kernel]
    tops, lefts = (range(0, out.shape[2 + k] - reach[k] + 1, stride[k]) for k in (0, 1))
    for k, (i, j) in enumerate(itertools.product(tops, lefts)):
        window = out[:, :, i : i + reach[0] : dilation, j : j + reach[1] : dilation]
        window += x[:, :, k].reshape(n, channels, *kernel)
    return out[:, :, padding : padding + size[0], padding : padding + size[1]]


def unfold(x, kernel, stride, padding, dilation):
    w = np.moveaxis(patches(x, kernel, stride, padding, dilation), (-2, -1), (2, 3))
    return w.reshape(len(x), x.shape[1] * kernel[0] * kernel[1], w.shape[-2] * w.shape[-1])


def resized(x, new, matrix):
    """Every dim after the second times `matrix(old size, new size)`."""
    for dim, m in enumerate(new, 2):
        x = np.moveaxis(np.tensordot(x, matrix(x.shape[dim], m), (dim, 1)), -1, dim)
    return x


def resampler(kernel, reach, align=False, smooth=False):
    """The matrix of a filter whose taps outside go to the edges (or, if smooth, are left out)."""

    def matrix(n, m):
        out = np.zeros((m, n))
        for i in range(m):
            centre = i * (n - 1) / (m - 1) if align else (i + 0.5) * n / m - 0.5
            wide = max(n / m, 1) if smooth else 1
            for j in range(int(np.floor(centre - reach * wide)), int(centre + reach * wide) + 2):
                weight = kernel(abs(j - centre) / wide)
                if 0 <= j < n or not smooth:
                    out[i, min(max(j, 0), n - 1)] += weight
        return out / out.sum(1, keepdims=True)

    return matrix


def triangle(d):
    return max(0.0, 1 - d)


def keys(a):
    """Keys's cubic kernel, as its definition has it."""

    def kernel(d):
        if d <= 1:
            return (a + 2) * d**3 - (a + 3) * d**2 + 1
        return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0

    return kernel


def nearest(x, new, shift=0.0):
    for dim, m in enumerate(new, 2):
        x = np.take(x, [int((i + shift) * x.shape[dim] / m) for i in range(m)], dim)
    return x


def sampled(x, grid, pick):
    """(N, C, *places) of the two-dim image at every x, y of a grid, by `pick(image, row, column)`."""
    n, c, h, w = x.shape
    out = np.zeros((n, c, *grid.shape[1:-1]))
    for k, *at in itertools.product(range(n), *map(range, grid.shape[1:-1])):
        gx, gy = grid[(k, *at)]
        out[(k, slice(None), *at)] = pick(x[k], ((gy + 1) * h - 1) / 2, ((gx + 1) * w - 1) / 2)
    return out


def element(image, i, j):
    _, h, w = image.shape
    return image[:, i, j] if 0 <= i < h and 0 <= j < w else np.zeros(len(image))


def mixed(image, y, x, kernel=triangle, at=element):
    top, left = int(np.floor(y)), int(np.floor(x))
    return sum(
        kernel(abs(i - y)) * kernel(abs(j - x)) * at(image, i, j)
        for i in range(top - 1, top + 3)
        for j in range(left - 1, left + 3)
    )


def clipped(image, y, x):
    _, h, w = image.shape
    return mixed(image, min(max(y, 0), h - 1), min(max(x, 0), w - 1))


def mirror(c, n):
    """A coordinate reflected at the outer edges, half an element outside."""
    c = (c + 0.5) % (2 * n)
    return min(c, 2 * n - c) - 0.5


def reflected(image, y, x):
    _, h, w = image.shape
    return clipped(image, mirror(y, h), mirror(x, w))


def cubic_reflected(image, y, x):
    _, h, w = image.shape

    def at(image, i, j):
        return image[:, round(mirror(i, h)), round(mirror(j, w))]

    return mixed(image, y, x, keys(-0.75), at)


def volume(x, grid):
    """Trilinear samples of (1, C, D, H, W) with aligned corners, all inside."""
    size = x.shape[2:]
    out = np.zeros((1, x.shape[1], *grid.shape[1:-1]))
    for at in itertools.product(*map(range, grid.shape[1:-1])):
        place = [(c + 1) / 2 * (n - 1) for c, n in zip(grid[(0, *at)][::-1], size, strict=True)]
        for tap in itertools.product(*map(range, size)):
            weight = np.prod([triangle(abs(t - p)) for t, p in zip(tap, place, strict=True)])
            out[(0, slice(None), *at)] += weight * x[(0, slice(None), *tap)]
    return out


def affine(theta, size, align):
    places = [np.linspace(-1, 1, n) if align else (2 * np.arange(n) + 1) / n - 1 for n in size[2:]]
    mesh = np.meshgrid(*places, indexing="ij")
    base = np.stack([*mesh[::-1], np.ones(size[2:])], -1)
    return np.einsum("...k,njk->n...j", base, theta)


def quietly(name):
    """A deprecated function without its warning."""

    def call(*args, **kwargs):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return getattr(functional, name)(*args, **kwargs)

    return call


IMAGE = F(2, 3, 5, 6)
DISTINCT = F(2, 3, 5, 6, distinct=True, low=-20.0, high=20.0)
LINE = F(2, 3, 7, distinct=True, low=-5.0, high=5.0)
BOX = F(2, 1, 4, 4, 5, distinct=True, low=-9.0, high=9.0)
GRID = F(2, 4, 3, 2, low=-1.5, high=1.5)
UNPOOL = np.array([[[1, 2, 5]], [[0, 3, 4]]])

CASES = [
    # convolution
    case("conv1d", F(2, 3, 7), F(4, 3, 3), F(4), oracle=conv),
    case("conv1d", F(2, 3, 7), F(4, 3, 2), kw={"stride": 2, "padding": 1, "dilation": 3}, oracle=lambda x, w: conv(x, w, None, 2, 1, 3), note="strided"),
    case("conv2d", IMAGE, F(4, 3, 3, 3), F(4), kw={"padding": 1}, oracle=lambda x, w, b: conv(x, w, b, padding=1)),
    case("conv2d", IMAGE, F(4, 3, 2, 3), kw={"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)}, oracle=lambda x, w: conv(x, w, None, (2, 1), (1, 2), (1, 2)), note="uneven"),
    case("conv2d", F(2, 6, 4, 5), F(4, 3, 3, 3), kw={"groups": 2}, oracle=lambda x, w: conv(x, w, groups=2), note="groups"),
    case("conv2d", IMAGE, F(6, 1, 3, 3), kw={"groups": 3, "stride": 2}, oracle=lambda x, w: conv(x, w, stride=2, groups=3), note="depthwise"),
    case("conv2d", F(2, 9, 5, 4), F(5, 9, 3, 2), kw={"padding": (1, 0)}, oracle=lambda x, w: conv(x, w, padding=(1, 0)), note="deep", tolerance=1e-4),
    case("conv2d", F(2, 3, 4, 5), F(4, 3, 1, 1), oracle=conv, note="1x1"),
    case("conv2d", IMAGE, F(4, 3, 2, 3), kw={"padding": "same"}, oracle=lambda x, w: conv(np.pad(x, ((0, 0), (0, 0), (0, 1), (1, 1))), w), note="same"),
    case("conv3d", F(2, 2, 3, 4, 5), F(3, 2, 2, 3, 2), F(3), kw={"padding": (1, 0, 1)}, oracle=lambda x, w, b: conv(x, w, b, padding=(1, 0, 1))),
    case("conv_transpose1d", F(2, 3, 4), F(3, 4, 3), F(4), kw={"stride": 2}, oracle=lambda x, w, b: conv_transpose(x, w, b, 2)),
    case("conv_transpose2d", F(2, 3, 3, 4), F(3, 4, 3, 2), kw={"stride": (2, 1), "padding": 1, "output_padding": (1, 0)}, oracle=lambda x, w: conv_transpose(x, w, None, (2, 1), 1, (1, 0))),
    case("conv_transpose2d", F(2, 4, 3, 3), F(4, 3, 2, 2), F(6), kw={"groups": 2, "dilation": 2, "output_padding": 1}, oracle=lambda x, w, b: conv_transpose(x, w, b, 1, 0, 1, 2, 2), note="groups"),
    case("conv_transpose2d", F(3, 2, 3, 3), F(2, 9, 3, 3), kw={"stride": 2, "padding": 1}, oracle=lambda x, w: conv_transpose(x, w, None, 2, 1), note="deep"),
    case("conv_transpose3d", F(3, 2, 2, 3, 2), F(2, 2, 2, 2, 3), oracle=conv_transpose),
    # max pooling
    case("max_pool1d", LINE, 2, oracle=lambda x, k: max_pool(x, (2,), 2)),
    case("max_pool2d", DISTINCT, 2, oracle=lambda x, k: max_pool(x, (2, 2), 2)),
    case("max_pool2d", DISTINCT, (3, 2), kw={"stride": (1, 2), "padding": (1, 0), "dilation": (2, 1)}, oracle=lambda x, k: max_pool(x, k, (1, 2), (1, 0), (2, 1)), note="overlapping"),
    case("max_pool2d", DISTINCT, 2, kw={"ceil_mode": True}, oracle=lambda x, k: max_pool(np.pad(x, ((0, 0), (0, 0), (0, 1), (0, 0)), constant_values=-np.inf), (2, 2), 2), note="ceil"),
    case("max_pool3d", BOX, 2, oracle=lambda x, k: max_pool(x, (2, 2, 2), 2)),
    case("max_pool1d_with_indices", LINE, 3, kw={"stride": 2, "padding": 1}, oracle=lambda x, k: max_places(x, (3,), 2, 1)),
    case("max_pool2d_with_indices", DISTINCT, 3, kw={"stride": 1, "padding": 1}, oracle=lambda x, k: max_places(x, (3, 3), 1, 1)),
    case("max_pool3d_with_indices", BOX, 2, oracle=lambda x, k: max_places(x, (2, 2, 2), 2)),
    case("max_unpool1d", F(2, 1, 3), UNPOOL, 2, oracle=lambda x, i, k: unpool(x, i, (6,)), empty=False),
    case("max_unpool2d", F(2, 1, 1, 3), UNPOOL[:, None], 2, kw={"output_size": (2, 7)}, oracle=lambda x, i, k: unpool(x, i, (2, 7)), empty=False),
    case("max_unpool3d", F(2, 1, 1, 1, 3), UNPOOL[:, None, None], (1, 1, 2), oracle=lambda x, i, k: unpool(x, i, (1, 1, 6)), empty=False),
    # average pooling
    case("avg_pool1d", F(2, 3, 7), 3, kw={"stride": 2}, oracle=lambda x, k: avg_pool(x, (3,), 2)),
    case("avg_pool2d", IMAGE, 2, oracle=lambda x, k: avg_pool(x, (2, 2), 2)),
    case("avg_pool2d", IMAGE, 3, kw={"stride": (1, 2), "padding": 1}, oracle=lambda x, k: avg_pool(x, (3, 3), (1, 2), 1, count=9), note="padded"),
    case("avg_pool2d", IMAGE, 3, kw={"stride": (1, 2), "padding": 1, "count_include_pad": False}, oracle=lambda x, k: avg_pool(x, (3, 3), (1, 2), 1), note="inside"),
    case("avg_pool2d", IMAGE, 2, kw={"ceil_mode": True}, oracle=lambda x, k: avg_pool(np.pad(x, ((0, 0), (0, 0), (0, 1), (0, 0))), (2, 2), 2, count=np.array([[4], [4], [2]])), note="ceil"),
    case("avg_pool2d", IMAGE, 2, kw={"divisor_override": 3}, oracle=lambda x, k: avg_pool(x, (2, 2), 2, count=3), note="divisor"),
    case("avg_pool3d", F(2, 1, 4, 4, 5), (2, 1, 3), oracle=lambda x, k: avg_pool(x, k, k)),
    case("lp_pool1d", F(2, 3, 7, low=0.5), 3, 2, oracle=lambda x, p, k: lp_pool(x, p, (2,))),
    case("lp_pool2d", F(2, 3, 5, 6, low=0.5), 2, (2, 3), oracle=lp_pool),
    case("lp_pool3d", F(2, 1, 4, 2, 3, low=0.5), 2, 2, oracle=lambda x, p, k: lp_pool(x, p, (2, 2, 2))),
    # adaptive pooling
    case("adaptive_avg_pool1d", F(2, 3, 7), 3, oracle=lambda x, n: adaptive(x, (3,), np.mean)),
    case("adaptive_avg_pool2d", IMAGE, (3, None), oracle=lambda x, n: adaptive(x, (3, 6), np.mean)),
    case("adaptive_avg_pool2d", IMAGE, (5, 2), oracle=lambda x, n: adaptive(x, n, np.mean), note="divides"),
    case("adaptive_avg_pool2d", IMAGE, 1, oracle=lambda x, n: x.mean((2, 3), keepdims=True), note="all"),
    case("adaptive_avg_pool3d", F(2, 1, 4, 4, 5), (2, 3, 7), oracle=lambda x, n: adaptive(x, n, np.mean)),
    case("adaptive_max_pool1d", LINE, 3, oracle=lambda x, n: adaptive(x, (3,), np.max)),
    case("adaptive_max_pool2d", DISTINCT, (3, 4), oracle=lambda x, n: adaptive(x, n, np.max)),
    case("adaptive_max_pool3d", BOX, (2, 3, 5), oracle=lambda x, n: adaptive(x, n, np.max)),
    case("adaptive_max_pool1d_with_indices", LINE, 4, oracle=lambda x, n: adaptive_max(x, (4,))),
    case("adaptive_max_pool2d_with_indices", DISTINCT, (5, 4), oracle=adaptive_max),
    case("adaptive_max_pool3d_with_indices", BOX, (2, 2, 5), oracle=adaptive_max),
    # patches
    case("nn.functional.unfold", IMAGE, (2, 3), kw={"stride": 2, "padding": 1, "dilation": 2}, oracle=lambda x, k: unfold(x, k, 2, 1, 2)),
    case("fold", F(2, 12, 6), (5, 6), (2, 3), kw={"stride": (3, 2), "padding": 1}, oracle=lambda x, s, k: fold(x, s, k, (3, 2), 1)),
    case("fold", F(2, 8, 6), (5, 4), 2, kw={"dilation": 2}, oracle=lambda x, s, k: fold(x, s, (2, 2), (1, 1), 0, 2), note="dilated"),
    case("pixel_shuffle", F(2, 8, 3, 4), 2, oracle=lambda x, r: x.reshape(-1, 2, 2, 2, 3, 4).transpose(0, 1, 4, 2, 5, 3).reshape(-1, 2, 6, 8)),
    case("pixel_unshuffle", F(2, 2, 4, 6), 2, oracle=lambda x, r: x.reshape(-1, 2, 2, 2, 3, 2).transpose(0, 1, 3, 5, 2, 4).reshape(-1, 8, 2, 3)),
    case("channel_shuffle", F(2, 6, 3, 2), 2, oracle=lambda x, g: x[:, [0, 3, 1, 4, 2, 5]]),
    # resampling
    case("interpolate", F(2, 3, 5), 8, oracle=lambda x, n: nearest(x, (8,))),
    case("interpolate", IMAGE, (10, 18), oracle=nearest, note="whole"),
    case("interpolate", F(2, 1, 3, 4, 5), None, (2, 0.5, 1.5), "nearest-exact", oracle=lambda x, *_: nearest(x, (6, 2, 7), 0.5), note="exact"),
    case("interpolate", IMAGE, (3, 4), None, "area", oracle=lambda x, n, *_: adaptive(x, n, np.mean), note="area"),
    case("interpolate", F(2, 3, 5), 8, None, "linear", oracle=lambda x, *_: resized(x, (8,), resampler(triangle, 1)), note="linear"),
    case("interpolate", IMAGE, (3, 9), None, "bilinear", True, oracle=lambda x, n, *_: resized(x, n, resampler(triangle, 1, align=True)), note="bilinear"),
    case("interpolate", IMAGE, (8, 4), None, "bicubic", oracle=lambda x, n, *_: resized(x, n, resampler(keys(-0.75), 2)), note="bicubic"),
    case("interpolate", F(2, 1, 3, 4, 5), (4, 2, 6), None, "trilinear", oracle=lambda x, n, *_: resized(x, n, resampler(triangle, 1)), note="trilinear"),
    case("interpolate", IMAGE, (2, 9), None, "bilinear", kw={"antialias": True}, oracle=lambda x, n, *_: resized(x, n, resampler(triangle, 1, smooth=True)), note="antialias"),
    case("interpolate", IMAGE, (2, 4), None, "bicubic", kw={"antialias": True}, oracle=lambda x, n, *_: resized(x, n, resampler(keys(-0.5), 2, smooth=True)), note="antialias-bicubic"),
    case("upsample", F(2, 3, 5), 8, oracle=lambda x, n: nearest(x, (8,)), function=quietly("upsample")),
    case("upsample_nearest", IMAGE, (7, 4), oracle=nearest, function=quietly("upsample_nearest")),
    case("upsample_bilinear", IMAGE, (7, 4), oracle=lambda x, n: resized(x, n, resampler(triangle, 1, align=True)), function=quietly("upsample_bilinear")),
    case("grid_sample", IMAGE, GRID, kw={"align_corners": False}, oracle=lambda x, g: sampled(x, g, mixed)),
    case("grid_sample", IMAGE, GRID, "bilinear", "border", False, oracle=lambda x, g, *_: sampled(x, g, clipped), note="border"),
    case("grid_sample", IMAGE, GRID, "bilinear", "reflection", False, oracle=lambda x, g, *_: sampled(x, g, reflected), note="reflection"),
    case("grid_sample", IMAGE, GRID, "bicubic", "zeros", False, oracle=lambda x, g, *_: sampled(x, g, lambda i, y, x: mixed(i, y, x, keys(-0.75))), note="bicubic"),
    case("grid_sample", IMAGE, GRID, "bicubic", "reflection", False, oracle=lambda x, g, *_: sampled(x, g, cubic_reflected), note="bicubic-reflection"),
    case("grid_sample", IMAGE, F(2, 4, 3, 2, low=-1.5, high=1.5, grad=False), "nearest", "zeros", False, oracle=lambda x, g, *_: sampled(x, g, lambda i, y, x: element(i, round(y), round(x))), note="nearest"),
    case("grid_sample", F(1, 2, 3, 4, 2), F(1, 2, 2, 3, 3, low=-0.9, high=0.9), kw={"align_corners": True}, oracle=volume, note="trilinear", empty=False),
    case("affine_grid", F(2, 2, 3), (2, 1, 3, 4), kw={"align_corners": False}, oracle=lambda t, s: affine(t, s, False), empty=False),
    case("affine_grid", F(2, 3, 4), (2, 1, 2, 3, 4), kw={"align_corners": True}, oracle=lambda t, s: affine(t, s, True), empty=False, note="3d"),
]  # fmt: skip
