"""Pooling: max, average, adaptive and power-average."""

__all__: list[str] = []
