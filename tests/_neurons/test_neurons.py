"""How every neuron is called, what it returns, and what it refuses: row by row of the table in rows."""

import copy
import inspect
import re
from functools import partial

import pytest
import torch
from torch import nn

import snntorch as snn
from helpers import assert_equal, flat, gradients, loop, resting_states, run, start
from rows import (
    SEQUENCE_ROWS,
    STEP_ROWS,
    Adaptive,
    RestingLeaky,
    every_row,
    every_step_class,
    every_step_row,
    one_per_class,
    rows,
    smooth,
    without_hidden,
)

T, B = 6, 3


# -- the table itself


@every_row
def test_row_is_worth_testing(row):
    """Some neurons fire and some do not; gradients reach the input and every parameter that the row can train."""
    neuron, x = row.make(torch.float64), row.input(12, 4, torch.float64).requires_grad_()
    assert_equal(dict(row.make(torch.float64).state_dict()), dict(neuron.state_dict()))  # the same whenever it is made
    out = run(row, neuron, x)
    spk = flat(out)[0]
    if neuron.__dict__.get("spike_grad") is not smooth and getattr(neuron, "output", True):
        assert 0.01 < (spk != 0).double().mean() < 0.8
    for name, grad in gradients(out, x, neuron).items():
        assert grad.isfinite().all(), name
        assert grad.any() or "clamped" in row.name, name


@rows([r for r in STEP_ROWS if "smooth" in r.name])
def test_gradients_of_a_smooth_spike_by_finite_differences(row):
    """With a differentiable spike nothing is surrogate, so autograd must agree with central differences.

    A delayed reset carries no gradient; without one all that the step does is differentiated.
    """
    mechanism = "none" if row.kwargs.get("reset_delay", True) else "subtract"
    neuron, x = row.make(torch.float64, reset_mechanism=mechanism), row.input(4, 2, torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: tuple(flat(run(row, neuron, x))), (x,))


# -- call and return


@every_step_row
def test_call_and_return(row):
    """`(spk, *states)` in the class's order; RLeaky and RSynaptic name their spikes among the states."""
    neuron, x = row.make(), row.input(1, B)[0]
    out = neuron(x, *start(row, neuron))
    if row.cls is snn.DeltaLeaky:
        spk, (mem, mem_prev) = out
        states = (mem, mem_prev)
    elif neuron.init_hidden and not neuron.output:
        spk, states = out, tuple(getattr(neuron, name) for name in row.states)
    else:
        spk, states = out[0], out if row.states[0] == "spk" else out[1:]
    assert len(states) == len(row.states)
    for name, state in zip(row.states, states, strict=True):
        assert getattr(neuron, name) is state
        assert state.shape == neuron.state_shape(x)
    assert spk.dtype == x.dtype and spk.device == x.device
    assert set(row.states).isdisjoint(neuron.state_dict())


@rows(without_hidden(STEP_ROWS))
def test_state_by_name_by_position_and_stored_agree(row):
    x = row.input(T, B)
    stored, positional, named = row.make(), row.make(), row.make()
    state = (None,) * len(row.states)
    keep = slice(0 if row.states[0] == "spk" else 1, None)
    for step in x:
        first = stored(step)
        second = positional(step, *state)
        third = named(step, **dict(zip(row.states, state, strict=True)))
        state = second[keep]
        assert_equal(second, first)
        assert_equal(third, first)


@rows(without_hidden(one_per_class(STEP_ROWS)))
def test_empty_states_are_what_it_starts_from(row):
    neuron, x = row.make(), row.input(2, B)
    expected = neuron(x[0])
    neuron(x[1])  # the stored states are others now
    assert_equal(neuron(x[0], *[torch.zeros(0)] * len(row.states)), expected)
    assert_equal(neuron(x[0], *resting_states(neuron, x[0])), expected)


@rows(without_hidden(STEP_ROWS))
def test_none_goes_on_from_the_stored_state(row):
    """As a wrapper with `mem=None` hands it on."""
    neuron, other, x = row.make(), row.make(), row.input(T, B)
    nothing = (None,) * len(row.states)
    assert_equal(loop(lambda x: neuron(x, *nothing), x), loop(lambda x: other(x), x))
    assert_equal(snn.unroll(row.make(), x, *nothing), snn.unroll(row.make(), x))
    if len(row.states) > 1:  # one passed, the others stored
        stored = [getattr(neuron, name) for name in row.states]
        expected = other(x[0], *stored)
        assert_equal(neuron(x[0], stored[0], *nothing[1:]), expected)


