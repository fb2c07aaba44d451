"""Modes of PyTorch's, entered inside and outside of a forward, and what they make of results: as in the loop."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import snntorch as snn

T, B = 6, 3
F64 = torch.float64


class Step(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4, dtype=F64)


class Energy(Step):
    """The gradient of what it computes by its input."""

    def forward(self, x):
        x = x.detach().requires_grad_()
        return torch.autograd.grad(self.fc(x).tanh().sum(), x, create_graph=True)[0]


class Leaf(Step):
    def forward(self, x):
        h = self.fc(x).detach()
        h.requires_grad_()
        return h.tanh(), h


class Cut(Step):
    def forward(self, x):
        h = self.fc(x)
        h.detach_()
        return h.tanh() + self.fc(x)


class Kept(Step):
    """Asks for what is so already, which stops nothing."""

    def forward(self, x):
        return self.fc(x).requires_grad_().tanh()


class Enabled(Step):
    @torch.enable_grad()
    def forward(self, x):
        return self.fc(x)


class Inferred(Step):
    def forward(self, x):
        with torch.inference_mode():
            known = self.fc(x)
        return self.fc(x), known


class Turned(Step):
    def forward(self, x):
        return self.fc(x).transpose(0, 1), self.fc(x)[:, ::2]


class Same(Step):
    def forward(self, x):
        return x, self.fc(x)


def loop(net, x):
    outs = [net(now) for now in x]
    return torch.stack(outs) if isinstance(outs[0], torch.Tensor) else tuple(map(torch.stack, zip(*outs, strict=True)))


FORMS = {"unroll": snn.unroll, "layerwise": lambda net, x: snn.layerwise(loop)(net, x)}


def listed(out):
    return [out] if isinstance(out, torch.Tensor) else [*out]


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", [Energy, Leaf, Cut, Kept, Enabled, Inferred, Turned, Same])
def test_who_asks_for_a_gradient_and_how_it_lies(kind, form, mode):
    torch.manual_seed(0)
    net, x = kind(), torch.randn(T, B, 4, dtype=F64, requires_grad=True)
    wrt = [x, *net.parameters()]
    for _ in range(2):  # the second time by what is known
        found = []
        for call in (FORMS[form], loop):
            try:
                with mode():
                    outs = listed(call(net, x))
            except RuntimeError as error:  # no gradients where none are computed
                found.append(type(error))
                continue
            told = [(out.requires_grad, out.is_inference(), out.stride()) for out in outs]
            asks = [out for out in outs if out.requires_grad]
            grads = torch.autograd.grad(sum(out.square().sum() for out in asks), wrt, allow_unused=True) if asks else ()
            found.append((outs, told, grads))
        if isinstance(found[1], type):
            assert found[0] is found[1]
            continue
        (outs, told, grads), (wanted, expected, others) = found
        if (kind, form) != (Same, "layerwise"):
            assert told == expected
        for a, b in zip([*outs, *grads], [*wanted, *others], strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                torch.testing.assert_close(a, b)


def test_what_asks_for_a_gradient_already_stops_nothing(capsys):
    x = torch.randn(T, B, 4, dtype=F64)
    for net, stops in ((Kept(), False), (Cut(), True)):
        snn.explain(net, x, run=torch.enable_grad()(snn.unroll))
        assert ("changes what asks for a gradient" in capsys.readouterr().out) == stops


def test_a_stack_of_what_lies_otherwise_can_be_viewed():
    net, x = Turned(), torch.randn(T, B, 4, dtype=F64)
    found, expected = (call(lambda x: loop(net, x)[0].view(T, -1))(x) for call in (snn.layerwise, lambda f: f))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("make", [nn.Identity, nn.Flatten, lambda: nn.Sequential(nn.Identity(), nn.Dropout(0.0)), Same])
def test_what_is_passed_on_is_in_memory_of_its_own(make, static):
    x, net = torch.randn(T, B, 4, dtype=F64), make()
    before = x.clone()
    for _ in range(2):
        out = snn.unroll(net, x, num_steps=2) if static else snn.unroll(net, x)
        for passed in listed(out)[:1]:
            passed.add_(1)
        assert torch.equal(x, before)


class Own(nn.Module):
    memoryless = True

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4, dtype=F64)

    def forward(self, x):
        return self.fc(x).softmax(-1)


@pytest.mark.parametrize("make", [Own, lambda: nn.Sequential(snn.Leaky(beta=0.5, init_hidden=True), Own())])
def test_checkpoint_stops_what_it_runs_again(make):
    """By an error that is not one of the layer's."""
    net, x = make(), torch.randn(T, B, 4, dtype=F64)

    def run(x):
        snn.utils.reset(net)
        return snn.unroll(net, x)

    outs = [run(x), checkpoint(run, x, use_reentrant=False)]
    found, expected = (torch.autograd.grad(out.square().sum(), [*net.parameters()]) for out in outs)
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("form", FORMS)
def test_a_transformer_layer_under_autocast(form, mode):
    """Which in evaluation gives half precision, or single where somebody watches it."""
    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)

        def forward(self, x):
            return self.layer(x) * 1

    net, x = Net().eval(), torch.randn(T, B, 5, 4)
    with mode(), torch.autocast("cpu", torch.bfloat16):
        for _ in range(2):
            out = FORMS[form](net, x)
            torch.testing.assert_close(out, loop(net, x), rtol=0.05, atol=0.05)
