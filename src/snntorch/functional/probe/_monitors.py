"""Monitors: one with a hook, and one short subclass for each thing that flows by it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.autograd.graph import register_multi_grad_hook
from torch.utils.hooks import RemovableHandle

if TYPE_CHECKING:
    from typing_extensions import Self

Layers = type[nn.Module] | nn.Module | tuple[type[nn.Module] | nn.Module, ...]
Function = Callable[[Any], Any]


def unpack_len1_tuple(x: Any) -> Any:
    """Return the only element of a tuple of length 1, and anything else as it is.

    Example:
        >>> unpack_len1_tuple((3,)), unpack_len1_tuple((3, 4))
        (3, (3, 4))
    """
    return x[0] if isinstance(x, tuple) and len(x) == 1 else x


def _identity(x: Any) -> Any:
    return x


def snapshot(x: Any) -> Any:
    """Copy a tensor, so that later changes in place do not reach the record."""
    return x.detach().clone() if isinstance(x, Tensor) else x


def classes_of(instance: Layers) -> tuple[type, ...]:
    """The classes of layers, given as classes or as examples."""
    kinds = instance if isinstance(instance, tuple) else (instance,)
    return tuple(kind if isinstance(kind, type) else type(kind) for kind in kinds)


class BaseMonitor:
    """What all monitors share: hooks on the layers of a kind, and the records they make.

    A monitor is indexed by an integer, for one record, or by a layer's name, for the list of that layer's
    records. It is also a context manager that removes its hooks at the end; the records stay.

    Args:
        net: the network to watch.
        instance: which of `net.named_modules()` to watch: a class, a tuple of classes, or an example of the
            class. `None` means the class of `net` itself.
        function: applied to what is recorded before it is stored.

    Attributes:
        records: all records, in the order in which they were made.
        monitored_layers: names of the watched layers.
        name_records_index: for each name, the positions of its records in `records`.
        hooks: handles of the registered hooks.

    Example:
        >>> import torch
        >>> class BatchSizeMonitor(BaseMonitor):
        ...     def _attach(self, module, record):
        ...         return module.register_forward_hook(lambda module, inputs, output: record(len(output)))
        >>> with BatchSizeMonitor(net := nn.ReLU()) as monitor:
        ...     _ = net(torch.rand(3, 4)), net(torch.rand(5, 4))
        >>> monitor.records
        [3, 5]
    """

    def __init__(self, net: nn.Module, instance: Layers | None = None, function: Function = _identity):
        self._function = function
        self.records: list[Any] = []
        self.monitored_layers: list[str] = []
        self.name_records_index: dict[str, list[int]] = {}
        self.hooks: list[RemovableHandle] = []
        self._enabled = True
        classes = classes_of(net if instance is None else instance)
        for name, module in net.named_modules():
            if isinstance(module, classes):
                self.monitored_layers.append(name)
                self.name_records_index[name] = []
                self.hooks.append(self._attach(module, self._recorder(name)))

    def _attach(self, module: nn.Module, record: Function) -> RemovableHandle:
        """Hook `record` onto a layer."""
        raise NotImplementedError

    def _recorder(self, name: str) -> Function:
        # The hook must not keep the monitor alive: dropping the monitor removes its hooks.
        reference = weakref.WeakMethod(self._record)

        def record(value: Any) -> None:
            if (method := reference()) is not None:
                method(name, value)

        return record

    def _record(self, name: str, value: Any) -> None:
        if self._enabled:
            self.name_records_index[name].append(len(self.records))
            self.records.append(self._function(value))

    def __getitem__(self, key: int | str) -> Any:
        if isinstance(key, int):
            return self.records[key]
        if isinstance(key, str):
            return [self.records[i] for i in self.name_records_index[key]]
        raise ValueError(f"a monitor is indexed by an integer or a layer's name, got {key!r}")

    def enable(self) -> None:
        """Record from now on."""
        self._enabled = True

    def disable(self) -> None:
        """Record nothing until `enable` is called."""
        self._enabled = False

    def is_enable(self) -> bool:
        """Whether the monitor records."""
        return self._enabled

    def clear_recorded_data(self) -> None:
        """Forget all records; go on watching."""
        self.records.clear()
        for index in self.name_records_index.values():
            index.clear()

    def remove_hooks(self) -> None:
        """Stop watching for good; keep the records."""
        for hook in self.hooks:
            hook.remove()
        self.hooks.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove_hooks()

    def __del__(self) -> None:
        self.remove_hooks()


class OutputMonitor(BaseMonitor):
    """Record each layer's output at every call: a tensor, or the whole tuple of a layer that returns several.

    Args:
        net: the network to watch.
        instance: which layers, as in `BaseMonitor`.
        function_on_output: applied to an output before it is stored. The default stores the live tensors.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> with OutputMonitor(net, nn.Linear, lambda y: y.detach()) as monitor:
        ...     _ = net(torch.rand(5, 3))
        >>> monitor.monitored_layers, monitor["2"][0].shape
        (['0', '2'], torch.Size([5, 2]))
    """

    def __init__(self, net: nn.Module, instance: Layers | None = None, function_on_output: Function = _identity):
        super().__init__(net, instance, function_on_output)

    def _attach(self, module: nn.Module, record: Function) -> RemovableHandle:
        return module.register_forward_hook(lambda module, args, output: record(unpack_len1_tuple(output)))


class InputMonitor(BaseMonitor):
    """Record each layer's input at every call: a tensor, or the tuple of all positional, then keyword arguments.

    Args:
        net: the network to watch.
        instance: which layers, as in `BaseMonitor`.
        function_on_input: applied to an input before it is stored. The default stores the live tensors.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
        >>> monitor = InputMonitor(net, nn.ReLU)
        >>> _ = net(torch.rand(5, 3))
        >>> monitor[0].shape
        torch.Size([5, 4])
    """

    def __init__(self, net: nn.Module, instance: Layers | None = None, function_on_input: Function = _identity):
        super().__init__(net, instance, function_on_input)

    def _attach(self, module: nn.Module, record: Function) -> RemovableHandle:
        return module.register_forward_hook(
            lambda module, args, kwargs, output: record(unpack_len1_tuple((*args, *kwargs.values()))), with_kwargs=True
        )


class AttributeMonitor(BaseMonitor):
    """Record an attribute of each layer, such as `"mem"` or `"weight"`, at every call.

    Args:
        attribute_name: name of the attribute; dots reach into submodules.
        pre_forward: whether to read it before the layer runs, or after.
        net: the network to watch.
        instance: which layers, as in `BaseMonitor`.
        function_on_attribute: applied to the live value before it is stored. The default stores a detached
            copy, which neither later updates in place nor a held graph can spoil.

    Example:
        >>> import torch
        >>> linear = nn.Linear(3, 4)
        >>> monitor = AttributeMonitor("weight", False, linear)
        >>> _ = linear(torch.rand(5, 3))
        >>> torch.equal(monitor[0], linear.weight)
        True
    """

    def __init__(
        self,
        attribute_name: str,
        pre_forward: bool,
        net: nn.Module,
        instance: Layers | None = None,
        function_on_attribute: Function = snapshot,
    ):
        self.attribute_name = attribute_name
        self.pre_forward = pre_forward
        super().__init__(net, instance, function_on_attribute)

    def _attach(self, module: nn.Module, record: Function) -> RemovableHandle:
        read = attrgetter(self.attribute_name)
        register = module.register_forward_pre_hook if self.pre_forward else module.register_forward_hook
        return register(lambda module, *call: record(read(module)))


class GradInputMonitor(BaseMonitor):
    """Record the gradients with respect to each layer's inputs, in the order of the backward pass.

    Args:
        net: the network to watch.
        instance: which layers, as in `BaseMonitor`.
        function_on_grad_input: applied to a gradient, or the tuple of several, before it is stored.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
        >>> monitor = GradInputMonitor(net[1], nn.Linear)
        >>> net(torch.rand(5, 3)).sum().backward()
        >>> monitor[0].shape
        torch.Size([5, 4])
    """

    def __init__(self, net: nn.Module, instance: Layers | None = None, function_on_grad_input: Function = _identity):
        super().__init__(net, instance, function_on_grad_input)

    def _attach(self, module: nn.Module, record: Function) -> RemovableHandle:
        return module.register_full_backward_hook(
            lambda module, grad_input, grad_output: record(unpack_len1_tuple(grad_input))
        )


class GradOutputMonitor(BaseMonitor):
    """Record the gradients with respect to each layer's outputs, as `GradInputMonitor` those of its inputs.

    Args:
        function_on_grad_output: applied to a gradient, or the tuple of several, before it is stored.

    The other arguments are those of `GradInputMonitor`.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
        >>> monitor = GradOutputMonitor(net, nn.Linear)
        >>> net(torch.rand(5, 3)).sum().backward()
        >>> [grad.shape for grad in monitor.records]
        [torch.Size([5, 2]), torch.Size([5, 4])]
    """

    def __init__(self, net: nn.Module, instance: Layers | None = None, function_on_grad_output: Function = _identity):
        super().__init__(net, instance, function_on_grad_output)

    def _attach(self, module: nn.Module, record: Function) -> RemovableHandle:

        def watch(module: nn.Module, args: Any, output: Any) -> None:
            # Hooks on the output tensors; a full backward hook would warn when no input requires a gradient.
            outputs = output if isinstance(output, tuple) else (output,)
            watched = [i for i, x in enumerate(outputs) if isinstance(x, Tensor) and x.requires_grad]

            def collect(grads: Sequence[Tensor | None]) -> None:
                by_position = dict(zip(watched, grads, strict=True))
                record(unpack_len1_tuple(tuple(by_position.get(i) for i in range(len(outputs)))))

            if watched:
                register_multi_grad_hook([outputs[i] for i in watched], collect)

        return module.register_forward_hook(watch)
