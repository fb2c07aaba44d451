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

_ROUNDS = ("UNROLL", "STAGES", "WORDS")

_JUMPS = PREDICATES | {"sign", "ceil", "floor", "round", "trunc", "fmod", "remainder"}

# Which neurons a program instance takes: the names of its sizes, and lines that tell where they are.
_BLOCK = (
    ("BLOCK",),
    (
        "first = tl.program_id(0).to(tl.int64) * BLOCK",
        "lanes = tl.arange(0, BLOCK)",
        "here = first + lanes",
        "inside = lanes < neurons - first",
    ),
)

_KERNEL = """\
@triton.jit(do_not_specialize=[{runtime}])
def kernel({arguments}, {constants}):
{lines}
"""


def print_forward(
    program: Program, dense: Sequence[bool], traces: Sequence[bool], single: bool = False, chunks: bool = False
) -> Source:
    """The kernel that runs a program over time; arguments and pointers as `numba_printer.print_forward` says.

    With `chunks` it keeps what the states are before each chunk of steps, for `print_backward_by_chunks`.
    """
    body = step_body(program.nodes, [n for k, n in enumerate(program.outputs) if traces[k] or k >= program.free])
    source, states = forward_source(program, body, traces, single, chunks), range(program.states)
    state = loaded("S{} + here") if single else "state{}"
    load = {"param": loaded_param(dense), "state": state.format, "input": _now("X", single)}
    value = values(body, dense)
    before, during = body.lines(True, load), body.lines(False, load)
    during += [stored(f"Y{k}", value(program.outputs[k]), single) for k in source.arrays["Y"]]
    new = [value(n) for n in program.outputs[program.free :]]
    if single:
        lines = [*before, *during, *(stored(f"F{k}", new[k], single) for k in states)]
    else:
        before += [f"state{k} = {loaded(f'S{k} + here')}" for k in states]
        during += [f"state{k} = {new[k]}" for k in states]
        after = [stored(f"S{k}", f"state{k}") for k in states]
        first = "lanes < tl.where(t % CHUNK == 0, neurons - first, 0)"
        keep = [f"tl.store(B{k} + t // CHUNK * neurons + here, state{k}, {first})" for k in source.arrays["B"]]
        lines = [*before, *_over_time(source, "", during, keep), *after]
    return printed(source, body, lines, () if single else (*_ROUNDS, *["CHUNK"] * chunks))


def print_backward(gradient: Gradient, dense: Sequence[bool], outputs: int, single: bool = False) -> Source:
    """The kernel that runs a gradient back in time; arguments and pointers as `numba_printer.print_backward` says."""
    body = step_body(rounded_less(gradient.nodes), gradient.roots)
    source, states = backward_source(gradient, outputs, single), range(len(gradient.states))
    carried = () if single else sorted(gradient.needs["new"] & gradient.needs["state"])
    adjoint = loaded("A{} + here") if single else "adjoint{}"
    new, arrived = _now("N", single), _now("G", single)
    load = {
        "param": loaded_param(dense), "input": _now("X", single),
        "state": loaded("S{} + here" if single else "before{} + lanes").format,
        "new": lambda k: f"new{k}" if k in carried else new(k),
        "grad": lambda k: adjoint.format(k - outputs) if k >= outputs else arrived(k),
    }  # fmt: skip
    value = values(body, dense)
    before, during = body.lines(True, load), body.lines(False, load)
    during += [stored(f"DX{k}", value(gradient.inputs[k]), single) for k in source.arrays["DX"]]
    if single:
        lines = [*before, *during, *(stored(f"DP{k}", value(gradient.params[k]), single) for k in source.arrays["DP"])]
        lines += [stored(f"DS{k}", value(gradient.states[k]), single) for k in states]
    else:
        before += [f"adjoint{k} = {loaded(f'A{k} + here')}" for k in states]
        before += [f"sum{k} = tl.zeros(lanes.shape, REAL)" for k in source.arrays["DP"]]
        before += [f"new{k} = {loaded(f'N{k} + last * neurons + here')}" for k in carried]
        rows = [f"before{k} = tl.where(t + step == last, S{k} + first, N{k}_now - neurons)" for k in source.arrays["S"]]
        during += [f"sum{k} += {value(gradient.params[k])}" for k in source.arrays["DP"]]
        during += [f"adjoint{k} = {value(gradient.states[k])}" for k in states]
        during += [f"new{k} = s{k}" for k in carried]
        after = [stored(f"A{k}", f"adjoint{k}") for k in states]
        after += [stored(f"DP{k}", f"sum{k}") for k in source.arrays["DP"]]
        lines = ["last = steps - 1", *before, *_over_time(source, "last", [*rows, *during]), *after]
    return printed(source, body, lines, () if single else _ROUNDS)


