"""States of a whole network, parts of data sets, seeds, firing rates."""

import importlib
import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import TensorDataset

import snntorch as snn
from rows import every_class, every_step_class
from snntorch import utils

KINDS = [torch.arange, np.arange, lambda n: list(range(n)), lambda n: tuple(range(n))]


def dataset(n, kind=torch.arange, labels="targets"):
    return SimpleNamespace(data=kind(n), **{labels: kind(n)})


@pytest.mark.parametrize("labels", ["targets", "labels"])
@pytest.mark.parametrize("kind", KINDS)
def test_data_subset_keeps_one_part_in_place(kind, labels):
    given = dataset(10, kind, labels)
    assert utils.data_subset(given, 3, 1) is given
    assert list(given.data) == list(getattr(given, labels)) == [3, 4, 5]
    assert type(given.data) is type(getattr(given, labels)) is type(kind(1))


@pytest.mark.parametrize(
    ("subset", "idx", "kept"),
    [
        (0, 0, range(10)),
        (1, 5, range(10)),
        (3, 0, range(3)),
        (3, 3, [9]),
        (3, 4, []),
        (3, -1, []),
        (10, 9, [9]),
    ],
)
def test_data_subset_indices(subset, idx, kept):
    assert utils.data_subset(dataset(10), subset, idx).data.tolist() == list(kept)


@given(n=st.integers(1, 50), subset=st.integers(1, 50))
def test_data_subset_parts_make_up_the_whole(n, subset):
    if subset > n:
        return
    parts = [utils.data_subset(dataset(n), subset, i).data for i in range(n + 1 if subset > 1 else 1)]
    assert torch.cat(parts).tolist() == list(range(n))


def test_data_subset_errors():
    with pytest.raises(ValueError, match="at most the number of samples, 10, got 11"):
        utils.data_subset(dataset(10), 11)
    with pytest.raises(ValueError, match=r"subset must be an integer, got 2\.5"):
        utils.data_subset(dataset(10), 2.5)
    with pytest.raises(ValueError, match=r"must have \.targets or \.labels"):
        utils.data_subset(SimpleNamespace(data=[1, 2]), 2)


@pytest.mark.parametrize("kind", KINDS)
def test_valid_split_recorded_division(kind):
    train, val = dataset(10, kind), SimpleNamespace(data="to be replaced")
    assert utils.valid_split(train, val, 0.3) == (train, val)
    assert list(train.data) == list(train.targets) == [9, 0, 1, 5, 2, 4, 3]
    assert list(val.data) == list(val.targets) == [6, 7, 8]


@given(n=st.integers(0, 40), split=st.floats(0, 1), seed=st.integers(0, 1000))
def test_valid_split_divides(n, split, seed):
    train, val = utils.valid_split(dataset(n), SimpleNamespace(), split, seed)
    assert len(val.data) == int(n * split)
    assert sorted(train.data.tolist() + val.data.tolist()) == list(range(n))
    assert val.data.tolist() == sorted(val.data.tolist())


def test_valid_split_errors():
    data = dataset(10)
    for split in (-0.1, 1.1):
        with pytest.raises(ValueError, match=r"split must lie in \[0, 1\]"):
            utils.valid_split(data, dataset(10), split)
    with pytest.raises(ValueError, match="must be two objects"):
        utils.valid_split(data, data, 0.5)


def test_stratified_split_takes_the_same_fraction_of_every_class():
    labels = torch.randint(0, 5, (200,)) * 3  # classes need not be numbered from 0
    data = TensorDataset(torch.arange(200))
    train, val = utils.stratified_split(data, 0.3, labels)
    assert sorted(train.indices + val.indices) == list(range(200))
    assert train.indices == sorted(train.indices) and val.indices == sorted(val.indices)
    for label in labels.unique():
        count = (labels == label).sum()
        assert (labels[val.indices] == label).sum() == (0.3 * count).round()


def test_stratified_split_randomness_and_labels():
    data = TensorDataset(torch.arange(100))
    data.targets = [i % 2 for i in range(100)]
    parts = [utils.stratified_split(data, 0.5, generator=torch.Generator().manual_seed(s))[1] for s in (0, 0, 1)]
    assert parts[0].indices == parts[1].indices != parts[2].indices
    assert sum(i % 2 for i in parts[0].indices) == 25
    assert len(utils.stratified_split(data, 0.0)[1]) == len(utils.stratified_split(data, 1.0)[0]) == 0


def test_stratified_split_errors():
    data = TensorDataset(torch.arange(4))
    with pytest.raises(ValueError, match=r"fraction must lie in \[0, 1\], got 2"):
        utils.stratified_split(data, 2, [0, 0, 1, 1])
    with pytest.raises(ValueError, match=r"labels must have shape \[4\].*got \[3\]"):
        utils.stratified_split(data, 0.5, [0, 0, 1])
    with pytest.raises(ValueError, match=r"must have \.targets or \.labels"):
        utils.stratified_split(data, 0.5)


def test_seed_sets_all_generators():
    draws = []
    for value in (3, 3, 4):
        utils.seed(value)
        draws.append((random.random(), np.random.rand(), torch.rand(()).item()))
    assert draws[0] == draws[1]
    assert all(a != b for a, b in zip(draws[1], draws[2], strict=True))


