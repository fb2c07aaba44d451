"""Calls from one place in the code, and how they run together."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .._engine import note
from .._neurons.ends import ends_now
from . import layers
from .arguments import Slot, fill, leaves
from .courses import as_stacked, count, course, joined, place, rows_of
from .fold import fold
from .infer import Context, Inferred, context_now, in_context
from .later import Batch, Meta, Node


class Group:
    """Calls that differ in the steps that they belong to.

    Args:
        function: what is called.
        template: its arguments and arguments by keyword, with slots for what is deferred.
        inferred: what a call gives.
        context: how it runs.
        owner: the module whose forward calls it.
        line: where in the user's code.
        module: the module that is called, where it is called as a whole.
        ordered: whether calls change something, so that they run one by one in their order.
        opaque: whether nothing is known of it.
        draws: whether calls of the same arguments may give different results.
        applied: the `autograd.Function` that is applied.
    """

    def __init__(
        self, function: Any, template: Any, inferred: Any, context: Context, owner: nn.Module | None, line: str,
        module: nn.Module | None = None, ordered: bool = False, opaque: bool = False, draws: bool = False,
        applied: Any = None,
    ) -> None:  # fmt: skip
        self.function, self.template, self.inferred, self.context = function, template, inferred, context
        self.owner, self.line, self.module, self.applied = owner, line, module, applied
        self.ordered, self.opaque, self.draws = ordered, opaque, draws
        self.repeats = False  # whether calls of the same arguments are one
        self.plain = False  # whether a call gives one new tensor and does nothing else
        self.learns = False  # whether a tensor in the template asks for a gradient
        self.place: Any = None  # where its calls come from
        self.time = 0  # at which of the calls there in one step
        self.then: Any = None  # what came after it, see `Recording.last`
        self.known_as: Any = None  # what tells its function from others
        self.here, self.taken = 0, ()  # from which module's forward it is called, with what
        self.nodes: list[Node] = []  # those that have not run
        self.changes = 0  # what its calls change, by identity
        self.updates: set[int] = set()  # and the memory of it, where that is other tensors' than their results
        self.calls = 0  # how many they are when they begin to

    can_be_alone = True  # whether a call may run before the others of its group
    in_one = False  # whether those that are ordered run as one

    def run(self, nodes: Sequence[Node]) -> None:
        """Run some calls, in the order of recording, all of whose arguments are there."""
        try:
            if self.context == context_now():
                self._run(nodes)
            else:
                with in_context(self.context):
                    self._run(nodes)
        except Exception as error:
            if self.line and hasattr(error, "add_note"):  # Python 3.11
                error.add_note(f"in a call that was recorded at {self.line}")  # type: ignore[attr-defined]
            raise

    def _run(self, nodes: Sequence[Node]) -> None:
        raise NotImplementedError

    def _tell(self, path: str, reason: str) -> None:
        if self.module is not None:
            note(self.module, path, reason)
        elif type(self.owner).__module__.startswith(("torch.nn.", "snntorch._layers.")):
            note(self.owner, path, reason)
        elif path == "stepped":
            note(self.owner, path, f"{getattr(self.function, '__name__', self.function)} at {self.line}: {reason}")


class FunctionGroup(Group):
    """Calls of a function."""

    inferred: Inferred

    def _run(self, nodes: Sequence[Node]) -> None:
        steps = count(nodes)
        if steps > 1 and not self.ordered and self._run_folded(nodes, steps):
            return
        for node in nodes:
            found = []
            rows = [rows_of(source, node.span) for source in node.inputs]
            for values in zip(*rows, strict=True) if rows else [()] * node.span:
                args, kwargs = fill(self.template, self._unwritten(values))
                found.append(self._outputs(self.function(*args, **kwargs)))
            if node.span == 1:
                place([node], Batch(found[0]))
            else:
                place([node], Batch([torch.stack(of_output) for of_output in zip(*found, strict=True)], node.span))
        if self.calls == 1:
            self._tell("folded", "runs once for all steps")
        else:
            self._tell("stepped", self._reason() if steps > 1 or self.ordered else "needs what comes of it")

    def _reason(self) -> str:
        return "depends on the order of its calls" if self.ordered else "PyTorch can't run it for all steps at once"

    def _run_folded(self, nodes: Sequence[Node], steps: int) -> bool:
        found = [course(nodes, k) for k in range(len(nodes[0].inputs))]
        values, batched = [v for v, _ in found], [b for _, b in found]
        if not any(batched):
            if not self.repeats:
                return False
            args, kwargs = fill(self.template, values)
            place(nodes, Batch(self._outputs(self.function(*args, **kwargs)), steps, constant=True))
            self._tell("folded", "runs once for all steps")
            return True
        written = self._written_slot()
        if written is not None and not batched[written]:
            values[written] = values[written].expand(steps, *values[written].shape)
            batched[written] = True
        try:
            out = self._outputs(self._fold(self._unwritten(values), batched), steps)
        except (RuntimeError, ValueError, NotImplementedError, TypeError):
            return False
        place(nodes, Batch(out, steps))
        self._tell("folded", "takes all steps as one batch")
        return True

    def _fold(self, values: Sequence[Tensor], batched: Sequence[bool]) -> Any:
        args, kwargs = self.template
        return fold(self.function, args, kwargs, values, batched, self.applied)

    def _written_slot(self) -> int | None:
        """Which of the deferred arguments the call writes in place."""
        if self.inferred.written is None:
            return None
        slot = leaves(self.template, Slot | Tensor)[self.inferred.written]
        return slot.number if isinstance(slot, Slot) else None

    def _unwritten(self, values: Sequence[Tensor]) -> Sequence[Tensor]:
        """The values, with a copy of what the call writes in place."""
        slot = self._written_slot()
        if slot is not None:
            values = [v.clone() if k == slot else v for k, v in enumerate(values)]
        return values

    def _outputs(self, returned: Any, steps: int = 0) -> list[Tensor]:
        found = leaves(returned)
        for tensor, meta in zip(found, self.inferred.metas, strict=True):
            shape = tensor.shape[1:] if steps else tensor.shape
            if shape != meta.shape or tensor.dtype != meta.dtype:
                name = getattr(self.function, "__name__", type(self.function).__name__)
                raise TypeError(
                    f"{name} gave a {tensor.dtype} of shape {tuple(shape)} where one of {meta.dtype} and shape "
                    f"{tuple(meta.shape)} was expected"
                )
        return found


class ModuleGroup(FunctionGroup):
    """Calls of a module as a whole."""

    def _run_folded(self, nodes: Sequence[Node], steps: int) -> bool:
        return False if self.opaque else super()._run_folded(nodes, steps)

    def _fold(self, values: Sequence[Tensor], batched: Sequence[bool]) -> Any:
        alone = self.template == ((Slot(0),), {})
        return layers.fold(self.function, values[0]) if alone else super()._fold(values, batched)

    def _reason(self) -> str:
        return f"{type(self.module).__name__} may depend on time"


class StackGroup(FunctionGroup):
    """`torch.stack` of what calls of another group gave, which is their course."""

    def _run(self, nodes: Sequence[Node]) -> None:
        if count(nodes) > 1:
            super()._run(nodes)
            return
        for node in nodes:
            spans = node.extra or [1] * len(node.inputs)
            values, changes = joined(node.inputs, spans)
            dim = self.template[1].get("dim", 0) if len(self.template[0]) < 2 else self.template[0][1]
            values = as_stacked(values) if changes else torch.stack([values] * sum(spans))
            place([node], Batch([values if dim in (0, -values.dim()) else values.movedim(0, dim).contiguous()]))


class SelectGroup(Group):
    """Single steps of a sequence."""

    def __init__(self, dim: int, meta: Meta, context: Context, owner: nn.Module | None, line: str) -> None:
        super().__init__(Tensor.select, (), None, context, owner, line)
        self.dim, self.meta = dim, meta

    def _run(self, nodes: Sequence[Node]) -> None:
        indices: list[int] = []
        for node in nodes:
            indices += node.extra if type(node.extra) is range else [node.extra] * node.span
        values, changes = course(nodes)
        if len(indices) == 1:
            place(nodes, Batch([values.select(self.dim, indices[0])]))
        elif not changes:
            rows = values.movedim(self.dim, 0)
            if indices != list(range(len(rows))):
                steps = range(indices[0], indices[-1] + 1)
                rows = rows[steps.start : steps.stop] if indices == list(steps) else rows[indices]
            place(nodes, Batch([rows], len(indices)))
        elif all(index == indices[0] for index in indices):
            place(nodes, Batch([values.select(self.dim + 1, indices[0])], len(indices)))
        else:
            rows = [v.select(self.dim, i) for v, i in zip(values, indices, strict=True)]
            place(nodes, Batch([torch.stack(rows)], len(indices)))


class SequenceGroup(Group):
    """Steps for a layer that takes whole sequences."""

    can_be_alone, in_one = False, True

    def __init__(
        self, module: nn.Module, inferred: Inferred, context: Context, owner: Any, line: str, steps: int
    ) -> None:
        super().__init__(module, (), inferred, context, owner, line, module=module)
        self.ordered, self.steps = True, steps

    def _run(self, nodes: Sequence[Node]) -> None:
        steps = count(nodes)
        if steps != self.steps:
            raise ValueError(
                f"{type(self.module).__name__} takes whole sequences, so what it takes must not depend on what it "
                f"gives, but {steps} of {self.steps} steps have to run before the others"
            )
        values, changes = course(nodes)
        if not changes:
            values = values.expand(steps, *values.shape)
        if (ends := ends_now(steps)) is not None:
            values = ends.silent(values)
        place(nodes, Batch(leaves(self.function(values)), steps))
        self._tell("whole sequence", "")


class WriteGroup(FunctionGroup):
    """One write into a tensor that was there before."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.ordered = True

    def _run(self, nodes: Sequence[Node]) -> None:
        for node in nodes:
            values = [n.value(k) for n, k in node.inputs]
            args, kwargs = fill(self.template, values)
            self.function(*args, **kwargs)
            place([node], Batch([None]))
