"""BatchNormTT1d, BatchNormTT2d, GradedSpikes, Delay and the integrators."""

import copy
import inspect
import pickle

import pytest
import torch
from torch import nn

import snntorch as snn
from helpers import loop
from snntorch._layers.bntt import BatchNormTT1d, BatchNormTT2d
from snntorch._layers.delay import Delay
from snntorch._layers.graded_spikes import GradedSpikes
from snntorch._layers.integrator import LeakyIntegrator, SynapticIntegrator

MADE = {
    BatchNormTT1d: (lambda: BatchNormTT1d(4, 3), (3, 6, 4)),
    BatchNormTT2d: (lambda: BatchNormTT2d(4, 3), (3, 6, 4, 3, 5)),
    GradedSpikes: (lambda: GradedSpikes(4), (3, 6, 4)),
    Delay: (lambda: Delay(0, init_hidden=True), (6, 4)),
    snn.AxonalDelay: (lambda: snn.AxonalDelay(4, 3, init_hidden=True), (6, 4)),
    snn.SynapticDelay: (lambda: snn.SynapticDelay(4, 5, 3, init_hidden=True), (6, 4)),
    snn.SequenceBatchNorm1d: (lambda: snn.SequenceBatchNorm1d(4), (3, 6, 4)),
    snn.SequenceBatchNorm2d: (lambda: snn.SequenceBatchNorm2d(4), (3, 6, 4, 3, 5)),
    snn.ThresholdDependentBatchNorm1d: (lambda: snn.ThresholdDependentBatchNorm1d(4), (3, 6, 4)),
    snn.ThresholdDependentBatchNorm2d: (lambda: snn.ThresholdDependentBatchNorm2d(4), (3, 6, 4, 3, 5)),
    snn.TemporalEffectiveBatchNorm1d: (lambda: snn.TemporalEffectiveBatchNorm1d(4, 3), (3, 6, 4)),
    snn.TemporalEffectiveBatchNorm2d: (lambda: snn.TemporalEffectiveBatchNorm2d(4, 3), (3, 6, 4, 3, 5)),
    snn.SequenceDropout: (lambda: snn.SequenceDropout(0.0), (6, 4)),
    snn.SequenceDropout1d: (lambda: snn.SequenceDropout1d(0.0), (6, 4, 5)),
    snn.SequenceDropout2d: (lambda: snn.SequenceDropout2d(0.0), (6, 4, 5, 3)),
    LeakyIntegrator: (lambda: LeakyIntegrator(0.5, learn_beta=True, init_hidden=True), (6, 4)),
    SynapticIntegrator: (lambda: SynapticIntegrator(0.9, 0.5, learn_beta=True, init_hidden=True), (6, 4)),
}  # what makes each exported layer, and the shape of an input


def test_every_exported_layer_has_its_row():
    exported = {c for c in vars(snn).values() if inspect.isclass(c) and c.__module__.startswith("snntorch._layers")}
    assert exported == set(MADE), f"give {[c.__name__ for c in exported - set(MADE)]} a line in MADE"


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layer", MADE, ids=lambda layer: layer.__name__)
def test_copies_dtypes_and_gradients(layer, dtype):
    make, shape = MADE[layer]
    made, x = make().to(dtype), torch.randn(shape).to(dtype).requires_grad_()
    copies = copy.deepcopy(made), pickle.loads(pickle.dumps(made))
    out = made(x)
    assert out.dtype == dtype and all(torch.equal(other(x), out) for other in copies)
    out.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in [x, *made.parameters()])


SHAPES = [(BatchNormTT1d, (6, 4)), (BatchNormTT1d, (6, 4, 7)), (BatchNormTT2d, (6, 4, 3, 5))]


