"""Programs printed as Numba source: one loop over blocks of neurons, time and the neurons of a block.

A block's states stay in the cache while time runs. Arithmetic follows the program operation by operation, so that a
kernel rounds as PyTorch does. Every pointer is to a dense row of neurons; a stride says how far the next time step is.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from .graph import Node
from .operations import OPERATIONS
from .printing import Body, Load, Source, backward_source, forward_source, indented
from .program import Gradient, Program

BLOCK = 4096  # neurons whose states and one time step of the rest fit the first- and second-level caches

_FORMS = {name: operation.numba for name, operation in OPERATIONS.items()}

_KERNEL = """\
{constants}

def kernel({arguments}):
{uniform}
    for low in range(start, stop, BLOCK):
        high = min(low + BLOCK, stop)
{loops}
"""
_LOOP = """\
        for {time}:
{rows}
            for i in range(low, high):
{body}"""
_SINGLE = """\
{constants}

def kernel({arguments}):
{uniform}
    for i in range(start, stop):
{body}
"""
# From steps - 1 down to 0. Where LLVM sees that rows descend, it checks for overlap across all of them at once, of the
# sums that every row adds to as well, finds some, and does not vectorise: 2 to 10 times slower.
_BACK = ["t = abs(back + 1 - steps)", "row = t * size"]


def _body(nodes: Sequence[Node], roots: Iterable[int], dense: Sequence[bool], prefix: str = "v") -> Body:
    return Body(nodes, roots, _FORMS, lambda kind, k: kind == "param" and not dense[k], prefix)


def _param(dense: Sequence[bool]) -> Callable[[int], str]:
    return lambda k: f"P{k}[i]" if dense[k] else f"P{k}[0]"


def _row(kind: str, single: bool = False) -> Callable[[int], str]:
    return (f"{kind}{{}}[i]" if single else f"{kind}{{0}}[{kind.lower()}{{0}}_row + i]").format


def print_forward(program: Program, dense: Sequence[bool], traces: Sequence[bool], single: bool = False) -> Source:
    """The kernel that runs a program over time; its pointers as `forward_source` says.

    Args:
        program: the step.
        dense: for each parameter whether it has one value per neuron.
        traces: for each of the program's outputs whether it is written at every step.
        single: whether the kernel is for one step only.
    """
    body = _body(program.nodes, [n for k, n in enumerate(program.outputs) if traces[k] or k >= program.free], dense)
    source = forward_source(program, body, traces, single)
    at, new = ("i", "F") if single else ("row + i", "S")
    load = {"param": _param(dense), "state": "S{}[i]".format, "input": _row("X", single)}
    uniform, varying = body.lines(True, load), body.lines(False, load)
    varying += [f"Y{k}[{at}] = {body.names[program.outputs[k]]}" for k in source.arrays["Y"]]
    varying += [f"{new}{k}[i] = {body.names[n]}" for k, n in enumerate(program.outputs[program.free :])]
    if single:
        return _printed(source, body, _SINGLE, uniform, body=indented(varying, 2))
    loop = _loop("t in range(steps)", ["row = t * size", *_strided(source, "X")], varying)
    return _printed(source, body, _KERNEL, uniform, loops=loop)


def print_backward(gradient: Gradient, dense: Sequence[bool], outputs: int, single: bool = False) -> Source:
    """The kernel that runs a gradient back in time; its pointers as `backward_source` says.

    Args:
        gradient: one step back.
        dense: for each parameter whether it has one value per neuron.
        outputs: number of things that the step returns, the states included.
        single: whether the kernel is for one step only.
    """
    body = _body(gradient.nodes, gradient.roots, dense)
    source = backward_source(gradient, outputs, single)
    course = {"new": "N{}[i]".format, "state": "S{}[i]".format}
    if not single:
        course = {"new": "N{}[row + i]".format, "state": "before{0}[before{0}_row + i]".format}
    uniform, varying = _back(gradient, body, source, dense, outputs, course, single)
    if single:
        return _printed(source, body, _SINGLE, uniform, body=indented(varying, 2))
    rows = [*_BACK, *_strided(source, "XG")]
    for k in source.arrays["S"]:
        rows += [f"before{k} = S{k} if t == 0 else N{k}", f"before{k}_row = 0 if t == 0 else row - size"]
    return _printed(source, body, _KERNEL, uniform, loops=_loop("back in range(steps)", rows, varying))


def print_backward_by_chunks(gradient: Gradient, dense: Sequence[bool], outputs: int) -> Source:
    """As `print_backward`, from the initial states: all steps are one chunk.

    For each block of neurons the states are computed again, from the inputs, into memory of the kernel's own: `W`, for
    each state `[1 + steps, block]`, whose rows are the states before each step and after the last one.
    """
    program, body = gradient.program, _body(gradient.nodes, gradient.roots, dense)
    new, states = program.outputs[program.free :], range(program.states)
    again = _body(program.nodes, new, dense, "w")
    again.constants = body.constants
    source = backward_source(gradient, outputs, False, again)
    source = replace(source, scratch=tuple([f"W{k}" for k in states]))
    course = {"new": "W{}[after + i]".format, "state": "W{}[before + i]".format}
    load = {"param": _param(dense), "state": course["state"], "input": _row("X")}
    forth = again.lines(True, load), again.lines(False, load)
    uniform, varying = _back(gradient, body, source, dense, outputs, course)
    store = [f"W{k}[after + i] = {again.names[n]}" for k, n in enumerate(new)]
    places = ["before = t * width - low", "after = before + width"]
    loops = [
        "        for i in range(low, high):",
        indented([f"W{k}[i - low] = B{k}[i]" for k in states], 3),
        _loop("t in range(steps)", [*places, *_strided(source, "X")], [*forth[1], *store]),
        _loop("back in range(steps)", [*_BACK, *places, *_strided(source, "XG")], varying),
    ]
    uniform = ["width = min(BLOCK, stop - start)", *dict.fromkeys([*forth[0], *uniform])]
    return _printed(source, body, _KERNEL, uniform, loops="\n".join(loops))


def _back(
    gradient: Gradient, body: Body, source: Source, dense: Sequence[bool], outputs: int, course: Load,
    single: bool = False,
) -> tuple[list[str], list[str]]:  # fmt: skip
    """What a step back does before the loops and in them; `course` says where states before and after it are."""
    at = "i" if single else "row + i"
    arrived = _row("G", single)
    load = {**course, "param": _param(dense), "input": _row("X", single),
            "grad": lambda k: f"A{k - outputs}[i]" if k >= outputs else arrived(k)}  # fmt: skip
    uniform, varying = body.lines(True, load), body.lines(False, load)
    varying += [f"DX{k}[{at}] = {body.names[n]}" for k, n in enumerate(gradient.inputs) if n is not None]
    add = "=" if single else "+="
    varying += [f"DP{k}[i] {add} {body.names[n]}" for k, n in enumerate(gradient.params) if n is not None]
    varying += [
        f"{'DS' if single else 'A'}{k}[i] = {'ZERO' if n is None else body.names[n]}"
        for k, n in enumerate(gradient.states)
    ]
    return uniform, varying


def _strided(source: Source, kinds: str) -> list[str]:
    """Where the rows of strided arrays begin."""
    return [f"{kind.lower()}{k}_row = t * {kind}{k}_stride" for kind in kinds for k in source.arrays[kind]]


def _loop(time: str, rows: list[str], body: list[str]) -> str:
    return _LOOP.format(time=time, rows=indented(rows, 3), body=indented(body, 4))


def _printed(source: Source, of: Body, template: str, uniform: list[str], **parts: str) -> Source:
    text = template.format(
        constants="\n".join(f"{name} = real({value})" for value, name in of.constants.items()),
        arguments=", ".join(["steps", "size", "start", "stop", *source.pointers, *source.distances, *source.scratch]),
        uniform=indented(uniform, 1),
        **parts,
    )
    return replace(source, text=text)
