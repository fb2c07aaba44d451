"""Training looks at no value: on a GPU each look would wait for the device.

Whatever turns a tensor into a Python value is made to raise, by name and by operator, while neurons, nets and losses
run on the CPU.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import snntorch as snn
from helpers import flat, run, start
from rows import ROWS, one_per_class, rows
from snntorch import backprop, utils
from snntorch import functional as sf

LOOKS = (
    "item",
    "tolist",
    "numpy",
    "nonzero",
    "__bool__",
    "__float__",
    "__int__",
    "__index__",
    "__array__",
    "__contains__",
)


class _Operators(TorchDispatchMode):
    """Raises at operators whose result's shape, or whose value in Python, depends on what a tensor holds."""

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        tags = func.tags
        if func is torch.ops.aten.index.Tensor and not any(i is not None and i.dtype == torch.bool for i in args[1]):
            tags = []  # known numbers of elements
        if torch.Tag.data_dependent_output in tags or torch.Tag.dynamic_output_shape in tags:
            raise AssertionError(f"{func} waits for the device")
        return func(*args, **(kwargs or {}))


@contextmanager
def never_looking(operators: bool = True) -> Iterator[None]:
    """Raise where a tensor's values are looked at; `operators`: inside PyTorch too, as the engine then goes."""
    with pytest.MonkeyPatch.context() as patch:
        for name in LOOKS:

            def look(self: Tensor, *args: Any, name: str = name, **kwargs: Any) -> Any:
                raise AssertionError(f"Tensor.{name} waits for the device")

            patch.setattr(Tensor, name, look)
        if operators:
            with _Operators():
                yield
        else:
            yield


@pytest.mark.parametrize("operators", [False, True])
def test_looks_are_seen(operators):
    x = torch.ones(())
    for name in ("item", "tolist", "nonzero", "__bool__", "__float__", "__int__"):
        with pytest.raises(AssertionError, match="waits for the device"), never_looking(operators):
            getattr(x, name)()
    with pytest.raises(AssertionError, match="waits for the device"), never_looking():
        x[x > 0]


@pytest.mark.parametrize("backend", ["auto", "eager"])
@pytest.mark.parametrize("operators", [False, True])
@rows((*one_per_class(), *(row for row in ROWS if "quant" in row.name)))
def test_neurons(row, operators, backend):
    """At their first call too."""
    neuron = row.make(torch.float32)
    x = row.input(5, 3, torch.float32).requires_grad_()
    with snn.backend(backend), never_looking(operators):
        for out in (snn.unroll(neuron, x, *start(row, neuron)), run(row, neuron, x)):
            sum(o.float().sum() for o in flat(out)).backward()


def net():
    return nn.Sequential(
        nn.Conv2d(1, 2, 3), snn.Leaky(0.9, init_hidden=True, learn_beta=True), nn.BatchNorm2d(2), nn.Flatten(),
        nn.Linear(8, 4), snn.Synaptic(0.9, 0.8, init_hidden=True),
    )  # fmt: skip


def looped(module, x):
    return torch.stack([module(now) for now in x])


OVER_TIME = {
    "loop": looped,
    "unroll": snn.unroll,
    "recompute": partial(snn.unroll, recompute=2),
    "layerwise": snn.layerwise(looped),
}


@pytest.mark.parametrize("operators", [False, True])
@pytest.mark.parametrize("form", OVER_TIME)
def test_training(form, operators):
    """The batch's size changes from one step to the next."""
    module = net()
    optimiser = torch.optim.SGD(module.parameters(), 0.1)
    with never_looking(operators):
        for batch in (3, 2):
            utils.reset(module)
            spk = OVER_TIME[form](module, torch.rand(5, batch, 1, 4, 4))
            optimiser.zero_grad()
            spk.square().mean().backward()
            optimiser.step()
            utils.detach(module)


def test_truncated_backpropagation():
    batches = [(torch.rand(5, 3, 1, 4, 4), torch.zeros(3))]
    module = net()
    with never_looking():
        backprop.TBPTT(
            module, batches, torch.optim.SGD(module.parameters(), 0.1), lambda spk, _: spk.square().mean(), K=2,
            readout="spk", clip_grad_norm=1.0,
        )  # fmt: skip


CRITERIA = (
    sf.ce_rate_loss, sf.ce_count_loss, sf.ce_max_membrane_loss, sf.ce_temporal_loss, sf.mse_count_loss, sf.tet_loss,
    sf.mse_membrane_loss, sf.mse_temporal_loss, sf.ttfs_loss,
)  # fmt: skip


@pytest.mark.parametrize("make", CRITERIA, ids=lambda make: make.__name__)
def test_losses(make):
    """On the meta device, whose tensors have no values; the host's labels are checked, which costs nothing there."""
    spk = torch.rand(5, 3, 4, device="meta", requires_grad=True)
    make()(spk, torch.randint(4, (3,), device="meta")).sum().backward()
    assert spk.grad is not None and spk.grad.shape == spk.shape


@pytest.mark.parametrize("feedback", [None, backprop.RandomFeedback()], ids=["symmetric", "random"])
def test_eprop_looks_at_nothing(feedback):
    net, x, y = online()
    with never_looking():
        backprop.eprop(net, x, y, nn.functional.cross_entropy, feedback=feedback)


@pytest.mark.parametrize("updates", [False, True])
def test_ottt_looks_whether_it_can_follow_its_neurons_once_before_it_writes(updates):
    net, x, y = online()
    looks, plain = [], Tensor.__bool__
    optimizer = torch.optim.SGD(net.parameters(), 0.1) if updates else None
    with never_looking(operators=False), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tensor, "__bool__", lambda self: looks.append(self) or plain(self))
        backprop.ottt(net, x, y, nn.functional.cross_entropy, optimizer=optimizer)
    assert len(looks) == (len(x) - 1 if updates else 1)  # the first step has no past


def online():
    """A net for rules that learn forward in time, its input and labels."""
    net = nn.Sequential(
        nn.Linear(5, 4), snn.Synaptic(0.8, 0.9, init_hidden=True), nn.Linear(4, 4), snn.Leaky(0.9, init_hidden=True),
        nn.Linear(4, 3),
    )  # fmt: skip
    return net, torch.rand(6, 2, 5) * 3, torch.tensor([0, 2])