@pytest.mark.parametrize(("layer", "shape"), SHAPES)
def test_bntt_whole_sequence_equals_its_steps(layer, shape):
    x = torch.randn(3, *shape, dtype=torch.float64)
    whole = layer(4, 3).double()
    steps = copy.deepcopy(whole)
    torch.testing.assert_close(whole(x), torch.stack([steps[t](x[t]) for t in range(3)]))
    torch.testing.assert_close(whole.state_dict(), steps.state_dict())
    torch.testing.assert_close(whole.eval()(x[:2], None), torch.stack([whole(x[t], t) for t in range(2)]))


def test_bntt_normalises_each_step_by_its_own_statistics():
    x = torch.randn(3, 500, 4) * torch.tensor([1.0, 10.0, 100.0])[:, None, None] + 5
    bn = BatchNormTT1d(4, 3, momentum=1.0)
    y = bn(x)
    torch.testing.assert_close(y.mean(1), torch.zeros(3, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.var(1, unbiased=False), torch.ones(3, 4), atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.stack([b.running_var for b in bn]), x.var(1))


def test_bntt_is_a_module_list_without_biases():
    bn = BatchNormTT2d(5, 2, eps=1e-3, momentum=0.3)
    assert isinstance(bn, nn.ModuleList) and len(bn) == 2 and bn[1].eps == 1e-3 and bn[0].momentum == 0.3
    names = ["weight", "running_mean", "running_var", "num_batches_tracked"]
    assert list(bn.state_dict()) == [f"{t}.{name}" for t in range(2) for name in names]
    assert all(b.bias is None for b in bn)
    assert list(BatchNormTT1d(5, 2, affine=False).parameters()) == []
    torch.testing.assert_close(pickle.loads(pickle.dumps(bn)).state_dict(), bn.state_dict())


def test_bntt_wrong_time_is_an_error():
    bn = BatchNormTT1d(4, 3)
    with pytest.raises(ValueError, match="input has 5 time steps"):
        bn(torch.zeros(5, 2, 4))
    for step in (-1, 3):
        with pytest.raises(ValueError, match="step must lie in"):
            bn(torch.zeros(2, 4), step)
    assert bn(torch.zeros(0, 2, 4)).shape == (0, 2, 4)


@pytest.mark.parametrize("shape", [(5,), (2, 5), (5, 5), (7, 2, 5)])
def test_graded_spikes_scale_the_last_dimension(shape):
    layer = GradedSpikes(5)
    x = torch.rand(shape)
    assert torch.equal(layer(x), x * layer.weights[:, 0])
    assert torch.equal(layer(x[..., None]), layer(x)[..., None]) or shape == (5, 5)


def test_graded_spikes_parameter_and_gradient():
    assert GradedSpikes(4, 0).weights.tolist() == [[0.0]] * 4
    assert GradedSpikes(4, 2).weights.dtype == torch.float32
    drawn = GradedSpikes(4000).weights
    assert drawn.shape == (4000, 1) and 0.5 <= drawn.min() and drawn.max() < 1.5
    assert abs(drawn.mean() - 1) < 0.03
    layer = GradedSpikes(3, 1.0)
    x = torch.rand(4, 3)
    layer(x).sum().backward()
    torch.testing.assert_close(layer.weights.grad, x.sum(0)[:, None])
    assert list(layer.state_dict()) == ["weights"] and layer.size == 3
    assert GradedSpikes(1, 3.0)(torch.ones(2, 6)).tolist() == [[3.0] * 6] * 2


def test_graded_spikes_wrong_size_is_an_error():
    with pytest.raises(ValueError, match=r"\[..., 3\].*got \[3, 4\]"):
        GradedSpikes(3)(torch.zeros(3, 4))


@pytest.mark.parametrize("backend", ["auto", "eager"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_delays_are_indices_whatever_the_input_s_dtype(backend, dtype):
    x = torch.arange(1, 9).view(4, 1, 2).to(dtype)
    with snn.backend(backend):
        for run in (snn.unroll, loop):
            out = run(Delay(torch.tensor([2, 0]), init_hidden=True), x)
            assert out.dtype == dtype and out.tolist() == [[[0, 2]], [[0, 4]], [[1, 6]], [[3, 8]]]
