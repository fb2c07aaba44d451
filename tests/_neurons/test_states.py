"""The states that a neuron starts from, keeps and takes: fresh ones, shapes that broadcast, what is dropped."""

import copy
import io
import pickle
import warnings
from typing import ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import snntorch as snn
from helpers import assert_equal, flat, loop
from rows import every_step_class
from snntorch import utils
from snntorch._neurons.fresh import is_fresh

# -- fresh states: every kind x every way to reset x changing sizes

KINDS = {
    "Leaky": lambda **k: snn.Leaky(0.9, **k),
    "Lapicque": lambda **k: snn.Lapicque(0.9, **k),
    "Synaptic": lambda **k: snn.Synaptic(0.9, 0.8, **k),
    "Alpha": lambda **k: snn.Alpha(0.9, 0.8, **k),
    "RLeaky": lambda **k: snn.RLeaky(0.9, V=0.5, all_to_all=False, **k),
    "RLeaky-linear": lambda **k: snn.RLeaky(0.9, linear_features=3, **k),
    "RLeaky-conv": lambda **k: snn.RLeaky(0.9, conv2d_channels=2, kernel_size=3, **k),
    "RSynaptic": lambda **k: snn.RSynaptic(0.9, 0.8, V=0.5, all_to_all=False, **k),
    "SLSTM": lambda **k: snn.SLSTM(3, 4, **k),
    "SConv2dLSTM": lambda **k: snn.SConv2dLSTM(2, 3, 3, **k),
    "DeltaLeaky": lambda **k: snn.DeltaLeaky(0.5, beta=0.9, **k),
}
FIXED = {"RLeaky-linear": (3,), "SLSTM": (3,)}  # features that a weight asks for
IMAGES = ("RLeaky-conv", "SConv2dLSTM")
ALIASES = {
    "Leaky": "init_leaky", "DeltaLeaky": "init_leaky", "Lapicque": "init_lapicque", "Synaptic": "init_synaptic",
    "Alpha": "init_alpha", "RLeaky": "init_rleaky", "RSynaptic": "init_rsynaptic", "SLSTM": "init_slstm",
    "SConv2dLSTM": "init_sconv2dlstm",
}  # fmt: skip
RESETS = {
    "reset_mem": lambda neuron: neuron.reset_mem(),
    "alias": lambda neuron: getattr(neuron, ALIASES[type(neuron).__name__])(),
    "utils.reset": utils.reset,
    "reset_hidden": lambda neuron: type(neuron).reset_hidden(),
}


def shapes(kind):
    """Shapes of a sample's input that the kind takes."""
    sizes = st.integers(1, 4)
    if kind in FIXED:
        return st.just(FIXED[kind])
    images = st.tuples(st.just(2), sizes, sizes)
    return images if kind in IMAGES else st.one_of(st.just(()), st.tuples(sizes), images)


def passed(neuron):
    """The stored states as a call takes them."""
    states = tuple(getattr(neuron, name) for name in neuron.states)
    return (states,) if isinstance(neuron, snn.DeltaLeaky) else states


@pytest.mark.parametrize("way", RESETS)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_fresh_states_are_zeros_of_whatever_shape_comes(kind, way, data):
    torch.manual_seed(0)
    hidden, explicit = KINDS[kind](init_hidden=True, output=True), KINDS[kind]()
    explicit.load_state_dict(hidden.state_dict())
    for _ in range(3):
        x = torch.randn(2, data.draw(st.integers(1, 4)), *data.draw(shapes(kind)))
        neuron = KINDS[kind]()
        neuron.load_state_dict(hidden.state_dict())
        empty = [torch.zeros(0)] * len(neuron.states)
        expected = loop(neuron, x, *((empty,) if kind == "DeltaLeaky" else empty))
        for one in (hidden, explicit):
            RESETS[way](one)
        assert all(is_fresh(getattr(one, name)) for one in (hidden, explicit) for name in one.states)
        assert_equal(loop(explicit, x, *passed(explicit)), expected)  # warnings are errors: nothing was dropped
        assert_equal(loop(hidden, x), expected)
        RESETS[way](explicit)
        assert_equal(snn.unroll(explicit, x, *passed(explicit)), snn.unroll(neuron, x, *passed_empty(neuron)))


