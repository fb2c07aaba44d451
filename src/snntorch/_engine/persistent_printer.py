"""Programs with a state that feeds back through a matrix, printed as one Triton kernel over all time.

Each program instance takes a few samples, whole rows of the layer, and holds the matrix or reads it anew: at every step
the state's product with it is added to the input, and on the way back the inputs' cotangents times it to the state's.
Features are filled up to a power of two, of which products are. What arrays hold for the next step is loaded before
this one's product, for whose barriers it would wait.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from .printing import Source, backward_source, forward_source
from .program import Gradient, Program
from .triton_printer import loaded, loaded_param, printed, rounded_less, row_distances, step_body, stored, values

_ROWS = (
    ("ROWS", "FEATURES", "WIDTH", "CHUNK"),
    (
        "first = tl.program_id(0).to(tl.int64) * ROWS * WIDTH",
        "feature = tl.arange(0, FEATURES)",
        "lanes = tl.arange(0, ROWS)[:, None] * WIDTH + feature[None, :]",
        "here = first + lanes",
        "columns = feature[None, :] < WIDTH",
        "inside = columns & (lanes < neurons - first)",
    ),
)


def print_forward(program: Program, dense: Sequence[bool], traces: Sequence[bool], index: int, drives: bool) -> Source:
    """The kernel that runs a program over time.

    Pointers as `forward_source` says; then with `drives` `D` `[steps, size]`, what the step is given; for each input
    `W`, the square of the weight behind it, transposed; and `R`, memory for `times`, not used where weights are held.

    Args:
        program: the step.
        dense: for each parameter whether it holds more than one value.
        traces: for each thing that the step returns whether its course is written.
        index: the number of the state that feeds back.
        drives: whether the step's inputs are written.
    """
    body = step_body(program.nodes, [n for k, n in enumerate(program.outputs) if traces[k] or k >= program.free])
    source, states = forward_source(program, body, traces, False), range(program.states)
    inputs = source.arrays["X"]
    source = _with_weight(source, program, "D", inputs if drives else ())
    held, times = _products(inputs)
    load = {
        "param": loaded_param(dense), "state": "state{}".format,
        "input": lambda k: f"driven(X{k}_here, {times(f'state{index}', k)})",
    }  # fmt: skip
    value = values(body, dense)
    before, during = body.lines(True, load), body.lines(False, load)
    before += held
    before += [f"state{k} = {loaded(f'S{k} + here')}" for k in states]
    during += [stored(f"Y{k}", value(program.outputs[k]), False) for k in source.arrays["Y"]]
    during += [stored(f"D{k}", f"i{k}", False) for k in source.arrays["D"]]
    during += [f"state{k} = {value(program.outputs[program.free + k])}" for k in states]
    after = [stored(f"S{k}", f"state{k}") for k in states]
    lines = [*before, *_over_time(source, "", {f"X{k}": f"X{k}_now" for k in inputs}, during), *after]
    return printed(source, body, lines, (), _ROWS)


def print_backward(gradient: Gradient, dense: Sequence[bool], outputs: int, index: int) -> Source:
    """The kernel that runs a gradient back in time.

    Pointers as `backward_source` says, then `W`, not transposed, and `R` as `print_forward`.

    Args:
        gradient: of the step.
        dense: for each parameter whether it holds more than one value.
        outputs: how many things the step returns.
        index: the number of the state that feeds back.
    """
    body, states = step_body(rounded_less(gradient.nodes), gradient.roots), range(len(gradient.states))
    source = backward_source(gradient, outputs, False)
    inputs = source.arrays["DX"]
    source = _with_weight(source, gradient.program, "DX", inputs)
    held, times = _products(inputs)
    carried = sorted(gradient.needs["new"] & gradient.needs["state"])
    load = {
        "param": loaded_param(dense), "input": "X{}_here.to(REAL)".format, "state": "S{}_here.to(REAL)".format,
        "new": lambda k: f"new{k}" if k in carried else f"N{k}_here.to(REAL)",
        "grad": lambda k: f"adjoint{k - outputs}" if k >= outputs else f"G{k}_here.to(REAL)",
    }  # fmt: skip
    value = values(body, dense)
    before, during = body.lines(True, load), body.lines(False, load)
    before += held
    before += [f"adjoint{k} = {loaded(f'A{k} + here')}" for k in states]
    before += [f"sum{k} = tl.zeros(lanes.shape, REAL)" for k in source.arrays["DP"]]
    before += [f"new{k} = {loaded(f'N{k} + last * neurons + here')}" for k in carried]
    during += [stored(f"DX{k}", value(gradient.inputs[k]), False) for k in inputs]
    during += [f"sum{k} += {value(gradient.params[k])}" for k in source.arrays["DP"]]
    during += [f"adjoint{k} = {value(gradient.states[k])}" for k in states]
    during += [f"adjoint{index} += {times(value(gradient.inputs[k]), k)}" for k in inputs]
    during += [f"new{k} = s{k}" for k in carried]
    after = [stored(f"A{k}", f"adjoint{k}") for k in states]
    after += [stored(f"DP{k}", f"sum{k}") for k in source.arrays["DP"]]
    reads = {f"{kind}{k}": f"{kind}{k}_now" for kind in "XG" for k in source.arrays[kind]}
    reads |= {f"N{k}": f"N{k}_now" for k in sorted(gradient.needs["new"]) if k not in carried}
    reads |= {f"S{k}": f"tl.where({{t}} == last, S{k} + first, N{k}_now - neurons)" for k in source.arrays["S"]}
    lines = ["last = steps - 1", *before, *_over_time(source, "last", reads, during), *after]
    return printed(source, body, lines, (), _ROWS)


def _products(numbers: Sequence[int]) -> tuple[list[str], Callable[[str, int], str]]:
    """The lines that come by the weights, held or as pointers, and how values are multiplied with that of a number."""
    area = "ROWS * FEATURES"
    held = [f"spare = R0 + tl.program_id(0) * ({2 * len(numbers)} * {area})"]
    held += [f"weight{k} = part(W{k}, 0, WIDTH, CHUNK, FEATURES) if CHUNK == FEATURES else W{k}" for k in numbers]

    def times(values: str, k: int) -> str:
        spare = f"spare + (t % 2 * {len(numbers)} + {numbers.index(k)}) * ({area})"
        return f"times({values}, weight{k}, inside, {spare}, WIDTH, CHUNK)"

    return held, times


def _with_weight(source: Source, program: Program, kind: str, numbers: Sequence[int]) -> Source:
    """With the weight's pointers, and arrays of a kind that lie beside each other at every step."""
    arrays = source.arrays | {kind: tuple(numbers), "W": tuple(range(program.inputs)), "R": (0,)}
    return replace(source, arrays=arrays, strides=source.strides | {kind: tuple(numbers)})


