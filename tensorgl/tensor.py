"""The class Tensor: PyTorch's methods, operators and properties, each the op of the same name."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tensorgl import dispatch, inplace, ops
from tensorgl.autograd import graph
from tensorgl.avals import Aval, Size, device
from tensorgl.conversion import ConversionMethods
from tensorgl.dtypes import dtype
from tensorgl.operators import Operators, in_place

__all__ = ["Tensor"]


def in_place_view(function: Callable[..., Any]) -> Callable[..., Any]:
    """The in-place method of a view op, after which the tensor has the view's shape: `squeeze_`."""

    @functools.wraps(function)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return inplace.become(self, function(self, *args, **kwargs))

    method.__name__ += "_"
    method.__doc__ = f"In-place `{function.__name__}`."
    return method


class Tensor(Operators, ConversionMethods):
    """A multi-dimensional array of one dtype on one device, with the history of its making."""

    __slots__ = ()
    __array_priority__ = 1000  # numpy's operators leave mixed expressions to ours

    if TYPE_CHECKING:  # for the methods that modules above this one give to the class

        def __getattr__(self, name: str) -> Any: ...

    def __init__(self, data: Any = None, aval: Any = None, *sizes: int) -> None:
        """Wrap a backend's handle. Without an Aval: `Tensor(2, 3)` or `Tensor([1, 2])`, of float32."""
        if type(aval) is not Aval:
            from tensorgl.creation import legacy  # which is above this module

            data, aval = legacy(tuple(x for x in (data, aval, *sizes) if x is not None))
        self._data = data
        self._aval = aval
        self._requires_grad = False
        self._node = self._memory = self._base = self._view = self._grad = self._hooks = None

    # -- what it is ---------------------------------------------------------------------------

    @property
    def shape(self) -> Size:
        """The size along each dim."""
        return self._aval.shape

    @property
    def dtype(self) -> dtype:
        """The element type."""
        return self._aval.dtype

    @property
    def device(self) -> device:
        """Where the memory is."""
        return self._aval.device

    @property
    def ndim(self) -> int:
        """The number of dims."""
        return self._aval.ndim

    def dim(self) -> int:
        """The number of dims."""
        return self._aval.ndim

    ndimension = dim

    def size(self, dim: int | None = None) -> Any:
        """The shape, or its size along `dim`."""
        return self.shape if dim is None else self.shape[ops.movement.wrap_dim(dim, self.ndim)]

    def numel(self) -> int:
        """The number of elements."""
        return self._aval.size

    nelement = numel

    def element_size(self) -> int:
        """Bytes an element takes."""
        return self._aval.dtype.itemsize

    @property
    def itemsize(self) -> int:
        """Bytes an element takes."""
        return self._aval.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes that the elements take."""
        return self._aval.size * self._aval.dtype.itemsize

    def stride(self, dim: int | None = None) -> Any:
        """How many elements apart neighbours lie in memory: along each dim, or along `dim`."""
        strides = ops.movement.strides_of(self)
        return strides if dim is None else strides[ops.movement.wrap_dim(dim, self.ndim)]

    is_contiguous = ops.movement.is_contiguous

    @property
    def is_cpu(self) -> bool:
        """Whether the memory is the host's."""
        return self._aval.device.type == "cpu"

    @property
    def is_meta(self) -> bool:
        """Whether there is a shape but no memory."""
        return self._aval.device.type == "meta"

    @property
    def is_mps(self) -> bool:
        """Always false."""
        return False

    @property
    def is_quantized(self) -> bool:
        """Always false."""
        return False

    @property
    def is_sparse(self) -> bool:
        """Always false."""
        return False

    def get_device(self) -> int:
        """The number of the device: -1 on cpu, else 0, as there is one device of each type."""
        return -1 if self.is_cpu else 0

    def is_nonzero(self) -> bool:
        """Whether the only element differs from 0."""
        return bool(self)

    def is_floating_point(self) -> bool:
        """Whether the dtype is a floating-point one."""
        return self._aval.dtype.is_floating_point

    def is_complex(self) -> bool:
        """False: no dtype is complex."""
        return False

    def is_signed(self) -> bool:
        """Whether the dtype has negative values."""
        return self._aval.dtype.is_signed

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len() of a 0-d tensor")
        return self._aval.shape[0]

    # -- reduction ----------------------------------------------------------------------------

    sum = ops.reduction.sum
    nansum = ops.reduction.nansum
    prod = ops.reduction.prod
    mean = ops.reduction.mean
    nanmean = ops.reduction.nanmean
    logsumexp = ops.reduction.logsumexp
    any = ops.reduction.any
    all = ops.reduction.all
    count_nonzero = ops.reduction.count_nonzero
    var = ops.statistics.var
    std = ops.statistics.std
    cov = ops.statistics.cov
    corrcoef = ops.statistics.corrcoef
    amax = ops.extremum.amax
    amin = ops.extremum.amin
    aminmax = ops.extremum.aminmax
    max = ops.extremum.max
    min = ops.extremum.min
    argmax = ops.extremum.argmax
    argmin = ops.extremum.argmin
    norm = ops.norm.norm
    dist = ops.norm.dist
    renorm = ops.norm.renorm
    kthvalue = ops.quantile.kthvalue
    median = ops.quantile.median
    nanmedian = ops.quantile.nanmedian
    mode = ops.quantile.mode
    quantile = ops.quantile.quantile
    nanquantile = ops.quantile.nanquantile
    sort = ops.sorting.sort
    argsort = ops.sorting.argsort
    msort = ops.sorting.msort
    topk = ops.sorting.topk
    cumsum = ops.scan.cumsum
    cumprod = ops.scan.cumprod
    cummax = ops.scan.cummax
    cummin = ops.scan.cummin
    logcumsumexp = ops.scan.logcumsumexp
    diff = ops.scan.diff
    unique = ops.unique.unique
    unique_consecutive = ops.unique.unique_consecutive
    bincount = ops.histogram.bincount
    histc = ops.histogram.histc
    histogram = ops.histogram.histogram
    cumsum_ = in_place(ops.scan.cumsum)
    cumprod_ = in_place(ops.scan.cumprod)
    renorm_ = in_place(ops.norm.renorm)

    # -- movement -----------------------------------------------------------------------------

    adjoint = ops.movement.adjoint
    as_strided = ops.slicing.as_strided
    broadcast_to = ops.movement.broadcast_to
    chunk = ops.joining.chunk
    clone = ops.movement.clone
    contiguous = ops.movement.contiguous
    diag = ops.diagonals.diag
    diag_embed = ops.diagonals.diag_embed
    diagflat = ops.diagonals.diagflat
    diagonal = ops.diagonals.diagonal
    diagonal_scatter = ops.diagonals.diagonal_scatter
    fill_diagonal_ = ops.diagonals.fill_diagonal_
    dsplit = ops.joining.dsplit
    expand = ops.movement.expand
    expand_as = ops.movement.expand_as
    flatten = ops.movement.flatten
    flip = ops.movement.flip
    fliplr = ops.rearranging.fliplr
    flipud = ops.rearranging.flipud
    hsplit = ops.joining.hsplit
    moveaxis = ops.movement.moveaxis
    movedim = ops.movement.movedim
    narrow = ops.slicing.narrow
    permute = ops.movement.permute
    ravel = ops.movement.ravel
    repeat = ops.rearranging.repeat
    repeat_interleave = ops.rearranging.repeat_interleave
    reshape = ops.movement.reshape
    reshape_as = ops.movement.reshape_as
    roll = ops.rearranging.roll
    rot90 = ops.rearranging.rot90
    select = ops.slicing.select
    select_scatter = ops.slicing.select_scatter
    slice_scatter = ops.slicing.slice_scatter
    split_with_sizes = ops.joining.split_with_sizes
    squeeze = ops.movement.squeeze
    storage_offset = ops.slicing.storage_offset
    swapaxes = ops.movement.swapaxes
    swapdims = ops.movement.swapdims
    t = ops.movement.t
    tensor_split = ops.joining.tensor_split
    tile = ops.rearranging.tile
    transpose = ops.movement.transpose
    tril = ops.diagonals.tril
    triu = ops.diagonals.triu
    unbind = ops.joining.unbind
    unflatten = ops.movement.unflatten
    unfold = ops.slicing.unfold
    unsqueeze = ops.movement.unsqueeze
    view = ops.movement.view
    view_as = ops.movement.view_as
    vsplit = ops.joining.vsplit

    def split(self, split_size: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
        """Views of parts along `dim`: all of one size (the last may be smaller), or of given sizes."""
        return ops.joining.split(self, split_size, dim)

    squeeze_ = in_place_view(ops.movement.squeeze)
    swapaxes_ = in_place_view(ops.movement.swapaxes)
    swapdims_ = in_place_view(ops.movement.swapdims)
    t_ = in_place_view(ops.movement.t)
    transpose_ = in_place_view(ops.movement.transpose)
    unsqueeze_ = in_place_view(ops.movement.unsqueeze)
    tril_ = in_place(ops.diagonals.tril, saves=False)
    triu_ = in_place(ops.diagonals.triu, saves=False)

    @property
    def T(self) -> Tensor:  # noqa: N802 (PyTorch's name)
        """A view with the dims in reverse order."""
        return self.permute(tuple(range(self.ndim))[::-1])

    @property
    def H(self) -> Tensor:  # noqa: N802 (PyTorch's name)
        """A view of a matrix with its dims swapped."""
        if self.ndim not in (0, 2):
            raise RuntimeError(
                f"tensor.H is only supported on matrices (2-D tensors). Got {self.ndim}-D tensor."
            )
        return self.t()

    @property
    def mT(self) -> Tensor:  # noqa: N802 (PyTorch's name)
        """A view with the last two dims swapped."""
        return self.adjoint()

    @property
    def mH(self) -> Tensor:  # noqa: N802 (PyTorch's name)
        """A view with the last two dims swapped."""
        return self.adjoint()

    # -- indexing -----------------------------------------------------------------------------

    __getitem__ = ops.indexing.getitem
    __setitem__ = ops.indexing.setitem
    argwhere = ops.gathering.argwhere
    copy_ = ops.writing.copy_
    fill_ = ops.writing.fill_
    gather = ops.gathering.gather
    index_add = ops.gathering.index_add
    index_copy = ops.gathering.index_copy
    index_fill = ops.gathering.index_fill
    index_put = ops.indexing.index_put
    index_reduce = ops.scattering.index_reduce
    index_select = ops.gathering.index_select
    masked_fill = ops.gathering.masked_fill
    masked_scatter = ops.gathering.masked_scatter
    masked_select = ops.gathering.masked_select
    nonzero = ops.gathering.nonzero
    put = ops.gathering.put
    scatter = ops.gathering.scatter
    scatter_add = ops.gathering.scatter_add
    scatter_reduce = ops.scattering.scatter_reduce
    take = ops.gathering.take
    take_along_dim = ops.gathering.take_along_dim
    zero_ = ops.writing.zero_

    index_add_ = in_place(ops.gathering.index_add, saves=False)
    index_copy_ = in_place(ops.gathering.index_copy, saves=False)
    index_fill_ = in_place(ops.gathering.index_fill, saves=False)
    index_put_ = in_place(ops.indexing.index_put, saves=False)
    index_reduce_ = in_place(ops.scattering.index_reduce)
    masked_fill_ = in_place(ops.gathering.masked_fill, saves=False)
    masked_scatter_ = in_place(ops.gathering.masked_scatter, saves=False)
    put_ = in_place(ops.gathering.put, saves=False)
    scatter_ = in_place(ops.gathering.scatter, saves=False)
    scatter_add_ = in_place(ops.gathering.scatter_add, saves=False)
    scatter_reduce_ = in_place(ops.scattering.scatter_reduce)

    def __iter__(self) -> Iterator[Tensor]:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d tensor")
        return iter(self.unbind(0))

    def __contains__(self, element: Any) -> bool:
        if not isinstance(element, Tensor | int | float):
            raise RuntimeError(
                "Tensor.__contains__ only supports Tensor or scalar, but you passed in a "
                f"{type(element)}."
            )
        return bool(dispatch.to_host(self == element).any())

    # -- linear algebra -----------------------------------------------------------------------

    matmul = __matmul__ = ops.linalg.matmul
    mm = ops.linalg.mm
    bmm = ops.linalg.bmm
    mv = ops.linalg.mv
    dot = ops.linalg.dot
    vdot = ops.linalg.vdot
    inner = ops.linalg.inner
    outer = ops.linalg.outer
    ger = ops.linalg.ger
    kron = ops.linalg.kron
    trace = ops.linalg.trace
    addmm = ops.linalg.addmm
    addmv = ops.linalg.addmv
    addr = ops.linalg.addr
    addbmm = ops.linalg.addbmm
    baddbmm = ops.linalg.baddbmm
    cross = ops.older_linalg.cross
    cholesky = ops.older_linalg.cholesky
    cholesky_inverse = ops.older_linalg.cholesky_inverse
    cholesky_solve = ops.older_linalg.cholesky_solve
    det = ops.older_linalg.det
    inverse = ops.older_linalg.inverse
    logdet = ops.older_linalg.logdet
    matrix_exp = ops.older_linalg.matrix_exp
    matrix_power = ops.older_linalg.matrix_power
    pinverse = ops.older_linalg.pinverse
    qr = ops.older_linalg.qr
    slogdet = ops.older_linalg.slogdet
    svd = ops.older_linalg.svd

    addmm_ = in_place(ops.linalg.addmm)
    addmv_ = in_place(ops.linalg.addmv)
    addr_ = in_place(ops.linalg.addr)
    addbmm_ = in_place(ops.linalg.addbmm)
    baddbmm_ = in_place(ops.linalg.baddbmm)

    def __rmatmul__(self, other: Any) -> Tensor:
        return ops.linalg.matmul(other, self)

    # -- neural networks ----------------------------------------------------------------------

    relu = ops.rectifier.relu
    relu_ = ops.rectifier.relu_
    prelu = ops.rectifier.prelu
    hardshrink = ops.rectifier.hardshrink
    softmax = ops.softmax.softmax
    log_softmax = ops.softmax.log_softmax

    # -- creation -----------------------------------------------------------------------------


dispatch.set_tensor_type(Tensor)
graph.make_tensor = Tensor
