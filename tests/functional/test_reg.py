"""Regularisers: values by hand, gradients, several layers, errors."""

import pickle

import pytest
import torch

import snntorch.functional as SF

ALL = [
    SF.l1_rate_sparsity(0.3),
    SF.rate_bounds(0.2, 0.4, Lambda=0.3),
    SF.rate_bounds(0.5, 0.5, Lambda=0.3, population=True),
    SF.membrane_bounds(-0.5, 0.5, Lambda=0.3),
]


def draw(shape=(6, 3, 4)):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 0.7


def test_l1_default_strength():
    assert SF.l1_rate_sparsity()(torch.ones(10, 10, 10, dtype=torch.float64)).item() == pytest.approx(0.01)


def test_rate_bounds_punish_only_the_excess():
    spk = torch.zeros(10, 2, 3)
    spk[:, :, 1] = 1
    spk[:4, :, 2] = 1
    reg = SF.rate_bounds(lower=0.1, upper=0.7, Lambda=2.0)
    torch.testing.assert_close(reg(spk), torch.tensor(2 * (0.1**2 + 0.3**2) / 3))
    assert SF.rate_bounds(lower=0.1, upper=0.7, population=True)(spk).item() == 0  # their mean is 0.47
    target = SF.rate_bounds(lower=0.5, upper=0.5)
    torch.testing.assert_close(target(spk), torch.tensor((0.25 + 0.25 + 0.01) / 3))


def test_rate_bounds_take_layers_of_any_shape():
    spk = (draw((6, 3, 2, 5)) > 0).double()
    expected = (spk.mean((0, 1)) - 0.9).square().mean()
    torch.testing.assert_close(SF.rate_bounds(0.9, 0.9)(spk), expected)


def test_membrane_bounds():
    mem = torch.tensor([[[-2.0, -1.0, 0.3, 2.5]]])
    torch.testing.assert_close(SF.membrane_bounds(-1.0, 2.0, Lambda=4.0)(mem), torch.tensor(1.25))


@pytest.mark.parametrize("reg", ALL)
def test_gradcheck(reg):
    assert torch.autograd.gradcheck(reg, draw().requires_grad_())


@pytest.mark.parametrize("reg", ALL)
def test_layers_add_up(reg):
    first, second = draw(), draw((6, 3, 7))
    torch.testing.assert_close(reg([first, second]), reg(first) + reg(second))
    each = pickle.loads(pickle.dumps(reg))
    each.Lambda = [0.3, 0.6]
    torch.testing.assert_close(each((first, second)), reg(first) + 2 * reg(second))
    with pytest.raises(ValueError, match=f"{reg.__name__} got 1 layers for 2 values of Lambda"):
        each(first)


@pytest.mark.parametrize("reg", ALL)
def test_names_and_dtypes(reg):
    assert reg.__name__ == type(reg).__name__
    x = draw()
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        assert reg(x.to(dtype)).dtype == dtype
    torch.testing.assert_close(reg((x > 0).to(torch.uint8)), reg((x > 0).float()))


def test_half_precision_sums_do_not_overflow():
    assert SF.l1_rate_sparsity(1e-5)(torch.ones(100, 1000, dtype=torch.float16)).item() == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("make", [SF.rate_bounds, SF.membrane_bounds])
def test_bad_bounds(make):
    with pytest.raises(ValueError, match=r"lower must not exceed upper, got lower=0\.6 and upper=0\.5"):
        make(lower=0.6, upper=0.5)


def test_no_layers():
    with pytest.raises(ValueError, match="got 0 layers"):
        SF.l1_rate_sparsity()([])
