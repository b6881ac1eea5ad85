"""Every op: one function, with PyTorch's name and signature, and its gradient beneath it."""

from tensorgl.ops import arithmetic, comparison, linalg, movement, reduction

__all__ = ["arithmetic", "comparison", "linalg", "movement", "reduction"]
