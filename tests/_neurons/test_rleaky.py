"""RLeaky and RSynaptic: their feedback, in the forms that both share."""

import pytest
import torch
from torch import nn

import snntorch as snn
from helpers import loop

RECURRENT = pytest.mark.parametrize(
    ("recurrent", "plain"),
    [
        (lambda **kw: snn.RLeaky(beta=0.9, **kw), lambda **kw: snn.Leaky(beta=0.9, **kw)),
        (lambda **kw: snn.RSynaptic(0.5, 0.9, **kw), lambda **kw: snn.Synaptic(0.5, 0.9, **kw)),
    ],
    ids=["RLeaky", "RSynaptic"],
)


def silence(neuron):
    for p in neuron.recurrent.parameters():
        nn.init.zeros_(p)
    return neuron


@RECURRENT
@pytest.mark.parametrize("delay", [True, False])
@pytest.mark.parametrize("mechanism", ["subtract", "none"])
def test_without_feedback_it_is_its_plain_neuron(recurrent, plain, mechanism, delay):
    x = torch.rand(20, 2, 3)
    options = {"reset_mechanism": mechanism, "reset_delay": delay}
    expected = loop(plain(**options), x)
    for wiring in ({"linear_features": 3}, {"all_to_all": False, "V": 0.0}):
        torch.testing.assert_close(loop(silence(recurrent(**wiring, **options)), x), expected)


@RECURRENT
def test_one_to_one_is_a_diagonal_linear_layer(recurrent, plain):
    x, V = torch.rand(20, 2, 3), torch.tensor([-0.5, 0.2, 0.4])
    dense = silence(recurrent(linear_features=3))
    with torch.no_grad():
        dense.recurrent.weight.copy_(V.diag())
    torch.testing.assert_close(loop(dense, x), loop(recurrent(all_to_all=False, V=V), x))


@RECURRENT
def test_a_1x1_convolution_is_a_linear_layer_over_channels(recurrent, plain):
    x = torch.rand(20, 2, 3, 1, 1)
    image, dense = recurrent(conv2d_channels=3, kernel_size=1), recurrent(linear_features=3)
    with torch.no_grad():
        image.recurrent.weight.copy_(dense.recurrent.weight[..., None, None])
        image.recurrent.bias.copy_(dense.recurrent.bias)
    torch.testing.assert_close([o.flatten(2) for o in loop(image, x)], list(loop(dense, x.flatten(2))))


def test_feedback_by_hand():
    """V = 2, input 1.5 once: a spike, and its feedback of 2 one step later."""
    spk, mem = loop(snn.RLeaky(beta=0.5, V=2.0, all_to_all=False), torch.tensor([1.5, 0, 0]).view(3, 1, 1))
    assert mem.flatten().tolist() == [1.5, 0.75 + 2 - 1, 0.875 + 2 - 1]
    assert spk.flatten().tolist() == [1, 1, 1]
    out = snn.RSynaptic(0.5, 0.5, V=2.0, all_to_all=False)
    spk, syn, mem = loop(out, torch.tensor([1.5, 0]).view(2, 1, 1))
    assert syn.flatten().tolist() == [1.5, 0.75 + 2] and mem.flatten().tolist() == [1.5, 0.75 + 2.75 - 1]


@RECURRENT
def test_zero_resets_the_whole_update(recurrent, plain):
    """f - r f: input and feedback included."""
    neuron = recurrent(all_to_all=False, V=5.0, reset_mechanism="zero")
    mem = loop(neuron, torch.full((3, 1, 1), 2.0))[-1].flatten()
    assert mem[0] == 2 and mem[1] == 0 and mem[2] > 0


@RECURRENT
@pytest.mark.parametrize(
    "wiring",
    [
        {},
        {"linear_features": 3, "conv2d_channels": 3, "kernel_size": 3},
        {"conv2d_channels": 3},
        {"linear_features": 3, "kernel_size": 3},
        {"all_to_all": False, "linear_features": 3},
        {"all_to_all": False, "conv2d_channels": 3, "kernel_size": 3},
    ],
)
def test_wrong_wiring(recurrent, plain, wiring):
    with pytest.raises(TypeError, match=r"all_to_all|kernel_size"):
        recurrent(**wiring)


@RECURRENT
@pytest.mark.parametrize("size", [0, (3,), (3, 3, 3), (3, 0), (3, 2.5)])
def test_wrong_kernel_size(recurrent, plain, size):
    with pytest.raises(ValueError, match="kernel_size must be a positive int or a pair of them"):
        recurrent(conv2d_channels=3, kernel_size=size)


@RECURRENT
@pytest.mark.parametrize("size", [1, 2, 3, 4, (2, 3), (3, 5), (4, 1)])
def test_every_kernel_size_keeps_the_shape(recurrent, plain, size):
    neuron = recurrent(conv2d_channels=2, kernel_size=size)
    out = neuron(torch.rand(1, 2, 6, 7))
    assert {o.shape for o in out} == {(1, 2, 6, 7)}
    pair = (size, size) if isinstance(size, int) else size
    assert neuron.recurrent.weight.shape == (2, 2, *pair)


def test_even_kernels_pad_as_torch_s_same():
    neuron = snn.RLeaky(0.9, conv2d_channels=2, kernel_size=(2, 4))
    x = torch.rand(1, 2, 6, 7)
    weight, bias = neuron.recurrent.weight, neuron.recurrent.bias
    padded = nn.functional.pad(x, (1, 2, 0, 1))  # torch's "same" puts the odd one after
    torch.testing.assert_close(neuron.recurrent(x), nn.functional.conv2d(padded, weight, bias))


@RECURRENT
def test_parameters_and_freezing(recurrent, plain):
    assert {n for n, _ in recurrent(linear_features=3).named_parameters()} == {"recurrent.weight", "recurrent.bias"}
    one = recurrent(all_to_all=False, V=0.5)
    assert {"V", "recurrent.V"} <= set(one.state_dict()) and len(list(one.parameters())) == 1
    assert one.V is one.recurrent.V
    for wiring in ({"linear_features": 3}, {"all_to_all": False}, {"conv2d_channels": 3, "kernel_size": 3}):
        frozen = recurrent(**wiring, learn_recurrent=False)
        assert not any(p.requires_grad for p in frozen.parameters())
        assert all(p.requires_grad for p in recurrent(**wiring).parameters())


@RECURRENT
def test_feedback_weights_get_gradients_through_time(recurrent, plain):
    neuron = recurrent(linear_features=3)
    loop(neuron, torch.rand(10, 2, 3) * 2)[-1].sum().backward()
    assert all(p.grad.any() for p in neuron.parameters())


@RECURRENT
def test_reset_and_detach_include_the_spikes(recurrent, plain):
    neuron = recurrent(linear_features=3, init_hidden=True)
    loop(neuron, torch.full((4, 2, 3), 2.0, requires_grad=True))
    assert neuron.spk.any() and neuron.spk.requires_grad
    type(neuron).detach_hidden()
    assert neuron.spk.any() and not neuron.spk.requires_grad
    type(neuron).reset_hidden()
    assert not neuron.spk.any()
