"""What `python -m bench sync --real` runs, alone; with browsers and a hub it takes minutes."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from bench.sync import digits


def test_digits_alone_say_what_they_do() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TENSORGL_HUB"}
    said = subprocess.run(
        [sys.executable, digits.__file__, "7"],
        capture_output=True,
        text=True,
        check=True,
        env=environment | {"TENSORGL_DEVICE": "cpu"},
    ).stdout
    *steps, end = map(json.loads, said.splitlines())
    train, test = digits.split()
    assert [step["round"] for step in steps] == [1, 2, 3, 4, 5, 6, 7]
    assert sum(step["samples"] for step in steps) == len(train) + digits.BATCH
    assert len(train) + len(test) == 1797
    assert end["on"] == "numpy"
    assert end["accuracy"] > 0.2
