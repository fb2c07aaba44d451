"""Programs printed as Triton source: each program instance takes a block of neurons and runs it over all time.

States, and the states' adjoints on the way back, stay in registers. What only parameters decide is computed before the
loop. `tl.range` with stages loads the steps to come while this one is computed; several steps a round spare barriers.
Each array's place moves with time: one for all would be kept for the stores from when the loads had it, stages ago.
The numbers of steps and of neurons are arguments. Sizes and strides come in units of ALIGN, by which the compiler knows
that they divide it and moves several values at once.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from .graph import Graph, Node
from .operations import OPERATIONS, PREDICATES
from .printing import Body, Source, backward_source, forward_source, indented
from .program import Gradient, Program

_FORMS = {name: operation.triton for name, operation in OPERATIONS.items()} | {"quotient": "{} / {}"}

_JUMPS = PREDICATES | {"sign", "ceil", "floor", "round", "trunc", "fmod", "remainder"}

_KERNEL = """\
@triton.jit(do_not_specialize=[{runtime}])
def kernel({arguments}, BLOCK: tl.constexpr, ALIGN: tl.constexpr{unroll}):
{lines}
"""


def print_forward(program: Program, dense: Sequence[bool], traces: Sequence[bool], single: bool = False) -> Source:
    """The kernel that runs a program over time; arguments and pointers as `numba_printer.print_forward` says."""
    body = _body(program.nodes, [n for k, n in enumerate(program.outputs) if traces[k] or k >= program.free])
    source, states = forward_source(program, body, traces, single), range(program.states)

    def load(kind: str, k: int) -> str:
        if kind == "param":
            return _load_param(k, dense)
        if kind == "state":
            return _load(f"S{k} + here") if single else f"state{k}"
        return _load(_place(f"X{k}", single))

    value = _values(body, dense)
    before, during = body.lines(True, load), body.lines(False, load)
    during += [_store(f"Y{k}", value(program.outputs[k]), single) for k in source.arrays["Y"]]
    new = [value(n) for n in program.outputs[program.free :]]
    if single:
        lines = [*before, *during, *(_store(f"F{k}", new[k], single) for k in states)]
    else:
        before += [f"state{k} = {_load(f'S{k} + here')}" for k in states]
        during += [f"state{k} = {new[k]}" for k in states]
        after = [_store(f"S{k}", f"state{k}") for k in states]
        lines = [*before, *_over_time(source, "", during), *after]
    return _printed(source, body, lines, single)


def print_backward(gradient: Gradient, dense: Sequence[bool], outputs: int, single: bool = False) -> Source:
    """The kernel that runs a gradient back in time; arguments and pointers as `numba_printer.print_backward` says."""
    body = _body(_rounded_less(gradient.nodes), gradient.roots)
    source, states = backward_source(gradient, outputs, single), range(len(gradient.states))
    carried = () if single else sorted(gradient.needs["new"] & gradient.needs["state"])

    def load(kind: str, k: int) -> str:
        if kind == "param":
            return _load_param(k, dense)
        if kind == "new" and k in carried:
            return f"new{k}"
        if kind == "grad" and k >= outputs:
            return _load(f"A{k - outputs} + here") if single else f"adjoint{k - outputs}"
        if kind == "state":
            return _load(f"S{k} + here") if single else _load(f"before{k} + lanes")
        return _load(_place({"new": "N", "input": "X", "grad": "G"}[kind] + str(k), single))

    value = _values(body, dense)
    before, during = body.lines(True, load), body.lines(False, load)
    during += [_store(f"DX{k}", value(gradient.inputs[k]), single) for k in source.arrays["DX"]]
    if single:
        lines = [*before, *during, *(_store(f"DP{k}", value(gradient.params[k]), single) for k in source.arrays["DP"])]
        lines += [_store(f"DS{k}", value(gradient.states[k]), single) for k in states]
    else:
        before += [f"adjoint{k} = {_load(f'A{k} + here')}" for k in states]
        before += [f"sum{k} = tl.zeros((BLOCK,), REAL)" for k in source.arrays["DP"]]
        before += [f"new{k} = {_load(f'N{k} + last * neurons + here')}" for k in carried]
        rows = [f"before{k} = tl.where(t + step == last, S{k} + first, N{k}_now - neurons)" for k in source.arrays["S"]]
        during += [f"sum{k} += {value(gradient.params[k])}" for k in source.arrays["DP"]]
        during += [f"adjoint{k} = {value(gradient.states[k])}" for k in states]
        during += [f"new{k} = s{k}" for k in carried]
        after = [_store(f"A{k}", f"adjoint{k}") for k in states]
        after += [_store(f"DP{k}", f"sum{k}") for k in source.arrays["DP"]]
        lines = ["last = steps - 1", *before, *_over_time(source, "last", [*rows, *during]), *after]
    return _printed(source, body, lines, single)


def _rounded_less(nodes: Sequence[Node]) -> list[Node]:
    """The nodes with quotients right to 2 units in the last place, where nothing that jumps is computed from them."""
    graph = Graph(nodes)
    seen = set(graph.reachable(i for i, node in enumerate(nodes) if node[0] in _JUMPS))
    return [("quotient", *n[1:]) if n[0] == "div" and i not in seen else n for i, n in enumerate(nodes)]


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


def _store(array: str, value: str, single: bool = True) -> str:
    return f"tl.store({_place(array, single)}, {value}, inside)"


def _place(array: str, single: bool) -> str:
    """Where an array's values of this step are."""
    return f"{array} + here" if single else f"{array}_now + lanes"


def _over_time(source: Source, last: str, lines: Iterable[str]) -> list[str]:
    """The lines at every step, or from the `last` one back to the first: in rounds of UNROLL, then what is left."""
    next_row = {f"{kind}{k}": f"{kind}{k}_next" for kind, numbers in source.strides.items() for k in numbers}
    next_row |= {f"{kind}{k}": "neurons" for kind in ("Y", "N", "DX") for k in source.arrays.get(kind, ())}
    begin = {array: f"{array} + first + {last} * {distance}" if last else f"{array} + first"
             for array, distance in next_row.items()}  # fmt: skip
    each = [*lines, *(f"{array}_now {'-' if last else '+'}= {distance}" for array, distance in next_row.items())]
    return [
        *(f"{array}_now = {place}" for array, place in begin.items()),
        "whole = steps // UNROLL * UNROLL",
        "for left in tl.static_range(2 if UNROLL > 1 else 1):",
        "    for t in tl.range(left * whole, steps if left else whole, 1 if left else UNROLL, num_stages=STAGES):",
        "        for step in tl.static_range(1 if left else UNROLL):",
        *(f"            {line}" for line in each),
    ]


def _printed(source: Source, body: Body, lines: list[str], single: bool) -> Source:
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
        unroll="" if single else ", UNROLL: tl.constexpr, STAGES: tl.constexpr",
        lines=indented([*head, *lines], 1),
    )
    return replace(source, text=text)
