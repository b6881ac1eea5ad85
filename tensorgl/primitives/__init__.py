"""The closed table of primitives: all that a backend must be able to do.

Each is declared once, with its rule for shape and dtype, so that no backend repeats them. The table
is closed under differentiation: the gradient of each, in `ops`, is written in ops on this table.
"""

from tensorgl.primitives.contraction import *
from tensorgl.primitives.core import *
from tensorgl.primitives.elementwise import *
from tensorgl.primitives.indexing import *
from tensorgl.primitives.linalg import *
from tensorgl.primitives.movement import *
from tensorgl.primitives.pooling import *
from tensorgl.primitives.random import *
from tensorgl.primitives.reduction import *
from tensorgl.primitives.source import *
