"""BPTT, TBPTT and RTRL: the published package's numbers, the definition of truncation, options and errors."""

import inspect
import sys

import pytest
import torch
from torch import nn

import snntorch as snn
from snntorch import backprop
from snntorch import functional as SF

STEPS, BATCH = 6, 5


def make_net(dtype=torch.float32, hidden=None):
    """Two layers whose weights are set by formula."""
    net = nn.Sequential(
        nn.Linear(3, 4),
        hidden or snn.Leaky(beta=0.9, init_hidden=True),
        nn.Linear(4, 2),
        snn.Leaky(beta=0.8, init_hidden=True, output=True),
    )
    with torch.no_grad():
        for i, p in enumerate(q for layer in (net[0], net[2]) for q in layer.parameters()):
            p.copy_(torch.cos(torch.arange(p.numel(), dtype=torch.float32) * 1.7 + i).view_as(p))
    return net.to(dtype)


def make_batches(time_var=True, steps=STEPS, dtype=torch.float32):
    shape = torch.Size((steps, BATCH, 3) if time_var else (BATCH, 3))
    numbers = torch.arange(shape.numel(), dtype=torch.float32) * 0.7
    return [((torch.sin(numbers + b) + 0.6).view(shape).to(dtype), torch.arange(BATCH) % 2) for b in range(2)]


def sgd(net, lr=0.1):
    return torch.optim.SGD(net.parameters(), lr=lr)


# Recorded with snnTorch 1.0.0 (torch 2.13, CPU): the returned loss, and the sum of the parameters' absolute values
# after one epoch of the net and the batches above.
STATIC = {"num_steps": STEPS, "time_var": False}
PEER = [
    (backprop.BPTT, STATIC, SF.ce_rate_loss(), False, 0.733837, 16.89286),
    (backprop.BPTT, STATIC, SF.ce_rate_loss(), SF.l1_rate_sparsity(1e-2), 0.793837, 16.8091),
    (backprop.BPTT, {}, SF.ce_rate_loss(), False, 0.701155, 16.9137),
    (backprop.BPTT, {}, SF.mse_membrane_loss(), False, 2.42523, 16.26289),
    (backprop.TBPTT, {**STATIC, "K": 2}, SF.ce_rate_loss(), SF.l1_rate_sparsity(1e-2), 0.7465, 16.85648),
    (backprop.TBPTT, {**STATIC, "K": 2}, SF.mse_membrane_loss(), False, 2.300225, 15.14232),
    (backprop.TBPTT, {**STATIC, "K": 2}, SF.mse_count_loss(0.8, 0.2), False, 0.291667, 16.75045),
    (backprop.TBPTT, {**STATIC, "K": 2}, SF.ce_max_membrane_loss(), False, 0.868752, 16.92536),
    (backprop.RTRL, STATIC, SF.ce_rate_loss(), False, 0.725829, 16.87511),
    (backprop.RTRL, STATIC, SF.mse_membrane_loss(), False, 1.77116, 14.90295),
]


@pytest.mark.parametrize(("train", "times", "criterion", "reg", "loss", "size"), PEER)
def test_numbers_of_the_published_package(train, times, criterion, reg, loss, size):
    net = make_net()
    batches = make_batches(times.get("time_var", True))
    result = train(net, batches, sgd(net), criterion, regularization=reg, **times)
    assert result.shape == () and not result.requires_grad
    assert result.item() == pytest.approx(loss, abs=2e-6)
    assert sum(p.abs().sum().item() for p in net.parameters()) == pytest.approx(size, abs=2e-5)


def test_signatures_are_the_published_ones():
    names = "net dataloader optimizer criterion num_steps time_var time_first regularization device".split()
    defaults = [inspect.Parameter.empty] * 4 + [False, True, True, False, "cpu"]
    for train, more in ((backprop.BPTT, {}), (backprop.RTRL, {}), (backprop.TBPTT, {"K": 1})):
        positional = [
            p for p in inspect.signature(train).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD
        ]  # fmt: skip
        assert [p.name for p in positional] == [*names, *more]
        assert [p.default for p in positional] == [*defaults, *more.values()]


