"""Sequential, and lists and dicts of modules and parameters."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest

import tensorgl as tg
from tensorgl import nn


def names(pairs):
    return [name for name, _ in pairs]


def test_sequential_is_a_list_that_can_be_called():
    a, b, c = nn.Linear(2, 2), nn.ReLU(), nn.Tanh()
    m = nn.Sequential(a, b, c)
    x = tg.randn(3, 2)
    np.testing.assert_array_equal(m(x).tolist(), c(b(a(x))).tolist())
    assert m[-1] is c
    assert list(m[1:]) == [b, c]
    assert len(m) == 3
    m[1] = c
    del m[0]
    assert names(m.named_children()) == ["0"]
    assert list(m.insert(0, a).append(b).extend([a])) == [a, c, c, b, a]
    assert m.pop(0) is a
    assert len(m + nn.Sequential(a)) == 5
    assert len(m * 2) == 8
    named = nn.Sequential(OrderedDict(first=a, second=b))
    assert named.second is b
    with pytest.raises(IndexError, match="index 4 is out of range"):
        m[4]
    with pytest.raises(TypeError, match="int is not a Module subclass"):
        nn.Sequential(3)


def test_module_list_and_dict():
    layers = nn.ModuleList(nn.Linear(1, 1) for _ in range(3))
    assert len(list(layers.parameters())) == 6
    assert isinstance(layers[:2], nn.ModuleList)
    layers += [nn.ReLU()]
    layers.insert(0, nn.Tanh())
    assert [type(m).__name__ for m in layers][::4] == ["Tanh", "ReLU"]
    d = nn.ModuleDict({"a": nn.ReLU()})
    d.update([("b", nn.Tanh())])
    assert list(d) == list(d.keys()) == ["a", "b"]
    assert "a" in d
    assert isinstance(d.pop("a"), nn.ReLU)
    assert [name for name, _ in d.items()] == ["b"]
    with pytest.raises(ValueError, match="length 1; 2 is required"):
        nn.ModuleDict([("a",)])


def test_parameter_list_and_dict():
    p = nn.ParameterList([tg.ones(2), nn.Parameter(tg.zeros(1))])
    p.append(tg.ones(3))
    assert all(isinstance(x, nn.Parameter) for x in p)
    assert list(p.state_dict()) == ["0", "1", "2"]
    assert len(p[1:]) == 2
    p[0] = tg.zeros(4)
    assert p[0].shape == (4,)
    d = nn.ParameterDict({"a": tg.ones(2), "count": 3})
    assert list(d.state_dict()) == ["a"]
    assert d["count"] == 3
    assert d.get("b", 5) == 5
    d["b"] = tg.zeros(1)
    assert d.pop("a").tolist() == [1.0, 1.0]
    assert list(d) == ["count", "b"]
    with pytest.raises(KeyError):
        d["a"]
