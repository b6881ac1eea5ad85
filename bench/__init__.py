"""The benchmark harness: `python -m bench run`, `compare`, `report` and `overhead`.

Installed as tensorgl.bench, with the command `tensorgl bench`. A case is data; what it does is written
once, against an API that tensorgl and PyTorch share, and gets either library as its argument, so that
both run the same program. Libraries in JavaScript get the data.
"""
