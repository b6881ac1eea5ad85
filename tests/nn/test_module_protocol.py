"""What every module can do: attributes, traversal, state, modes, hooks, copies, printing."""

from __future__ import annotations

import copy
import pickle

import pytest

import tensorgl as tg
from tensorgl import nn


class Small(nn.Module):
    """A module of every kind of member, with a layer under two names."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(tg.ones(2))
        self.register_buffer("offset", tg.zeros(2))
        self.register_buffer("cache", tg.zeros(1), persistent=False)
        self.layer = nn.Linear(2, 2)
        self.again = self.layer
        self.list = nn.ModuleList([nn.ReLU(), self.layer])

    def forward(self, x, *, factor=1.0):
        return self.list(self.layer(x) * self.scale + self.offset) * factor


def names(pairs):
    return [name for name, _ in pairs]


def one():
    """A linear map of known weights."""
    layer = nn.Linear(2, 1)
    layer.weight.data = tg.tensor([[2.0, -1.0]])
    layer.bias.data = tg.tensor([0.5])
    return layer


# attributes


def test_attributes_are_registered_by_kind():
    m = Small()
    m.buffer = nn.Buffer(tg.zeros(1), persistent=False)
    assert names(m.named_parameters(recurse=False)) == ["scale"]
    assert names(m.named_buffers(recurse=False)) == ["offset", "cache", "buffer"]
    assert names(m.named_children()) == ["layer", "list"]
    assert isinstance(m.buffer, nn.Buffer)
    m.plain = tg.zeros(1)
    assert "plain" in m.__dict__


def test_an_attribute_moves_to_its_new_kind():
    m = nn.Module()
    m.x = 5
    m.x = nn.Parameter(tg.ones(1))
    assert "x" not in m.__dict__
    assert names(m.named_parameters()) == ["x"]
    m.x = None
    assert m.x is None
    assert not names(m.named_parameters())
    m.y = nn.ReLU()
    m.y = nn.Parameter(tg.ones(1))
    assert names(m.named_parameters()) == ["y"]
    assert not names(m.named_children())
    del m.y
    assert not hasattr(m, "y")


def test_a_tensor_may_take_the_place_of_a_buffer():
    m = Small()
    m.offset = tg.ones(3)
    assert names(m.named_buffers()) == ["offset", "cache"]
    m.offset = None
    assert names(m.named_buffers()) == ["cache"]


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (
            lambda m: setattr(m, "scale", tg.zeros(2)),
            TypeError,
            "FloatTensor' as parameter 'scale'",
        ),
        (lambda m: setattr(m, "scale", nn.ReLU()), TypeError, "ReLU' as parameter 'scale'"),
        (lambda m: setattr(m, "layer", 3), TypeError, "'int' as child module 'layer'"),
        (lambda m: setattr(m, "offset", 3), TypeError, "'int' as buffer 'offset'"),
        (lambda m: m.missing, AttributeError, "'Small' object has no attribute 'missing'"),
        (lambda m: delattr(m, "missing"), AttributeError, "missing"),
        (lambda m: m.register_buffer("scale", None), KeyError, "already exists"),
        (lambda m: m.register_buffer("a.b", None), KeyError, "t contain .*got: a.b"),
        (lambda m: m.register_buffer("", None), KeyError, "empty string"),
        (lambda m: m.register_buffer(1, None), TypeError, "should be a string"),
        (lambda m: m.register_buffer("new", 1), TypeError, "'int' object to buffer 'new'"),
        (lambda m: m.register_parameter("new", tg.ones(1)), TypeError, "nn.Parameter or None"),
        (lambda m: m.add_module("new", 1), TypeError, "int is not a Module subclass"),
        (lambda m: m.get_submodule("layer.x"), AttributeError, "Linear has no attribute `x`"),
        (lambda m: m.get_submodule("scale"), AttributeError, "not an nn.Module"),
        (lambda m: m.get_parameter("offset"), AttributeError, "not an nn.Parameter"),
        (lambda m: m.get_buffer("scale"), AttributeError, "not a buffer"),
        (lambda m: m.train(1), ValueError, "expected to be boolean"),
        (lambda m: m.to(tg.int64), TypeError, "only accepts floating point"),
        (lambda m: m.load_state_dict(3), TypeError, "dict-like"),
        (lambda m: nn.Module()(1), NotImplementedError, 'missing the required "forward"'),
    ],
)
def test_errors(act, error, message):
    with pytest.raises(error, match=message):
        act(Small())


def test_members_need_the_constructor_of_module():
    class Late(nn.Module):
        def __init__(self, value):
            self.value = value

    with pytest.raises(AttributeError, match="cannot assign parameter before"):
        Late(nn.Parameter(tg.ones(1)))
    with pytest.raises(
        AttributeError, match=r"cannot assign module before Module.__init__\(\) call"
    ):
        Late(nn.ReLU())


def test_paths_lead_to_members():
    m = Small()
    assert m.get_submodule("list.1") is m.layer
    assert m.get_submodule("") is m
    assert m.get_parameter("layer.bias") is m.layer.bias
    assert m.get_buffer("cache") is m.cache


def test_dir_lists_members():
    assert {"scale", "offset", "layer", "forward", "training"} <= set(dir(Small()))


# traversal


def test_shared_members_come_once_unless_told_otherwise():
    m = Small()
    assert names(m.named_parameters()) == ["scale", "layer.weight", "layer.bias"]
    assert names(m.named_parameters(remove_duplicate=False)) == [
        "scale",
        "layer.weight",
        "layer.bias",
        "again.weight",
        "again.bias",
        "list.1.weight",
        "list.1.bias",
    ]
    assert names(m.named_parameters(prefix="net", recurse=False)) == ["net.scale"]
    assert names(m.named_modules()) == ["", "layer", "list", "list.0"]
    assert len(list(m.parameters())) == 3
    assert [type(c) for c in m.children()] == [nn.Linear, nn.ModuleList]


def test_apply_visits_children_first():
    seen = []
    nn.Sequential(nn.ReLU(), nn.Sequential(nn.Tanh())).apply(
        lambda m: seen.append(type(m).__name__)
    )
    assert seen == ["ReLU", "Tanh", "Sequential", "Sequential"]


def test_modes_and_gradients_reach_all_modules():
    m = Small()
    assert m.eval() is m
    assert not any(x.training for x in m.modules())
    assert all(x.training for x in m.train().modules())
    m.requires_grad_(False)
    assert not any(p.requires_grad for p in m.parameters())
    layer = one()
    layer(tg.ones(1, 2)).sum().backward()
    layer.zero_grad(set_to_none=False)
    assert layer.weight.grad.tolist() == [[0.0, 0.0]]
    layer.zero_grad()
    assert layer.weight.grad is None


# state


def test_state_has_persistent_members_and_shares_memory():
    m = Small()
    state = m.state_dict(prefix="m.")
    assert list(state)[:4] == ["m.scale", "m.offset", "m.layer.weight", "m.layer.bias"]
    assert "m.cache" not in state
    assert not state["m.scale"].requires_grad
    state["m.scale"][0] = 7
    assert m.scale.tolist() == [7.0, 1.0]
    assert m.state_dict(keep_vars=True)["scale"] is m.scale


def test_loading_copies_values_and_keeps_the_parameters():
    m, other = Small(), Small()
    weight = m.layer.weight
    assert repr(m.load_state_dict(other.state_dict())) == "<All keys matched successfully>"
    assert m.layer.weight is weight
    assert weight.tolist() == other.layer.weight.tolist()
    layer = one()
    layer.load_state_dict({"weight": tg.ones(1, 2).double(), "bias": tg.zeros(1)})
    assert layer.weight.dtype is tg.float32


def test_loading_may_assign():
    layer = one()
    state = {"weight": tg.ones(1, 2).double(), "bias": tg.zeros(1)}
    layer.load_state_dict(state, assign=True)
    assert isinstance(layer.weight, nn.Parameter)
    assert layer.weight.requires_grad
    assert layer.weight.dtype is tg.float64


def test_loading_names_every_mismatch():
    with pytest.raises(RuntimeError) as caught:
        one().load_state_dict({"weight": tg.zeros(2, 2), "other": tg.zeros(1)})
    assert str(caught.value) == (
        "Error(s) in loading state_dict for Linear:\n"
        '\tMissing key(s) in state_dict: "bias". \n'
        '\tUnexpected key(s) in state_dict: "other". \n'
        "\tsize mismatch for weight: copying a param with shape tensorgl.Size([2, 2]) from checkpoint, "
        "the shape in current model is tensorgl.Size([1, 2])."
    )
    result = one().load_state_dict({"other": tg.zeros(1)}, strict=False)
    assert result.missing_keys == ["weight", "bias"]
    assert result.unexpected_keys == ["other"]
    with pytest.raises(RuntimeError, match='named "bias", expected tensorgl'):
        one().load_state_dict({"weight": tg.zeros(1, 2), "bias": 3})


# conversion


def test_conversion_keeps_the_parameters_and_casts_only_floats():
    m = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    weight = m[0].weight
    m(tg.randn(3, 2)).sum().backward()
    assert m.double() is m
    assert m[0].weight is weight
    assert weight.dtype is weight.grad.dtype is tg.float64
    assert m[1].running_mean.dtype is tg.float64
    assert m[1].num_batches_tracked.dtype is tg.int64
    assert m.to(tg.zeros(1)).to("cpu", tg.float16)[0].bias.dtype is tg.float16
    assert m.to(device="meta")[0].weight.device.type == "meta"


# hooks


def test_forward_hooks_see_and_replace():
    layer = one()
    log = []
    layer.register_forward_pre_hook(lambda m, args: log.append("second"))
    layer.register_forward_pre_hook(lambda m, args: log.append("first"), prepend=True)
    double = layer.register_forward_pre_hook(lambda m, args: args[0] * 2)
    negate = layer.register_forward_hook(lambda m, args, out: -out)
    assert layer(tg.ones(1, 2)).tolist() == [[-2.5]]
    assert log == ["first", "second"]
    double.remove()
    double.remove()
    negate.remove()
    assert layer(tg.ones(1, 2)).tolist() == [[1.5]]
    with layer.register_forward_hook(lambda m, args, out: out * 0):
        assert layer(tg.ones(1, 2)).tolist() == [[0.0]]


def test_hooks_with_keyword_arguments():
    class Scaled(nn.Module):
        def forward(self, x, factor=1.0):
            return x * factor

    m = Scaled()
    seen = []
    m.register_forward_pre_hook(lambda m, args, kwargs: (args, {"factor": 3.0}), with_kwargs=True)
    m.register_forward_hook(lambda m, args, kwargs, out: seen.append(kwargs), with_kwargs=True)
    assert m(tg.ones(1), factor=2.0).tolist() == [3.0]
    assert seen == [{"factor": 3.0}]
    m.register_forward_pre_hook(lambda m, args, kwargs: 3, with_kwargs=True)
    with pytest.raises(RuntimeError, match="must return None or a tuple"):
        m(tg.ones(1))


def test_backward_hooks_see_the_gradients_of_inputs_and_outputs():
    layer = one()
    seen = []
    layer.register_full_backward_pre_hook(lambda m, grad_output: seen.append(grad_output))
    layer.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go)))
    x = tg.ones(1, 2, requires_grad=True)
    (layer(x) * 3).sum().backward()
    (pre,), ((gi,), (go,)) = seen
    assert pre.tolist() == go.tolist() == [[3.0]]
    assert gi.tolist() == x.grad.tolist() == [[6.0, -3.0]]
    assert layer.bias.grad.tolist() == [3.0]


def test_backward_hooks_without_an_input_that_wants_a_gradient():
    layer = one()
    seen = []
    layer.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go[0].tolist())))
    layer(tg.ones(1, 2)).sum().backward()
    assert seen == [((None,), [[1.0]])]
    layer.register_full_backward_hook(lambda m, gi, go: go)
    with pytest.raises(RuntimeError, match="no input requires gradient"):
        layer(tg.ones(1, 2)).sum().backward()


def test_backward_hooks_replace_gradients():
    layer = one()
    layer.register_full_backward_pre_hook(lambda m, go: (go[0] * 2,))
    handle = layer.register_full_backward_hook(lambda m, gi, go: (gi[0] * 10,))
    x = tg.ones(1, 2, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad.tolist() == [[40.0, -20.0]]
    assert layer.weight.grad.tolist() == [[2.0, 2.0]]
    handle.remove()
    layer.register_full_backward_hook(lambda m, gi, go: (gi[0], gi[0]))
    with pytest.raises(RuntimeError, match="invalid number of grad_input, got 2, but expected 1"):
        layer(x).sum().backward()


def test_backward_hooks_of_several_results():
    class Two(nn.Module):
        def forward(self, x, y):
            return x * y, "text", x + y

    m = Two()
    seen = []
    m.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go)))
    x, y = tg.full((1,), 2.0, requires_grad=True), tg.full((1,), 5.0)
    product, _, total = m(x, y)
    (product + 3 * total).sum().backward()
    ((gx, gy), (gp, gt, gs)) = seen[0]
    assert (gx.item(), gy, gp.item(), gt, gs.item()) == (8.0, None, 1.0, None, 3.0)


def test_backward_hooks_can_be_differentiated():
    layer = one()
    layer.register_full_backward_hook(lambda m, gi, go: (gi[0] ** 2,))
    x = tg.ones(1, 2, requires_grad=True)
    (g,) = tg.autograd.grad(layer(x).sum(), x, create_graph=True)
    g.sum().backward()
    assert layer.weight.grad.tolist() == [[4.0, -2.0]]


def test_writing_over_what_a_backward_hook_watches_raises():
    m = nn.Sequential(nn.Linear(2, 2), nn.ReLU(inplace=True))
    m[1].register_full_backward_hook(lambda m, gi, go: None)
    with pytest.raises(RuntimeError, match="modified inplace"):
        m(tg.ones(1, 2))


# copies


def test_copies_are_independent_and_keep_what_is_shared():
    m = Small()
    twin = copy.deepcopy(m)
    assert twin.layer is twin.again is twin.list[1]
    assert isinstance(twin.layer.weight, nn.Parameter)
    twin.layer.weight.data.zero_()
    assert m.layer.weight.abs().sum().item() > 0
    loaded = pickle.loads(pickle.dumps(m))
    assert loaded.layer is loaded.again
    assert isinstance(loaded.scale, nn.Parameter)
    assert loaded.scale.requires_grad
    assert loaded.layer.weight.tolist() == m.layer.weight.tolist()
    assert list(loaded.state_dict()) == list(m.state_dict())


# parameters


def test_a_parameter_is_a_leaf_on_the_memory_it_is_given():
    data = tg.zeros(2)
    p = nn.Parameter(data)
    data[0] = 3
    assert p.tolist() == [3.0, 0.0]
    assert p.is_leaf
    assert p.requires_grad
    assert repr(p) == "Parameter containing:\ntensor([3., 0.], requires_grad=True)"
    assert type(p * 2) is type(p.detach()) is tg.Tensor
    assert nn.Parameter(tg.zeros(2), requires_grad=False).requires_grad is False
    assert nn.Parameter().shape == (0,)
    assert isinstance(copy.copy(p), nn.Parameter)
    with pytest.raises(TypeError, match="expected a Tensor"):
        nn.Parameter([1.0])
    with pytest.raises(RuntimeError, match="floating point"):
        nn.Parameter(tg.zeros(1, dtype=tg.int64))


def test_writing_to_the_data_of_a_parameter_is_noticed():
    data = tg.ones(2)
    p = nn.Parameter(data)
    out = (p * p).sum()
    data.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.backward()


# printing


def test_printed_modules_look_as_in_pytorch():
    m = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1, bias=False),
        nn.BatchNorm2d(2),
        nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2), nn.ReLU(inplace=True)]),
        nn.LSTM(2, 3, num_layers=2, bidirectional=True),
    )
    assert repr(m) == (
        "Sequential(\n"
        "  (0): Conv2d(1, 2, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)\n"
        "  (1): BatchNorm2d(2, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)\n"
        "  (2): ModuleList(\n"
        "    (0-1): 2 x Linear(in_features=2, out_features=2, bias=True)\n"
        "    (2): ReLU(inplace=True)\n"
        "  )\n"
        "  (3): LSTM(2, 3, num_layers=2, bidirectional=True)\n"
        ")"
    )
    assert repr(nn.Sequential()) == "Sequential()"
    assert repr(nn.ParameterList([tg.ones(2, 3)])) == (
        "ParameterList(\n    (0): Parameter containing: [tensorgl.float32 of size 2x3]\n)"
    )


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.Linear(2, 3, False), "Linear(in_features=2, out_features=3, bias=False)"),
        (
            nn.Conv1d(2, 2, 3, padding="same"),
            "Conv1d(2, 2, kernel_size=(3,), stride=(1,), padding=same)",
        ),
        (
            nn.MaxPool2d(2),
            "MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)",
        ),
        (nn.Dropout(0.1), "Dropout(p=0.1, inplace=False)"),
        (nn.LayerNorm(3), "LayerNorm((3,), eps=1e-05, elementwise_affine=True, bias=True)"),
        (nn.Embedding(3, 4, -1), "Embedding(3, 4, padding_idx=2)"),
        (nn.Upsample(scale_factor=2), "Upsample(scale_factor=2.0, mode='nearest')"),
        (nn.GELU("tanh"), "GELU(approximate='tanh')"),
        (nn.CrossEntropyLoss(), "CrossEntropyLoss()"),
        (nn.GRUCell(2, 3, bias=False), "GRUCell(2, 3, bias=False)"),
    ],
)
def test_a_printed_module_tells_its_settings(module, expected):
    assert repr(module) == expected