def test_firing_rates():
    spikes = torch.zeros(10, 2, 4)
    spikes[:, :, 0] = 1
    spikes[0, 1, 1] = 2.5  # graded: still one spike
    rates = utils.firing_rates({"a": spikes, "b": torch.zeros(3, 1, 2, 2, dtype=torch.bool)})
    assert rates["a"] == pytest.approx((21 / 80, 1.0, 0.5, 10.5, 0.25))
    assert rates["b"] == (0, 0, 1, 0, 0)
    assert rates["a"].silent == 0.5 and rates["a"].total == 10.5


@pytest.mark.parametrize("shape", [(3,), (0, 2, 3)])
def test_firing_rates_errors(shape):
    with pytest.raises(ValueError, match=r"spikes\['a'\] must be a filled \[T, B, ...\]"):
        utils.firing_rates({"a": torch.zeros(shape)})


@pytest.fixture
def nested():
    """Neurons of two kinds at two depths, one of them without hidden state, after a step."""
    net = torch.nn.Sequential(
        torch.nn.Linear(3, 4),
        snn.Leaky(beta=0.9, init_hidden=True),
        torch.nn.Sequential(torch.nn.Linear(4, 4), snn.Synaptic(alpha=0.8, beta=0.9, init_hidden=True)),
    )
    net(torch.ones(2, 3))
    return net


def test_reset_reaches_nested_neurons_and_no_other_network(nested):
    other = snn.Leaky(beta=0.9, init_hidden=True)
    other(torch.ones(2, 4))
    parameters = [p.clone() for p in nested.parameters()]
    assert utils.reset(nested) is None
    for state in (nested[1].mem, nested[2][1].syn, nested[2][1].mem):
        assert not state.any() and not state.requires_grad
    assert torch.equal(other.mem, torch.ones(2, 4))
    assert all(torch.equal(a, b) for a, b in zip(parameters, nested.parameters(), strict=True))
    assert nested(torch.ones(5, 3)).shape == (5, 4)  # another batch size


def test_reset_of_a_bare_neuron_at_any_time():
    lif = snn.Leaky(beta=0.9, init_hidden=True)
    utils.reset(lif)
    lif(torch.ones(2))
    utils.reset(lif)
    assert lif.mem.tolist() == [0, 0]
    utils.reset(torch.nn.Linear(2, 2))  # nothing to do


def test_detach_cuts_the_history_and_keeps_the_values(nested):
    states = [nested[1].mem, nested[2][1].syn, nested[2][1].mem]
    values = [state.detach().clone() for state in states]
    assert all(state.requires_grad for state in states)
    utils.detach(nested)
    for state, value in zip((nested[1].mem, nested[2][1].syn, nested[2][1].mem), values, strict=True):
        assert torch.equal(state, value) and not state.requires_grad
    nested(torch.ones(2, 3)).sum().backward()
    utils.detach(nested)
    nested(torch.ones(2, 3)).sum().backward()  # no second backward through the first step


def test_states_can_be_saved_and_set_again(nested, tmp_path):
    x = torch.rand(2, 3)
    states = utils.get_states(nested)
    assert sorted(states) == ["1.mem", "2.1.mem", "2.1.syn"]
    assert not any(state.requires_grad for state in states.values())
    torch.save(states, tmp_path / "states.pt")
    expected = nested(x), nested(x)
    utils.set_states(nested, torch.load(tmp_path / "states.pt"))
    assert torch.equal(nested(x), expected[0])
    utils.set_states(nested, states)  # stepping did not change the copies
    assert torch.equal(nested(x), expected[0]) and torch.equal(nested(x), expected[1])
    with pytest.raises(ValueError, match=r"those of the network, \['1.mem'.* got \['mem'\]"):
        utils.set_states(nested, {"mem": torch.ones(1)})
    lif = snn.Leaky(beta=0.9, init_hidden=True)
    utils.set_states(lif, {"mem": torch.tensor([0.5])})
    lif(torch.zeros(1))
    assert lif.mem.item() == pytest.approx(0.45)


def test_fit_example(monkeypatch, capsys):
    pytest.importorskip("sklearn")
    pytest.importorskip("tqdm")
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "examples")
    assert importlib.import_module("fit").main(epochs=3) > 0.7
    assert "layer 1: 0." in capsys.readouterr().out


@every_step_class
def test_states_of_every_neuron(row):
    net, x = torch.nn.Sequential(torch.nn.Sequential(row.make(init_hidden=True, output=True))), row.input(6, 3)
    x.requires_grad_()
    utils.reset(net)  # before the first step, too
    first = [net(step)[0] for step in x]
    utils.detach(net)
    states = utils.get_states(net)
    assert sorted(states) == sorted(f"0.0.{name}" for name in row.states)
    later = [net(step)[0] for step in x]
    if later[-1].requires_grad:
        sum(spk.sum() for spk in later).backward()
        utils.detach(net)
        more = [net(step)[0] for step in x][-1]  # an alpha neuron takes a step to feel its input
        more.sum().backward()  # no second backward through the steps before
    utils.set_states(net, states)
    torch.testing.assert_close([net(step)[0] for step in x], later)
    assert utils.reset(net) is None
    for name in row.states:
        state = getattr(net[0][0], name)
        assert row.cls.resting or (not state.any() and not state.requires_grad)
    torch.testing.assert_close([net(step)[0] for step in x], first)
    utils.reset(net)
    assert net(row.input(1, 7)[0])[0].shape[0] == 7  # another batch size


@every_class
def test_reset_takes_every_neuron(row):
    utils.reset(torch.nn.Sequential(row.make()))
    utils.detach(torch.nn.Sequential(row.make()))
    assert utils.get_states(torch.nn.Sequential(row.make())).keys() == {
        f"0.{name}" for name in row.states if not row.takes_sequence
    }
