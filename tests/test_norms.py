"""Norms over time and batch, and dropout with one mask: their formulas, in sequences, in steps and in networks."""

import copy

import pytest
import torch
from torch import nn

import snntorch as snn
from helpers import loop
from snntorch._time.explain import paths

PLAIN = {"1d": (snn.SequenceBatchNorm1d, (3,)), "1d-long": (snn.SequenceBatchNorm1d, (3, 7)),
         "2d": (snn.SequenceBatchNorm2d, (3, 4, 5))}  # fmt: skip


def over_all(x, channels=3):
    """Mean and variance of each channel over everything else."""
    flat = x.transpose(0, 2).reshape(channels, -1)
    return flat.mean(1), flat.var(1, unbiased=False), flat.var(1)


@pytest.mark.parametrize("kind", PLAIN)
def test_statistics_are_over_time_and_batch(kind):
    make, shape = PLAIN[kind]
    norm, x = make(3, momentum=0.3).double(), torch.randn(5, 6, *shape, dtype=torch.float64) * 3 + 1
    nn.init.uniform_(norm.weight)
    nn.init.uniform_(norm.bias)
    mean, var, unbiased = over_all(x)
    each = (-1, *(1,) * (len(shape) - 1))
    scaled = (x - mean.view(each)) / (var.view(each) + norm.eps).sqrt()
    torch.testing.assert_close(norm(x), norm.weight.view(each) * scaled + norm.bias.view(each), rtol=0, atol=1e-12)
    torch.testing.assert_close(norm.running_mean, 0.3 * mean)
    torch.testing.assert_close(norm.running_var, 0.7 + 0.3 * unbiased)
    norm.eval()
    torch.testing.assert_close(norm(x), loop(norm, x))


def test_tdbn_has_the_spread_of_the_threshold():
    x = torch.randn(50, 20, 3) * torch.tensor([1.0, 10.0, 100.0])
    norm = snn.ThresholdDependentBatchNorm1d(3, threshold=0.6, alpha=0.5)
    assert norm.weight.tolist() == pytest.approx([0.3] * 3)
    torch.testing.assert_close(norm(x).std((0, 1), correction=0), torch.full((3,), 0.3), rtol=1e-4, atol=0)
    image = snn.ThresholdDependentBatchNorm2d(3, threshold=2.0)
    assert image.weight.tolist() == [2.0] * 3 and image(torch.randn(4, 2, 3, 5, 6)).std().item() == pytest.approx(
        2, rel=0.01
    )


@pytest.mark.parametrize(("make", "plain", "shape"), [
    (snn.TemporalEffectiveBatchNorm1d, snn.SequenceBatchNorm1d, (3,)),
    (snn.TemporalEffectiveBatchNorm2d, snn.SequenceBatchNorm2d, (3, 4, 5)),
])  # fmt: skip
def test_tebn_weighs_the_steps(make, plain, shape):
    norm, other, x = make(3, 5), plain(3), torch.randn(4, 6, *shape)
    nn.init.uniform_(norm.step_weight)
    nn.init.uniform_(norm.bias)
    other.load_state_dict({name: value for name, value in norm.state_dict().items() if name != "step_weight"})
    expected = other(x) * norm.step_weight[:4].view(-1, *(1,) * (1 + len(shape)))
    torch.testing.assert_close(norm(x), expected)
    norm(x).square().sum().backward()
    assert norm.step_weight.grad.count_nonzero() == 4
    norm.eval()
    torch.testing.assert_close(norm(x), torch.stack([norm(x[t], step=t) for t in range(4)]))
    with pytest.raises(ValueError, match="input has 6 time steps, but the layer was made for 5"):
        norm(torch.zeros(6, 2, *shape))
    with pytest.raises(ValueError, match=r"step must lie in \[0, 5\)"):
        norm(x[0], step=5)
    with pytest.raises(ValueError, match="or in evaluation one step and its number"):
        norm(x[0])
    with pytest.raises(ValueError, match="over which it normalises in training"):
        norm.train()(x[0], step=0)


