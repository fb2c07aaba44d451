"""Programs printed as Triton source: each program instance takes a block of neurons and runs it over all time.

States, and the states' adjoints on the way back, stay in registers. What only parameters decide is computed before the
loop. `tl.range` with stages loads the steps to come while this one is computed. The numbers of steps and of neurons are
arguments. Sizes and strides come in units of ALIGN, by which the compiler knows that they divide it and moves several
values at once.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from .graph import Node
from .operations import OPERATIONS
from .printing import Body, Source, backward_source, forward_source, indented
from .program import Gradient, Program

_FORMS = {name: operation.triton for name, operation in OPERATIONS.items()}

_KERNEL = """\
@triton.jit(do_not_specialize=[{runtime}])
def kernel({arguments}, BLOCK: tl.constexpr, STAGES: tl.constexpr, ALIGN: tl.constexpr):
{lines}
"""


def print_forward(program: Program, dense: Sequence[bool], traces: Sequence[bool], single: bool = False) -> Source:
    """The kernel that runs a program over time; arguments and pointers as `numba_printer.print_forward` says."""
    body = _body(program.nodes, [n for k, n in enumerate(program.outputs) if traces[k] or k >= program.free])
    source, states = forward_source(program, body, traces, single), range(program.states)
    inputs, written = source.arrays["X"], source.arrays["Y"]

    def load(kind: str, k: int) -> str:
        if kind == "param":
            return _load_param(k, dense)
        if kind == "state":
            return _load(f"S{k} + here") if single else f"state{k}"
        return _load(f"X{k} + here" if single else f"X{k} + x{k}_row + lanes")

    value = _values(body, dense)
    before, during = body.lines(True, load), body.lines(False, load)
    during += [_store(f"Y{k} + {'here' if single else 'row + lanes'}", value(program.outputs[k])) for k in written]
    new = [value(n) for n in program.outputs[program.free :]]
    if single:
        lines = [*before, *during, *(_store(f"F{k} + here", new[k]) for k in states)]
    else:
        before += [f"state{k} = {_load(f'S{k} + here')}" for k in states]
        rows = ["row = first + t * neurons", *_rows("x", inputs)]
        during += [f"state{k} = {new[k]}" for k in states]
        after = [_store(f"S{k} + here", f"state{k}") for k in states]
        lines = [*before, *_loop("t", [*rows, *during]), *after]
    return _printed(source, body, lines)


def print_backward(gradient: Gradient, dense: Sequence[bool], outputs: int, single: bool = False) -> Source:
    """The kernel that runs a gradient back in time; arguments and pointers as `numba_printer.print_backward` says."""
    body = _body(gradient.nodes, gradient.roots)
    source, states = backward_source(gradient, outputs, single), range(len(gradient.states))
    inputs, params = source.arrays["DX"], source.arrays["DP"]
    at = "here" if single else "row + lanes"

    def load(kind: str, k: int) -> str:
        if kind == "param":
            return _load_param(k, dense)
        if kind == "new":
            return _load(f"N{k} + {at}")
        if kind == "grad" and k >= outputs:
            return _load(f"A{k - outputs} + here") if single else f"adjoint{k - outputs}"
        if kind == "state":
            return _load(f"S{k} + here" if single else f"before{k} + lanes")
        array = {"input": "X", "grad": "G"}[kind]
        return _load(f"{array}{k} + here" if single else f"{array}{k} + {array.lower()}{k}_row + lanes")

    value = _values(body, dense)
    before, during = body.lines(True, load), body.lines(False, load)
    during += [_store(f"DX{k} + {at}", value(gradient.inputs[k])) for k in inputs]
    if single:
        lines = [*before, *during, *(_store(f"DP{k} + here", value(gradient.params[k])) for k in params)]
        lines += [_store(f"DS{k} + here", value(gradient.states[k])) for k in states]
    else:
        before += [f"adjoint{k} = {_load(f'A{k} + here')}" for k in states]
        before += [f"sum{k} = tl.zeros((BLOCK,), REAL)" for k in params]
        rows = ["t = steps - 1 - back", "row = first + t * neurons"]
        rows += [*_rows("x", source.arrays["X"]), *_rows("g", source.arrays["G"])]
        for k in source.arrays["S"]:
            rows.append(f"before{k} = tl.where(t == 0, S{k} + first, N{k} + (row - neurons))")
        during += [f"sum{k} += {value(gradient.params[k])}" for k in params]
        during += [f"adjoint{k} = {value(gradient.states[k])}" for k in states]
        after = [_store(f"A{k} + here", f"adjoint{k}") for k in states]
        after += [_store(f"DP{k} + here", f"sum{k}") for k in params]
        lines = [*before, *_loop("back", [*rows, *during]), *after]
    return _printed(source, body, lines)


def _body(nodes: Sequence[Node], roots: Iterable[int]) -> Body:
    body = Body(nodes, roots, _FORMS, lambda kind, k: kind == "param")
    body.constants = {"0.0": "ZERO", "1.0": "ONE"}
    return body


def _values(body: Body, dense: Sequence[bool]) -> Callable[[int | None], str]:
    """How a node's value is named as a block; a scalar is spread over one, which keeps a loop's variables of a kind."""
    scalars = body.computed_from(lambda kind, k: kind == "param" and not dense[k])

    def value(number: int | None) -> str:
        if number is None:
            return "tl.zeros((BLOCK,), REAL)"
        return f"tl.broadcast_to({body.names[number]}, (BLOCK,))" if number in scalars else body.names[number]

    return value


def _load(pointer: str) -> str:
    return f"tl.load({pointer}, inside, 0).to(REAL)"


def _load_param(k: int, dense: Sequence[bool]) -> str:
    return _load(f"P{k} + here") if dense[k] else f"tl.load(P{k}).to(REAL)"


def _store(pointer: str, value: str) -> str:
    return f"tl.store({pointer}, {value}, inside)"


def _rows(array: str, numbers: Sequence[int]) -> list[str]:
    return [f"{array}{k}_row = first + t * {array.upper()}{k}_next" for k in numbers]


def _loop(time: str, lines: Iterable[str]) -> list[str]:
    return [f"for {time} in tl.range(steps, num_stages=STAGES):", *(f"    {line}" for line in lines)]


def _printed(source: Source, body: Body, lines: list[str]) -> Source:
    runtime = ["steps", "size", *source.distances]
    head = [f"{name} = tl.full((), {value}, REAL)" for value, name in body.constants.items()]
    head += ["neurons = size.to(tl.int64) * ALIGN"]
    head += [
        f"{kind}{k}_next = {kind}{k}_stride.to(tl.int64) * ALIGN" for kind, ks in source.strides.items() for k in ks
    ]
    head += [
        "first = tl.program_id(0).to(tl.int64) * BLOCK",
        "lanes = tl.arange(0, BLOCK)",
        "here = first + lanes",
        "inside = lanes < neurons - first",
    ]
    text = _KERNEL.format(
        runtime=", ".join(f'"{name}"' for name in runtime),
        arguments=", ".join([*source.pointers, *runtime]),
        lines=indented([*head, *lines], 1),
    )
    return replace(source, text=text)
