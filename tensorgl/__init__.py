"""tensorgl: PyTorch's programming model in pure Python, on any GPU that can draw a triangle."""

from tensorgl import autograd as autograd
from tensorgl import errors as errors
from tensorgl import return_types as return_types
from tensorgl.autograd import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from tensorgl.avals import Size, device
from tensorgl.creation import *
from tensorgl.dtypes import *
from tensorgl.ops.activation import celu, celu_, selu, selu_
from tensorgl.ops.adaptive_pool import adaptive_avg_pool1d
from tensorgl.ops.arithmetic import *
from tensorgl.ops.avg_pool import avg_pool1d
from tensorgl.ops.bitwise import *
from tensorgl.ops.cdist import *
from tensorgl.ops.comparison import *
from tensorgl.ops.conv import *
from tensorgl.ops.diagonals import *
from tensorgl.ops.distance import *
from tensorgl.ops.dropout import alpha_dropout, dropout, feature_alpha_dropout
from tensorgl.ops.einsum import *
from tensorgl.ops.extremum import *
from tensorgl.ops.gathering import *
from tensorgl.ops.histogram import *
from tensorgl.ops.indexing import *
from tensorgl.ops.joining import *
from tensorgl.ops.linalg import *
from tensorgl.ops.linear import bilinear
from tensorgl.ops.math import *
from tensorgl.ops.movement import *
from tensorgl.ops.norm import *
from tensorgl.ops.normalization import group_norm, layer_norm, rms_norm
from tensorgl.ops.older_linalg import *
from tensorgl.ops.padding import *
from tensorgl.ops.pool import max_pool1d, max_pool1d_with_indices, max_pool2d, max_pool3d
from tensorgl.ops.quantile import *
from tensorgl.ops.rearranging import *
from tensorgl.ops.rectifier import (
    hardshrink,
    prelu,
    relu,
    relu_,
    rrelu,
    rrelu_,
    threshold,
    threshold_,
)
from tensorgl.ops.reduction import *
from tensorgl.ops.resample import *
from tensorgl.ops.rounding import *
from tensorgl.ops.scan import *
from tensorgl.ops.scattering import *
from tensorgl.ops.slicing import *
from tensorgl.ops.softmax import log_softmax, softmax
from tensorgl.ops.sorting import *
from tensorgl.ops.special import *
from tensorgl.ops.statistics import *
from tensorgl.ops.unique import *
from tensorgl.printing import set_printoptions
from tensorgl.random import *
from tensorgl.tensor import Tensor
from tensorgl.values import *
from tensorgl.version import __version__

# isort: split
# What is built on the names above.
from tensorgl import accelerator as accelerator
from tensorgl import cuda as cuda
from tensorgl import datasets as datasets
from tensorgl import linalg as linalg
from tensorgl import nn as nn
from tensorgl import optim as optim
from tensorgl import random as random
from tensorgl import utils as utils
from tensorgl.serialization import load, save