def test_a_step_in_training_raises():
    for norm, x in (
        (snn.SequenceBatchNorm1d(3), torch.rand(4, 3)),
        (snn.SequenceBatchNorm2d(3), torch.rand(4, 3, 5, 5)),
    ):
        with pytest.raises(ValueError, match=r"takes a whole sequence .*, got shape .*snntorch.unroll gives it one"):
            norm(x)
        assert norm.eval()(x).shape == x.shape
        with pytest.raises(ValueError, match="takes a whole sequence"):
            norm(torch.rand(2, 2, 2, 3, 3, 3))


class Residual(nn.Module):
    """Of one step, with norms that take sequences."""

    def __init__(self):
        super().__init__()
        self.fc, self.norm = nn.Linear(4, 4), snn.ThresholdDependentBatchNorm1d(4, alpha=0.5**0.5)
        self.lif, self.drop = snn.Leaky(0.8, init_hidden=True), snn.SequenceDropout(0.3)

    def forward(self, x):
        return self.drop(self.lif(self.norm(self.fc(x)) + x))


def test_networks_of_one_step_give_the_norm_their_sequence():
    torch.manual_seed(0)
    net, x = Residual().double(), torch.randn(7, 5, 4, dtype=torch.float64)
    whole = copy.deepcopy(net)
    torch.manual_seed(1)
    found = snn.unroll(net, x)
    torch.manual_seed(1)
    expected = snn.unroll(whole.drop, snn.unroll(whole.lif, whole.norm(whole.fc(x)) + x))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(net.norm.running_var, whole.norm.running_var)
    found.sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
    told = {path.name: path.path for path in paths(net, x)}
    assert told["norm"] == "whole sequence" and told["lif"].startswith("fused") and told["drop"].startswith("fused")
    net.eval()
    for each in (net.lif, net.drop):
        each.reset_mem()
    torch.testing.assert_close(snn.unroll(net, x), loop(snn.utils.reset(net) or net, x), rtol=0, atol=1e-12)


def test_one_mask_is_drawn_a_sequence():
    torch.manual_seed(0)
    layer, x = snn.SequenceDropout(0.25), torch.rand(5, 200, 50) + 0.5
    y = snn.unroll(layer, x)
    mask = y / x
    torch.testing.assert_close(mask, mask[:1].expand_as(mask))
    assert set(mask[0].mul(3).round().unique().tolist()) == {0.0, 4.0}
    assert (mask[0] == 0).float().mean() == pytest.approx(0.25, abs=5 * (0.25 * 0.75 / 1e4) ** 0.5)
    assert torch.equal(snn.unroll(layer, x), y)  # the states go on, and so does the mask
    snn.utils.reset(layer)
    assert not torch.equal(snn.unroll(layer, x) == 0, y == 0)


@pytest.mark.parametrize(("layer", "behind"), [(snn.SequenceDropout1d, (5,)), (snn.SequenceDropout2d, (3, 4))])
def test_one_mask_of_whole_channels_is_drawn_a_sequence(layer, behind):
    torch.manual_seed(0)
    x = torch.rand(4, 50, 40, *behind) + 0.5
    for run in (snn.unroll, loop):
        drop = layer(0.25)
        mask = run(drop, x) / x
        torch.testing.assert_close(mask, mask[(slice(1), ..., *[slice(1)] * len(behind))].expand_as(mask))
        assert set(mask.mul(3).round().unique().tolist()) == {0.0, 4.0}
        assert (mask == 0).float().mean() == pytest.approx(0.25, abs=5 * (0.25 * 0.75 / 2000) ** 0.5)
    assert torch.equal(snn.unroll(drop.eval(), x), x)
    with pytest.raises(ValueError, match=rf"{layer.__name__} takes \[B, C.*got shape \(2, 3, 1, 1, 1\)"):
        layer()(torch.rand(2, 3, 1, 1, 1))


def test_the_mask_of_training_is_forgotten_in_evaluation_and_back():
    layer, x = snn.SequenceDropout(0.5), torch.rand(3, 4, 5)
    first = snn.unroll(layer, x)
    assert torch.equal(snn.unroll(layer.eval(), x), x)
    second = loop(layer.train(), x)
    assert (second == 0).any() and not torch.equal(first == 0, second == 0)
    assert not snn.unroll(snn.SequenceDropout(1.0), x).any() and torch.equal(snn.unroll(snn.SequenceDropout(0.0), x), x)
    with pytest.raises(ValueError, match=r"p must be a probability, got 1\.5"):
        snn.SequenceDropout(1.5)
