"""A prepared call: the same results as when everything is looked at, and nothing that is set anew is missed."""

import copy
import pickle
import sys
import weakref

import pytest
import torch
import torch.utils.checkpoint
from torch import nn
from torch.nn.utils import parametrize
from torch.utils._pytree import tree_leaves

import snntorch as snn
from helpers import assert_equal, loop, start
from rows import STEP_ROWS, one_per_class
from snntorch._engine import dispatch, prepared, private
from snntorch._engine.target import PACKAGES


@pytest.fixture
def known(monkeypatch):
    """For each call whether it was a prepared one."""
    log = []

    def noted(*args):
        log.append(True)  # also where what is kept for backward ends a second run
        found = prepared.again(*args)
        log[-1] = found is not None
        return found

    monkeypatch.setattr(dispatch, "again", noted)
    return log


@pytest.fixture
def lif():
    """A neuron that has stepped once, and its input."""
    if snn._engine.setting.asked() == "eager":
        pytest.skip("nothing is prepared")
    neuron = snn.Leaky(0.9)
    neuron(torch.ones(2, 3), torch.zeros(2, 3))
    return neuron


@pytest.mark.parametrize(("row", "grad"), [
    *((row, True) for row in STEP_ROWS), *((row, False) for row in one_per_class(STEP_ROWS))
], ids=lambda given: getattr(given, "name", given))  # fmt: skip
@pytest.mark.parametrize("over_time", [loop, snn.unroll])
def test_as_when_everything_is_looked_at(row, grad, over_time, monkeypatch):
    short, x = row.make(torch.float64), row.input(4, 3, torch.float64).requires_grad_(grad)
    long = copy.deepcopy(short)
    if over_time is snn.unroll:
        snn.unroll(short, x[:3], *start(row, short))
        snn.utils.reset(short)
    found = over_time(short, x, *start(row, short))
    monkeypatch.setattr(dispatch, "again", lambda *_: None)
    expected = over_time(long, x, *start(row, long))
    assert_equal(found, expected)
    if grad:
        leaves = [[x, *(p for p in net.parameters() if p.requires_grad)] for net in (short, long)]
        of_short, of_long = (
            torch.autograd.grad(sum(o.sum() for o in tree_leaves(out) if o.requires_grad), w, allow_unused=True)
            for out, w in zip((found, expected), leaves, strict=True)
        )
        assert_equal([g for g in of_short if g is not None], [g for g in of_long if g is not None])


def test_steps_of_a_loop_are_prepared(lif, known):
    for x in (torch.ones(2, 3), torch.ones(2, 3, requires_grad=True)):
        mem = torch.zeros(2, 3)
        lif(x, mem)
        _, mem = lif(x, mem.detach())
        assert known.pop()
        lif(x, mem)
        lif(x, lif(x, mem)[1])
        assert known.pop()
    lif(torch.ones(5, 3), torch.zeros(5, 3))  # a last batch
    assert not known.pop()
    lif(torch.ones(2, 3), torch.zeros(2, 3))
    assert known.pop()


def test_sequences_are_prepared_for_any_number_of_steps(lif, known):
    """What a kernel is given differs, and so a call is prepared anew: what is asked, static inputs, other sizes."""

    def prepared_at(x, **kwargs):
        del known[:]
        snn.unroll(lif, x, torch.zeros(x.shape[-2:]), **kwargs)
        return known

    for x in (torch.rand(5, 2, 3), torch.rand(5, 2, 3, requires_grad=True), torch.rand(4, 2, 4)):
        assert prepared_at(x) == [False]
        assert prepared_at(x) == prepared_at(x[:3]) == [True]
    assert prepared_at(torch.rand(2, 3), num_steps=5) == [False]
    assert prepared_at(torch.rand(2, 3), num_steps=7) == [True]
    with torch.no_grad():
        assert prepared_at(torch.rand(5, 2, 3, requires_grad=True)) == [True]
    lif.init_hidden, lif.mem = True, torch.zeros(2, 3)
    snn.unroll(lif, torch.rand(5, 2, 3))  # spikes alone
    assert known.pop() is False
    snn.utils.reset(lif)
    spk = snn.unroll(lif, torch.full((9, 2, 3), 0.6))
    assert known.pop()
    assert spk.shape == (9, 2, 3)
    assert spk[:, 0, 0].tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 0]  # mem: .6 1.14 .63 1.16 .65 1.18 .66 1.2 .68


