"""Accuracies: counts and first spikes by hand, ties, populations, return types, errors."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

import snntorch.functional as SF
from snntorch.functional.acc import predict_rate, predict_temporal


def draw(seed, shape=(8, 20, 6), rate=0.3):
    g = torch.Generator().manual_seed(seed)
    return (torch.rand(shape, generator=g) < rate).float(), torch.randint(shape[2], (shape[1],), generator=g)


@given(st.integers(0, 2**31), st.integers(1, 8), st.integers(1, 5))
def test_accuracies_count_the_winners(seed, num_steps, num_outputs):
    spk, y = draw(seed, (num_steps, 7, num_outputs))
    most, earliest = [], []
    for b in range(7):
        trains = spk[:, b].T.tolist()
        most.append(max(range(num_outputs), key=lambda n: (sum(trains[n]), -n)))
        times = [train.index(1.0) if 1.0 in train else num_steps - 1 for train in trains]
        earliest.append(min(range(num_outputs), key=lambda n: (times[n], n)))
    assert predict_rate(spk).tolist() == most
    assert predict_temporal(spk).tolist() == earliest
    assert SF.accuracy_rate(spk, y) == np.mean(np.array(most) == y.numpy())
    assert SF.accuracy_temporal(spk, y) == np.mean(np.array(earliest) == y.numpy())


def test_ties_and_silence_take_the_lowest_class():
    spk = torch.zeros(4, 2, 3)
    spk[1, 0, 1:] = 1
    assert predict_rate(spk).tolist() == [1, 0]
    assert predict_temporal(spk).tolist() == [1, 0]


def test_first_spikes_ignore_amplitudes():
    spk = torch.zeros(4, 1, 3)
    spk[1, 0, 2], spk[2, 0, 1], spk[0, 0, 1] = -0.1, 9.0, 0.0
    assert predict_temporal(spk).tolist() == [2]


def test_population_code():
    spk, _ = draw(0)
    y = torch.arange(20) % 3
    pooled = torch.stack([spk[..., :2].sum((0, 2)), spk[..., 2:4].sum((0, 2)), spk[..., 4:].sum((0, 2))], 1)
    expected = (pooled.argmax(1) == y).double().mean().item()
    assert SF.accuracy_rate(spk, y, population_code=True, num_classes=3) == expected
    assert predict_rate(spk, True, 3).tolist() == pooled.argmax(1).tolist()
    for num_classes in (False, 4):
        with pytest.raises(ValueError, match=f"num_classes must divide .* 6 .*num_classes={num_classes}"):
            SF.accuracy_rate(spk, y, True, num_classes)


@pytest.mark.parametrize("accuracy", [SF.accuracy_rate, SF.accuracy_temporal])
def test_return_types(accuracy):
    spk, y = draw(1)
    value = accuracy(spk.requires_grad_(), y)
    assert type(value) is np.float64
    tensor = accuracy(spk, y, as_tensor=True)
    assert tensor.dtype == torch.float32 and tensor.shape == () and not tensor.requires_grad
    assert tensor.item() == pytest.approx(value)
    # A tensor on the meta device holds no values: a result there shows that none were read.
    assert accuracy(spk.to("meta"), y.to("meta"), as_tensor=True).is_meta


@pytest.mark.parametrize("accuracy", [SF.accuracy_rate, SF.accuracy_temporal])
def test_any_spike_and_label_type(accuracy):
    spk, y = draw(2)
    expected = accuracy(spk, y)
    for dtype in (torch.bool, torch.uint8, torch.float16, torch.float64):
        assert accuracy(spk.to(dtype), y.int()) == expected


def test_long_half_precision_trains_are_counted_exactly():
    spk = torch.ones(3000, 1, 2, dtype=torch.float16)
    spk[0, 0, 0] = 0
    assert predict_rate(spk).item() == 1


@pytest.mark.parametrize("accuracy", [SF.accuracy_rate, SF.accuracy_temporal])
def test_bad_inputs(accuracy):
    spk, y = draw(3)
    with pytest.raises(ValueError, match=r"labels of shape \(20,\), got shape \(20, 6\)"):
        accuracy(spk, F.one_hot(y, 6))
    assert accuracy(spk, y.double()) == accuracy(spk, y)
    with pytest.raises(ValueError, match=r"class labels, whole numbers, got"):
        accuracy(spk, y + 0.5)
    for wrong in (spk[0], spk[:0]):
        with pytest.raises(ValueError, match=r"\[T, B, N\] with T > 0"):
            accuracy(wrong, y)
