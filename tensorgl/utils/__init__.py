"""Data loading, checkpointing, and exchange with other libraries."""

from tensorgl.utils import checkpoint, data, dlpack

__all__ = ["checkpoint", "data", "dlpack"]
