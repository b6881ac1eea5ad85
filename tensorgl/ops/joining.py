"""Tensors put together and taken apart: cat, stack, split, tile …."""

__all__: list[str] = []