def print_backward_by_chunks(gradient: Gradient, dense: Sequence[bool], outputs: int) -> Source:
    """As `print_backward`, from the states before each chunk of steps: those in it are computed again, from the input.

    The last steps, fewer than a chunk, come first; what is computed for steps after them is not used.
    """
    program, body = gradient.program, step_body(rounded_less(gradient.nodes), gradient.roots)
    new = program.outputs[program.free :]
    again = step_body(program.nodes, new, "w")
    again.constants = body.constants
    source, states = backward_source(gradient, outputs, False, again), range(program.states)
    read = again.graph.leaves(again.live, "input")
    kept = [("state", k) for k in sorted(gradient.needs["state"])]
    kept += [("input", k) for k in sorted(gradient.needs["input"] & read)]
    kept += [("new", k) for k in sorted(gradient.needs["new"])]
    distances = row_distances(source)

    def row(array: str) -> str:
        return _read(f"{array}_now + step * {distances[array]}", "there")

    load_again = {"param": loaded_param(dense), "state": "state{}".format, "input": lambda k: row(f"X{k}")}
    load_back = {
        "param": loaded_param(dense), "state": "state{}_at[step]".format, "new": "new{}_at[step]".format,
        "input": lambda k: f"input{k}_at[step]" if ("input", k) in kept else row(f"X{k}"),
        "grad": lambda k: f"adjoint{k - outputs}" if k >= outputs else row(f"G{k}"),
    }  # fmt: skip

    def here(variable: str, value: str) -> str:
        return f"{variable} = {value} if whole else tl.where(step < rest, {value}, {variable})"

    value, value_again = values(body, dense), values(again, dense)
    before = list(dict.fromkeys([*again.lines(True, load_again), *body.lines(True, load_back)]))
    before += [f"adjoint{k} = {loaded(f'A{k} + here')}" for k in states]
    before += [f"sum{k} = tl.zeros(lanes.shape, REAL)" for k in source.arrays["DP"]]
    there = "there = inside if whole else lanes < tl.where(step < rest, neurons - first, 0)"
    name = {"state": "state", "input": "i", "new": "state"}
    keep = [(kind, f"{kind}{k}_at += ({name[kind]}{k},)") for kind, k in kept]
    forth = [there, *again.lines(False, load_again)]
    forth += [line for kind, line in keep if kind != "new"]
    forth += [f"state{k} = {value_again(new[k])}" for k in states]
    forth += [line for kind, line in keep if kind == "new"]
    back = [there, *body.lines(False, load_back)]
    back += [
        f"tl.store(DX{k}_now + step * neurons + lanes, {value(gradient.inputs[k])}, there)" for k in source.arrays["DX"]
    ]
    back += [here(f"sum{k}", f"sum{k} + {value(gradient.params[k])}") for k in source.arrays["DP"]]
    back += [here(f"adjoint{k}", value(gradient.states[k])) for k in states]
    lines = [
        *before,
        "rest = steps % CHUNK",
        "last = (steps - 1) // CHUNK",
        *(f"{array}_now = {array} + first + last * CHUNK * {distance}" for array, distance in distances.items()),
        *(f"B{k}_now = B{k} + first + last * neurons" for k in states),
        "for whole in tl.static_range(2):",
        "    for chunk in tl.range(0, steps // CHUNK if whole else tl.minimum(rest, 1), num_stages=STAGES):",
        *(f"        state{k} = {loaded(f'B{k}_now + lanes')}" for k in states),
        *(f"        {kind}{k}_at = ()" for kind, k in kept),
        "        for step in tl.static_range(CHUNK):",
        *(f"            {line}" for line in forth),
        "        for step in tl.static_range(CHUNK - 1, -1, -1):",
        *(f"            {line}" for line in back),
        *(f"        {array}_now -= CHUNK * {distance}" for array, distance in distances.items()),
        *(f"        B{k}_now -= neurons" for k in states),
        *(stored(f"A{k}", f"adjoint{k}") for k in states),
        *(stored(f"DP{k}", f"sum{k}") for k in source.arrays["DP"]),
    ]
    return printed(source, body, lines, ("CHUNK", "STAGES", "WORDS"))


