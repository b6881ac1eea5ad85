"""tensorgl: PyTorch's programming model in pure Python, on any GPU that can draw a triangle."""

from tensorgl import autograd as autograd
from tensorgl import errors as errors
from tensorgl.autograd import enable_grad, inference_mode, no_grad, set_grad_enabled
from tensorgl.avals import Size, device
from tensorgl.creation import *
from tensorgl.dtypes import *
from tensorgl.ops.arithmetic import *
from tensorgl.ops.comparison import *
from tensorgl.ops.linalg import *
from tensorgl.ops.movement import *
from tensorgl.ops.reduction import *
from tensorgl.tensor import Tensor

__version__ = "0.1.0"
