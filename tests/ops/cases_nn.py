"""Cases of the ops of neural networks: activations, normalisation, losses, attention."""

import math

import numpy as np

from tests.ops.harness import F, I, case

erf = np.vectorize(math.erf, otypes=[float])
KEEP = {"training": False}  # dropout that drops nothing; what it drops is tested in tests/nn


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.logaddexp(x, 0)


def logsumexp(x, axis):
    top = x.max(axis, keepdims=True, initial=-np.inf)
    return top + np.log(np.exp(x - top).sum(axis, keepdims=True))


def log_softmax(x, axis):
    return x - logsumexp(x, axis)


def softmax(x, axis):
    return np.exp(log_softmax(x, axis))


def standard(x, axes, eps=1e-5):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def channels(v):
    return v[:, None]


def group_norm(x, w, b):
    n, c, length = x.shape
    return standard(x.reshape(n, 2, -1), 2).reshape(n, c, length) * channels(w) + channels(b)


def local_response_norm(x):
    power = np.pad(x * x, ((0, 0), (1, 1), (0, 0)))
    window = power[:, :-2] + power[:, 1:-1] + power[:, 2:]
    return x / (window / 3 * 0.1 + 2) ** 0.6


def huber(x, y, delta=1.0):
    d = np.abs(x - y)
    return np.where(d < delta, d * d / 2, delta * (d - delta / 2))


def norm(x):
    return np.sqrt((x * x).sum(-1))


def triplet(a, p, n):
    return np.maximum(1 + norm(a - p + 1e-6) - norm(a - n + 1e-6), 0).mean()


def cosine(x, y):
    return (x * y).sum(-1) / (norm(x) * norm(y))


def cosine_embedding(x, y, t):
    c = cosine(x, y)
    return np.where(t == 1, 1 - c, np.maximum(c - 0.1, 0)).mean()


def picked(logp, target):
    return np.take_along_axis(logp, np.expand_dims(target, 1), 1)[:, 0]


def cross_entropy(x, target):
    return -picked(log_softmax(x, 1), target).mean()


def smoothed(x, target, weight):
    logp = log_softmax(x, 1)
    rows = 0.8 * weight[target] * picked(logp, target) + 0.2 * (logp * weight).mean(1)
    return -rows.sum() / weight[target].sum()


def multi_margin(x, target):
    excess = np.maximum(1 - x[np.arange(len(x)), target][:, None] + x, 0)
    excess[np.arange(len(x)), target] = 0
    return excess.sum(1) / x.shape[1]


def multilabel_margin(x, target):
    losses = []
    for row, labels in zip(x, target, strict=True):
        wanted = list(labels[: np.argmax(labels < 0)])
        others = [i for i in range(len(row)) if i not in wanted]
        losses.append(sum(max(0, 1 - row[j] + row[i]) for j in wanted for i in others) / len(row))
    return np.mean(losses)


def attention(q, k, v, mask=None):
    scores = q @ np.swapaxes(k, -1, -2) / math.sqrt(q.shape[-1])
    return softmax(scores if mask is None else scores + mask, -1) @ v


def causal(q, k, v):
    return attention(q, k, v, np.where(np.tri(q.shape[-2], k.shape[-2]), 0, -np.inf))


def ctc(logp, targets):
    """By adding up every path of one sequence."""
    steps, _, classes = logp.shape
    losses = []
    for n, labels in enumerate(targets):
        total = 0.0
        for path in np.ndindex(*(classes,) * steps):
            merged = [c for t, c in enumerate(path) if c and (t == 0 or path[t - 1] != c)]
            if merged == list(labels):
                total += math.exp(sum(logp[t, n, c] for t, c in enumerate(path)))
        losses.append(-math.log(total))
    return np.array(losses)


LINES = F(3, 4, distinct=True, low=-4.1, high=4.3)  # for activations with kinks
PROBABILITY = F(3, 4, low=0.1, high=0.9)
POSITIVE = F(3, 4, low=0.5)
SIGNS = np.array([1.0, -1.0, 1.0])

