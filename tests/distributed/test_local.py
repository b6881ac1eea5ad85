"""local://N: whole scripts, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tensorgl.distributed.local import fork

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

SCRIPT = """
import sys
import tensorgl as tg
from tensorgl import nn, optim
import tensorgl.distributed as dist
from tensorgl.datasets import digits
from tensorgl.distributed import group
from tensorgl.distributed.view import hash_of
from tensorgl.utils.data import DataLoader, DistributedSampler

tg.manual_seed(0)
dist.init_process_group("local://3")
rank = dist.get_rank()
assert dist.get_world_size() == 3
x = tg.tensor([float(rank), 1.0])
dist.all_reduce(x)
assert x.tolist() == [3.0, 3.0]
net = dist.DistributedDataParallel(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)))
optimizer = dist.HubOptimizer(optim.SGD(net.parameters(), lr=0.5))
data = digits()
seen = 0
for images, labels in DataLoader(data, batch_sampler=DistributedSampler(data, 256)):
    optimizer.zero_grad()
    nn.functional.cross_entropy(net(images), labels).backward()
    optimizer.step()
    seen += len(images)
total = tg.tensor(seen)
dist.all_reduce(total)
print(f"{rank} {total.item()} {hash_of(group.client().view.values.data)}\\n", end="", flush=True)
"""


def python(script: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a script, with a folder of its own for what is to be gone in the end."""
    env = os.environ | ({"TMPDIR": str(folder)} if folder else {})
    return subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env=env,
    )


def test_a_script_in_three_processes(tmp_path: Path) -> None:
    result = python(SCRIPT, tmp_path)
    assert result.returncode == 0, result.stderr
    lines = sorted(line.split() for line in result.stdout.splitlines())
    assert [line[0] for line in lines] == ["0", "1", "2"]
    assert {line[1] for line in lines} == {"1797"}
    assert len({line[2] for line in lines}) == 1
    assert result.stderr.count("tensorgl.distributed: rank") == 3
    assert not list(tmp_path.iterdir())


FAILS = """
import sys, time
import tensorgl as tg
from tensorgl import nn, optim
import tensorgl.distributed as dist
dist.init_process_group("local://3")
if dist.get_rank() == {rank}:
    raise ValueError("on purpose")
try:
    net = dist.DistributedDataParallel(nn.Linear(3, 2))
    optimizer = dist.HubOptimizer(optim.SGD(net.parameters(), lr=0.1))
    net(tg.ones(4, 3)).sum().backward()
    optimizer.step()  # of all three
finally:
    print("not ended")
"""


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_fails_ends_the_others(rank: int, tmp_path: Path) -> None:
    result = python(FAILS.format(rank=rank), tmp_path)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.count("ValueError: on purpose") == 1
    if rank:
        assert f"tensorgl.distributed: rank {rank} ended with status 1" in result.stderr
    assert not list(tmp_path.iterdir())


def test_alone() -> None:
    result = python(
        "import tensorgl.distributed as dist\n"
        "dist.init_process_group('local://1')\n"
        "dist.barrier()\n"
        "print(dist.get_world_size())\n"
    )
    assert (result.stdout, result.returncode) == ("1\n", 0), result.stderr


def test_a_gpu_that_was_used_is_not_shared() -> None:
    result = python(
        "import tensorgl as tg, tensorgl.distributed as dist\n"
        "from tensorgl.backends import install, meta\n"
        "install(tg.device('gl'), meta.create())\n"  # as good as any other
        "dist.init_process_group('local://2')\n"
    )
    assert "RuntimeError: local://2: device 'gl' was used already" in result.stderr


@pytest.mark.parametrize("text", ["local://", "local://0", "local://-1", "local://many"])
def test_expects_a_number(text: str) -> None:
    with pytest.raises(ValueError, match="expected local:// and a number"):
        fork(text)


def test_a_tab_and_a_plain_import_need_no_server() -> None:
    result = python(
        "import sys, tensorgl\n"
        "assert not any(m.startswith('tensorgl.distributed.') for m in sys.modules)\n"
        "import tensorgl.distributed, tensorgl.utils.data\n"
        "assert 'aiohttp' not in sys.modules\n"
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("package", ["aiohttp", "prometheus_client"])
def test_what_is_not_installed_is_said(package: str) -> None:
    result = python(
        f"import sys; sys.modules[{package!r}] = None\n"
        "import tensorgl.distributed as dist\n"
        "dist.init_process_group('local://2')\n"
    )
    assert result.returncode == 1
    said = f"ModuleNotFoundError: local://2 needs {package}: pip install 'tensorgl[distributed]'"
    assert said in result.stderr
