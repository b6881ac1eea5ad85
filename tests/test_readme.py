"""The example that newcomers copy from the README works as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def test_the_first_example(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(import tensorgl.*?)```", README.read_text(), re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    (tmp_path / "first.py").write_text(code)
    command = [sys.executable, "-W", "error", "first.py"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert result.returncode == 0, result.stderr
    loss, accuracy = map(float, re.findall(r"\d+\.\d+", result.stdout))
    assert loss < 0.1
    assert accuracy > 0.98
