"""`pad` in all four modes."""

__all__: list[str] = []
