"""The engine's torch operators, and the gradient between them.

`snntorch::run` runs a program over time and `snntorch::run_backward` its gradient. Both take the program as text, so
that `torch.compile` and `torch.export` carry it along.
"""

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .cpu import Kernel
from .numba_printer import print_backward, print_forward
from .program import Gradient, Program, gradient, load

_library = torch.library.Library("snntorch", "DEF")
_library.define(
    "run(str program, int steps, bool[] traces, Tensor[] inputs, Tensor[] states, Tensor[] params) -> Tensor[]"
)
_library.define(
    "run_backward(str program, int steps, bool[] wanted, Tensor?[] grads, Tensor?[] courses, "
    "Tensor[] inputs, Tensor[] states, Tensor[] params) -> Tensor[]"
)


def _variants(program: Program, wanted: Sequence[bool], given: Sequence[bool]) -> Gradient:
    inputs, params = tuple(wanted[: program.inputs]), tuple(wanted[program.inputs :])
    return gradient(program, tuple(given), inputs, params)


@functools.cache
def _forward_kernel(program: Program, dense: tuple, traces: tuple, single: bool, dtype: torch.dtype) -> Kernel:
    return Kernel(print_forward(program, dense, traces, single), dtype)


@functools.cache
def _backward_kernel(backward: Gradient, dense: tuple, outputs: int, single: bool, dtype: torch.dtype) -> Kernel:
    return Kernel(print_backward(backward, dense, outputs, single), dtype)


def _rows(x: Tensor, single: bool) -> tuple[Tensor, int]:
    """X with each time step dense in memory, and how far apart they are."""
    if single or x.is_contiguous():
        return x.contiguous(), 0 if single else x[0].numel()
    if not x[0].is_contiguous():
        x = x[:1].contiguous().expand(x.shape) if x.stride(0) == 0 else x.contiguous()
    return x, x.stride(0)


def _spread(param: Tensor, shape: torch.Size) -> Tensor:
    """One value, or one per neuron."""
    return param if param.numel() == 1 else param.expand(shape).contiguous()


def _run_cpu(
    text: str, steps: int, traces: Sequence[bool], inputs: Sequence[Tensor], states: Sequence[Tensor],
    params: Sequence[Tensor],
) -> list[Tensor]:  # fmt: skip
    """For each trace asked for `[steps, ...]`, then the final states. `steps` 0 is one step, with no time dimension."""
    program, single = load(text), steps == 0
    shape, dtype = states[0].shape, states[0].dtype
    dense = tuple(p.numel() != 1 for p in params)
    kernel = _forward_kernel(program, dense, tuple(traces), single, dtype)
    memory: dict[str, Tensor] = {}
    strides: dict[str, int] = {}
    for k, x in enumerate(inputs):
        memory[f"X{k}"], strides[f"X{k}_stride"] = _rows(x, single)
    for k, param in enumerate(params):
        memory[f"P{k}"] = _spread(param, shape)
    lead = (steps,) if steps else ()
    for k, wanted in enumerate(traces):
        if wanted:
            memory[f"Y{k}"] = torch.empty((*lead, *shape), dtype=dtype)
    for k, state in enumerate(states):
        if single:
            memory[f"S{k}"], memory[f"F{k}"] = state.contiguous(), torch.empty(shape, dtype=dtype)
        else:
            memory[f"S{k}"] = state.clone(memory_format=torch.contiguous_format)
    _launch(kernel, steps or 1, shape.numel(), memory, strides)
    final = "F" if single else "S"
    return [memory[f"Y{k}"] for k, wanted in enumerate(traces) if wanted] + [
        memory[f"{final}{k}"] for k in range(len(states))
    ]


def _launch(kernel: Kernel, steps: int, size: int, memory: dict[str, Tensor], strides: dict[str, int]) -> None:
    source = kernel.source
    kernel(
        steps, size, [memory[name].data_ptr() for name in source.pointers], [strides[name] for name in source.strides]
    )


def _run_backward_cpu(
    text: str, steps: int, wanted: Sequence[bool], grads: Sequence[Tensor | None],
    courses: Sequence[Tensor | None], inputs: Sequence[Tensor], states: Sequence[Tensor], params: Sequence[Tensor],
) -> list[Tensor]:  # fmt: skip
    """The cotangents of the inputs and parameters that are wanted and of all states: inputs, states, params."""
    program, single = load(text), steps == 0
    count = len(program.outputs)
    shape, dtype = states[0].shape, states[0].dtype
    given = [g is not None for g in grads]
    if not single:
        given[count:] = [True] * program.states
    backward = _variants(program, wanted, given)
    dense = tuple(p.numel() != 1 for p in params)
    kernel = _backward_kernel(backward, dense, count, single, dtype)
    memory: dict[str, Tensor] = {}
    strides: dict[str, int] = {}
    for k in backward.needs["input"]:
        memory[f"X{k}"], strides[f"X{k}_stride"] = _rows(inputs[k], single)
    for k, param in enumerate(params):
        memory[f"P{k}"] = _spread(param, shape)
    for k, grad in enumerate(grads[:count]):
        if grad is not None:
            memory[f"G{k}"], strides[f"G{k}_stride"] = _rows(grad, single)
    for k, state in enumerate(states):
        memory[f"S{k}"] = state.contiguous()
        course, later = courses[k], grads[count + k]
        if course is not None:
            memory[f"N{k}"] = course.contiguous()
        if single:
            memory[f"DS{k}"] = torch.empty(shape, dtype=dtype)
            if later is not None:
                memory[f"A{k}"] = later.contiguous()
        elif later is None:
            memory[f"A{k}"] = torch.zeros(shape, dtype=dtype)
        else:
            memory[f"A{k}"] = later.clone(memory_format=torch.contiguous_format)
    lead = (steps,) if steps else ()
    for k, node in enumerate(backward.inputs):
        if wanted[k]:
            new = torch.zeros if node is None else torch.empty
            memory[f"DX{k}"] = new((*lead, *shape), dtype=dtype)
    for k, node in enumerate(backward.params):
        if wanted[program.inputs + k]:
            new = torch.empty if single and node is not None else torch.zeros
            memory[f"DP{k}"] = new(shape, dtype=dtype)
    _launch(kernel, steps or 1, shape.numel(), memory, strides)
    results = [memory[f"DX{k}"] for k in range(program.inputs) if wanted[k]]
    results += [memory[f"{'DS' if single else 'A'}{k}"] for k in range(program.states)]
    results += [memory[f"DP{k}"].sum_to_size(p.shape) for k, p in enumerate(params) if wanted[program.inputs + k]]
    return results


