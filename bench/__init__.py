"""The benchmark harness: `python -m bench run` and `compare`. Installed as tensorgl.bench.

A case is written once, against an API that tensorgl and PyTorch share, and gets either library as
its argument; so both run the same program.
"""
