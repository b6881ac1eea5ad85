"""State that modules have beside tensors, and modules that save and load in ways of their own."""

import tensorgl as tg
from tensorgl import nn


class Counting(nn.Linear):
    """A layer with a count that is no tensor, which version 1 did not save and named `w` then."""

    _version = 2

    def __init__(self):
        super().__init__(1, 1)
        self.count = 0

    def get_extra_state(self):
        return {"count": self.count}

    def set_extra_state(self, state):
        self.count = state["count"]

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *rest):
        if local_metadata.get("version", 1) < 2:
            state_dict[prefix + "weight"] = state_dict.pop(prefix + "w")
            state_dict[prefix + "_extra_state"] = {"count": -1}
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


def test_extra_state_and_versions():
    m, other = nn.Sequential(Counting(), nn.ReLU()), nn.Sequential(Counting(), nn.ReLU())
    m[0].count = 3
    state = m.state_dict()
    assert list(state) == ["0.weight", "0.bias", "0._extra_state"]
    other.load_state_dict(state)
    assert (other[0].count, other[0].weight.item()) == (3, m[0].weight.item())
    old = {"0.w": tg.ones(1, 1), "0.bias": tg.zeros(1)}
    other.load_state_dict(old)
    assert (other[0].count, other[0].weight.item(), list(old)) == (-1, 1.0, ["0.w", "0.bias"])
    del state["0._extra_state"]
    assert m.load_state_dict(state, strict=False).missing_keys == ["0._extra_state"]
    unexpected = nn.Linear(1, 1).load_state_dict(m[0].state_dict(), strict=False).unexpected_keys
    assert unexpected == ["_extra_state"]


def test_a_module_may_save_in_its_own_way():
    class Doubled(nn.Linear):
        def _save_to_state_dict(self, destination, prefix, keep_vars):
            destination[prefix + "twice"] = 2 * self.weight.detach()

        def _load_from_state_dict(self, state_dict, prefix, *_):
            self.weight.data = state_dict[prefix + "twice"] / 2

    m, other = nn.ModuleList([Doubled(1, 1)]), nn.ModuleList([Doubled(1, 1)])
    assert list(m.state_dict()) == ["0.twice"]
    other.load_state_dict(m.state_dict())
    assert other[0].weight.item() == m[0].weight.item()
