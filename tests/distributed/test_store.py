"""A hub's files: whatever a crash leaves behind, what was appended is there, whole and once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorgl.distributed.store import Record, Store
from tensorgl.errors import SerializationError


def arrays(k: int) -> list[np.ndarray]:
    return [np.full(5, k, np.float32), np.arange(k, dtype=np.int64).reshape(1, k), np.float64([k])]


def recovered(directory: Path) -> tuple[Record | None, list[Record]]:
    store = Store(directory)
    try:
        return store.recover()
    finally:
        store.close()


def numbers(directory: Path) -> list[int]:
    """What the records of `filled` say, those included that the checkpoint stands for."""
    state, records = recovered(directory)
    for header, values in records:
        for value, expected in zip(values, arrays(header["k"]), strict=True):
            assert value.dtype == expected.dtype
            np.testing.assert_array_equal(value, expected)
    before = list(range(state[0]["k"] + 1)) if state else []
    return before + [header["k"] for header, _ in records]


def filled(directory: Path, count: int, checkpoints: tuple[int, ...] = ()) -> None:
    directory.mkdir(exist_ok=True)
    store = Store(directory)
    store.recover()
    for k in range(count):
        store.append({"k": k}, arrays(k))
        if k in checkpoints:
            store.checkpoint({"k": k}, arrays(k))
    store.close()


def test_a_new_directory_holds_nothing(tmp_path: Path) -> None:
    assert recovered(tmp_path) == (None, [])


def test_what_was_appended_is_there_and_more_can_be(tmp_path: Path) -> None:
    filled(tmp_path, 3)
    assert numbers(tmp_path) == [0, 1, 2]
    store = Store(tmp_path)
    store.recover()
    store.append({"k": 3}, arrays(3))
    store.close()
    assert numbers(tmp_path) == [0, 1, 2, 3]


def test_arrays_come_back_as_ones_that_can_be_written(tmp_path: Path) -> None:
    filled(tmp_path, 1)
    _, [(_, values)] = recovered(tmp_path)
    values[0] += 1
    assert values[0].flags.aligned


def test_headers_come_back_exactly(tmp_path: Path) -> None:
    header: dict[str, Any] = {"lr": [0.1, 1 / 3, 1e-300], "name": "é\u2028", "none": None}
    store = Store(tmp_path)
    store.recover()
    store.append(header, [])
    store.close()
    assert recovered(tmp_path)[1] == [(header, [])]


def test_a_log_that_is_torn_anywhere_loses_only_what_was_being_written(tmp_path: Path) -> None:
    filled(tmp_path / "whole", 3)
    data = (tmp_path / "whole" / "log-0.tgl").read_bytes()
    filled(tmp_path / "two", 2)
    second = len((tmp_path / "two" / "log-0.tgl").read_bytes())
    for length in range(second, len(data)):
        (tmp_path / "two" / "log-0.tgl").write_bytes(data[:length])
        assert numbers(tmp_path / "two") == [0, 1], length
        assert (tmp_path / "two" / "log-0.tgl").stat().st_size == second


@pytest.mark.parametrize("keep", [0, 7, 30, 60])
def test_a_file_system_may_have_grown_a_torn_log_by_zeros(tmp_path: Path, keep: int) -> None:
    filled(tmp_path, 2)
    path = tmp_path / "log-0.tgl"
    before = path.stat().st_size
    filled(tmp_path / "more", 3)
    third = (tmp_path / "more" / "log-0.tgl").read_bytes()[before:]
    with open(path, "ab") as file:
        file.write(third[:keep] + bytes(len(third) - keep))
    assert numbers(tmp_path) == [0, 1]


@given(st.data())
def test_damage_before_the_last_record_is_found(data: st.DataObject) -> None:
    directory = Path(os.environ["PYTEST_STORE"])
    original = (directory / "log-0.tgl").read_bytes()
    last = original.rindex(b"TGLREC01")
    at = data.draw(st.integers(0, last - 1))
    bit = 1 << data.draw(st.integers(0, 7))
    copy = directory.parent / "damaged"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    (copy / "log-0.tgl").write_bytes(
        original[:at] + bytes([original[at] ^ bit]) + original[at + 1 :]
    )
    with pytest.raises(SerializationError, match="byte"):
        recovered(copy)
    assert (copy / "log-0.tgl").stat().st_size == len(original)  # nothing was cut off


@pytest.fixture(scope="module", autouse=True)
def _store(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Files for the property test, which makes none for each example."""
    directory = tmp_path_factory.mktemp("store") / "three"
    filled(directory, 3)
    os.environ["PYTEST_STORE"] = str(directory)
    yield
    del os.environ["PYTEST_STORE"]