def _run_fake(
    text: str, steps: int, traces: Sequence[bool], inputs: Sequence[Tensor], states: Sequence[Tensor],
    params: Sequence[Tensor],
) -> list[Tensor]:  # fmt: skip
    lead = (steps,) if steps else ()
    shape = states[0].shape
    return [states[0].new_empty((*lead, *shape)) for wanted in traces if wanted] + [s.new_empty(shape) for s in states]


def _run_backward_fake(
    text: str, steps: int, wanted: Sequence[bool], grads: Sequence[Tensor | None],
    courses: Sequence[Tensor | None], inputs: Sequence[Tensor], states: Sequence[Tensor], params: Sequence[Tensor],
) -> list[Tensor]:  # fmt: skip
    lead = (steps,) if steps else ()
    shape = states[0].shape
    results = [states[0].new_empty((*lead, *shape)) for _, want in zip(inputs, wanted, strict=False) if want]
    results += [s.new_empty(shape) for s in states]
    return results + [p.new_empty(p.shape) for p, want in zip(params, wanted[len(inputs) :], strict=True) if want]


_library.impl("run", _run_cpu, "CPU")
_library.impl("run_backward", _run_backward_cpu, "CPU")
torch.library.register_fake("snntorch::run", _run_fake, lib=_library)
torch.library.register_fake("snntorch::run_backward", _run_backward_fake, lib=_library)


class Run(torch.autograd.Function):
    """`snntorch::run` with its gradient. Keeps the states' courses over time that this needs, and the input only where
    the gradient cannot do without it.
    """

    @staticmethod
    def forward(ctx: Any, text: str, steps: int, traces: tuple, inputs: int, *tensors: Tensor) -> tuple:
        """The traces asked for, then the final states."""
        program = load(text)
        xs, states = tensors[:inputs], tensors[inputs : inputs + program.states]
        params = tensors[inputs + program.states :]
        needs = ctx.needs_input_grad[4:]
        wanted = (*needs[:inputs], *needs[inputs + program.states :])
        backward = _variants(program, wanted, (*traces, *[True] * program.states))
        saved = backward.saved if any(needs) else frozenset()
        written = traces
        if steps > 0:
            written = tuple(t or (k - program.free in saved) for k, t in enumerate(traces))
        results = torch.ops.snntorch.run(text, steps, written, list(xs), list(states), list(params))
        finals = results[len(results) - program.states :]
        trace = dict(zip((k for k, w in enumerate(written) if w), results, strict=False))
        if any(needs):
            course = finals if steps == 0 else [trace.get(program.free + k) for k in range(program.states)]
            ctx.save_for_backward(
                *(x if k in backward.needs["input"] else None for k, x in enumerate(xs)),
                *states,
                *params,
                *(course[k] if k in saved else None for k in range(program.states)),
            )
            ctx.program, ctx.text, ctx.steps, ctx.traces, ctx.wanted = program, text, steps, traces, wanted
            ctx.set_materialize_grads(False)
        return (*(trace[k] for k, t in enumerate(traces) if t), *finals)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple:
        """The cotangents of the tensors."""
        program: Program = ctx.program
        tensors = ctx.saved_tensors
        xs, tensors = tensors[: program.inputs], tensors[program.inputs :]
        states, tensors = tensors[: program.states], tensors[program.states :]
        params, courses = tensors[: program.params], tensors[program.params :]
        arrived = iter(grads)
        full = [next(arrived) if t else None for t in ctx.traces] + list(arrived)
        given = (*(g is not None for g in full[: len(ctx.traces)]), *[True] * program.states)
        needs = _variants(program, ctx.wanted, given).needs
        if any(courses[k] is None for k in needs["state"] | needs["new"]) or any(xs[k] is None for k in needs["input"]):
            # The gradient from only some of the outputs would be read off other tensors than those that were kept.
            zero = states[0].new_zeros(())
            shape = (ctx.steps or 1, *states[0].shape)
            full = [zero.expand(shape) if g is None and t else g for g, t in zip(full, ctx.traces, strict=False)]
        xs = [states[0] if x is None else x for x in xs]  # not read
        results = iter(
            torch.ops.snntorch.run_backward(
                ctx.text, ctx.steps, ctx.wanted, full, courses, xs, list(states), list(params)
            )
        )
        n = program.inputs
        return (
            None, None, None, None,
            *(next(results) if want else None for want in ctx.wanted[:n]),
            *(next(results) for _ in states),
            *(next(results) if want else None for want in ctx.wanted[n:]),
        )  # fmt: skip
