"""Scripts written for PyTorch run unchanged; what they print was computed by PyTorch itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent / "scripts"
PRINTED = {
    "classifier": "module.bn1.bias Net",
    "gan": """
[0/3] Loss_D: 1.582 Loss_G: 1.551
[1/3] Loss_D: 1.666 Loss_G: 1.083
[2/3] Loss_D: 1.754 Loss_G: 0.784
penalty 0.316, gradient 2.079""",
    "gpt": "the quick brown fox jumps over the lazy dog.",
    "science": """
0.5223
0.2419
0.2397
0.2357
-1.6232 5.3703
0.3490
10 [5.059, 5.054] 16.450""",
    "sequences": """
loss 0.643 norm 0.102 0.005
loss 0.617 norm 0.094 0.0075
loss 0.537 norm 0.179 0.01
(3, 4, 10) [4, 2, 3] 0.0""",
}


def run(script: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tensorgl", "run", "--as-torch", str(script)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_every_script_is_run() -> None:
    assert {p.stem for p in SCRIPTS.glob("*.py")} == set(PRINTED)


@pytest.mark.parametrize("name", PRINTED)
def test_script(name: str) -> None:
    result = run(SCRIPTS / f"{name}.py")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.strip() == PRINTED[name].strip()


def test_a_second_name_takes_no_place(tmp_path: Path) -> None:
    """`torch.tensor` is a function, though tensorgl has a module of the name."""
    script = tmp_path / "script.py"
    script.write_text(
        "import torch.tensor\n"
        "from torch.nn.modules.conv import Conv2d\n"
        "from torch.nn.modules.batchnorm import _BatchNorm\n"
        "from torch.nn.modules.container import Sequential\n"
        "from torch.nn.modules.utils import _pair\n"
        "from torch.nn.utils.spectral_norm import spectral_norm\n"
        "print(torch.tensor([1]), Conv2d is torch.nn.Conv2d, torch.nn.utils.spectral_norm is spectral_norm)\n"
        "print(issubclass(torch.nn.BatchNorm2d, _BatchNorm), Sequential is torch.nn.Sequential, _pair(3))\n"
    )
    result = run(script)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "tensor([1]) True True\nTrue True (3, 3)\n"
