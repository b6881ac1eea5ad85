"""Elements chosen by index tensors or masks: gather, scatter, index_*, masked_*, take …."""

__all__: list[str] = []
