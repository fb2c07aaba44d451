"""The operator in PyTorch's own operators: values against the kernel, shapes and dtypes against the operator's fake."""

import pytest
import torch
from torch._decomp import decomposition_table

import snntorch as snn
from helpers import assert_equal
from snntorch._engine.decomposition import run
from snntorch._engine.ops import run_fake

T, B = 4, 3
OPERATOR = torch.ops.snntorch.run.default
# mem = beta * mem + x; spk = mem > 1
LEAKY = """(1, 1, 1, (('input', 0), ('state', 0), ('param', 0), ('mul', 2, 1), ('add', 3, 0), ('const', 1.0),
('gt', 4, 5), ('float', 6)), (7, 4))"""


@pytest.mark.parametrize(
    "steps, written", [(0, (True, False)), (T, (True, True)), (T, (True, False)), (T, (False, True))]
)
def test_values_are_the_kernels(steps, written):
    x, mem = 2 * torch.rand(T, B) if steps else 2 * torch.rand(B), torch.rand(B)
    args = LEAKY, steps, written, [x], [mem], [torch.tensor(0.5)]  # halving rounds nothing
    assert_equal(run(*args), OPERATOR(*args))


def test_half_precision_is_computed_in_single():
    """As on GPUs, whose kernels alone take such inputs."""
    x = (2 * torch.rand(T, B)).half()
    args = LEAKY, T, (True, True), [x], [torch.rand(B)], [torch.tensor(0.5)]
    found = run(*args)
    assert [(f.shape, f.dtype) for f in found] == [(f.shape, f.dtype) for f in run_fake(*args)]
    in_single = run(*args[:3], [x.float()], *args[4:])
    assert_equal(found, [in_single[0].half(), in_single[1], in_single[2]])


def test_what_is_compiled_does_not_see_it(monkeypatch):
    """Not even to learn the shapes of tensors of open sizes."""
    monkeypatch.delitem(decomposition_table, OPERATOR)
    monkeypatch.setitem(decomposition_table, OPERATOR, lambda *args: pytest.fail("decomposed"))
    module = snn.StateLeaky(0.9, 5)
    compiled = torch.compile(lambda x: module(x), dynamic=True, backend="aot_eager")
    with snn.backend("auto"):
        assert compiled(torch.rand(T, B, 5))[0].shape == (T, B, 5)
