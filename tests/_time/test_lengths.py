"""`lengths=`: each sample as if it ran alone, to its own end."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import snntorch as snn
from helpers import assert_equal, flat, loop, resting_states
from rows import every_step_class, row_named
from snntorch import utils

T, LENGTHS = 7, [5, 0, 7, 2]
B = len(LENGTHS)


def stored(net: nn.Module) -> list[torch.Tensor]:
    return [getattr(m, name) for m in net.modules() if isinstance(m, snn.SpikingNeuron) for name in m.states]


def padded(out: torch.Tensor) -> torch.Tensor:
    return torch.cat([out, out.new_zeros(T - len(out), *out.shape[1:])])


def alone(net: nn.Module, x: torch.Tensor, *given, run=loop) -> tuple[list, list]:
    """Outputs, zero where there are none, and final states, of each sample by itself, without one of no steps."""
    outputs, finals = [], []
    for b, n in enumerate(LENGTHS):
        if n:
            snn.utils.reset(net)
            outputs.append([padded(o) for o in flat(run(net, x[:n, b : b + 1], *given))])
            finals.append(stored(net))
    snn.utils.reset(net)
    return [torch.cat(o, 1) for o in zip(*outputs, strict=True)], [list(s) for s in zip(*finals, strict=True)]


def of_batch(tensor: torch.Tensor, like: list[torch.Tensor], dim: int) -> torch.Tensor:
    """A state of all samples as those of each, without the sample of no steps."""
    return tensor.index_select(dim, torch.tensor([b for b, n in enumerate(LENGTHS) if n]))


def check(net, x, run, *given, apart=loop, tolerance=1e-10, hold=0):
    """Outputs, final states and gradients of `run(net, x)` against those of each sample alone."""
    real = torch.tensor([n > 0 for n in LENGTHS])
    wanted = [p for p in net.parameters() if p.requires_grad]
    results = []
    for who in ("batch", "alone"):
        snn.utils.reset(net)
        x = x.detach().requires_grad_()
        if who == "batch":
            outs = flat(run(net, x))
            assert all(not o[n:, b].any() for o in outs[: len(outs) - hold] for b, n in enumerate(LENGTHS))
            outs = [o[:, real] for o in outs]
            finals = [s.index_select(m.batch_dim, real.nonzero()[:, 0]) for m in net.modules()
                      if isinstance(m, snn.SpikingNeuron) for s in stored_of(m)]  # fmt: skip
        else:
            outs, parts = alone(net, x, *given, run=apart)
            dims = [m.batch_dim for m in net.modules() if isinstance(m, snn.SpikingNeuron) for _ in m.states]
            finals = [torch.cat(p, d) for p, d in zip(parts, dims, strict=True)]
        if hold:
            outs = outs[:-hold]
        total = sum((torch.linspace(-1, 1.5, t.numel()).view_as(t).to(t) * t).sum() for t in (*outs, *finals))
        grads = torch.autograd.grad(total, [x, *wanted], allow_unused=True)
        results.append(([*outs, *finals], [torch.zeros(()) if g is None else g for g in grads]))
    (found, g_found), (expected, g_expected) = results
    assert len(found) == len(expected)
    for f, e in zip(found, expected, strict=True):
        torch.testing.assert_close(f, e, rtol=0, atol=1e-12)
    torch.testing.assert_close(g_found, g_expected, rtol=0, atol=tolerance)


def stored_of(neuron: snn.SpikingNeuron) -> list[torch.Tensor]:
    return [getattr(neuron, name) for name in neuron.states]


class Step(nn.Module):
    """A layer in a forward of one's own, so that it is recorded."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)


def hooked(layer: nn.Module) -> nn.Module:
    layer.register_forward_hook(lambda *_: None)
    return layer


FORMS = {"itself": lambda n: n, "recorded": Step, "hooked": hooked, "recorded-hooked": lambda n: Step(hooked(n))}