@rows(without_hidden(one_per_class(STEP_ROWS)))
def test_states_broadcast_to_the_input(row):
    neuron, x = row.make(), row.input(1, B)[0]
    shape = neuron.state_shape(x)
    small, full = [x.new_full(s, 0.5) for s in ((1,) * len(shape), shape)]
    assert_equal(neuron(x, *[small] * len(row.states)), neuron(x, *[full] * len(row.states)))


@every_step_row
def test_init_hidden_returns_spikes_or_everything(row):
    x = row.input(T, B)
    neuron = row.make(init_hidden=False)
    everything = row.make(init_hidden=True, output=True)
    spikes = row.make(init_hidden=True, output=False)
    expected = loop(neuron, x, *row.zeros)
    assert_equal(loop(everything, x), expected)
    assert_equal(loop(spikes, x), expected[0])
    for name in row.states:
        assert_equal(getattr(spikes, name), getattr(neuron, name))


@every_step_class
def test_states_beside_init_hidden_are_an_error(row):
    neuron, x = row.make(init_hidden=True), row.input(1, B)[0]
    state = x.new_zeros(neuron.state_shape(x))
    given = (state, state) if row.cls is snn.DeltaLeaky else state
    with pytest.raises(TypeError, match="init_hidden=True"):
        neuron(x, given)
    with pytest.raises(TypeError, match="init_hidden=True"):
        neuron(x, **{row.states[0]: given})


@every_step_class
def test_stored_states_start_over_when_the_input_s_shape_changes(row):
    neuron = row.make(init_hidden=True, output=True)
    loop(neuron, row.input(T, B))
    x = row.input(T, B + 2, generator=1)
    with pytest.warns(UserWarning, match=r"stored \w+ of shape \(3.* does not fit the shape \(5"):
        found = loop(neuron, x)
    assert_equal(found, loop(row.make(init_hidden=True, output=True), x))


@rows(without_hidden(one_per_class(STEP_ROWS)))
def test_the_user_s_tensors_stay_as_they_are(row):
    neuron, x = row.make(), row.input(T, B)
    states = [torch.rand_like(x[0].new_empty(neuron.state_shape(x[0]))) for _ in row.states]
    before = copy.deepcopy((x, states))
    loop(neuron, x, *states)
    neuron.reset_mem()
    assert_equal((x, states), before)


def test_parameters_are_copies_but_parameters_to_learn_are_shared():
    beta = torch.full((5,), 0.9)
    lif = snn.Leaky(beta=beta, threshold=beta, graded_spikes_factor=beta)
    beta.zero_()
    assert lif.beta[0] == lif.threshold[0] == lif.graded_spikes_factor[0] == torch.tensor(0.9)
    shared = nn.Parameter(torch.tensor(0.5))
    assert snn.Leaky(beta=shared, learn_beta=True).beta is shared
    assert snn.LeakyParallel(4, 3, threshold=shared, learn_threshold=True).threshold is shared
    assert snn.PSN(5, threshold=shared).threshold.shape == (5,)  # one for each step is another
    for each in (nn.Parameter(torch.ones(5)), nn.Parameter(torch.ones(1))):
        neuron = snn.PSN(5, threshold=each) if len(each) == 5 else snn.SlidingPSN(3, threshold=each)
        assert neuron.threshold is each


# -- settings that change


@pytest.mark.parametrize("cls", [snn.Leaky, snn.Lapicque])
def test_reset_mechanism_changes_from_the_next_step(cls):
    x = torch.full((1, 1), 1.6)
    assert snn.SpikingNeuron.reset_dict == {"subtract": 0, "zero": 1, "none": 2}
    for name, value in cls.reset_dict.items():
        for change in ("attribute", "state_dict"):
            neuron = cls(beta=0.5, threshold=1.0, init_hidden=True, reset_mechanism="none" if value < 2 else "zero")
            if change == "attribute":
                neuron.reset_mechanism = name
            else:
                neuron.load_state_dict(cls(beta=0.5, reset_mechanism=name).state_dict())
            assert neuron.reset_mechanism == neuron._reset_mechanism == name
            assert int(neuron.reset_mechanism_val) == value
            assert_equal(loop(neuron, x.expand(4, 1, 1)), loop(cls(beta=0.5, init_hidden=True, reset_mechanism=name),
                                                              x.expand(4, 1, 1)))  # fmt: skip
    with pytest.raises(ValueError, match=r"reset_mechanism must be one of subtract, zero, none, got 'soft'"):
        neuron.reset_mechanism = "soft"


