"""Dtypes, devices, state dicts, copies and replicas."""

import copy
import io
import pickle

import pytest
import torch

import snntorch as snn
from helpers import assert_equal, flat, gradients, loop, run
from rows import ROWS, every_row, every_step_class, one_per_class
from snntorch._engine import computes

T, B = 6, 3


# -- dtype and device


@pytest.mark.parametrize(("row", "dtype"), [
    *((row, torch.bfloat16) for row in ROWS),
    *((row, dtype) for row in one_per_class() for dtype in (torch.float16, torch.float64)),
], ids=lambda given: getattr(given, "name", given))  # fmt: skip
def test_input_s_dtype_is_kept(row, dtype):
    """Spikes are in the input's dtype, states in float32 where that is half precision."""
    neuron = row.make() if not dict(row.make().named_children()) else row.make(dtype)
    x = row.input(T, B, dtype).requires_grad_()
    out = run(row, neuron, x)
    states = computes(dtype)
    assert {o.dtype for o in flat(out)} <= {dtype, states}
    assert all(getattr(neuron, name).dtype == states for name in row.states)
    assert all(o.isfinite().all() for o in flat(out))
    assert gradients(out, x, neuron)["x"].dtype == dtype


@every_row
def test_autocast_keeps_the_input_s_dtype(row):
    neuron, x = row.make(), row.input(T, B)
    with torch.autocast("cpu", torch.bfloat16):
        out = run(row, neuron, x)
    assert {o.dtype for o in flat(out)} == {torch.float32}


@every_row
def test_half_precision_follows_double(row):
    """float32 spikes equal float64's but where a membrane potential meets its threshold to float32's rounding."""
    single, double = row.make(), row.make(torch.float64)
    double.load_state_dict(single.state_dict())
    x = row.input(T, B)
    found, expected = flat(run(row, single, x)), flat(run(row, double, x.double()))
    for f, e in zip(found, expected, strict=True):
        torch.testing.assert_close(f.double(), e, rtol=1e-4, atol=1e-5)


@every_row
def test_meta_device(row):
    """Shapes without data: the module is made, moved and called on meta."""
    neuron = row.make().to("meta")
    x = row.input(T, B).to("meta")
    out, expected = flat(run(row, neuron, x)), flat(run(row, row.make(), row.input(T, B)))
    assert [(o.shape, o.dtype, o.device.type) for o in out] == [(e.shape, e.dtype, "meta") for e in expected]


def test_state_on_another_device_is_an_error():
    with pytest.raises(ValueError, match="mem is on meta, but the input on cpu"):
        snn.Leaky(0.9)(torch.rand(2, 3), torch.zeros(2, 3, device="meta"))


def test_stored_states_move_with_the_module():
    lif = snn.Leaky(0.9, init_hidden=True)
    lif(torch.rand(2, 3))
    assert lif.to("meta").mem.device.type == "meta"
    lif = snn.Leaky(0.9, init_hidden=True)
    lif(torch.rand(2, 3))
    assert lif.double().mem.dtype == torch.float64


# -- copies


@every_row
def test_state_dict_round_trip(row):
    neuron, other = row.make(), row.make()
    with torch.no_grad():
        for p in neuron.parameters():
            p.mul_(0.9)
    run(row, neuron, row.input(T, B))
    other.load_state_dict(copy.deepcopy(neuron.state_dict()))
    snn.utils.reset(neuron)
    x = row.input(T, B + 1)
    assert_equal(run(row, other, x), run(row, neuron, x))


def by_torch_save(module):
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda m: pickle.loads(pickle.dumps(m)), "torch.save": by_torch_save}


@pytest.mark.parametrize(("row", "how"), [
    *((row, "pickle") for row in ROWS), *((row, how) for row in one_per_class() for how in ("deepcopy", "torch.save"))
], ids=lambda given: getattr(given, "name", given))  # fmt: skip
def test_copy_before_and_after_a_forward(row, how):
    neuron, x = row.make(), row.input(T, B)
    before = COPIES[how](neuron)
    expected = run(row, neuron, x)
    assert_equal(run(row, before, x), expected)
    after = COPIES[how](neuron)  # with stored states that hang on a graph
    for name in row.states:
        assert_equal(getattr(after, name), getattr(neuron, name).detach())
        assert getattr(after, name) is not getattr(neuron, name)
    assert_equal(run(row, after, x), run(row, neuron, x))
    assert all(a is not b for a, b in zip(after.parameters(), neuron.parameters(), strict=True))


def replicate(module):
    """What nn.DataParallel puts on each device: shallow copies whose parameters are plain tensors with a history."""
    replica = module._replicate_for_data_parallel()
    for name, p in module._parameters.items():
        setattr(replica, name, None if p is None else p.view_as(p))
    replica._modules = {name: replicate(child) for name, child in module._modules.items()}
    return replica


@every_step_class
def test_data_parallel_replica(row):
    """A replica's states are its own."""
    neuron = row.make(init_hidden=True, output=True)
    x = row.input(T, B)
    expected = loop(row.make(init_hidden=True, output=True), x)
    replica = replicate(neuron)
    assert_equal(loop(replica, x), expected)
    assert all(getattr(neuron, name).shape == (0,) for name in row.states)


LEARNT = [
    (snn.Leaky(0.9, learn_graded_spikes_factor=True), "graded_spikes_factor", 1.0),
    (snn.Leaky(0.9, learn_beta=True), "beta", 0.7),
    (snn.Lapicque(beta=0.8, learn_beta=True), "beta", 0.8),
]


@pytest.mark.parametrize(("neuron", "name", "value"), LEARNT, ids=["factor", "Leaky", "Lapicque"])
def test_parameters_that_are_plain_tensors_keep_their_gradients(neuron, name, value):
    """In a replica or a functional call a parameter is no nn.Parameter, and a factor of 1 must be multiplied by."""
    x, mem = torch.full((1, 2), 2.0), torch.ones(1, 2)

    def total(value):
        return sum(o.sum() for o in torch.func.functional_call(neuron, {name: value}, (x, mem)))

    value = torch.tensor(value, requires_grad=True)
    (expected,) = torch.autograd.grad(total(value), value)
    assert expected != 0
    torch.testing.assert_close(torch.func.grad(total)(value.detach()), expected)
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(total))(value.detach().expand(3)), expected.expand(3))
    with torch.no_grad():
        getattr(neuron, name).copy_(value)
    sum(o.sum() for o in replicate(neuron)(x, mem)).backward()
    torch.testing.assert_close(getattr(neuron, name).grad, expected)


def test_states_are_not_broadcast_by_ddp():
    """DistributedDataParallel broadcasts buffers; states are none."""
    lif = snn.Synaptic(0.9, 0.8, init_hidden=True)
    lif(torch.rand(2, 3))
    assert {name for name, _ in lif.named_buffers()} == {
        "alpha", "beta", "threshold", "graded_spikes_factor", "reset_mechanism_val",
    }  # fmt: skip
