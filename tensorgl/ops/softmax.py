"""Softmax, its logarithm and its relatives."""

__all__: list[str] = []