def test_a_changed_graded_factor_is_seen():
    lif, x = snn.Leaky(0.9), torch.full((1, 1), 2.0)
    assert lif(x)[0] == 1
    lif.graded_spikes_factor.fill_(3)
    assert lif(x)[0] == 3
    lif.graded_spikes_factor = torch.tensor(4.0)
    assert lif(x)[0] == 4
    lif.load_state_dict(snn.Leaky(0.9).state_dict())
    assert lif(x)[0] == 1


# -- bad input


@every_step_class
def test_an_input_that_is_no_tensor_of_real_numbers(row):
    neuron = row.make()
    for given, kind in ((torch.ones(B, *row.shape, dtype=torch.complex64), "torch.complex64"), ([1.0], "list")):
        with pytest.raises(TypeError, match=f"input_ must be a tensor of real numbers, got {kind}"):
            neuron(given, *row.zeros)


@pytest.mark.parametrize("dtype", [torch.int16, torch.bool], ids=str)
@every_step_class
def test_whole_numbers_are_taken_in_the_dtype_of_the_threshold(row, dtype):
    """As frames of events come, `int16` from Tonic: one step, over time, recorded, to each sample's end."""
    neuron = row.make(torch.float64)
    x = (row.input(4, 2, torch.float64).abs() + 0.5).to(dtype)

    def steps(x, *states):
        return loop(neuron, x, *states)

    for call in (steps, snn.layerwise(steps), partial(snn.unroll, neuron), partial(snn.unroll, neuron, lengths=[4, 2])):
        got, want = [], []
        for out, given in ((got, x), (want, x.double())):
            torch.manual_seed(0)  # of a neuron's noise
            out += call(given, *row.zeros)
        assert all(t.dtype == torch.float64 for t in flat(got))
        assert_equal(got, want)


@rows(without_hidden(one_per_class(STEP_ROWS)))
def test_state_that_does_not_fit_names_both_shapes(row):
    neuron, x = row.make(), row.input(1, B)[0]
    wrong = torch.zeros(B + 1, *neuron.state_shape(x)[1:])
    with pytest.raises(ValueError, match=r"shape \(4,.*shape \(3,"):
        neuron(x, wrong, *(None,) * (len(row.states) - 1))


@every_step_class
def test_too_many_or_unknown_states(row):
    neuron, x = row.make(), row.input(1, B)[0]
    if row.cls is snn.DeltaLeaky:
        for given in ((None, None, None), torch.zeros(2), "mem"):
            with pytest.raises(TypeError, match=r"mem must be the pair \(mem, mem_prev\)"):
                neuron(x, given)
        return
    with pytest.raises(TypeError, match="takes the states"):
        neuron(x, *(None,) * (len(row.states) + 1))
    with pytest.raises(TypeError, match="takes the states"):
        neuron(x, voltage=None)
    with pytest.raises(TypeError, match=f"{row.states[0]} must be a tensor or None, got float"):
        neuron(x, 0.5)


@rows([r for r in one_per_class() if r.cls not in (snn.AssociativeLeaky, Adaptive, RestingLeaky)])  # which take none
def test_nan_parameters_are_named(row):
    """Each numeric argument in turn, as a number and inside a tensor."""
    arguments = inspect.signature(row.cls).parameters.values()
    names = [p.name for p in arguments if {"float", "Tensor"} <= set(re.findall(r"\w+", str(p.annotation)))]
    assert names, f"{row.cls.__name__}.__init__ annotates none as `float | Tensor`, as those of `register_value` are"
    for name in names:
        if name == "V":  # an all-to-all neuron has none
            kwargs = {k: v for k, v in row.kwargs.items() if k != "linear_features"} | {"all_to_all": False}
        else:
            kwargs = row.kwargs
        for nan in (float("nan"), torch.tensor([0.5, float("nan")])):
            with pytest.raises(ValueError, match=f"{name} must not be NaN"):
                row.cls(**{**kwargs, name: nan})


@rows([r for r in one_per_class(STEP_ROWS) if r.cls not in (Adaptive, snn.IntegerLeaky)])
def test_unknown_reset_mechanism(row):
    with pytest.raises(ValueError, match="reset_mechanism must be one of subtract, zero, none, got 'soft'"):
        row.make(reset_mechanism="soft")


@rows([r for r in one_per_class() if r.cls not in (snn.AssociativeLeaky, snn.IntegerLeaky)])
def test_uncalled_surrogate(row):
    with pytest.raises(TypeError, match=r"call it: surrogate\.atan\("):
        row.make(spike_grad=snn.surrogate.atan)


