"""`x[...]` and `x[...] = y`, with everything that PyTorch accepts."""

__all__: list[str] = []