@pytest.mark.parametrize("form", FORMS)
@every_step_class
def test_a_neuron_is_that_of_each_sample_alone(row, form):
    neuron = row.make(torch.float64, init_hidden=True)
    x = row.input(T, B, torch.float64)
    net = FORMS[form](neuron)
    check(net, x, lambda net, x: snn.unroll(net, x, lengths=LENGTHS))
    snn.utils.reset(net)
    snn.unroll(net, x, lengths=LENGTHS)
    for state, rest in zip(stored_of(neuron), resting_states(neuron, x[0]), strict=True):
        assert_equal(state.float().select(neuron.batch_dim, 1), rest.select(neuron.batch_dim, 1))


@pytest.mark.parametrize("make", [
    lambda: snn.Delay(torch.tensor([0, 1, 3, 2, 1]), init_hidden=True),
    lambda: snn.Delay(B, init_hidden=True),  # as many slots as samples
    lambda: snn.AxonalDelay(5, 3, init_hidden=True),
    lambda: snn.SynapticDelay(5, 2, 4, 1.0, init_hidden=True),
    lambda: snn.LeakyIntegrator(0.8, init_hidden=True),
    lambda: snn.SlidingPSN(3),
    lambda: snn.StateLeaky(0.8, 5),
    lambda: nn.Linear(5, 3),
    lambda: nn.Dropout(0.0),
])  # fmt: skip
def test_layers(make):
    torch.manual_seed(0)
    layer, x = make().double(), 2 * torch.rand(T, B, 5, dtype=torch.float64)
    whole = getattr(layer, "takes_sequence", False)
    apart = (lambda net, x: net(x)) if whole else loop
    check(layer, x, lambda net, x: snn.unroll(net, x, lengths=LENGTHS), apart=apart)
    if not whole:
        check(Step(layer), x, lambda net, x: snn.unroll(net, x, lengths=LENGTHS))


class Residual(nn.Module):
    """Branches, pooling, recurrent neurons, a neuron that is called twice a step, and the loop if that is asked for."""

    def __init__(self, looks=False, loop=False):
        super().__init__()
        self.conv, self.pool, self.lif1 = nn.Conv2d(1, 3, 3, padding=1), nn.MaxPool2d(2), snn.Leaky(0.9)
        self.fc = nn.Linear(12, 6)
        self.lif2 = snn.RLeaky(0.8, linear_features=6, init_hidden=True)
        self.lif3, self.out = snn.Synaptic(0.9, 0.8, init_hidden=True), nn.Linear(6, 3)
        self.looks, self.loop, self.takes_sequence = looks, loop, loop

    def step(self, x, mem):
        spk, mem = self.lif1(self.pool(2 * self.conv(x)), mem)
        spk = self.lif2(2 * self.fc(spk.flatten(1)))
        if self.looks and spk.sum() < 0:
            return spk, mem
        return self.out(spk + self.lif3(3 * spk)), mem

    def forward(self, x):
        if not self.loop:
            return self.step(x, None)
        mem, recorded = None, []
        for now in x:
            out, mem = self.step(now, mem)
            recorded.append(out)
        return torch.stack(recorded), mem


def network(kind: type = Residual, **kwargs) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    return kind(**kwargs).double(), torch.rand(T, B, 1, 4, 4, dtype=torch.float64)


@pytest.mark.parametrize("looks", [False, True])
@pytest.mark.parametrize("options", [{}, {"recompute": 3}, {"pack_spikes": True}], ids=str)
def test_a_network_of_one_step(looks, options):
    net, x = network(looks=looks)
    lengths = torch.tensor(LENGTHS, dtype=torch.int32)
    check(net, x, lambda net, x: snn.unroll(net, x, lengths=lengths, **options))
    with snn.backend("eager"):
        check(net, x, lambda net, x: snn.unroll(net, x, lengths=lengths, **options))


def test_a_neuron_that_is_called_twice_a_step():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.lif = snn.Leaky(0.9, init_hidden=True)

        def forward(self, x):
            return self.lif(x), self.lif(0.5 * x)

    check(Twice(), 2 * torch.rand(T, B, 5, dtype=torch.float64), lambda net, x: snn.unroll(net, x, lengths=LENGTHS))