@pytest.mark.skipif(PACKAGES["cpu"] != "numba", reason="Triton's interpreter calls more")
@torch.no_grad()
def test_what_python_does_at_each_call_of_a_small_net(lif):
    """How many functions of ours are entered, exactly: that is what a small net takes its time for."""
    x, entered = torch.rand(5, 2, 3), []
    lif.init_hidden, net = True, nn.Sequential(nn.Linear(3, 3), lif)

    def count(frame, event, _):
        name = frame.f_code.co_name
        if event == "call" and frame.f_globals.get("__name__", "").startswith("snntorch") and name[0] != "<":
            entered.append(name)

    def calls(function, *args):
        function(*args)
        function(*args)
        del entered[:]
        before = sys.getprofile()
        sys.setprofile(count)
        try:
            function(*args)
        finally:
            sys.setprofile(before)
        return len(entered)

    found = calls(snn.unroll, lif, x), calls(snn.unroll, net, x), calls(snn.utils.reset, net), calls(lif, x[0])
    assert found == (48, 75, 14, 36)


CHANGES = {
    "reset_mechanism": lambda n: setattr(n, "reset_mechanism", "zero"),
    "reset_delay": lambda n: setattr(n, "reset_delay", False),
    "a threshold in place": lambda n: n.threshold.fill_(0.25),
    "a threshold": lambda n: setattr(n, "threshold", torch.tensor(0.25)),
    "a threshold's data": lambda n: setattr(n.threshold, "data", torch.tensor(0.25)),
    "beta for each neuron": lambda n: setattr(n, "beta", torch.tensor([0.1, 0.5, 0.9])),
    "load_state_dict": lambda n: n.load_state_dict(snn.Leaky(0.2, 0.3, reset_mechanism="zero").state_dict()),
    "double parameters": lambda n: n.double(),
    "inhibition": lambda n: setattr(n, "inhibition", True),
    "a surrogate": lambda n: setattr(n, "spike_grad", snn.surrogate.fast_sigmoid(3)),
    "a spike function": lambda n: setattr(n, "spike_grad", lambda x: (x >= 0).to(x.dtype)),
    "a quantiser": lambda n: setattr(n, "state_quant", lambda s: s.round()),
    "a method": lambda n: setattr(n, "fire", lambda mem: mem * 2),
    "a parameter": lambda n: (n._buffers.pop("beta"), setattr(n, "beta", torch.nn.Parameter(torch.tensor(0.3)))),
    "what drives it": lambda n: setattr(n, "drive", lambda x, *_: (x / 2,)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("steps", [0, 4])
def test_what_is_set_anew_takes_effect_at_once(lif, change, steps):
    x, mem = torch.tensor([[0.1, 0.5, 1.5]] * 2, requires_grad=True), torch.tensor([[0.2, 0.9, 1.2]] * 2)

    def call():
        return snn.unroll(lif, x.expand(steps, 2, 3).contiguous(), mem) if steps else lif(x, mem)

    call()
    call()
    change(lif)
    found = call()
    with snn.backend("eager"):
        expected = call()
    torch.testing.assert_close(found, expected)
    weights = torch.tensor([1.0, 2.0, 3.0])
    of_found, of_expected = (
        torch.autograd.grad(sum((o * weights).sum() for o in out if o.requires_grad), x) for out in (found, expected)
    )
    torch.testing.assert_close(of_found, of_expected)


def test_other_tensors_than_before(lif):
    x, mem = torch.randn(2, 3), torch.rand(2, 3)
    lif(x, mem)
    negative = torch._neg_view(x)  # holds -x where the memory holds x
    assert_equal(lif(negative, mem), lif(negative.clone(), mem))
    turned = torch.rand(3, 2).t()
    assert_equal(lif(x, turned), lif(x, turned.contiguous()))
    assert_equal(torch.func.vmap(lif)(x, mem), lif(x, mem))
    assert_equal(lif(x, mem.clone()), lif(x, mem))  # what vmap left behind is no state to go on from
    with pytest.raises(ValueError, match="mem"):
        lif(x, torch.rand(2, 4))
    with pytest.raises(TypeError, match="mem"):
        lif(x, 0.5)
    with pytest.raises(TypeError, match="by position"):
        lif(x, mem, mem)
    lif.init_hidden = True
    with pytest.raises(TypeError, match="init_hidden"):
        lif(x, mem)


def test_kinds_of_tensors_without_the_guards_of_torch_compile(monkeypatch):
    monkeypatch.setattr(torch._C._dynamo.guards, "TensorGuards", None)
    x = torch.rand(2, 3)
    same = private.same_kinds([x])
    assert same(torch.rand(2, 3))
    others = [torch.rand(3, 2).t(), x.double(), torch._neg_view(x), torch.nn.Parameter(x), x.to_sparse(), 1]
    assert not any(same(other) for other in [*others, torch.rand(2, 3, requires_grad=True)])
    with torch.inference_mode():
        assert not same(torch.rand(2, 3))


@pytest.mark.parametrize("prepared_first", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        lambda: snn.Leaky(0.9, learn_beta=True),
        lambda: snn.RLeaky(0.9, 0.5, all_to_all=False),
        lambda: snn.RLeaky(0.9, linear_features=3),
        lambda: snn.Synaptic(0.9, 0.8, threshold=torch.tensor([0.5, 0.6, 0.7])),
    ],
)
def test_checkpoints_either_way_around(make, prepared_first, known):
    """What is kept for backward is the same, whether the forward or its second run looked at everything."""
    neuron, x = make(), torch.randn(2, 3, requires_grad=True)
    states = [torch.rand(2, 3, requires_grad=True) for _ in neuron.states]
    weight = torch.tensor([1.0, 2.0, 3.0])

    def gradients(call):
        return torch.autograd.grad((call(x, *states)[-1] * weight).sum(), [x, *states], allow_unused=True)

    expected = gradients(neuron)
    del known[:]
    if not prepared_first:
        neuron._prepared = None
    runs = []

    def run_twice(*args):
        if runs and prepared_first:
            neuron._prepared = None
        runs.append(1)
        return neuron(*args)

    found = gradients(lambda *args: torch.utils.checkpoint.checkpoint(run_twice, *args, use_reentrant=False))
    assert_equal(found, expected)
    if snn._engine.setting.asked() != "eager":
        assert known == [prepared_first, not prepared_first]


def test_numbers_of_a_surrogate_set_anew() -> None:
    """They are parameters of one kernel, whose values are those of the surrogate that is set."""
    leaky, x = snn.Leaky(beta=0.9), torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    mem = torch.zeros(2, 3, dtype=torch.float64)
    for slope in (25.0, 25.0, 7.0, 7.0, 7.0):
        leaky.spike_grad = snn.surrogate.fast_sigmoid(slope=slope)
        for _ in range(2):
            spk, _ = leaky(x, mem)
            (grad,) = torch.autograd.grad(spk.sum(), x)
            torch.testing.assert_close(grad, 1 / (1 + slope * (x.detach() - 1).abs()) ** 2)


def test_what_was_prepared_holds_no_tensor_and_no_neuron(lif):
    x, mem = torch.ones(2, 3, requires_grad=True), torch.zeros(2, 3)
    spk, mem = lif(x, lif(x, mem)[1])
    gone = [weakref.ref(t) for t in (x, spk, mem, lif)]
    lif.reset_mem()
    del x, spk, mem
    assert [ref() for ref in gone[:3]] == [None] * 3
    for threshold in (0.5, 0.6):
        beside = torch.tensor(threshold)
        lif.threshold = beside
        lif(torch.ones(2, 3), torch.zeros(2, 3))
        gone.append(weakref.ref(beside))
        del beside
    assert gone[-2]() is None


def test_a_parameter_that_is_computed_is_computed_once_a_step(known):
    """Else what autograd saves would tell whether a step was prepared."""

    class Halved(nn.Module):
        calls = 0

        def forward(self, beta):
            Halved.calls += 1
            return beta / 2

    lif = snn.Leaky(0.9, learn_beta=True)
    parametrize.register_parametrization(lif, "beta", Halved())
    for step in range(3):
        x = torch.ones(2 + step % 2, 3)
        Halved.calls = 0
        lif(x, torch.zeros_like(x))
        assert Halved.calls == 1


def test_a_neuron_that_is_copied_prepares_its_own(lif):
    for other in (copy.deepcopy(lif), pickle.loads(pickle.dumps(lif))):
        assert other._prepared is None
        assert_equal(other(torch.ones(2, 3), torch.zeros(2, 3)), lif(torch.ones(2, 3), torch.zeros(2, 3)))


def test_a_step_between_others_under_a_transform_or_a_mode(lif):
    x, mem = torch.rand(2, 3), torch.rand(2, 3)
    expected = lif(x, mem)
    assert_equal(torch.func.vmap(lif)(x, mem), expected)
    assert_equal(torch.func.grad(lambda x: lif(x, mem)[1].sum())(x), torch.ones_like(x))
    seen = snn._engine.choices
    with seen() as made:
        lif(x, mem)
    assert [made_of[1:] for made_of in made] == [("stepped", "a kernel for each step")]
    with snn.backend("eager"), seen() as made:
        lif(x, mem)
    assert [made_of[1:] for made_of in made] == [("stepped", "the backend is eager")]
    with torch.inference_mode():
        assert_equal(lif(x, mem), expected)
    assert_equal(lif(x, mem), expected)
    called = []
    handle = lif.register_forward_hook(lambda *_: called.append(1))
    lif(x, mem)
    handle.remove()
    assert called == [1]
