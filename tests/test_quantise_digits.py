"""The quantisation example: integers that give the very outputs of training, and accuracy that survives."""

from pathlib import Path

import pytest
import torch

import snntorch as snn

pytest.importorskip("torchao", reason="torchao is in the test extra")


@pytest.fixture
def example(monkeypatch, one_thread):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "examples")
    import quantise_digits

    return quantise_digits


@pytest.mark.parametrize("bits", [8, 4])
def test_the_finished_network_computes_what_was_trained(example, bits):
    torch.manual_seed(0)
    net, x = example.build_net(), torch.rand(20, 64)
    snn.utils.reset(net)
    prepared = example.prepare(net, bits)
    before = snn.unroll(prepared, x, num_steps=10).detach()
    snn.utils.reset(prepared)
    finished = example.finish(prepared, bits)
    assert torch.equal(snn.unroll(finished, x, num_steps=10).detach(), before) and before.sum() > 0
    for layer, original in ((finished[0], net[0]), (finished[2], net[2])):
        weight = layer.weight.dequantize()
        assert all(len(row.unique()) <= 2**bits for row in weight)
        step = original.weight.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)
        assert ((weight - original.weight).abs() <= step).all()


def test_gradients_reach_the_rounded_weights(example):
    torch.manual_seed(0)
    net = example.prepare(example.build_net(), 4)
    snn.unroll(net, torch.rand(20, 64), num_steps=10).sum().backward()
    assert net[0].weight.grad.count_nonzero() > 0 and net[2].weight.grad.count_nonzero() > 0


def test_a_short_training_keeps_the_accuracy(example):
    accuracies = example.main(epochs=4, fine_tuning=1)
    assert set(accuracies) == {32, 8, 4}
    assert accuracies[32] > 0.9
    assert min(accuracies[8], accuracies[4]) > accuracies[32] - 0.03
