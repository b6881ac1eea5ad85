"""Images and patches: unfold, fold, interpolate, grid_sample, pixel_shuffle."""

__all__: list[str] = []
