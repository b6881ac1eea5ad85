"""The benchmark harness: `python -m bench run`, `compare` and `overhead`. Installed as tensorgl.bench.

A case is written once, against an API that tensorgl and PyTorch share, and gets either library as
its argument; so both run the same program.
"""
