"""`tensorgl run --browser` in real browsers, as people run it. Each start takes seconds, so each script checks much."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tensorgl.wasm import browsers, site
from tests.gl import REQUIRED

MESA = (
    "--browser-arg=--use-gl=angle",
    "--browser-arg=--use-angle=gl-egl",
    "--browser-arg=--ignore-gpu-blocklist",
)
LONG = 300
"""Seconds that no run takes."""


@pytest.fixture(scope="module", autouse=True)
def _ready() -> None:
    """What every run needs, made once; without it, skip these tests or fail them."""
    try:
        browsers.find("chromium")
        site.cached()
    except RuntimeError as missing:
        (pytest.fail if "webgl" in REQUIRED else pytest.skip)(str(missing))


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where browsers of this test keep their profiles. At the end nothing is there, and none runs."""
    # Not pytest's folder: a socket's path has room for 100 characters.
    folder = Path(tempfile.mkdtemp(prefix="tgl-"))
    monkeypatch.setenv("TMPDIR", str(folder))
    yield folder
    until(lambda: not processes(folder))
    assert list(folder.glob("tensorgl-*")) == []
    shutil.rmtree(folder)


def processes(folder: Path) -> dict[int, str]:
    """What was started with this temporary folder and still runs."""
    found: dict[int, str] = {}
    for process in Path("/proc").iterdir():
        try:
            environment = (process / "environ").read_bytes()
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (OSError, ValueError):
            continue
        # Chromium's processes write their titles over their environments.
        ours = str(folder) in command or f"TMPDIR={folder}".encode() in environment
        if process.name.isdigit() and ours and command:
            found[int(process.name)] = command
    found.pop(os.getpid(), None)
    return found


def until(condition: Callable[[], object]) -> None:
    for _ in range(20 * LONG):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def command(*args: str, options: tuple[str, ...] = MESA) -> list[str]:
    # -P: as the program `tensorgl`, which imports nothing from the current folder.
    return [sys.executable, "-P", "-m", "tensorgl", "run", "--browser", *options, *args]


def run(
    *args: str, cwd: Path, stdin: bytes = b"", options: tuple[str, ...] = MESA, **env: str
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command(*args, options=options),
        cwd=cwd,
        input=stdin,
        capture_output=True,
        env=os.environ | env,
        timeout=LONG,
    )


LIKE_PYTHON = """
import atexit, io, json, os, pathlib, shutil, sys
import helper
from inner import deep

print(sys.argv, __name__, __file__, os.getcwd(), sys.path[0] == os.path.dirname(__file__))
print("" in sys.path, sys.path.count(os.getcwd()), open(os.environ["TENSORGL_TUNING"]).read())
print(helper.VALUE, deep.VALUE, os.environ["TENSORGL_TESTED"], "PYTHONPATH" in os.environ)
print(sys.stdin.isatty(), sys.stdout.isatty(), sys.stderr.isatty())
print("to stderr", file=sys.stderr)
sys.stdout.flush()
sys.stdout.buffer.write(bytes(range(256)))
sys.stdout.buffer.flush()
print("\\nä €", input("name? "), "|", input(), "|", len(sys.stdin.buffer.read()))
try:
    input()
except EOFError as error:
    print("EOF", error)

# Files: read, listed, written, moved, removed.
print(open("ä.txt").read(), sorted(os.listdir()), sorted(e.name for e in os.scandir("data") if e.is_file()))
print(len(open("large.bin", "rb").read()), os.path.getsize("large.bin"))
data = pathlib.Path("data").resolve()
print(data, data.is_dir(), sorted(data.rglob("*.txt")), sorted(data.glob("**/b*")))
os.makedirs("out/inner")
with open("out/inner/x.bin", "wb") as file:
    file.write(bytes(range(256)) * 5000)
    file.seek(10)
    file.write(b"changed")
os.rename("out/inner", "out/moved")
with open("out/moved/x.bin", "r+b") as file:
    print(file.seek(0, 2), file.seek(8), file.read(12), file.truncate(1000))
for text in ("one", "two"):
    with open("out/log.txt", "a") as file:
        print(text, file=file)
os.replace("out/log.txt", "out/moved/log.txt")
shutil.copy("out/moved/log.txt", "out/copy.txt")
os.chmod("out/copy.txt", 0o640)
os.utime("out/copy.txt", (1000, 2000))
print(oct(os.stat("out/copy.txt").st_mode), os.stat("out/copy.txt").st_mtime)
os.remove("data/a.txt")
shutil.rmtree("data/deep")
print(os.path.exists("data/a.txt"), os.path.exists("data/deep/b.txt"), os.path.isdir("data"))
os.truncate("cut.txt", 3)
os.remove("gone.txt"), open("gone.txt", "w").write("back")
for wrong in (
    lambda: open("none.txt"),
    lambda: open("none/x.txt", "w"),
    lambda: open("data"),
    lambda: os.listdir("ä.txt"),
    lambda: os.mkdir("data"),
    lambda: os.rmdir("out"),
    lambda: os.remove("none.txt"),
    lambda: open("x.txt", "x").close() or open("x.txt", "x"),
):
    try:
        wrong()
    except OSError as error:
        print(type(error).__name__, error.strerror)

# The end: what nobody closed is written, and what is registered is called.
unclosed = open("out/unclosed.txt", "w")
unclosed.write("not closed")
atexit.register(lambda: open("out/atexit.txt", "w").write("called"))

def f(x):
    return helper.divide(x)

f(0)
"""
HELPER = "VALUE = 42\n\n\ndef divide(x):\n    return 1 / x\n"


