"""Data loading, checkpointing, and exchange with other libraries."""

from tensorgl.utils import data

__all__ = ["data"]
