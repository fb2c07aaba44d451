"""Every neuron under torch.func and torch.compile."""

import contextlib
import copy

import pytest
import torch
from torch import nn

import snntorch as snn
from helpers import assert_equal, flat, gradients, loop
from rows import every_class

T, B = 6, 3


# -- torch.func


@every_class
def test_functional_call_vmap_and_grad(row):
    neuron, x = row.make(torch.float64), row.input(T, B, torch.float64)
    parameters = {k: v.detach() for k, v in neuron.named_parameters()}

    def outputs(parameters, x):
        calls = Called(neuron, parameters)
        return flat(neuron_outputs(row, calls, x))

    def total(parameters, x):
        return sum((out * out).sum() for out in outputs(parameters, x))

    expected = flat(neuron_outputs(row, neuron, x))
    assert_equal(outputs(parameters, x), expected)
    leaf = x.clone().requires_grad_()
    given = {k: v.clone().requires_grad_() for k, v in parameters.items()}
    wanted = torch.autograd.grad(total(given, leaf), [leaf, *given.values()], allow_unused=True)
    for_parameters, for_x = torch.func.grad(total, argnums=(0, 1))(parameters, x)
    for f, w in zip([for_x, *for_parameters.values()], wanted, strict=True):
        torch.testing.assert_close(f, torch.zeros_like(f) if w is None else w)
    # one gradient per sample: each alone gives the same
    alone = torch.func.grad(lambda x: total(parameters, x[:, None]))
    split = torch.func.vmap(alone, in_dims=1, out_dims=1, randomness="different")(x)
    torch.testing.assert_close(split, for_x)


class Called(nn.Module):
    """A module with its parameters given."""

    def __init__(self, module, parameters):
        super().__init__()
        self.inner, self.given = [module], parameters
        self.init_hidden = getattr(module, "init_hidden", True)

    def forward(self, *args):
        return torch.func.functional_call(self.inner[0], self.given, args)


def neuron_outputs(row, module, x):
    """From zero states, all of them passed on: under vmap and grad nothing is read from the module."""
    if row.takes_sequence:
        return module(x)
    return loop(module, x, *row.zeros)


def test_states_left_behind_by_vmap_start_over():
    """Values that vmap computed are gone when it returns; the neuron is as good as new."""
    lif, x = snn.Leaky(0.9, init_hidden=True, output=True), torch.rand(3, 2)

    def twice(x):
        lif.reset_mem()
        return torch.stack([lif(x)[1], lif(x)[1]])

    torch.testing.assert_close(torch.func.vmap(twice)(x[:, None])[:, 1, 0], 1.9 * x)
    for use in (
        lambda: (lif(x[0]), lif.reset_mem()),
        snn.Leaky.reset_hidden,
        snn.Leaky.detach_hidden,
        lambda: copy.deepcopy(lif),
    ):
        torch.func.vmap(twice)(x[:, None])
        use()
        assert_equal(lif(x), snn.Leaky(0.9)(x))


def test_ensembles_by_vmap_over_parameters():
    """Eight neurons with eight decays at once."""
    lif, x = snn.Leaky(0.9, learn_beta=True), torch.rand(2, 3)
    betas = torch.linspace(0.1, 0.9, 8)
    mem = torch.full((2, 3), 0.5)
    _, found = torch.func.vmap(lambda beta: torch.func.functional_call(lif, {"beta": beta}, (x, mem)))(betas)
    torch.testing.assert_close(found, betas[:, None, None] * mem + x)


# -- torch.compile

# Dynamo of torch 2.13 itself reads a deprecated attribute of every autograd.Function.
compiles = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def step_from_zeros(row, neuron, x):
    return flat(neuron(x) if row.takes_sequence else neuron(x, *row.zeros))


@compiles
@every_class
def test_one_graph_without_breaks_for_every_batch_size(row):
    torch._dynamo.reset()
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph

    neuron = row.make()
    compiled = torch.compile(lambda x: step_from_zeros(row, neuron, x), fullgraph=True, dynamic=True, backend=backend)
    # An assertion inside dynamo fails where one graph holds several eager spikes of a dynamic shape.
    with snn.backend("auto") if row.takes_sequence else contextlib.nullcontext():
        for size in (11, 2, 8, 13):  # the first equals no other dimension, or dynamo takes the two for one
            x = row.input(T, size)
            x = x if row.takes_sequence else x[0]
            torch.testing.assert_close(compiled(x), step_from_zeros(row, row.make(), x))
    assert len(graphs) == 1


@compiles
@every_class
def test_aot_autograd_gives_the_eager_gradients(row):
    torch._dynamo.reset()
    neuron = row.make()
    compiled = torch.compile(lambda x: step_from_zeros(row, neuron, x), fullgraph=True, backend="aot_eager")
    x = row.input(T, B) if row.takes_sequence else row.input(T, B)[0]
    x.requires_grad_()
    eager = row.make()
    found = compiled(x)
    torch.testing.assert_close(found, step_from_zeros(row, eager, x))
    torch.testing.assert_close(gradients(found, x, neuron), gradients(step_from_zeros(row, eager, x), x, eager))


@compiles
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # dynamo looks at the stored states' .grad
def test_compiled_training_loop_with_stored_states():
    """Stored states pass from call to call of a compiled network."""
    torch._dynamo.reset()
    net = nn.Sequential(nn.Linear(4, 3), snn.Leaky(0.9, init_hidden=True, learn_beta=True))
    eager = copy.deepcopy(net)
    compiled = torch.compile(net, backend="aot_eager")
    x = torch.rand(T, B, 4)
    out, expected = loop(compiled, x), loop(eager, x)
    torch.testing.assert_close(out, expected)
    out.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(net[1].beta.grad, eager[1].beta.grad)