def passed_empty(neuron):
    empty = (torch.zeros(0),) * len(neuron.states)
    return (empty,) if isinstance(neuron, snn.DeltaLeaky) else empty


@every_step_class
def test_the_last_smaller_batch_of_an_epoch(row):
    neuron, alone = row.make(), row.make()
    for size in (6, 6, 5, 6, 1):
        x = row.input(3, size, generator=size)
        state = flat(neuron.reset_mem())
        given = (tuple(state),) if row.cls is snn.DeltaLeaky else state
        assert_equal(loop(neuron, x, *given), loop(alone, x, *row.zeros))


def reset_after_a_batch(size=4):
    lif = snn.Leaky(0.9, init_hidden=True, output=True)
    lif(torch.rand(size, 3))
    lif.reset_mem()
    return lif


def by_torch_save(module):
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


KEEPS = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda lif: pickle.loads(pickle.dumps(lif)),
    "torch.save": by_torch_save,
    "to": lambda lif: lif.to(torch.float64).to(torch.float32),
    "detach": lambda lif: utils.detach(lif) or lif,
}


@pytest.mark.parametrize("how", KEEPS)
def test_fresh_states_stay_so_in_copies_and_moves_of_their_neuron(how):
    lif, x = KEEPS[how](reset_after_a_batch()), torch.rand(2, 3)
    assert is_fresh(lif.mem) and lif.mem.shape == (4, 3)
    assert_equal(lif(x), snn.Leaky(0.9)(x))


WRITES = {
    "add_": lambda mem: mem.add_(0.5),
    "zero_": lambda mem: mem.zero_(),
    "item": lambda mem: mem.__setitem__(0, 0.5) or mem,
    "out": lambda mem: torch.add(mem, 0.5, out=mem),
    "view": lambda mem: mem.view(-1).add_(0.5) is None or mem,
}
NEW = {
    "add": lambda mem: mem + 0.5,
    "clone": lambda mem: mem.clone(),
    "detach": lambda mem: mem.detach(),
    "slice": lambda mem: mem[:],
    "zeros_like": torch.zeros_like,
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
    "pickle": lambda mem: pickle.loads(pickle.dumps(mem)),
    "deepcopy of a written one": lambda mem: copy.deepcopy(mem.add_(0.5)),
    "copy of a written one": lambda mem: copy.copy(mem.add_(0.5)),
}


@pytest.mark.parametrize("how", {**WRITES, **NEW})
def test_what_a_fresh_state_becomes_is_not_fresh(how):
    lif = reset_after_a_batch()
    mem = {**WRITES, **NEW}[how](lif.mem)
    assert not is_fresh(mem)
    with pytest.raises(ValueError, match=r"mem of shape \(4, 3\) does not broadcast with the shape \(2, 3\)"):
        snn.Leaky(0.9)(torch.rand(2, 3), mem)


def test_a_saved_fresh_state_is_read_by_the_careful_reader():
    file = io.BytesIO()
    torch.save({"mem": reset_after_a_batch().mem}, file)
    file.seek(0)
    assert_equal(torch.load(file, weights_only=True)["mem"], torch.zeros(4, 3))


def test_writes_to_a_fresh_state_count():
    """Whatever they are made by, where the state has the input's shape."""
    for write in (lambda mem: mem.fill_(0.5), lambda mem: mem.data.fill_(0.5), lambda mem: mem.numpy().fill(0.5)):
        lif = reset_after_a_batch()
        write(lif.mem)
        assert_equal(lif(torch.zeros(4, 3))[1], torch.full((4, 3), 0.45))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # dynamo of torch 2.13 itself reads a deprecated attribute