def rounded_less(nodes: Sequence[Node]) -> list[Node]:
    """The nodes with quotients right to 2 units in the last place, where nothing that jumps is computed from them."""
    graph = Graph(nodes)
    seen = set(graph.reachable(i for i, node in enumerate(nodes) if node[0] in _JUMPS))
    return [("quotient", *n[1:]) if n[0] == "div" and i not in seen else n for i, n in enumerate(nodes)]


def step_body(nodes: Sequence[Node], roots: Iterable[int], prefix: str = "v") -> Body:
    body = Body(nodes, roots, _FORMS, lambda kind, k: kind == "param", prefix)
    body.constants = {"0.0": "ZERO", "1.0": "ONE"}
    return body


def values(body: Body, dense: Sequence[bool]) -> Callable[[int | None], str]:
    """How a node's value is named as a block; a scalar is spread over one, which keeps a loop's variables of a kind."""
    scalars = body.computed_from(lambda kind, k: kind == "param" and not dense[k])

    def value(number: int | None) -> str:
        if number is None:
            return "tl.zeros(lanes.shape, REAL)"
        return f"tl.broadcast_to({body.names[number]}, lanes.shape)" if number in scalars else body.names[number]

    return value


def loaded(pointer: str) -> str:
    return f"tl.load({pointer}, inside, 0).to(REAL)"


def _read(row: str, inside: str = "inside") -> str:
    return f"read({row}, lanes, {inside}, WORDS).to(REAL)"


def _now(kind: str, single: bool) -> Callable[[int], str]:
    """How this step's values of arrays of a kind are read."""
    return (loaded(_place(f"{kind}{{}}", single)) if single else _read(f"{kind}{{}}_now")).format


def loaded_param(dense: Sequence[bool]) -> Callable[[int], str]:
    return lambda k: loaded(f"P{k} + here") if dense[k] else f"tl.load(P{k}).to(REAL)"


def stored(array: str, value: str, single: bool = True) -> str:
    return f"tl.store({_place(array, single)}, {value}, inside)"


def _place(array: str, single: bool) -> str:
    """Where an array's values of this step are."""
    return f"{array} + here" if single else f"{array}_now + lanes"


def row_distances(source: Source) -> dict[str, str]:
    """For each array over time how far the next step is."""
    found = {f"{kind}{k}": f"{kind}{k}_next" for kind, numbers in source.strides.items() for k in numbers}
    return found | {f"{kind}{k}": "neurons" for kind in ("Y", "N", "DX") for k in source.arrays.get(kind, ())}


def _over_time(source: Source, last: str, lines: Iterable[str], rounds: Iterable[str] = ()) -> list[str]:
    """The lines at every step, or from the `last` one back to the first: in rounds of UNROLL, then what is left.

    Lines of `rounds` come before each round.
    """
    next_row = row_distances(source)
    begin = {array: f"{array} + first + {last} * {distance}" if last else f"{array} + first"
             for array, distance in next_row.items()}  # fmt: skip
    each = [*lines, *(f"{array}_now {'-' if last else '+'}= {distance}" for array, distance in next_row.items())]
    return [
        *(f"{array}_now = {place}" for array, place in begin.items()),
        "whole = steps // UNROLL * UNROLL",
        "for left in tl.static_range(2 if UNROLL > 1 else 1):",
        "    for t in tl.range(left * whole, steps if left else whole, 1 if left else UNROLL, num_stages=STAGES):",
        *(f"        {line}" for line in rounds),
        "        for step in tl.static_range(1 if left else UNROLL):",
        *(f"            {line}" for line in each),
    ]


def printed(
    source: Source, body: Body, lines: list[str], constants: Sequence[str],
    place: tuple[Sequence[str], Sequence[str]] = _BLOCK,
) -> Source:  # fmt: skip
    """The source with its text, of these lines below a head."""
    runtime = ["steps", "size", *source.distances]
    head = [f"{name} = tl.full((), {value}, REAL)" for value, name in body.constants.items()]
    head += ["neurons = size.to(tl.int64) * ALIGN"]
    head += [
        f"{kind}{k}_next = {kind}{k}_stride.to(tl.int64) * ALIGN" for kind, ks in source.strides.items() for k in ks
    ]
    text = _KERNEL.format(
        runtime=", ".join(f'"{name}"' for name in runtime),
        arguments=", ".join([*source.pointers, *runtime]),
        constants=", ".join(f"{name}: tl.constexpr" for name in (*place[0], "ALIGN", *constants)),
        lines=indented([*head, *place[1], *lines], 1),
    )
    return replace(source, text=text)