@pytest.mark.parametrize("looks", [False, True])
@pytest.mark.parametrize("call", ["layerwise", "unroll"])
def test_a_forward_that_holds_the_loop(call, looks):
    """What is recorded ends with each sample, and what is left in a variable is what it was at its end."""
    net, x = network(looks=looks, loop=True)
    run = snn.layerwise(net) if call == "layerwise" else lambda x, lengths: snn.unroll(net, x, lengths=lengths)

    def outputs(net, x):
        out, mem = run(x, lengths=LENGTHS)
        final = net.lif1.mem.clone()
        torch.testing.assert_close(mem[[0, 2, 3]], final[[0, 2, 3]], rtol=0, atol=0)
        return out

    check(net, x, outputs, apart=lambda net, x: net(x)[0])


def test_silent_neurons_and_held_states_in_a_loop():
    """A sum that grows over the steps counts the steps of each sample alone."""
    lif = snn.RLeaky(0.9, linear_features=5)
    torch.manual_seed(0)
    x = 2 * torch.rand(T, B, 5)

    def forward(x):
        (spk, mem), total = lif.init_rleaky(), 0
        held = []
        for now in x:
            spk, mem = lif(now, spk, mem)
            total, held = total + spk, [*held, mem.sum(1)]
        return total, held[-1], torch.stack(held, 1).movedim(1, 0)

    total, last, course = snn.layerwise(forward)(x, lengths=LENGTHS)
    for b, n in enumerate(LENGTHS):
        if n:
            expected, end, _ = forward(x[:n, b : b + 1])
            torch.testing.assert_close((total[b], last[b]), (expected[0], end[0]))
            torch.testing.assert_close(course[n - 1, b], end[0])


def test_passed_states_are_held_and_go_on_in_the_next_chunk():
    """Chunks give what the whole gives, whether a sample ends before, in or behind one."""
    row = row_named("Synaptic-subtract-delay")
    for wrap in (lambda n: n, Step2, lambda n: hooked(n)):
        x, whole = row.input(T, B, torch.float64), wrap(row.make(torch.float64))
        given = [torch.rand(B, 5, dtype=torch.float64) for _ in range(2)]
        expected = snn.unroll(whole, x, *given, lengths=LENGTHS)
        for b, n in enumerate(LENGTHS):
            if not n:
                assert_equal([s[-1, b] for s in expected[1:]], [s[b] for s in given])
                continue
            lone = loop(whole, x[:n, b : b + 1], *(s[b : b + 1] for s in given))
            assert_equal([s[-1, b] for s in expected[1:]], [s[-1, 0] for s in lone[1:]])
        found, state = [], given
        for start_ in range(0, T, 3):
            chunk = x[start_ : start_ + 3]
            left = (torch.tensor(LENGTHS) - start_).clamp(0, len(chunk))
            out = snn.unroll(whole, chunk, *state, lengths=left)
            state = [s[-1] for s in out[1:]]
            found.append(out)
        assert_equal([torch.cat(o) for o in zip(*found, strict=True)], list(expected))


class Step2(Step):
    def forward(self, x, *states):
        return self.layer(x, *states)


def test_stored_states_go_on_in_the_next_chunk():
    net, x = network()
    expected = snn.unroll(net, x, lengths=LENGTHS)[0].detach()
    ends = [s.detach() for s in stored(net)]
    snn.utils.reset(net)
    with torch.no_grad():
        parts = []
        for begin in range(0, T, 3):
            chunk = x[begin : begin + 3]
            parts.append(snn.unroll(Kept(net), chunk, lengths=[min(max(n - begin, 0), len(chunk)) for n in LENGTHS]))
    assert_equal(torch.cat(parts), expected)
    assert_equal(stored(net), ends)


