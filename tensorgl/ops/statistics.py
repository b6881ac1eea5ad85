"""Order statistics, histograms and search: median, mode, quantile, unique, searchsorted …."""

__all__: list[str] = []
