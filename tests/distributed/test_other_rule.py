"""A hub that is started again with another `rule` in its hub.json."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import tensorgl as tg
from tensorgl import optim
from tests.distributed.running import Trainer, network, running


@pytest.mark.parametrize(("before", "after"), [("mean", "median"), ("multi_krum", "mean")])
def test_rounds_go_on_by_the_rule_that_is_set(tmp_path: Path, before: str, after: str) -> None:
    x, y = tg.randn(8, 6), tg.randint(0, 3, (8,))
    net = network()
    alone = optim.SGD(net.parameters(), lr=0.1)
    with running(tmp_path, rule=before, up="raw", down="raw") as hub:
        trainer = Trainer(hub.client())
        for step in range(4):
            trainer.step(x, y)
            alone.zero_grad()
            tg.nn.functional.cross_entropy(net(x), y).backward()
            alone.step()
            if step == 1:
                hub.stop()
                file = hub.directory / "hub.json"
                file.write_text(json.dumps(json.loads(file.read_text()) | {"rule": after}))
                hub.start()
                assert hub.hub.run.model
                assert hub.hub.run.model.rule == after
        trainer.client.close()
    for value, parameter in zip(trainer.parameters(), net.parameters(), strict=True):
        np.testing.assert_allclose(value, parameter.detach().numpy(), rtol=1e-5, atol=1e-6)
