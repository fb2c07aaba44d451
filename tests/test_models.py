"""The networks: numbers of parameters as published, their forms by hand, and how they run over time."""

import pytest
import torch
from torch import nn

import snntorch as snn
from helpers import loop
from snntorch import models
from snntorch._time.explain import paths


def size(net):
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize(("make", "expected"), [
    (lambda: models.sew_resnet18(), 11_689_512),  # those of ResNet, of which SEW-ResNet has the weights
    (lambda: models.sew_resnet34(), 21_797_672),
    (lambda: models.sew_resnet18(10, "cifar"), 11_173_962),
    (lambda: models.sew_resnet34(10, "cifar"), 21_282_122),
    (lambda: models.SpikingVGG(16), 138_365_992),
    (lambda: models.SpikingVGG(11), 132_868_840),
    (lambda: models.SpikingVGG(16, 10, "cifar"), 14_728_266),
    (lambda: models.Spikformer(), 9_324_730),  # 9.32 million in the paper
    (lambda: models.Spikformer(dim=256, heads=8), 4_155_178),  # 4.15
    (lambda: models.Spikformer(depth=2), 5_765_050),  # 5.76
    # weights and delays of three layers, recurrent weights with biases, norms, the readout's biases
    (lambda: models.DelayNet(), 2 * (700 + 256 + 20) * 256 + 2 * 257 * 256 + 2 * 2 * 256 + 20),
])  # fmt: skip
def test_parameters_are_as_many_as_published(make, expected):
    with torch.device("meta"):
        assert size(make()) == expected


@pytest.mark.parametrize(("make", "millions"), [
    (lambda: models.QKFormer(), 29.08),  # HST-10-512
    (lambda: models.QKFormer(dim=384), 16.47),
    (lambda: models.QKFormer(dim=768), 64.96),
    (lambda: models.QKFormer(100, 384, (1, 1, 2), stem="cifar"), 6.74),
])  # fmt: skip
def test_qkformer_has_its_papers_millions(make, millions):
    with torch.device("meta"):
        assert round(size(make()) / 1e6, 2) == millions


def small(name, **kwargs):
    if name == "hierarchical":
        return models.QKFormer(5, 16, (1, 1, 1), 2, 2.0, 2, "cifar", **kwargs), (2, 8, 8)
    if name == "hierarchical-imagenet":
        return models.QKFormer(5, 16, (1, 0, 1), 2, 2.0, 2, **kwargs), (2, 16, 16)
    if name == "resnet":
        return models.SEWResNet((1, 1), 5, "cifar", 2, **kwargs), (2, 6, 6)
    if name == "resnet-imagenet":
        return models.SEWResNet((1,), 5, in_channels=2, connection="iand", **kwargs), (2, 12, 12)
    if name == "spikformer":
        return models.Spikformer(5, 16, 1, 2, 2.0, 2, **kwargs), (2, 8, 8)
    if name == "qkformer":
        return models.Spikformer(5, 16, 1, 2, 2.0, 2, attention=models.QKAttention, **kwargs), (2, 8, 8)
    return models.DelayNet(6, (8, 8), 5, max_delay=4, width=1.0, dropout=0.0, **kwargs), (6,)


@pytest.mark.parametrize(
    "name", ["resnet", "resnet-imagenet", "spikformer", "qkformer", "hierarchical", "hierarchical-imagenet", "delays"]
)
def test_a_network_of_one_step_folds_and_fuses_and_is_its_loop(name):
    torch.manual_seed(0)
    net, shape = small(name)
    net, x = net.double(), 2 * torch.rand(4, 3, *shape, dtype=torch.float64)
    told = {(path.layer, path.path) for path in paths(net, x)}
    stepped = {layer for layer, path in told if path == "stepped"}
    assert not stepped
    assert {path for layer, path in told if "BatchNorm" in layer} == {"whole sequence"}
    out = snn.unroll(net, x)
    out.square().sum().backward()
    assert out.shape == (4, 3, 5) and out.std() > 0
    grads = [p.grad for p in net.parameters()]
    assert all(g is not None and g.isfinite().all() for g in grads)
    net.eval()
    snn.utils.reset(net)
    found = snn.unroll(net, x)
    snn.utils.reset(net)
    torch.testing.assert_close(found, loop(net, x), rtol=0, atol=1e-10)


