"""Exponentials, logarithms, roots, trigonometric, hyperbolic and special functions."""

__all__: list[str] = []