def test_fresh_states_of_other_shapes_under_compile():
    torch._dynamo.reset()
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph

    lif = snn.Synaptic(0.9, 0.8)
    compiled = torch.compile(lambda x, syn, mem: lif(x, syn, mem), fullgraph=True, backend=backend)
    x = torch.rand(64, 3)
    compiled(x, *lif.reset_mem())
    for size in (51, 64, 7, 33, 12):
        x = torch.rand(size, 3)
        found = compiled(x, *lif.reset_mem())
        assert_equal(found, snn.Synaptic(0.9, 0.8)(x))
    assert len(graphs) <= 4  # empty, of the input's shape, of another; of one size, of any


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # dynamo looks at the stored states' .grad
def test_reset_inside_a_compiled_network():
    torch._dynamo.reset()
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph

    lif, eager = (snn.Leaky(0.9, init_hidden=True, output=True) for _ in range(2))

    def forward(lif, x):
        utils.reset(lif)
        return [lif(x)[1], lif(x)[1]][1]

    compiled = torch.compile(forward, fullgraph=True, backend=backend)
    for size in (9, 5, 7, 3):
        x = torch.rand(size, 3)
        torch.testing.assert_close(compiled(lif, x), forward(eager, x))
    assert len(graphs) <= 2


# -- shapes that broadcast

