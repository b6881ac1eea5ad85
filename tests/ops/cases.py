"""Every op, one line each."""

from importlib import import_module
from pathlib import Path

CASES = []
for path in sorted(Path(__file__).parent.glob("cases_*.py")):
    CASES += import_module(f"tests.ops.{path.stem}").CASES