CASES = [
    # activations of straight pieces
    case("relu", LINES, oracle=lambda x: np.maximum(x, 0), special=True),
    case("relu6", LINES, oracle=lambda x: np.clip(x, 0, 6), special=True),
    case("hardtanh", LINES, oracle=lambda x: np.clip(x, -1, 1), special=True),
    case("hardsigmoid", LINES, oracle=lambda x: np.clip(x + 3, 0, 6) / 6, special=True),
    case("hardswish", LINES, oracle=lambda x: x * np.clip(x + 3, 0, 6) / 6, tolerance=1e-4),
    case("leaky_relu", LINES, 0.1, oracle=lambda x, s: np.where(x > 0, x, s * x), special=True),
    case("prelu", LINES, F(4), oracle=lambda x, w: np.where(x > 0, x, w * x)),
    case("rrelu", LINES, oracle=lambda x: np.where(x > 0, x, x * (1 / 8 + 1 / 3) / 2)),
    case("threshold", LINES, 0.5, 7.0, oracle=lambda x, t, v: np.where(x <= t, v, x), special=True),
    case("hardshrink", LINES, oracle=lambda x: np.where(np.abs(x) <= 0.5, 0, x), special=True),
    case("softshrink", LINES, oracle=lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0)),
    # smooth ones
    case("elu", LINES, 0.7, oracle=lambda x, a: np.where(x > 0, x, a * np.expm1(x))),
    case(
        "selu",
        LINES,
        oracle=lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
    ),
    case("celu", LINES, 1.5, oracle=lambda x, a: np.where(x > 0, x, a * np.expm1(x / a))),
    case("gelu", F(3, 4), oracle=lambda x: x * (1 + erf(x / math.sqrt(2))) / 2),
    case(
        "gelu",
        F(3, 4),
        "tanh",
        oracle=lambda x, _: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
        note="tanh",
    ),
    case("silu", F(3, 4), oracle=lambda x: x * sigmoid(x)),
    case("mish", F(3, 4), oracle=lambda x: x * np.tanh(softplus(x))),
    case("softplus", F(3, 4), oracle=softplus, special=True),
    case("softplus", F(3, 4), 2.0, oracle=lambda x, b: softplus(b * x) / b, note="beta"),
    case("logsigmoid", F(3, 4), oracle=lambda x: -softplus(-x), special=True),
    case("softsign", LINES, oracle=lambda x: x / (1 + np.abs(x))),
    case("tanhshrink", F(3, 4), oracle=lambda x: x - np.tanh(x), special=True),
    case("glu", F(3, 6), oracle=lambda x: x[:, :3] * sigmoid(x[:, 3:])),
    # softmax
    case("softmax", F(3, 4), 1, oracle=softmax),
    case("softmax", F(3, 4, 5), 1, oracle=softmax, note="middle"),
    case("log_softmax", F(3, 4), -1, oracle=log_softmax),
    case("log_softmax", F(3, 4), 0, oracle=log_softmax, note="first", empty=False),
    case("softmin", F(3, 4), 1, oracle=lambda x, d: softmax(-x, d)),
    case("gumbel_softmax", F(3, 1), oracle=np.ones_like, grad=False),
    # normalisation
    case(
        "layer_norm",
        F(3, 4),
        (4,),
        F(4),
        F(4),
        oracle=lambda x, s, w, b: standard(x, 1) * w + b,
        tolerance=1e-4,
    ),
    case(
        "layer_norm",
        F(3, 2, 4),
        (2, 4),
        oracle=lambda x, s: standard(x, (1, 2)),
        tolerance=1e-4,
        note="two",
    ),
    case(
        "rms_norm",
        F(3, 4),
        (4,),
        F(4),
        kw={"eps": 1e-3},
        oracle=lambda x, s, w: x / np.sqrt((x * x).mean(1, keepdims=True) + 1e-3) * w,
    ),
    case(
        "batch_norm",
        F(5, 3),
        None,
        None,
        F(3),
        F(3),
        True,
        oracle=lambda x, m, v, w, b, t: standard(x, 0) * w + b,
        tolerance=1e-4,
        empty=False,
    ),
    case(
        "batch_norm",
        F(4, 3, 2),
        None,
        None,
        kw={"training": True},
        oracle=lambda x, m, v: standard(x, (0, 2)),
        tolerance=1e-4,
        empty=False,
        note="spatial",
    ),
    case(
        "batch_norm",
        F(5, 3),
        F(3),
        F(3, low=0.5),
        F(3),
        F(3),
        oracle=lambda x, m, v, w, b: (x - m) / np.sqrt(v + 1e-5) * w + b,
        note="eval",
    ),
    case("instance_norm", F(2, 3, 5), kw={"eps": 1e-3}, oracle=lambda x: standard(x, 2, 1e-3)),
    case(
        "group_norm",
        F(2, 4, 3),
        2,
        F(4),
        F(4),
        oracle=lambda x, n, w, b: group_norm(x, w, b),
        tolerance=1e-4,
        empty=False,
    ),
    case("normalize", F(3, 4), oracle=lambda x: x / norm(x)[:, None]),
    case(
        "local_response_norm",
        F(2, 4, 3),
        3,
        0.1,
        0.6,
        2.0,
        oracle=lambda x, *_: local_response_norm(x),
    ),
    # affine maps, tables, distances
    case("linear", F(3, 4), F(5, 4), F(5), oracle=lambda x, w, b: x @ w.T + b),
    case("linear", F(2, 3, 4), F(5, 4), oracle=lambda x, w: x @ w.T, note="batch"),
    case(
        "bilinear",
        F(3, 4),
        F(3, 2),
        F(5, 4, 2),
        F(5),
        oracle=lambda x, y, w, b: np.einsum("ni,oij,nj->no", x, w, y) + b,
    ),
    case("embedding", I(3, 2, high=5), F(5, 4), oracle=lambda i, w: w[i]),
    case("embedding_bag", I(3, 2, high=5), F(5, 4), oracle=lambda i, w: w[i].mean(1)),
    case(
        "embedding_bag",
        I(3, 2, high=5),
        F(5, 4, distinct=True),
        kw={"mode": "max"},
        oracle=lambda i, w: w[i].max(1),
        note="max",
    ),
    case("one_hot", I(3, 2, high=5), 6, oracle=lambda i, n: np.eye(n, dtype=int)[i], grad=False),
    case("cosine_similarity", F(3, 4), F(3, 4), oracle=cosine),
    case("pairwise_distance", F(3, 4), F(3, 4), oracle=lambda x, y: norm(x - y + 1e-6)),
    case(
        "pdist",
        F(4, 3),
        oracle=lambda x: np.array(
            [norm(x[i] - x[j]) for i in range(len(x)) for j in range(i + 1, len(x))]
        ),
    ),
    # dropout and attention
    case("dropout", F(3, 4), kw=KEEP, oracle=lambda x: x),
    case("dropout1d", F(3, 4), kw=KEEP, oracle=lambda x: x),
    case("dropout2d", F(3, 4, 2), kw=KEEP, oracle=lambda x: x),
    case("dropout3d", F(3, 4, 2), kw=KEEP, oracle=lambda x: x),
    case("alpha_dropout", F(3, 4), kw=KEEP, oracle=lambda x: x),
    case("feature_alpha_dropout", F(3, 4), kw=KEEP, oracle=lambda x: x),
    case("scaled_dot_product_attention", F(2, 3, 4), F(2, 5, 4), F(2, 5, 3), oracle=attention),
    case(
        "scaled_dot_product_attention",
        F(2, 3, 4),
        F(2, 5, 4),
        F(2, 5, 3),
        F(3, 5),
        oracle=attention,
        note="bias",
    ),
    case(
        "scaled_dot_product_attention",
        F(2, 3, 4),
        F(2, 3, 4),
        F(2, 3, 4),
        kw={"is_causal": True},
        oracle=causal,
        note="causal",
    ),
    # losses of regression and probabilities
    case("mse_loss", F(3, 4), F(3, 4), oracle=lambda x, y: ((x - y) ** 2).mean(), empty=False),
    case(
        "mse_loss",
        F(3, 4),
        F(3, 4),
        kw={"reduction": "none"},
        oracle=lambda x, y: (x - y) ** 2,
        note="none",
    ),
    case(
        "l1_loss",
        F(3, 4, distinct=True),
        F(3, 4, low=-9, high=-8),
        kw={"reduction": "sum"},
        oracle=lambda x, y: np.abs(x - y).sum(),
    ),
    case(
        "smooth_l1_loss",
        LINES,
        F(3, 4, low=-0.1, high=0.1),
        kw={"reduction": "none", "beta": 0.7},
        oracle=lambda x, y: huber(x, y, 0.7) / 0.7,
    ),
    case(
        "huber_loss",
        LINES,
        F(3, 4, low=-0.1, high=0.1),
        "none",
        0.7,
        oracle=lambda x, y, r, d: huber(x, y, d),
    ),
    case(
        "binary_cross_entropy",
        PROBABILITY,
        PROBABILITY,
        kw={"reduction": "none"},
        oracle=lambda x, y: -(y * np.log(x) + (1 - y) * np.log(1 - x)),
    ),
    case(
        "binary_cross_entropy_with_logits",
        F(3, 4),
        PROBABILITY,
        oracle=lambda x, y: (softplus(x) - x * y).mean(),
        empty=False,
    ),
    case(
        "kl_div",
        F(3, 4),
        PROBABILITY,
        kw={"reduction": "batchmean"},
        oracle=lambda x, y: (y * (np.log(y) - x)).sum() / 3,
        empty=False,
    ),
    case(
        "kl_div",
        F(3, 4),
        F(3, 4),
        kw={"reduction": "none", "log_target": True},
        oracle=lambda x, y: np.exp(y) * (y - x),
        note="log",
    ),
    case(
        "poisson_nll_loss",
        F(3, 4),
        POSITIVE,
        kw={"reduction": "sum"},
        oracle=lambda x, y: (np.exp(x) - y * x).sum(),
    ),
    case(
        "gaussian_nll_loss",
        F(3, 4),
        F(3, 4),
        POSITIVE,
        kw={"reduction": "none"},
        oracle=lambda x, y, v: (np.log(v) + (x - y) ** 2 / v) / 2,
    ),
    # losses of classes
    case("cross_entropy", F(3, 4), I(3, high=4), oracle=cross_entropy, empty=False),
    case(
        "cross_entropy",
        F(3, 4, 2),
        I(3, 2, high=4),
        oracle=cross_entropy,
        empty=False,
        note="spatial",
    ),
    case(
        "cross_entropy",
        F(3, 4),
        PROBABILITY,
        kw={"reduction": "none"},
        oracle=lambda x, y: -(log_softmax(x, 1) * y).sum(1),
        note="soft",
    ),
    case(
        "cross_entropy",
        F(3, 4),
        I(3, high=4),
        F(4, low=0.5, grad=False),
        kw={"label_smoothing": 0.2},
        oracle=smoothed,
        empty=False,
        note="smoothed",
    ),
    case(
        "nll_loss",
        F(3, 4),
        I(3, high=4),
        kw={"reduction": "none"},
        oracle=lambda x, y: -picked(x, y),
        empty=False,
    ),
    case(
        "linear_cross_entropy",
        F(3, 4),
        F(5, 4),
        I(3, high=5),
        oracle=lambda x, w, y: cross_entropy(x @ w.T, y),
        empty=False,
    ),
    case(
        "ctc_loss",
        F(4, 2, 3),
        np.array([[1, 2], [2, 2]]),
        (4, 4),
        (2, 2),
        kw={"reduction": "none"},
        oracle=lambda x, y, *_: ctc(x, y),
        empty=False,
    ),
    # losses with a margin
    case(
        "soft_margin_loss",
        F(3, 4),
        F(3, 4),
        kw={"reduction": "none"},
        oracle=lambda x, y: softplus(-x * y),
    ),
    case(
        "multilabel_soft_margin_loss",
        F(3, 4),
        PROBABILITY,
        kw={"reduction": "none"},
        oracle=lambda x, y: (softplus(x) - x * y).mean(1),
    ),
    case(
        "hinge_embedding_loss",
        LINES,
        np.array([1, -1, 1, -1]),
        kw={"reduction": "none"},
        oracle=lambda x, y: np.where(y == 1, x, np.maximum(0, 1 - x)),
    ),
    case(
        "margin_ranking_loss",
        F(3),
        F(3),
        SIGNS,
        kw={"reduction": "none"},
        oracle=lambda x, y, t: np.maximum(0, -t * (x - y)),
        empty=False,
    ),
    case(
        "cosine_embedding_loss",
        F(3, 4),
        F(3, 4),
        SIGNS,
        0.1,
        oracle=lambda x, y, t, m: cosine_embedding(x, y, t),
        empty=False,
    ),
    case("triplet_margin_loss", F(3, 4), F(3, 4), F(3, 4), oracle=triplet, empty=False),
    case(
        "triplet_margin_with_distance_loss", F(3, 4), F(3, 4), F(3, 4), oracle=triplet, empty=False
    ),
    case(
        "multi_margin_loss",
        F(3, 4),
        I(3, high=4),
        kw={"reduction": "none"},
        oracle=multi_margin,
        empty=False,
        second=False,
    ),
    case(
        "multilabel_margin_loss",
        F(2, 4),
        np.array([[3, 0, -1, 1], [1, -1, 2, 0]]),
        oracle=multilabel_margin,
        empty=False,
        second=False,
    ),
]
