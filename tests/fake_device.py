"""A device without kernels, faked: `test_devices.py` runs this file, as a process has place for one such device.

Its tensors hold the CPU's, and refuse what MPS refuses: float64, and operands on another device that are more than one
value. What is computed there by neurons, nets and losses is compared with the CPU.
"""

import copy
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils import backend_registration

import snntorch as snn
from helpers import flat, start
from rows import Row, one_per_class
from snntorch import backprop
from snntorch import functional as sf

NAME = "fake"
MOVES = {"aten::copy_", "aten::_to_copy"}  # from a device to another
moved: list[str] = []  # those between the device and the CPU, for which a GPU would wait


class Fake(Tensor):
    """A tensor of the device."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "Fake":
        if held.dtype == torch.float64:
            raise TypeError(f"{NAME} has no float64")
        options: dict[str, Any] = {"strides": held.stride(), "storage_offset": held.storage_offset()}
        found = Tensor._make_wrapper_subclass(cls, held.shape, dtype=held.dtype, device=f"{NAME}:0", **options)
        found.held = held
        return found

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        arguments = [t for t in pytree.tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        own = {id(t.held): t for t in arguments if isinstance(t, Fake)}
        others = [t.device for t in arguments if not isinstance(t, Fake) and t.dim()]
        if others and func._schema.name not in MOVES:
            raise RuntimeError(f"{func} of tensors on {NAME} and on {others[0]}")
        to = torch.device(kwargs.get("device") or NAME)
        if func._schema.name in MOVES and (to.type == "cpu" or any(not isinstance(t, Fake) for t in arguments)):
            moved.append(f"{func} of {[t.shape for t in arguments]}")
        held = pytree.tree_map_only(Fake, lambda t: t.held, (args, {**kwargs, "device": "cpu"}))
        found = func(*held[0], **{name: held[1][name] for name in kwargs})
        if to.type == "cpu" or (func._schema.name == "aten::copy_" and not isinstance(args[0], Fake)):
            return found
        return pytree.tree_map_only(Tensor, lambda t: own[id(t)] if id(t) in own else Fake(t), found)


def _empty(size: Any, *args: Any, device: Any = None, layout: Any = None, **kwargs: Any) -> Tensor:
    return Fake(torch.empty(size, **{k: v for k, v in kwargs.items() if v is not None}))


def _empty_strided(size: Any, stride: Any, *, device: Any = None, layout: Any = None, **kwargs: Any) -> Tensor:
    return Fake(torch.empty_strided(size, stride, **{k: v for k, v in kwargs.items() if v is not None}))


class Module(backend_registration._DummyBackendModule):
    """What stands for `torch.mps`: checkpoints ask it for the dtypes of autocast and for random numbers' state."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        """None."""
        return []

    def get_rng_state(self, device: Any = None) -> Tensor:
        """The CPU's, from which numbers are drawn."""
        return torch.get_rng_state()

    def set_rng_state(self, state: Tensor, device: Any = None) -> None:
        """Of the CPU."""
        torch.set_rng_state(state)


def same(call: Callable[[Any, str], Any], *made: Any) -> None:
    """What a call makes of copies on the device equals what it makes on the CPU, and lies there."""
    results = []
    for device in ("cpu", NAME):
        torch.manual_seed(0)
        results.append(flat(call(*(copy.deepcopy(m).to(device) for m in made))))
    for expected, found in zip(*results, strict=True):
        assert isinstance(found, Fake), type(found)
        torch.testing.assert_close(found.held, expected)


def trained(module: nn.Module, out: Any, *leaves: Tensor) -> tuple:
    """What came out, and the gradients of its sum."""
    leaves = (*leaves, *(p for p in module.parameters() if p.requires_grad))
    found = torch.autograd.grad(sum(o.float().sum() for o in flat(out)), leaves, allow_unused=True)
    return *flat(out), *(g for g in found if g is not None)


def neurons() -> None:
    """Each class over time, with its gradients."""
    for row in one_per_class():

        def both(neuron: Any, x: Tensor, row: Row = row) -> tuple:
            x.requires_grad_()
            states = pytree.tree_map_only(Tensor, lambda s: s.to(x.device), start(row, neuron))
            return trained(neuron, snn.unroll(neuron, x, *states), x)

        same(both, row.make(), row.input(3, 2))


def net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 2, 3), snn.Leaky(0.9, init_hidden=True, learn_beta=True), nn.BatchNorm2d(2), nn.Flatten(),
        nn.Linear(8, 6), snn.RLeaky(0.9, linear_features=6, init_hidden=True), nn.Linear(6, 4),
        snn.Synaptic(0.9, 0.8, init_hidden=True, threshold=0.1),
    )  # fmt: skip


def looped(module: nn.Module, x: Tensor) -> Tensor:
    return torch.stack([module(now) for now in x])


def nets() -> None:
    """In every form, twice, with the states set to rest between."""
    for form in (looped, snn.unroll, functools.partial(snn.unroll, recompute=2), snn.layerwise(looped)):

        def both(module: nn.Module, x: Tensor, form: Callable = form) -> tuple:
            form(module, x)
            snn.utils.reset(module)
            return trained(module, form(module, x))

        same(both, net(), torch.rand(5, 3, 1, 4, 4))


def nothing_moves() -> None:
    """In training steps after the first."""
    module, x = net().to(NAME), torch.rand(5, 3, 1, 4, 4).to(NAME)
    assert moved  # by which it shows
    for form in (looped, snn.unroll, functools.partial(snn.unroll, recompute=2), snn.layerwise(looped)):
        optimiser = torch.optim.SGD(module.parameters(), 0.1)
        for _ in range(2):
            moved.clear()
            snn.utils.reset(module)
            optimiser.zero_grad()
            form(module, x).square().mean().backward()
            optimiser.step()
        assert not moved, moved


def learning() -> None:
    """Losses and rules move the same weights."""

    def tbptt(module: nn.Module, x: Tensor, y: Tensor) -> tuple:
        optimiser = torch.optim.Adam(module.parameters())
        backprop.TBPTT(module, [(x, y)], optimiser, sf.ce_rate_loss(), K=2, readout="spk", device=x.device)
        return (*module.parameters(),)

    def rule(module: nn.Module, x: Tensor, y: Tensor, learn: Callable) -> tuple:
        learn(module, x, y, nn.functional.cross_entropy)
        return tuple(p.grad for p in module.parameters() if p.grad is not None)

    labels = torch.tensor([0, 3, 1])
    same(tbptt, net(), torch.rand(4, 3, 1, 4, 4), labels)
    flat_net = nn.Sequential(nn.Linear(5, 4), snn.Leaky(0.9, init_hidden=True), nn.Linear(4, 4))
    for learn in (backprop.eprop, backprop.ottt):
        same(functools.partial(rule, learn=learn), flat_net, 3 * torch.rand(6, 3, 5), labels)
    for make in (sf.ce_rate_loss, sf.ce_count_loss, sf.ce_max_membrane_loss, sf.mse_count_loss, sf.ce_temporal_loss):
        same(lambda spk, y, make=make: make()(spk, y), (torch.rand(5, 3, 4) > 0.5).float(), labels)


if __name__ == "__main__":
    backend_registration._setup_privateuseone_for_python_backend(NAME, Module())
    library = torch.library.Library("aten", "IMPL")
    library.impl("empty.memory_format", _empty, "PrivateUse1")
    library.impl("empty_strided", _empty_strided, "PrivateUse1")
    neurons()
    nets()
    nothing_moves()
    learning()
    print(snn.explain(net().to(NAME), torch.rand(5, 3, 1, 4, 4, device=NAME)))