def _over_time(source: Source, last: str, reads: Mapping[str, str], lines: Iterable[str]) -> list[str]:
    """The lines at every step, or from the `last` one back to the first.

    Of each array that is read, `reads` says where the values of step `{t}` are when its place has moved there.
    """
    distances = {array: d for array, d in row_distances(source).items() if d == "neurons"}
    distances |= {f"{kind}{k}": f"{kind}{k}_next" for kind, k in source.stride_slots}  # of inputs' cotangents too
    begin = {array: f"{array} + first + {last} * {distance}" if last else f"{array} + first"
             for array, distance in distances.items()}  # fmt: skip
    move = {array: f"{array}_now {'-' if last else '+'}= {distance}" for array, distance in distances.items()}
    read = {array for array in distances if array[0] in "XGN"}

    def ahead(t: str, inside: str) -> list[str]:
        return [f"{array}_ahead = tl.load({p.format(t=t)} + lanes, {inside}, 0)" for array, p in reads.items()]

    each = [
        *(f"{array}_here = {array}_ahead" for array in reads),
        *(move[array] for array in distances if array in read),
        "more = columns & (lanes < tl.where(t < steps, neurons - first, 0))",
        *ahead("t", "more"),
        *lines,
        *(move[array] for array in distances if array not in read),
    ]
    return [
        *(f"{array}_now = {place}" for array, place in begin.items()),
        *ahead("0", "inside"),
        "for t in tl.range(1, steps + 1, num_stages=1):",  # the next step, whose values are loaded
        *(f"    {line}" for line in each),
    ]
