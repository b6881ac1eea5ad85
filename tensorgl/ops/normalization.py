"""Layer, batch, group, instance and RMS normalisation."""

__all__: list[str] = []
