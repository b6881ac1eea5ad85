"""Linear maps, embeddings, dropout and attention."""

__all__: list[str] = []