def test_vgg_runs():
    net = models.SpikingVGG(11, 3, "cifar", neuron=lambda: snn.Synaptic(0.5, 0.8, init_hidden=True))
    x = torch.rand(2, 2, 3, 32, 32)
    assert snn.unroll(net, x).shape == (2, 2, 3)
    assert sum(isinstance(m, snn.Synaptic) for m in net.modules()) == 8
    assert not {path.path for path in paths(net, x)} & {"stepped"}


@pytest.mark.parametrize(("connection", "join"), [
    ("add", lambda a, x: a + x), ("and", lambda a, x: a * x), ("iand", lambda a, x: (1 - a) * x)
])  # fmt: skip
def test_blocks_join_spikes(connection, join):
    from snntorch.models.resnet import SEWBlock

    block = SEWBlock(2, 2, 1, connection, lambda: snn.Leaky(0.5, init_hidden=True), nn.BatchNorm2d)
    x = torch.rand(3, 2, 5, 5).round()
    y = block(x)
    snn.utils.reset(block)
    assert torch.equal(y, join(block.second(block.first(x)), x)) and isinstance(block.shortcut, nn.Identity)


def test_attention_by_its_formula():
    """Neurons that give what they get, and norms that change nothing."""
    same = nn.Identity
    for attention in (models.SpikingSelfAttention, models.QKAttention):
        layer = attention(6, 2, same, lambda n: nn.Identity())
        x = torch.randn(3, 6, 2, 2)
        q, k = (made(x).flatten(2).unflatten(1, (2, 3)) for made in (layer.query, layer.key))
        if attention is models.SpikingSelfAttention:
            v = layer.value(x).flatten(2).unflatten(1, (2, 3))
            y = 0.25 * torch.einsum("bhdn,bhdm,bhem->bhen", q, k, v)
        else:
            y = k * q.sum(2, keepdim=True)
        torch.testing.assert_close(layer(x), layer.out(y.flatten(1, 2).view_as(x)), rtol=1e-4, atol=1e-5)
    channels = models.QKAttention(6, 2, same, lambda n: nn.Identity(), over="channel")
    q, k = (made(x).flatten(2).unflatten(1, (2, 3)) for made in (channels.query, channels.key))
    torch.testing.assert_close(channels(x), channels.out((k * q.sum(3, keepdim=True)).flatten(1, 2).view_as(x)))


def test_norms_for_loops_and_widths():
    net, shape = small("delays", norm=nn.BatchNorm1d)
    assert loop(net, torch.rand(4, 3, *shape)).shape == (4, 3, 5)
    net.set_width(0.25)
    assert {m.width for m in net.modules() if isinstance(m, snn.SynapticDelay)} == {0.25}


def test_what_is_wrong_is_named():
    for make in (lambda: models.sew_resnet18(stem="mnist"), lambda: models.SpikingVGG(stem="mnist")):
        with pytest.raises(ValueError, match="stem must be 'cifar' or 'imagenet', got 'mnist'"):
            make()
    for make, message in (
        (lambda: models.SpikingVGG(12), "depth must be one of 11, 13, 16, 19, got 12"),
        (lambda: models.sew_resnet18(connection="or"), "connection must be one of add, and, iand, got 'or'"),
        (lambda: models.QKFormer(dim=20), "dim must be a multiple of 8, got 20"),
        (lambda: models.QKFormer(stem="mnist"), "stem must be 'cifar' or 'imagenet'"),
        (lambda: models.Spikformer(dim=20), "dim must be a multiple of 8, got 20"),
        (lambda: models.QKAttention(6, 4), "dim must be a multiple of heads, got 6 and 4"),
        (lambda: models.QKAttention(6, 2, over="time"), "over must be 'token' or 'channel', got 'time'"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
