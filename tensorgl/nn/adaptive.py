"""Softmax over many classes, most of them rare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tensorgl.nn import functional as F
from tensorgl.nn.containers import ModuleList, Sequential
from tensorgl.nn.linear import Linear
from tensorgl.nn.module import Module
from tensorgl.ops.joining import cat
from tensorgl.tensor import Tensor

__all__ = ["AdaptiveLogSoftmaxWithLoss"]


class _Result(NamedTuple):
    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """A softmax whose rare classes sit in clusters with smaller and smaller projections.

    Classes are sorted by how frequent they are. Those before `cutoffs[0]` are in the head, together
    with one entry for each cluster; cluster k has the classes from `cutoffs[k]` on and projects the
    input to in_features / div_value ** (k + 1) features first.

    Returns:
        `output`: the log-probability of each target; `loss`: minus their mean.

    Source: Grave et al., Efficient softmax approximation for GPUs.
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        bounds = list(cutoffs)
        if not bounds:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        if bounds != sorted(set(bounds)) or bounds[0] <= 0 or bounds[-1] > n_classes - 1:
            raise ValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing "
                "order, where each value is between 1 and n_classes-1"
            )
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*bounds, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        options = {"device": device, "dtype": dtype}
        self.head = Linear(in_features, self.head_size, bias=head_bias, **options)
        self.tail = ModuleList()
        for k in range(self.n_clusters):
            hidden = int(in_features // div_value ** (k + 1))
            classes = self.cutoffs[k + 1] - self.cutoffs[k]
            self.tail.append(
                Sequential(
                    Linear(in_features, hidden, bias=False, **options),
                    Linear(hidden, classes, bias=False, **options),
                )
            )

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        for linear in (self.head, *(part for cluster in self.tail for part in cluster)):
            linear.reset_parameters()

    def forward(self, input: Tensor, target: Tensor) -> _Result:
        if input.ndim != target.ndim + 1 or input.ndim not in (1, 2):
            raise RuntimeError(
                "Input and target should have the same size in the batch dimension: "
                f"(N, in_features) and (N), or (in_features) and (), given {list(input.shape)} "
                f"and {list(target.shape)}"
            )
        batched = target.ndim > 0
        x = input if batched else input.unsqueeze(0)
        y = target if batched else target.unsqueeze(0)
        if x.shape[0] != y.shape[0]:
            raise RuntimeError("Input and target should have the same size in the batch dimension.")
        if y.numel() and (y.min() < 0 or y.max() >= self.n_classes):
            raise RuntimeError(
                f"Target values should be in [0, {self.n_classes - 1}], but values in range "
                f"[{y.min().item()}, {y.max().item()}] were found. "
            )
        output = self._target_log_prob(x, y)
        loss = (-output).mean()
        return _Result(output if batched else output.squeeze(0), loss)

    def _target_log_prob(self, x: Tensor, y: Tensor) -> Tensor:
        """The log-probability of each row's target; a cluster only sees the rows that are in it."""
        entry = y.clone()
        within = x.new_zeros(y.shape)
        for k, cluster in enumerate(self.tail):
            low, high = self.cutoffs[k], self.cutoffs[k + 1]
            rows = ((y >= low) & (y < high)).nonzero().squeeze(1)
            if rows.numel():
                scores = F.log_softmax(cluster(x[rows]), 1)
                chosen = scores.gather(1, (y[rows] - low).unsqueeze(1)).squeeze(1)
                within = within.index_add(0, rows, chosen)
                entry[rows] = self.shortlist_size + k
        head = F.log_softmax(self.head(x), 1)
        return head.gather(1, entry.unsqueeze(1)).squeeze(1) + within

    def log_prob(self, input: Tensor) -> Tensor:
        """The log-probabilities of all classes: (N, in_features) to (N, n_classes)."""
        head = F.log_softmax(self.head(input), 1)
        parts = [head[:, : self.shortlist_size]]
        for k, cluster in enumerate(self.tail):
            within = F.log_softmax(cluster(input), 1)
            parts.append(within + head[:, self.shortlist_size + k].unsqueeze(1))
        return cat(parts, 1)

    def predict(self, input: Tensor) -> Tensor:
        """The most probable class of each row: (N, in_features) to (N)."""
        return self.log_prob(input).argmax(1)