class Gradients(torch.optim.SGD):
    """Remembers the gradients of every update, and makes none."""

    def __init__(self, parameters):
        super().__init__(parameters, lr=0.0)
        self.seen = []

    def step(self, closure=None):
        self.seen.append([p.grad.clone() for group in self.param_groups for p in group["params"]])


@pytest.mark.parametrize("steps", [1, 6])
@pytest.mark.parametrize("criterion", [SF.ce_rate_loss(), SF.mse_membrane_loss()])
def test_tbptt_over_the_whole_sequence_is_bptt_gradient_for_gradient(criterion, steps):
    seen = []
    for train, options in ((backprop.BPTT, {}), (backprop.TBPTT, {"K": steps}), (backprop.TBPTT, {"K": False}),
                           (backprop.TBPTT, {"K": 100})):  # fmt: skip
        net = make_net(torch.float64)
        optimizer = Gradients(net.parameters())
        train(net, make_batches(steps=steps, dtype=torch.float64), optimizer, criterion, **options)
        seen.append(optimizer.seen)
    assert len(seen[0]) == 2 and any(g.abs().sum() > 0 for g in seen[0][0])
    for other in seen[1:]:
        for a, b in zip(seen[0], other, strict=True):
            assert all(torch.equal(g, h) for g, h in zip(a, b, strict=True))