def test_a_checkpoint_shortens_the_log_and_two_are_kept(tmp_path: Path) -> None:
    filled(tmp_path, 9, checkpoints=(1, 3, 5))
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "checkpoint-2.tgl", "checkpoint-3.tgl", "lock", "log-2.tgl", "log-3.tgl",
    ]  # fmt: skip
    state, records = recovered(tmp_path)
    assert state is not None
    assert state[0] == {"k": 5}
    np.testing.assert_array_equal(state[1][0], arrays(5)[0])
    assert [header["k"] for header, _ in records] == [6, 7, 8]


@pytest.mark.parametrize("size", [0, 20, 100])
def test_a_damaged_checkpoint_is_made_up_for_by_the_one_before(tmp_path: Path, size: int) -> None:
    filled(tmp_path, 9, checkpoints=(3, 5))
    path = tmp_path / "checkpoint-2.tgl"
    path.write_bytes(path.read_bytes()[:size])
    assert numbers(tmp_path) == list(range(9))
    store = Store(tmp_path)  # and the next one takes its place
    store.recover()
    store.checkpoint({"k": 8}, arrays(8))
    store.close()
    assert not path.exists()
    (tmp_path / "checkpoint-3.tgl").unlink()
    assert numbers(tmp_path) == list(range(9))


def test_without_any_checkpoint_the_logs_serve_if_they_are_all_there(tmp_path: Path) -> None:
    filled(tmp_path, 5, checkpoints=(2,))
    (tmp_path / "checkpoint-1.tgl").write_bytes(b"")
    assert numbers(tmp_path) == [0, 1, 2, 3, 4]
    (tmp_path / "log-0.tgl").unlink()
    with pytest.raises(SerializationError, match="no checkpoint can be read"):
        recovered(tmp_path)


@pytest.mark.parametrize("name", ["log-1.tgl", "log-2.tgl"])
def test_a_log_that_is_missing_is_noticed(tmp_path: Path, name: str) -> None:
    filled(tmp_path, 9, checkpoints=(3, 5))
    (tmp_path / "checkpoint-2.tgl").unlink()
    (tmp_path / name).unlink()
    if name == "log-1.tgl":
        with pytest.raises(SerializationError, match=r"expected log-1\.tgl"):
            recovered(tmp_path)
    else:  # that of a checkpoint which is gone, too: nothing says that it ever was
        assert numbers(tmp_path) == [0, 1, 2, 3, 4, 5]


def test_only_one_hub_runs_on_a_directory_and_others_are_told_where(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.tell("ws://127.0.0.1:1234 process 1")
    assert Store.told(tmp_path) == "ws://127.0.0.1:1234 process 1"
    with pytest.raises(RuntimeError, match=r"another hub .*127\.0\.0\.1:1234"):
        Store(tmp_path)
    store.close()
    assert Store.told(tmp_path) == ""
    assert Store.told(tmp_path / "none") == ""
    Store(tmp_path).close()


PROGRAM = """
import sys
from pathlib import Path
from tests.distributed.test_store import filled
filled(Path(sys.argv[1]), 6, checkpoints=(1, 3))
"""


def crashed(directory: Path, point: str) -> int:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, str(directory)],
        env={**os.environ, "TENSORGL_FAIL_POINT": point},
    ).returncode


@pytest.mark.parametrize(
    ("point", "count"),
    [
        ("torn-log", 0),
        ("torn-log:5", 4),
        ("mid-checkpoint", 2),
        ("mid-checkpoint:2", 4),
        ("after-rename", 2),
        ("after-rename:2", 4),
    ],
)
def test_a_crash_at_any_point_loses_nothing_that_was_appended(
    tmp_path: Path, point: str, count: int
) -> None:
    assert crashed(tmp_path, point) == 137
    assert numbers(tmp_path) == list(range(count))


def test_a_point_that_is_not_reached_changes_nothing(tmp_path: Path) -> None:
    assert crashed(tmp_path, "torn-log:100") == 0
    assert numbers(tmp_path) == list(range(6))


FULL = """
import resource, sys
from pathlib import Path
from tensorgl.distributed.store import Store
from tensorgl.errors import SerializationError
from tests.distributed.test_store import arrays
store = Store(Path(sys.argv[1]))
store.recover()
store.append({"k": 0}, arrays(0))
resource.setrlimit(resource.RLIMIT_FSIZE, (store.log_bytes + 50, -1))  # as a disk that is full
for write in (store.append, store.checkpoint):
    try:
        write({"k": 1}, arrays(300))
    except SerializationError as error:
        assert "could not be written whole" in str(error), error
    else:
        raise AssertionError("it was written")
"""


def test_a_full_disk_is_an_error_and_what_was_there_before_remains(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], check=True)
    assert numbers(tmp_path) == [0]
