"""Cumulative ops, sorting and selection along one dim."""

__all__: list[str] = []