@pytest.mark.parametrize("time_var", [True, False])
@pytest.mark.parametrize("K", [1, 2, 4, 6])
def test_truncation_is_this_loop(K, time_var):
    """Also where K does not divide T: the remainder is a chunk, weighted by its length."""
    criterion, batches = SF.ce_rate_loss(), make_batches(time_var)
    net, reference = make_net(), make_net()
    optimizer, total = sgd(reference), 0.0
    for data, targets in batches:
        for layer in (reference[1], reference[3]):
            layer.reset_mem()
        for start in range(0, STEPS, K):
            spikes = [reference(data[t] if time_var else data)[0] for t in range(start, min(start + K, STEPS))]
            loss = criterion(torch.stack(spikes), targets).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(spikes) / STEPS / len(batches)
            for layer in (reference[1], reference[3]):
                layer.detach_mem()
    times = {} if time_var else STATIC
    result = backprop.TBPTT(net, batches, sgd(net), criterion, K=K, **times)
    assert result.item() == pytest.approx(total, rel=1e-6)
    for p, q in zip(net.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(p, q)


def test_rtrl_is_truncation_to_one_step():
    nets = make_net(), make_net()
    a = backprop.RTRL(nets[0], make_batches(), sgd(nets[0]), SF.ce_rate_loss())
    b = backprop.TBPTT(nets[1], make_batches(), sgd(nets[1]), SF.ce_rate_loss())
    assert torch.equal(a, b) and torch.equal(nets[0][0].weight, nets[1][0].weight)


@pytest.mark.parametrize(
    "hidden",
    [
        snn.Synaptic(alpha=0.8, beta=0.9, init_hidden=True),
        snn.RSynaptic(alpha=0.8, beta=0.9, linear_features=4, init_hidden=True),
        snn.DeltaLeaky(0.2, beta=0.9, init_hidden=True, output=False),
        nn.Sequential(nn.Sequential(snn.Alpha(alpha=0.9, beta=0.8, init_hidden=True))),
    ],
    ids=["Synaptic", "RSynaptic", "DeltaLeaky", "nested"],
)
def test_every_neuron_of_a_mixed_net_is_cut(hidden):
    net = make_net(hidden=hidden)
    updates = []
    backprop.TBPTT(net, make_batches(), sgd(net), SF.ce_rate_loss(), K=2, on_update=lambda *a: updates.append(a))
    assert len(updates) == 2 * STEPS / 2
    assert all(loss.isfinite() for loss, _, _ in updates)


def test_time_varying_targets_are_those_of_the_chunk_in_every_batch():
    batches = [(x, torch.arange(STEPS * BATCH * 2.0).view(STEPS, BATCH, 2)) for x, _ in make_batches()]
    net, seen = make_net(), []
    criterion = SF.mse_membrane_loss(time_var_targets=True)
    backprop.TBPTT(net, batches, sgd(net, 1e-4), criterion, K=2, on_update=lambda *a: seen.append(a[2]))
    assert torch.equal(torch.cat(seen[:3]), batches[0][1]) and torch.equal(torch.cat(seen[3:]), batches[1][1])


def test_batches_first_and_of_different_lengths():
    long, short = make_batches(steps=6)[0], make_batches(steps=3)[1]
    nets = make_net(), make_net()
    updates = []
    a = backprop.TBPTT(nets[0], [long, short], sgd(nets[0]), SF.ce_rate_loss(), K=4, on_update=lambda *x: updates.append(x))  # fmt: skip # noqa: E501
    swapped = [(x.transpose(0, 1), y) for x, y in (long, short)]
    b = backprop.TBPTT(nets[1], swapped, sgd(nets[1]), SF.ce_rate_loss(), time_first=False, K=4)
    assert [len(outputs) for _, outputs, _ in updates] == [4, 2, 3]
    assert torch.equal(a, b) and torch.equal(nets[0][0].weight, nets[1][0].weight)


class Looping(nn.Module):
    """A net whose forward is a loop over time."""

    def __init__(self):
        super().__init__()
        self.steps = make_net()

    def forward(self, x):
        return tuple(torch.stack(o) for o in zip(*(self.steps(step) for step in x), strict=True))


@pytest.mark.parametrize("time_var", [True, False])
def test_a_net_that_takes_sequences(time_var):
    times = {"K": 3} if time_var else {**STATIC, "K": 3}
    net, stepped = Looping(), make_net()
    a = backprop.TBPTT(net, make_batches(time_var), sgd(net), SF.ce_rate_loss(), sequence=True, **times)
    b = backprop.TBPTT(stepped, make_batches(time_var), sgd(stepped), SF.ce_rate_loss(), **times)
    torch.testing.assert_close(a, b)
    torch.testing.assert_close(net.steps[0].weight, stepped[0].weight)
    flagged = Looping()
    flagged.takes_sequence = True
    c = backprop.TBPTT(flagged, make_batches(time_var), sgd(flagged), SF.ce_rate_loss(), **times)
    torch.testing.assert_close(c, b)
    torch.testing.assert_close(flagged.steps[0].weight, stepped[0].weight)


def test_linear_leaky_needs_the_whole_sequence():
    net = snn.LinearLeaky(beta=0.9, in_features=3, out_features=2)
    before = net.linear.weight.clone()
    backprop.BPTT(net, make_batches(), sgd(net), SF.mse_membrane_loss(), sequence=True)
    assert not torch.equal(before, net.linear.weight)
    with pytest.raises(ValueError, match="K must be None for LinearLeaky, which keeps no state"):
        backprop.TBPTT(net, make_batches(), sgd(net), SF.mse_membrane_loss(), sequence=True, K=2)


def test_custom_criterion_and_one_tensor_outputs():
    net = nn.Sequential(nn.Linear(3, 2), snn.Leaky(beta=0.9, init_hidden=True))
    rate = nn.MSELoss()
    with pytest.raises(TypeError, match=r"criterion MSELoss is none of ce_rate_loss.*readout='spk'"):
        backprop.BPTT(net, make_batches(), sgd(net), rate)
    batches = [(x, torch.full((STEPS, BATCH, 2), 0.5)) for x, _ in make_batches()]
    assert backprop.BPTT(net, batches, sgd(net), rate, readout="spk").item() == 0.25  # of spikes, 0 or 1
    with pytest.raises(ValueError, match=r"net returns one tensor.*output=True"):
        backprop.BPTT(net, batches, sgd(net), rate, readout="mem")
    with pytest.raises(ValueError, match="readout must be 'spk', 'mem' or None, got 'syn'"):
        backprop.BPTT(net, batches, sgd(net), rate, readout="syn")
    with pytest.raises(ValueError, match="must return one value, got shape"):
        backprop.BPTT(net, batches, sgd(net), nn.MSELoss(reduction="none"), readout="spk")


def test_any_regulariser_gets_the_spikes():
    net, seen = make_net(), []

    def penalty(spk):
        seen.append(spk)
        return spk.sum()

    batches = make_batches()[:1]
    plain = backprop.BPTT(net, batches, sgd(net, 0.0), SF.ce_rate_loss())
    with_penalty = backprop.BPTT(net, batches, sgd(net, 0.0), SF.ce_rate_loss(), regularization=penalty)
    assert set(seen[0].unique().tolist()) == {0.0, 1.0}
    assert (with_penalty - plain).item() == pytest.approx(seen[0].sum().item())


def test_clipping_bounds_every_update():
    net = make_net()
    optimizer = Gradients(net.parameters())
    backprop.TBPTT(net, make_batches(), optimizer, SF.mse_membrane_loss(), K=2, clip_grad_norm=0.1)
    for gradients in optimizer.seen:
        assert torch.cat([g.flatten() for g in gradients]).norm().item() == pytest.approx(0.1, rel=1e-4)


def test_mixed_precision_stays_close_and_scaling_does_not_change_the_update():
    plain, mixed, scaled = make_net(), make_net(), make_net()
    a = backprop.BPTT(plain, make_batches(), sgd(plain), SF.mse_membrane_loss())
    outputs = []
    b = backprop.BPTT(mixed, make_batches(), sgd(mixed), SF.mse_membrane_loss(), amp=torch.bfloat16,
                      on_update=lambda *x: outputs.append(x[1]))  # fmt: skip
    assert b.item() == pytest.approx(a.item(), rel=0.05) and b.item() != a.item()
    assert outputs[0].dtype == torch.float32  # the membrane potentials, from products in bfloat16
    assert mixed[0].weight.dtype == torch.float32
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    backprop.BPTT(scaled, make_batches(), sgd(scaled), SF.mse_membrane_loss(), scaler=scaler, clip_grad_norm=1e9)
    torch.testing.assert_close(scaled[0].weight, plain[0].weight)


def test_progress_bar(capsys, monkeypatch):
    net = make_net()
    backprop.BPTT(net, make_batches(), sgd(net), SF.ce_rate_loss(), progress=True)
    assert "2/2" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match=r"snntorch\[progress\]"):
        backprop.BPTT(net, make_batches(), sgd(net), SF.ce_rate_loss(), progress=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_steps": 5}, "num_steps=5 goes with time_var=False"),
        ({"time_var": False}, "num_steps must be given with time_var=False"),
        ({"time_var": False, "num_steps": None}, "num_steps must be given"),
        ({"time_var": False, "num_steps": 5, "time_first": False}, "time_first=False needs time_var=True"),
        ({"time_var": False, "num_steps": 5, "K": 6}, "K must be at most num_steps=5, got 6"),
        ({"K": -1}, "K must be a positive int, got -1"),
        ({"time_var": False, "num_steps": 2.5}, r"num_steps must be a positive int, got 2\.5"),
    ],
)
def test_bad_arguments(options, message):
    net = make_net()
    with pytest.raises(ValueError, match=message):
        backprop.TBPTT(net, make_batches(), sgd(net), SF.ce_rate_loss(), **options)


def test_no_batches_or_steps():
    net = make_net()
    with pytest.raises(ValueError, match="dataloader must yield at least one batch"):
        backprop.BPTT(net, [], sgd(net), SF.ce_rate_loss())
    with pytest.raises(ValueError, match=r"at least one time step, got shape \(0, 5, 3\)"):
        backprop.BPTT(net, [(torch.zeros(0, 5, 3), torch.zeros(5))], sgd(net), SF.ce_rate_loss())


def test_training_learns():
    """Which of two inputs is stronger."""
    torch.manual_seed(0)
    x = torch.rand(64, 3)
    batches = [(x, (x[:, 0] > x[:, 1]).long())]
    net = nn.Sequential(
        nn.Linear(3, 16), snn.Leaky(beta=0.9, init_hidden=True), nn.Linear(16, 2),
        snn.Leaky(beta=0.9, init_hidden=True, output=True),
    )  # fmt: skip
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    losses = [backprop.TBPTT(net, batches, optimizer, SF.ce_rate_loss(), 10, False, K=5) for _ in range(40)]
    assert losses[-1] < 0.8 * losses[0]
