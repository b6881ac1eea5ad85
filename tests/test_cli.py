"""The `tensorgl` command, run as people run it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tensorgl import cli
from tests.gl import made


def run(
    *args: str, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tensorgl", *args]
    env = os.environ | environment
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=120, env=env)


def python(*args: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *args], capture_output=True, text=True, cwd=cwd, timeout=120
    )


SCRIPTS = {
    "arguments": "import sys, os\nprint(sys.argv, __name__, os.getcwd(), sys.path[0], __file__)\n",
    "exit code": "import sys\nprint('before')\nsys.exit(7)\n",
    "exit text": "import sys\nsys.exit('went wrong')\n",
    "exception": "def f():\n    raise ValueError('bad')\nf()\n",
    "syntax error": "print('a'\n",
    "sibling": "import helper\nprint(helper.VALUE)\n",
    "main module": "import sys\nprint(sys.modules['__main__'].x if 0 else vars(sys.modules['__main__'])['__name__'])\n",
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_run_is_like_python(name: str, tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("VALUE = 42\n")
    (tmp_path / "script.py").write_text(SCRIPTS[name])
    ours = run("run", "script.py", "-x", "--as-torch", "1", cwd=tmp_path)
    theirs = python("script.py", "-x", "--as-torch", "1", cwd=tmp_path)
    assert ours.returncode == theirs.returncode
    assert ours.stdout == theirs.stdout
    assert ours.stderr == theirs.stderr


def test_run_as_torch(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "import torch\nimport torch.nn as nn\nimport torch.nn.functional as F\n"
        "from torch.utils.data import DataLoader\nfrom torch.optim.lr_scheduler import StepLR\n"
        "device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')\n"
        "model = nn.Linear(3, 1).to(device)\n"
        "print(torch.__name__, isinstance(model.weight, torch.Tensor), F.relu(torch.tensor([-1.0])))\n"
    )
    result = run("run", "--as-torch", "script.py", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "tensorgl True tensor([0.])\n"


def test_torch_is_not_there_without_being_asked_for(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("NAME = 'a local file'\n")
    (tmp_path / "script.py").write_text("import torch\nprint(torch.NAME)\n")
    assert run("run", "script.py", cwd=tmp_path).stdout == "a local file\n"


def test_missing_script() -> None:
    result = run("run", "no-such-file.py")
    assert result.returncode == 2
    assert "can't open file 'no-such-file.py'" in result.stderr


def test_info_names_what_there_is() -> None:
    result = run("info")
    assert (result.returncode, result.stderr) == (0, "")
    for word in ("tensorgl", "Python", "numpy", "device cpu", "device gl", "accelerator"):
        assert word in result.stdout
    assert "new tensors   on cpu: TENSORGL_DEVICE is not set\n" in result.stdout


def test_info_explains_the_choice() -> None:
    if isinstance(made("compute"), str):
        pytest.skip("no OpenGL")
    said = run("info", TENSORGL_DEVICE="gl", TENSORGL_GL_TARGET="fragment").stdout
    for word in (
        "target fragment: as TENSORGL_GL_TARGET says",
        "max_texture_size",
        "accelerator   gl: TENSORGL_DEVICE=gl asks for it",
        "new tensors   on gl: TENSORGL_DEVICE=gl",
    ):
        assert word in said
    said = run("info", TENSORGL_DEVICE="cpu").stdout
    assert "target compute: it has compute shaders" in said
    assert "accelerator   none: TENSORGL_DEVICE=cpu asks for the CPU" in said


@pytest.mark.parametrize(
    ("what", "remedy"),
    [
        ("libEGL.so.1: cannot open shared object file", "run: apt-get install libegl1\n"),
        ("libGL.so.1: cannot open shared object file", "run: apt-get install libgl1\n"),
        ("cannot create context", "run: apt-get install libegl1 libgl1-mesa-dri\n"),
    ],
)
def test_info_names_what_is_missing(
    what: str, remedy: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import moderngl

    from tensorgl.backends.opengl import probe

    def fails(**options: object) -> object:
        raise Exception(what)

    monkeypatch.setattr(moderngl, "create_standalone_context", fails)
    monkeypatch.delenv("TENSORGL_DEVICE", raising=False)
    probe._probed.cache_clear()
    assert cli.main(["info"]) == 0
    said = capsys.readouterr().out
    assert "device gl     not available\n" in said
    assert what in said
    assert remedy in said
    assert "accelerator   none: device gl is not available\n" in said


def test_version() -> None:
    import tensorgl as tg

    assert run("--version").stdout == f"tensorgl {tg.__version__}\n"