@rows(SEQUENCE_ROWS)
def test_sequence_neurons_name_the_shape_they_want(row):
    neuron = row.make()
    for wrong in (torch.zeros(4, 5), torch.zeros(4, 2, 9)):
        if row.cls is snn.SlidingPSN or (wrong.dim() == 3 and row.cls is snn.StateLeaky):
            continue  # they run on any number of channels
        if wrong.dim() == 2 and row.cls is snn.LeakyParallel:
            continue  # which takes it for one sample
        with pytest.raises(ValueError, match=r"input_ must be \[T, B, 5\], got shape"):
            neuron(wrong)


def test_base_classes_have_no_step():
    for neuron in (snn.SpikingNeuron(), snn.LIF(0.9)):
        with pytest.raises(NotImplementedError, match="defines no step"):
            neuron(torch.rand(2, 3))


# -- the public pieces


def test_fire_mem_reset_and_fire_inhibition():
    lif = snn.Leaky(0.9, threshold=0.5, graded_spikes_factor=2.0)
    mem = torch.tensor([[0.2, 0.9, 0.7], [0.1, 0.4, 0.3], [0.6, 0.5, 0.5]], requires_grad=True)
    assert lif.fire(mem).tolist() == [[0, 2, 2], [0, 0, 0], [2, 0, 0]]
    assert lif.fire_inhibition(3, mem).tolist() == [[0, 2, 0], [0, 0, 0], [2, 0, 0]]
    reset = lif.mem_reset(mem)
    assert reset.tolist() == [[0, 1, 1], [0, 0, 0], [1, 0, 0]] and not reset.requires_grad
    with pytest.raises(ValueError, match=r"batch_size=2 samples, got shape \(3, 3\)"):
        lif.fire_inhibition(2, mem)


@pytest.mark.parametrize("shape", [(6,), (3, 4, 4)])
def test_inhibition_leaves_one_spike_of_a_sample_at_most(shape):
    with pytest.warns(UserWarning, match="one spike per sample"):
        lif = snn.Leaky(0.9, inhibition=True)
    x = torch.rand(20, 4, *shape) * 1.5
    mem = None
    for step in x:
        spk, mem = lif(step, mem)
        count = spk.flatten(1).sum(1)
        assert (count <= 1).all()
        best, at = (mem - 1).flatten(1).max(1)
        assert torch.equal(count, (best > 0).float())
        assert (spk.flatten(1).gather(1, at[:, None])[:, 0] == count).all()


def test_default_leaky_is_what_neurobench_counts():
    """20 bytes of buffers, and the attributes that its hooks read."""
    lif = snn.Leaky(0.9)
    assert sum(b.numel() * b.element_size() for b in lif.buffers()) == 4 * 3 + 8 == 20
    assert list(lif.parameters()) == []
    assert (lif.init_hidden, lif.output, lif._reset_mechanism) == (False, False, "subtract")
    assert lif.reset_mechanism_val.dtype == torch.int64
    assert isinstance(lif, snn.SpikingNeuron) and isinstance(lif, snn.LIF) and type(lif).__name__ == "Leaky"


@every_step_class
def test_graded_factor_is_a_buffer_of_every_neuron(row):
    neuron = row.make()
    assert "graded_spikes_factor" in neuron.state_dict()
    assert dict(neuron.named_buffers())["graded_spikes_factor"] == 1


# -- numerical invariants


@every_row
def test_a_sample_s_result_does_not_depend_on_its_batch_slot(row):
    neuron, x = row.make(torch.float64), row.input(T, 4, torch.float64)
    order = torch.tensor([2, 0, 3, 1])
    whole = flat(run(row, neuron, x))
    shuffled = flat(run(row, row.make(torch.float64), x[:, order]))
    alone = flat(run(row, row.make(torch.float64), x[:, 2:3]))
    for w, s, a in zip(whole, shuffled, alone, strict=True):
        torch.testing.assert_close(s, w[:, order], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(a, w[:, 2:3], rtol=1e-12, atol=1e-12)


@every_row
def test_non_contiguous_input(row):
    x = row.input(T, B, torch.float64)
    strided = x.transpose(0, -1).contiguous().transpose(0, -1)
    assert strided.stride() != x.stride() and torch.equal(strided, x)
    torch.testing.assert_close(run(row, row.make(torch.float64), strided), run(row, row.make(torch.float64), x))


@every_step_row
def test_empty_batch(row):
    neuron = row.make()
    out = run(row, neuron, row.input(2, 0))
    assert all(o.numel() == 0 and o.shape[:2] == (2, 0) for o in flat(out))
