"""Random tensors: counter-based, and bit-identical on every backend for one seed."""

__all__: list[str] = []