SHAPES = [((), (1,)), ((3,), (2, 3)), ((1,), (4,)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((2, 3), ()), ((5, 1, 4), (2, 4))]


@pytest.mark.parametrize("way", ["auto", "eager"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("cls", ["Leaky", "Synaptic", "RLeaky", "DeltaLeaky"])
def test_input_and_passed_states_broadcast_both_ways(cls, shape, way):
    neuron = KINDS[cls]()
    x, states = torch.rand(3, *shape[0]) * 2, [torch.rand(shape[1]) for _ in neuron.states]
    full = torch.broadcast_shapes(*shape)
    wide = x.view(3, *(1,) * (len(full) - len(shape[0])), *shape[0]).expand(3, *full)
    pair = (lambda s: (tuple(s),)) if cls == "DeltaLeaky" else tuple
    with snn.backend(way):
        expected = loop(neuron, wide, *pair([s.expand(full) for s in states]))
        assert_equal(loop(neuron, x, *pair(states)), expected)
        assert_equal(snn.unroll(neuron, x, *pair(states)), snn.unroll(neuron, wide, *pair(states)))
        static = snn.unroll(neuron, wide[0], *pair(states), num_steps=3)
        assert_equal(snn.unroll(neuron, x[0], *pair(states), num_steps=3), static)
    assert flat(expected)[0].shape[1:] == full


@pytest.mark.parametrize("kind", ["SLSTM", "RLeaky-linear"])
def test_layers_with_weights_broadcast_batches(kind):
    neuron, x = KINDS[kind](), torch.rand(4, 3)
    neuron(torch.rand(2, 3), *passed_empty(neuron))
    states = passed(neuron)
    expected = loop(neuron, x[:, None].expand(4, 2, 3), *states)
    torch.testing.assert_close(loop(neuron, x, *states), expected)
    torch.testing.assert_close(snn.unroll(neuron, x, *states), expected)


def test_what_cannot_broadcast_names_both_shapes():
    with pytest.raises(ValueError, match=r"mem of shape \(4,\) does not broadcast with the shape \(2, 3\)"):
        snn.Leaky(0.9)(torch.rand(2, 3), torch.zeros(4))
    with pytest.raises(ValueError, match=r"mem of shape \(5, 3\) does not broadcast with the shape \(2, 3\)"):
        snn.Synaptic(0.9, 0.8)(torch.rand(3), torch.zeros(2, 3), torch.zeros(5, 3))


def test_a_stored_state_that_broadcasts_is_broadcast():
    lif = snn.Leaky(0.5, init_hidden=True, output=True)
    lif.mem = torch.full((3,), 0.5)
    assert_equal(lif(torch.zeros(2, 3))[1], torch.full((2, 3), 0.25))


def test_a_stored_state_does_not_grow_the_input():
    """A batch of one sample has one result, whatever is stored."""
    lif = snn.Leaky(0.5, init_hidden=True)
    lif(torch.rand(4, 3))
    with pytest.warns(UserWarning, match=r"stored mem of shape \(4, 3\) does not fit the shape \(1, 3\)"):
        assert lif(torch.rand(1, 3)).shape == (1, 3)


def test_a_dropped_state_warns_once_at_the_caller():
    """One hidden neuron after two layers: neither's states are ever kept."""
    net = nn.Sequential(nn.Linear(4, 3), lif := snn.Leaky(0.9, init_hidden=True), nn.Linear(3, 2), lif)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(4):
            net(torch.rand(5, 4))
    (only,) = caught
    assert "stored mem of shape (5, 3) does not fit the shape (5, 2)" in str(only.message)
    assert only.filename == __file__


def test_none_is_a_fresh_state():
    lif = snn.Leaky(0.5, init_hidden=True, output=True)
    lif(torch.rand(4, 3))
    lif.mem = None
    assert_equal(lif(torch.ones(2, 3))[1], torch.ones(2, 3))
    lif.mem = None
    for use in (lif.detach_mem, lif.reset_mem, lambda: copy.deepcopy(lif), lif.double):
        lif.mem = None
        use()
    assert is_fresh(lif.mem)


# -- states that rest elsewhere than at zero


class Resting(snn.SpikingNeuron):
    """Its membrane potential decays to a learnable `rest`, the other state starts at -14."""

    states = ("mem", "recovery")
    resting: ClassVar = {"mem": "rest", "recovery": -14.0}

    def __init__(self, rest, **kwargs):
        super().__init__(**kwargs)
        self.register_value("rest", rest, learn=True)

    @staticmethod
    def step(x, mem, recovery, *, rest, threshold, spike):
        mem = 0.5 * (mem - rest) + rest + x
        return spike(mem - threshold), mem, recovery + 1


@pytest.mark.parametrize("rest", [-65.0, torch.tensor([-65.0, -60.0, 1.0])], ids=["one", "per neuron"])
@pytest.mark.parametrize("way", ["auto", "eager"])
def test_resting_states(rest, way):
    neuron, level = Resting(rest), torch.as_tensor(rest).expand(2, 3)
    with snn.backend(way):
        for size in (2, 1):
            _, mem, recovery = neuron(torch.zeros(size, 3), *neuron.reset_mem())
            assert_equal(mem.detach(), level[:size].clone())
            assert_equal(recovery, torch.full((size, 3), -13.0))
        _, mem, _ = snn.unroll(neuron, torch.zeros(4, 2, 3), torch.zeros(0), torch.zeros(0))
        assert_equal(mem.detach(), level.expand(4, 2, 3).clone())
        utils.reset(neuron)
        assert_equal([neuron.mem.detach(), neuron.recovery], [level.clone(), torch.full((2, 3), -14.0)])
        (grad,) = torch.autograd.grad(neuron(torch.zeros(2, 3))[1].sum(), neuron.rest)
        # d mem / d rest = 0.5 by the initial state, 0.5 by the step
        torch.testing.assert_close(grad, torch.full_like(grad, 6 / grad.numel()))
    copied = copy.deepcopy(neuron)
    copied.reset_mem()
    assert_equal(copied(torch.zeros(1, 3))[1].detach(), level[:1].clone())


# -- cutting the graph, and inference mode


def test_detach_frees_states_that_inference_mode_made():
    net = nn.Sequential(nn.Linear(4, 3), snn.Synaptic(0.9, 0.8, init_hidden=True))
    for free in (utils.detach, lambda net: snn.Synaptic.detach_hidden(), utils.reset):
        with torch.inference_mode():
            net(torch.rand(2, 4))
        free(net)
        net(torch.rand(2, 4)).sum().backward()
        utils.reset(net)
    with torch.inference_mode():
        net(torch.rand(2, 4))
        utils.reset(net)  # there
    net(torch.rand(2, 4)).sum().backward()
    utils.reset(net)
    with torch.inference_mode():
        net(torch.rand(2, 4))
        utils.detach(net)
    net(torch.rand(2, 4)).sum().backward()


def test_neurons_made_and_cast_in_inference_mode():
    with torch.inference_mode():
        lif = snn.Leaky(0.9, init_hidden=True, output=True)
        lif = lif.double().float()
        lif(torch.rand(2, 3))
        lif.reset_mem()
        lif.to(torch.float64)
    x = torch.rand(5, 3, dtype=torch.float64)
    assert_equal(lif(x), snn.Leaky(0.9).double()(x))


def test_zeros_cuts_the_graph():
    lif = snn.Leaky(0.9, learn_beta=True)
    _, mem = lif(torch.rand(2, 3), torch.rand(2, 3))
    assert mem.requires_grad
    snn.SpikingNeuron.zeros(mem)
    assert not mem.requires_grad and not mem.any() and is_fresh(mem)


# -- parameters


@pytest.mark.parametrize("way", ["auto", "eager"])
@pytest.mark.parametrize(
    ("neuron", "name"),
    [
        (snn.Leaky(torch.full((4,), 0.9)), "beta"),
        (snn.Leaky(torch.full((2, 1, 1), 0.9)), "beta"),
        (snn.Leaky(0.9, threshold=torch.ones(4, 1, 3), reset_mechanism="none"), "threshold"),
        (snn.Synaptic(torch.full((4,), 0.9), 0.8), "alpha"),
        (snn.RLeaky(0.9, V=torch.ones(4), all_to_all=False), "V"),
    ],
)
def test_parameters_that_do_not_broadcast_are_named(neuron, name, way):
    x, zeros = torch.rand(3, 2, 3), [torch.zeros(0)] * len(neuron.states)
    with snn.backend(way):
        for call in (lambda: neuron(x[0], *zeros), lambda: snn.unroll(neuron, x, *zeros)):
            with pytest.raises(ValueError, match=rf"^{name} of shape .* does not broadcast to the shape \(2, 3\)"):
                call()


@pytest.mark.parametrize("way", ["auto", "eager"])
def test_parameters_add_no_dimensions(way):
    """One value is a number, however many dimensions it has."""
    many = snn.Leaky(torch.full((1, 1, 1), 0.9), threshold=torch.ones(1, 1), learn_beta=True)
    for shape in ((2, 3), (3,), ()):
        x = torch.rand(4, *shape)
        with snn.backend(way):
            assert_equal(snn.unroll(many, x, torch.zeros(0)), snn.unroll(snn.Leaky(0.9), x, torch.zeros(0)))
            out = loop(many, x, torch.zeros(0))
        assert_equal(out, loop(snn.Leaky(0.9), x, torch.zeros(0)))
        (grad,) = torch.autograd.grad(out[1].sum(), many.beta)
        assert grad.shape == (1, 1, 1)


def test_complex_numbers_are_named():
    with pytest.raises(TypeError, match="beta must be real, got"):
        snn.Leaky(0.5 + 0.5j)
    with pytest.raises(TypeError, match="threshold must be real, got"):
        snn.Leaky(0.5, threshold=nn.Parameter(torch.tensor(1j)), learn_threshold=True)
    with pytest.raises(TypeError, match=r"input_ must be a tensor of real numbers, got torch\.complex64"):
        snn.Leaky(0.5)(torch.ones(2, dtype=torch.complex64))


def test_a_loaded_reset_mechanism_that_there_is_not():
    state = snn.Leaky(0.9).state_dict()
    for value in (3, -1):
        state["reset_mechanism_val"] = torch.tensor(value)
        lif = snn.Leaky(0.9, reset_mechanism="zero")
        with pytest.raises(RuntimeError, match=rf"reset_mechanism_val must be one of 0, 1, 2, got {value}"):
            lif.load_state_dict(state)
        assert lif.reset_mechanism == "zero" and lif.reset_mechanism_val == 1


def test_the_base_says_which_class_to_take():
    with pytest.raises(NotImplementedError, match=r"LIF defines no step: .* such as snntorch\.Leaky"):
        snn.LIF(0.9)(torch.rand(3))


# -- the graded factor: nothing is remembered of its value

FACTOR = {
    "fill_": lambda lif: lif.graded_spikes_factor.fill_(3),
    "data": lambda lif: lif.graded_spikes_factor.data.fill_(3),
    "numpy": lambda lif: lif.graded_spikes_factor.numpy().fill(3),
    "assignment": lambda lif: setattr(lif, "graded_spikes_factor", torch.tensor(3.0)),
}


@pytest.mark.parametrize("how", FACTOR)
def test_every_write_to_the_factor_counts(how):
    lif, x = snn.Leaky(0.9, init_hidden=True), torch.full((2, 1, 1), 2.0)
    assert lif(x[0]) == 1
    FACTOR[how](lif)
    assert lif(x[0]) == 3 and (snn.unroll(lif, x) == 3).all()


def test_functional_calls_with_many_factors():
    lif, x, mem = snn.Leaky(0.9), torch.full((1,), 2.0), torch.zeros(1)
    for factor in range(50):
        given = {"graded_spikes_factor": torch.tensor(float(factor))}
        assert torch.func.functional_call(lif, given, (x, mem))[0] == factor


@pytest.mark.parametrize("kind", ["Leaky", "Synaptic", "RLeaky", "Lapicque"])
def test_ensembles_by_stack_module_state(kind):
    """Parameters and buffers of several nets at once."""
    torch.manual_seed(0)
    nets = [nn.Sequential(nn.Linear(4, 3), KINDS[kind](init_hidden=True)) for _ in range(5)]
    for k, net in enumerate(nets):
        net[1].beta.fill_(0.5 + k / 10)
        net[1].graded_spikes_factor.fill_(1.0 + k)
    parameters, buffers = torch.func.stack_module_state(nets)
    base, x = copy.deepcopy(nets[0]), torch.randn(6, 2, 4) * 3

    def outputs(parameters, buffers):
        utils.reset(base)
        return torch.stack([torch.func.functional_call(base, (parameters, buffers), (step,)) for step in x])

    found = torch.func.vmap(outputs)(parameters, buffers)
    torch.testing.assert_close(found, torch.stack([loop(net, x) for net in nets]))


# -- utils


@pytest.mark.parametrize("wrong", [torch.zeros(2, 4), torch.zeros(2, 3, dtype=torch.int64), 0.5], ids=str)
def test_set_states_names_what_does_not_fit(wrong):
    net = nn.Sequential(snn.Synaptic(torch.full((3,), 0.9), 0.8, init_hidden=True))
    net(torch.rand(2, 3))
    before = utils.get_states(net)
    with pytest.raises((TypeError, ValueError), match=r"0\.mem"):
        utils.set_states(net, {**before, "0.mem": wrong})
    assert_equal(utils.get_states(net), before)
    utils.set_states(net, {name: torch.zeros(7, 3) for name in before})  # another batch size is no fault


# -- half precision: states and parameters take part in float32


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@every_step_class
def test_half_inputs_have_float32_states_on_every_path(row, dtype):
    """The loop, hidden or not, in segments and by unroll, bit for bit."""
    if dict(row.make().named_children()):
        pytest.skip("rounds its matrix products")
    x = row.input(6, 3, dtype)
    expected = loop(row.make(), x.float(), *row.zeros)
    for way in ("auto", "eager"):
        with snn.backend(way):
            found = loop(row.make(), x, *row.zeros)
            hidden, pieces = row.make(init_hidden=True, output=True), row.make(init_hidden=True, output=True)
            for other in (
                snn.unroll(row.make(), x, *row.zeros),
                loop(hidden, x),
                [torch.cat(p) for p in zip(*(flat(snn.unroll(pieces, part)) for part in x.split(2)), strict=True)],
            ):
                assert_equal(flat(other), flat(found))
        spk, *states = flat(found)
        assert spk.dtype == dtype and {s.dtype for s in states} == {torch.float32}
        assert all(getattr(hidden, name).dtype == torch.float32 for name in row.states)
        for f, e in zip(flat(found), flat(expected), strict=True):
            torch.testing.assert_close(f, e.to(f.dtype), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("autocast", [False, True])
def test_slow_decays_survive_half_precision(autocast):
    """A membrane of beta 0.999: in bfloat16 that is 1, and the potential would not decay."""
    lif, x = snn.Leaky(0.999, threshold=1e9), torch.zeros(200, 1, dtype=torch.bfloat16)
    x[0] = 8
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        _, mem = snn.unroll(lif, x, torch.zeros(0))
        _, looped = loop(lif, x, torch.zeros(0))
    torch.testing.assert_close(mem[-1, 0], torch.tensor(8 * 0.999**199), rtol=1e-5, atol=0)
    assert_equal(looped, mem)


LOW = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
BACKENDS = pytest.mark.parametrize("backend", ["auto", "eager"])


@pytest.mark.parametrize("kind", ["SLSTM", "SConv2dLSTM", "RLeaky", "RLeaky-linear", "RLeaky-conv", "RSynaptic"])
@pytest.mark.parametrize("how", ["half weights", "half inputs", "autocast", "both"])
@LOW
@BACKENDS
def test_weights_in_half_precision(kind, how, dtype, backend):
    """The loop, unroll, segments and recomputation, bit for bit; graded spikes are fed back as they are returned."""
    if how == "half inputs" and "LSTM" in kind:
        pytest.skip("a layer takes no inputs of another dtype than its weights")
    torch.manual_seed(0)
    first = KINDS[kind](threshold=0.2)
    first.graded_spikes_factor.fill_(1.37)
    first = first.to(dtype) if how == "half weights" else first
    x = 2 * torch.randn(7, 2, *(FIXED.get(kind) or (2, 3, 3))).to(torch.float32 if how == "autocast" else dtype)
    with snn.backend(backend), torch.autocast("cpu", dtype, enabled=how in ("autocast", "both")):
        expected = flat(loop(copy.deepcopy(first), x, *passed_empty(first)))
        hidden, pieces, twice = (copy.deepcopy(first) for _ in range(3))
        for neuron in (hidden, pieces, twice):
            neuron.init_hidden = neuron.output = True
        for found in (
            snn.unroll(copy.deepcopy(first), x, *passed_empty(first)),
            loop(hidden, x),
            [torch.cat(p) for p in zip(*(flat(snn.unroll(pieces, part)) for part in x.split(3)), strict=True)],
            snn.unroll(twice, x.clone().requires_grad_(), recompute=3),
        ):
            assert_equal(flat(found), expected)
    spk, *states = expected
    assert spk.dtype == x.dtype and spk.any() and not spk.all()
    assert {s.dtype for s in states} == {torch.float32}
    assert {hidden.mem.dtype, twice.mem.dtype} == {torch.float32}


@LOW
@BACKENDS
@pytest.mark.parametrize("autocast", [False, True])
def test_only_the_products_of_weights_are_rounded(dtype, autocast, backend):
    """A recurrent neuron and an LSTM written out, their states in float32."""
    torch.manual_seed(0)
    recurrent, lstm = snn.RLeaky(0.999, linear_features=5), snn.SLSTM(5, 5, threshold=0.1, reset_mechanism="subtract")
    if not autocast:
        recurrent, lstm = recurrent.to(dtype), lstm.to(dtype)
    sequence = 2 * torch.randn(30, 2, 5)
    sequence = sequence if autocast else sequence.to(dtype)

    def product(x, weight, bias):
        return torch.nn.functional.linear(x.to(dtype), weight.to(dtype), bias.to(dtype)).to(sequence.dtype)

    beta, fed = recurrent.beta.float(), recurrent.recurrent
    spk, mem = torch.zeros(2, 5), torch.zeros(2, 5)
    cell, limit = lstm.lstm_cell, lstm.threshold.float()
    syn, out = torch.zeros(2, 5), torch.zeros(2, 5)
    courses = []
    for x in sequence:
        mem = beta * mem + (x + product(spk, fed.weight, fed.bias)).float() - (mem > 1).float()
        spk = (mem > 1).float()
        gates = product(x, cell.weight_ih, cell.bias_ih) + product(out, cell.weight_hh, cell.bias_hh)
        i, f, g, o = gates.float().chunk(4, -1)
        syn = torch.sigmoid(f) * syn + torch.sigmoid(i) * torch.tanh(g)
        out = torch.sigmoid(o) * torch.tanh(syn) - (out > limit).float() * limit
        courses.append((spk, mem, (out > limit).float(), syn, out))
    with snn.backend(backend), torch.autocast("cpu", dtype, enabled=autocast):
        found = (*snn.unroll(recurrent, sequence, *passed_empty(recurrent)),
                 *snn.unroll(lstm, sequence, *passed_empty(lstm)))  # fmt: skip
    for f, e in zip(found, map(torch.stack, zip(*courses, strict=True)), strict=True):
        torch.testing.assert_close(f.float(), e, rtol=1e-5, atol=1e-5)


def test_one_beta_runs_on_any_number_of_channels():
    x = torch.rand(5, 2, 4)
    assert_equal(snn.StateLeaky(0.9, channels=1)(x), snn.StateLeaky(0.9, channels=4)(x))
    with pytest.raises(ValueError, match=r"input_ must be \[T, B, 3\], got shape \(5, 2, 4\)"):
        snn.StateLeaky(torch.full((3,), 0.9), channels=3)(x)