def folder(where: Path) -> Path:
    """A folder with files for a script; the same each time."""
    for name in ("data/deep", "inner"):
        (where / name).mkdir(parents=True)
    for name, text in {
        "like_python.py": LIKE_PYTHON,
        "helper.py": HELPER,
        "inner/__init__.py": "",
        "inner/deep.py": "from helper import VALUE\n",
        "data/a.txt": "a",
        "data/deep/b.txt": "b",
        "ä.txt": "text ä",
        "cut.txt": "abcdef",
        "gone.txt": "",
    }.items():
        (where / name).write_text(text)
    (where / "large.bin").write_bytes(bytes(3_000_001))
    return where


def contents(where: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(where)): path.read_bytes() if path.is_file() else b"folder"
        for path in sorted(where.rglob("*"))
        if "__pycache__" not in path.parts
    }


def test_like_python(temporary: Path, tmp_path: Path) -> None:
    args = ("like_python.py", "-x", "--headed", "ä b", "--", "1")
    stdin = "Bob ä\nsecond line\n".encode() + b"more\n" * 40_000
    tuned = tmp_path / "tuned" / "ä.json"
    tuned.parent.mkdir()
    tuned.write_text("{}\n")
    env = {"TENSORGL_TESTED": "yes", "PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1"}
    env["TENSORGL_TUNING"] = str(tuned)
    script = folder(tmp_path / "script")
    native = subprocess.run(
        [sys.executable, *args],
        cwd=script,
        input=stdin,
        capture_output=True,
        env={key: value for key, value in (os.environ | env).items() if key != "PYTHONPATH"},
    )
    expected = contents(script)
    shutil.rmtree(script)
    ours = run(*args, cwd=folder(script), stdin=stdin, **env)
    assert ours.stdout.decode(errors="replace") == native.stdout.decode(errors="replace")
    assert ours.stdout == native.stdout
    # Another version of Python marks the places in a line by other signs.
    assert unmarked(ours.stderr) == unmarked(native.stderr)
    assert f'File "{script}/helper.py", line 5, in divide' in ours.stderr.decode()
    assert ours.returncode == native.returncode == 1
    assert contents(script) == expected
    copied = (script / "out" / "copy.txt").stat()
    assert (copied.st_mode & 0o777, copied.st_mtime) == (0o640, 2000)


def unmarked(text: bytes) -> list[str]:
    return [line for line in text.decode().splitlines() if line.strip(" ~^")]


