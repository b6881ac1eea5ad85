"""Data loading, checkpointing, pictures, and exchange with other libraries."""

from tensorgl.utils import checkpoint, data, dlpack
from tensorgl.utils.images import show

__all__ = ["checkpoint", "data", "dlpack", "show"]