class Kept(nn.Module):
    """`Residual`, whose first neuron keeps its potential."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net.step(x, None)[0]


@pytest.mark.parametrize("enforce", [True, False])
def test_packed_sequences(enforce):
    lengths = [7, 5, 2] if enforce else [5, 7, 2]
    lif = snn.Leaky(0.9, init_hidden=True, output=True)
    net, x = nn.Sequential(nn.Linear(4, 5), lif).double(), 4 * torch.rand(T, 3, 4, dtype=torch.float64)
    packed = pack_padded_sequence(x, lengths, enforce_sorted=enforce)
    expected = snn.unroll(net, x, lengths=lengths)
    ways = (
        lambda p: snn.unroll(net, p),
        lambda p: snn.unroll(net, p, recompute=3, pack_spikes=True),
        snn.layerwise(lambda p: snn.unroll(net, p)),
    )
    for run in ways:
        snn.utils.reset(net)
        for found, e in zip(run(packed), expected, strict=True):
            assert isinstance(found, PackedSequence) and found.sorted_indices is packed.sorted_indices
            assert (
                torch.equal(found.batch_sizes, packed.batch_sizes) and found.unsorted_indices is packed.unsorted_indices
            )
            torch.testing.assert_close(pad_packed_sequence(found)[0], e)
            torch.testing.assert_close(
                snn.last_output(found), torch.stack([e[n - 1, b] for b, n in enumerate(lengths)])
            )
    with pytest.raises(ValueError, match="x is packed and has its own lengths"):
        snn.unroll(net, packed, lengths=lengths)


def test_the_last_output():
    out = torch.arange(T * B).view(T, B)
    assert snn.last_output(out, LENGTHS).tolist() == [16, 0, 26, 7]
    assert snn.last_output((out, {"a": out}), LENGTHS)[1]["a"].tolist() == [16, 0, 26, 7]
    packed = pack_padded_sequence(out[..., None].float(), [7, 6, 5, 4], enforce_sorted=False)
    assert snn.last_output([packed, None])[0].tolist() == [[24], [21], [18], [15]]
    with pytest.raises(ValueError, match="lengths must be given"):
        snn.last_output(out)
    with pytest.raises(TypeError, match="out must hold tensors, got set"):
        snn.last_output({out}, LENGTHS)
    with pytest.raises(ValueError, match=r"out must be \[T, B, ...\], got shape \(7,\)"):
        snn.last_output(out[:, 0], LENGTHS)


@pytest.mark.parametrize("kind", [
    nn.BatchNorm1d, snn.SequenceBatchNorm1d, snn.ThresholdDependentBatchNorm1d,
    lambda n: snn.TemporalEffectiveBatchNorm1d(n, T), lambda n: snn.BatchNormTT1d(n, T),
])  # fmt: skip
@pytest.mark.parametrize("form", [lambda n: n, Step, lambda n: nn.Sequential(nn.Linear(3, 3), n)])
def test_norms_count_the_steps_that_are_taken(kind, form):
    """In training by those, step by step or over all; in evaluation as ever."""
    torch.manual_seed(0)
    norm, x = kind(3).double(), torch.randn(T, B, 3, dtype=torch.float64)
    lengths, net = [5, 4, 7, 7], form(norm).double()
    valid = torch.arange(T)[:, None] < torch.tensor(lengths)
    before = net[0](x) if isinstance(net, nn.Sequential) else x
    reference = kind(3).double()
    junk = torch.where(valid[..., None], x, torch.nan)
    found = snn.unroll(net, junk, lengths=lengths)
    expected = torch.zeros_like(x)
    if isinstance(norm, nn.BatchNorm1d) and hasattr(norm, "takes_sequence"):
        one = nn.BatchNorm1d(3).double()
        one.weight = norm.weight
        values = expected.clone()
        values[valid] = one(before[valid])
        expected, reference = values, one
    else:
        for t in range(T):
            step = reference if isinstance(reference, nn.BatchNorm1d) else reference[t]
            expected[t, valid[t]] = step(before[t, valid[t]])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    for a, b in zip(norm.buffers(), reference.buffers(), strict=True):
        torch.testing.assert_close(a, b)
    net.eval()
    torch.testing.assert_close(snn.unroll(net, junk, lengths=lengths)[valid], snn.unroll(net, x)[valid])
    assert not [m for m in net.modules() if "forward" in vars(m)]


def test_nothing_is_silenced_before_a_norm_over_the_steps_taken():
    """It reads those alone, so a pass over its whole input, and one back, would be for nothing."""
    seen = []

    class Norm(snn.ThresholdDependentBatchNorm1d):
        def forward(self, input):
            seen.append(input)
            return super().forward(input)

    x = torch.rand(T, B, 3)
    snn.unroll(nn.Sequential(nn.Linear(3, 3), Norm(3)), x, lengths=[5, 4, 7, 7])
    assert seen[0].shape == x.shape
    assert seen[0].all()


def test_what_is_padded_does_not_matter():
    """Not even NaN, for outputs and gradients."""
    net, x = network()
    valid = (torch.arange(T)[:, None] < torch.tensor(LENGTHS)).view(T, B, 1, 1, 1)
    grads = []
    for filled in (x, torch.where(valid, x, torch.nan), torch.where(valid, x, torch.inf)):
        snn.utils.reset(net)
        out, _ = snn.unroll(net, filled, lengths=LENGTHS)
        grads.append(torch.autograd.grad(out.square().sum() + sum(s.sum() for s in stored(net)), [*net.parameters()]))
    assert_equal(grads[1], grads[0])
    assert_equal(grads[2], grads[0])


def test_a_static_input():
    lif, x = snn.Leaky(0.9, init_hidden=True), torch.rand(B, 5)
    out = snn.unroll(lif, x, num_steps=T, lengths=LENGTHS)
    end = lif.mem
    lif.reset_mem()
    assert_equal(out, snn.unroll(lif, x.expand(T, B, 5), lengths=LENGTHS))
    assert_equal(end, lif.mem)


def test_the_samples_elsewhere():
    """A neuron that has them in another dimension is told; else that is an error."""

    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.lif = snn.Leaky(0.9, init_hidden=True)

        def forward(self, x):
            return self.lif(x.T).T

    net, x = Turned(), 2 * torch.rand(T, B, 5, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"lengths has 4 entries, so dimension 0 .* got shape \(5, 4\).*batch_dim"):
        snn.unroll(net, x, lengths=LENGTHS)
    net.lif.batch_dim = 1
    check(net, x, lambda net, x: snn.unroll(net, x, lengths=LENGTHS))


def test_half_precision_and_chance():
    """Float32 states of half inputs; and what a random spike left to reset lasts too."""
    lif = snn.Leaky(0.9, init_hidden=True)
    x = 2 * torch.rand(T, B, 5)
    out = snn.unroll(lif, x.bfloat16(), lengths=LENGTHS)
    assert out.dtype == torch.bfloat16 and lif.mem.dtype == torch.float32
    noisy = snn.Leaky(0.9, spike_grad=lambda x: (x > torch.randn_like(x)).to(x), init_hidden=True)
    spk = snn.unroll(noisy, x, lengths=LENGTHS)
    mem, raw = noisy.mem, snn.last_output(spk, LENGTHS)
    after = snn.unroll(noisy, torch.zeros(1, B, 5))[0] * 0 + noisy.mem
    torch.testing.assert_close(after, 0.9 * mem - raw)


@pytest.mark.parametrize("run", [snn.unroll, snn.layerwise(loop)], ids=["unroll", "layerwise"])
@pytest.mark.parametrize("forward", [False, True])
def test_a_neuron_with_hooks_of_its_backward_pass(run, forward):
    net = nn.Sequential(nn.Linear(5, 3), snn.Leaky(0.8, init_hidden=True)).double()
    net[1].register_full_backward_hook(lambda m, of_x, of_out: (of_x[0] / 2,))
    if forward:
        net[1].register_forward_hook(lambda m, given, out: 2 * out)
    x = 2 * torch.rand(T, B, 5, dtype=torch.float64)
    check(Step(net), x, lambda net, x: run(net, x, lengths=LENGTHS))


def test_full_lengths_change_nothing():
    net, x = network()
    expected = snn.unroll(net, x)
    snn.utils.reset(net)
    assert_equal(snn.unroll(net, x, lengths=[T] * B), expected)
    assert torch.equal(snn.unroll(nn.Linear(3, 2), torch.rand(2, 0, 3), lengths=[]), torch.zeros(2, 0, 2))


@pytest.mark.parametrize(("lengths", "error", "message"), [
    ([5, 0, 8, 2], ValueError, r"lengths must lie in 0..7, the steps of x, got 8 of sample 2"),
    ([5, -1, 7, 2], ValueError, r"got -1 of sample 1"),
    ([5, 7], ValueError, r"one entry for each of 4 samples, got shape \(2,\)"),
    ([5.0, 1.0, 7.0, 2.0], TypeError, "lengths must be integers, got torch.float32"),
    (torch.ones(4, dtype=torch.bool), TypeError, "got torch.bool"),
    (torch.ones(4, dtype=torch.int64, device="meta"), ValueError, "lengths must be on the CPU.*got meta"),
])  # fmt: skip
def test_wrong_lengths_are_named(lengths, error, message):
    lif, x = snn.Leaky(0.9), torch.rand(T, B, 5)
    for run in (lambda: snn.unroll(lif, x, lengths=lengths), lambda: snn.unroll(lif, x, lengths=lengths, recompute=2),
                lambda: snn.layerwise(abs)(x, lengths=lengths), lambda: snn.last_output(x, lengths)):  # fmt: skip
        with pytest.raises(error, match=message):
            run()


def test_layers_that_are_not_called_once_a_step_are_named():
    lif = snn.Leaky(0.9, init_hidden=True)

    @snn.layerwise
    def twice(x):
        return torch.stack([lif(lif(now)) for now in x])

    with pytest.raises(ValueError, match="Leaky was called 14 times over 7 steps"):
        twice(torch.rand(T, B, 5), lengths=LENGTHS)

    @snn.layerwise
    def own(x, lengths=None):
        return lengths

    assert own(torch.rand(T, B, 5), lengths="its own") == "its own"


def test_a_run_inside_a_step_runs_to_its_own_end():
    """Substeps, as many as there are steps, of which the lengths are not."""

    class Substeps(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.outer = snn.Leaky(0.5, init_hidden=True), snn.Leaky(0.9, init_hidden=True)

        def forward(self, x):
            return self.outer(snn.unroll(self.inner, x, num_steps=T).mean(0))

    check(Substeps(), torch.rand(T, B, 5, dtype=torch.float64), lambda net, x: snn.unroll(net, x, lengths=LENGTHS))


def test_lengths_where_somebody_records():
    """`unroll` with lengths in a forward that is recorded itself."""
    lif, fc = snn.Leaky(0.9, init_hidden=True), nn.Linear(5, 5)
    x = 2 * torch.rand(T, B, 5)

    def forward(x):
        return snn.unroll(lif, fc(2 * x), lengths=LENGTHS) + 1

    expected, end = forward(x), lif.mem
    lif.reset_mem()
    assert_equal(snn.layerwise(forward)(x), expected)
    assert_equal(lif.mem, end)


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # dynamo's own, where a graph takes up after a break
@pytest.mark.parametrize("form", ["unroll", "packed", "layerwise"])
def test_lengths_run_between_the_graphs_of_compiled_programs(form):
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.lif = nn.Linear(5, 3), snn.Leaky(0.9, init_hidden=True)

        def forward(self, x):
            return torch.stack([self.lif(self.fc(now)) for now in x])

    net = Loop()
    layered = snn.layerwise(net)

    def program(x, lengths):
        utils.reset(net)
        if form == "layerwise":
            return layered(3 * x, lengths=lengths) + 1
        step = nn.Sequential(net.fc, net.lif)
        if form == "unroll":
            return snn.unroll(step, 3 * x, lengths=lengths) + 1
        return snn.unroll(step, pack_padded_sequence(3 * x, lengths, enforce_sorted=False)).data + 1

    compiled, x = torch.compile(program, backend="eager"), torch.rand(T, B, 5)
    for lengths in (torch.tensor([5, 1, 7, 2]), torch.tensor([7, 3, 7, 1])):  # today's, and tomorrow's
        expected = program(x, lengths)
        out = compiled(x, lengths)
        assert torch.equal(out, expected)
        grads = [torch.autograd.grad(y.square().sum(), [*net.parameters()]) for y in (out, expected)]
        assert all(map(torch.equal, *grads)) and grads[0][0].any()


def test_exported_programs_say_that_they_hold_no_lengths():
    class Net(nn.Module):
        def forward(self, x):
            return snn.unroll(nn.ReLU(), x, lengths=LENGTHS)

    with pytest.raises(NotImplementedError, match="lengths can't be exported"):
        torch.export.export(Net(), (torch.rand(T, B, 5),), strict=False)