TORCH = """
import sys
import torch
from torch import nn
import show
import tensorgl
from tensorgl import cli

assert torch is tensorgl
device = torch.accelerator.current_accelerator()
torch.manual_seed(0)
model = nn.Linear(4, 1).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
x = torch.randn(32, 4, device=device)
for _ in range(20):
    optimizer.zero_grad()
    loss = ((model(x) - x.sum(1, keepdim=True)) ** 2).mean()
    loss.backward()
    optimizer.step()
print(device, round(loss.item(), 4))
torch.save(model.state_dict(), "model.pt")
print(sorted(torch.load("model.pt")))
show.plot()
cli.main(["info"])
import numpy, os
try:
    open("/etc/hostname")
except FileNotFoundError as error:
    print("not there:", error.filename)
try:
    open("link.txt")
except PermissionError as error:
    print("outside:", error.filename)
try:
    open("huge.bin", "rb").read(1)
except OSError as error:
    print("huge:", error.strerror)
sys.exit("that is all")
"""
SHOW = """
def plot():
    import matplotlib.pyplot as plt
    plt.plot([1, 2])
    plt.savefig("../out.png")
"""


def test_packages_devices_and_two_folders(temporary: Path, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "work" / "here").mkdir(parents=True)
    (tmp_path / "code" / "train.py").write_text(TORCH.replace('"../out', '"out'))
    (tmp_path / "code" / "show.py").write_text(SHOW.replace("../", ""))
    here = tmp_path / "work" / "here"
    (tmp_path / "secret.txt").write_text("secret")
    (here / "link.txt").symlink_to(tmp_path / "secret.txt")
    (here / "tensorgl").mkdir()  # as a folder of data may be called
    (here / "tensorgl" / "__init__.py").write_text("raise ImportError('not this one')\n")
    with open(here / "huge.bin", "wb") as huge:
        huge.truncate((1 << 30) + 1)
    ours = run("../../code/train.py", cwd=here, options=(*MESA, "--as-torch"), TENSORGL_DEVICE="gl")
    assert ours.stderr.decode() == "that is all\n"
    assert ours.returncode == 1
    lines = ours.stdout.decode().splitlines()
    native = subprocess.run(
        [sys.executable, "-P", "-m", "tensorgl", "run", "--as-torch", "../../code/train.py"],
        cwd=here,
        capture_output=True,
        text=True,
        env=os.environ | {"TENSORGL_DEVICE": "cpu"},
    ).stdout.splitlines()
    assert lines[0] == native[0].replace("None", "gl")
    assert lines[1] == "['bias', 'weight']"
    assert (here / "out.png").read_bytes().startswith(b"\x89PNG")
    assert lines[-3:] == [
        "not there: /etc/hostname",
        "outside: link.txt",
        "huge: File too large",
    ]
    info = "\n".join(lines[2:-3])
    for word in ("device gl     ANGLE", "target fragment", "accelerator   gl: TENSORGL_DEVICE=gl"):
        assert word in info


TERMINAL = """
import sys, time
print(sys.stdin.isatty(), sys.stdout.isatty(), "hello", input("name? "))
for wait in (lambda: input("again? "), lambda: time.sleep(1000), lambda: [0 for _ in iter(int, 1)]):
    print("waiting", flush=True)
    try:
        wait()
    except KeyboardInterrupt:
        print("interrupted")
print("still", input("here? "))
with open("saved.txt", "w") as file:
    file.write("saved")
print("waiting", flush=True)
while True:
    pass
"""


def test_in_a_terminal(temporary: Path, tmp_path: Path) -> None:
    (tmp_path / "terminal.py").write_text(TERMINAL)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command("terminal.py"),
        cwd=tmp_path,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),  # now its terminal
    )
    os.close(theirs)
    said = b""

    def hear(text: bytes) -> None:
        nonlocal said
        while text not in said:
            try:
                said += os.read(ours, 4096)
            except OSError:  # of a terminal that nobody has open any more
                pytest.fail(f"expected {text!r}, and it ended with {said!r}")
        said = said[said.index(text) + len(text) :]

    hear(b"name? ")
    os.write(ours, b"Eve\n")
    hear(b"True True hello Eve")
    for _ in range(3):
        hear(b"waiting")
        os.write(ours, b"\x03")
        hear(b"interrupted")
    hear(b"here? ")
    os.write(ours, b"I am\n")
    hear(b"still I am")
    hear(b"waiting")
    os.write(ours, b"\x03")
    hear(b"KeyboardInterrupt")
    assert process.wait(LONG) == 130
    os.close(ours)
    assert (tmp_path / "saved.txt").read_text() == "saved"


