"""Matrix decompositions and what is built on them: solve, inv, det, qr, svd, eigh …."""

__all__: list[str] = []