BUSY = """
import time
with open("before.txt", "w") as file:
    file.write("written before")
print("running", flush=True)
while True:
    try:
        while True:
            time.sleep(0.01)
    except KeyboardInterrupt:
        print("no", flush=True)
"""


def started(tmp_path: Path, *options: str) -> subprocess.Popen[bytes]:
    """A script that runs for ever and ignores Ctrl-C."""
    (tmp_path / "busy.py").write_text(BUSY)
    process = subprocess.Popen(
        command("busy.py", options=(*MESA, *options)),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout
    assert process.stdout.readline() == b"running\n"
    return process


@pytest.mark.parametrize(
    ("which", "message"),
    [
        ("--type=renderer", "the tab crashed, or was closed or reloaded"),
        ("file://", "the browser was closed or crashed"),
    ],
)
def test_a_crash_is_said(which: str, message: str, temporary: Path, tmp_path: Path) -> None:
    process = started(tmp_path)
    for number, line in processes(temporary).items():
        if which in line and "browsers.py" not in line:
            os.kill(number, signal.SIGKILL)
    _, errors = process.communicate(timeout=LONG)
    assert process.returncode == 1
    assert f"tensorgl: {message}" in errors.decode()
    assert (tmp_path / "before.txt").read_text() == "written before"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_browser_is_left(number: int, temporary: Path, tmp_path: Path) -> None:
    process = started(tmp_path)
    if number == signal.SIGTERM:
        process.send_signal(signal.SIGINT)
        assert process.stdout
        assert process.stdout.readline() == b"no\n"
    process.send_signal(number)
    process.communicate(timeout=LONG)
    assert process.returncode == (143 if number == signal.SIGTERM else -9)


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("print('x')\n")
    found = run("x.py", cwd=tmp_path, PATH="/nowhere")
    assert (found.returncode, found.stdout) == (1, b"")
    assert b"tensorgl: no chromium found" in found.stderr
    assert b"apt-get install chromium" in found.stderr
    found = run("none.py", cwd=tmp_path)
    assert (found.returncode, found.stdout) == (2, b"")
    assert b"can't open file 'none.py'" in found.stderr
    (tmp_path / "aiohttp.py").write_text("raise ModuleNotFoundError('no', name='aiohttp')\n")
    found = run("x.py", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert found.returncode == 1
    assert b"pip install 'tensorgl[browser]'" in found.stderr
    found = subprocess.run(
        [sys.executable, "-m", "tensorgl", "run", "--headed", "x.py"],
        cwd=tmp_path,
        capture_output=True,
    )
    assert found.returncode == 2
    assert b"need --browser" in found.stderr


def test_in_firefox(temporary: Path, tmp_path: Path) -> None:
    try:
        browsers.find("firefox")
    except browsers.BrowserError as missing:
        (pytest.fail if "webgl" in REQUIRED else pytest.skip)(str(missing))
    script = (
        "import sys, tensorgl as tg\n"
        "x = tg.arange(6.0, device='gl').reshape(2, 3)\n"
        "print(input(), (x @ x.T).tolist())\n"
        "open('out.txt', 'w').write(open('in.txt').read())\n"
        "sys.exit(5)\n"
    )
    (tmp_path / "x.py").write_text(script)
    (tmp_path / "in.txt").write_text("text")
    ours = run("x.py", cwd=tmp_path, stdin=b"Bob", options=("--browser-name", "firefox"))
    assert ours.stderr.decode() == ""
    assert ours.stdout.decode() == "Bob [[5.0, 14.0], [14.0, 50.0]]\n"
    assert ours.returncode == 5
    assert (tmp_path / "out.txt").read_text() == "text"
