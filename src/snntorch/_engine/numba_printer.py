"""Programs printed as Numba source: one loop over blocks of neurons, time and the neurons of a block.

A block's states stay in the cache while time runs. Arithmetic follows the program operation by operation, so that a
kernel rounds as PyTorch does. Every pointer is to a dense row of neurons; a stride says how far the next time step is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from .graph import Node
from .operations import OPERATIONS
from .printing import Body, Source, backward_source, forward_source, indented
from .program import Gradient, Program

BLOCK = 4096  # neurons whose states and one time step of the rest fit the first- and second-level caches

_FORMS = {name: operation.numba for name, operation in OPERATIONS.items()}

_KERNEL = """\
{constants}

def kernel({arguments}):
{uniform}
    for low in range(start, stop, BLOCK):
        high = min(low + BLOCK, stop)
        for {time}:
{row}
            for i in range(low, high):
{body}
"""
_SINGLE = """\
{constants}

def kernel({arguments}):
{uniform}
    for i in range(start, stop):
{body}
"""


def _body(nodes: Sequence[Node], roots: Iterable[int], dense: Sequence[bool]) -> Body:
    return Body(nodes, roots, _FORMS, lambda kind, k: kind == "param" and not dense[k])


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
    at = "i" if single else "row + i"

    def load(kind: str, k: int) -> str:
        if kind == "param":
            return f"P{k}[i]" if dense[k] else f"P{k}[0]"
        return f"S{k}[i]" if kind == "state" else f"X{k}[i]" if single else f"X{k}[x{k}_row + i]"

    new = "F" if single else "S"
    uniform, varying = body.lines(True, load), body.lines(False, load)
    varying += [f"Y{k}[{at}] = {body.names[program.outputs[k]]}" for k in source.arrays["Y"]]
    varying += [f"{new}{k}[i] = {body.names[n]}" for k, n in enumerate(program.outputs[program.free :])]
    rows = ["row = t * size", *(f"x{k}_row = t * X{k}_stride" for k in source.arrays["X"])]
    return _printed(source, body, uniform, varying, single, rows, "t in range(steps)")


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
    at = "i" if single else "row + i"

    def load(kind: str, k: int) -> str:
        if kind == "param":
            return f"P{k}[i]" if dense[k] else f"P{k}[0]"
        if kind == "new":
            return f"N{k}[{at}]"
        if kind == "grad" and k >= outputs:
            return f"A{k - outputs}[i]"
        array = {"input": f"X{k}", "grad": f"G{k}", "state": f"S{k}" if single else f"before{k}"}[kind]
        return f"{array}[i]" if single else f"{array}[{array.lower()}_row + i]"

    uniform, varying = body.lines(True, load), body.lines(False, load)
    varying += [f"DX{k}[{at}] = {body.names[n]}" for k, n in enumerate(gradient.inputs) if n is not None]
    add = "=" if single else "+="
    varying += [f"DP{k}[i] {add} {body.names[n]}" for k, n in enumerate(gradient.params) if n is not None]
    varying += [
        f"{'DS' if single else 'A'}{k}[i] = {'ZERO' if n is None else body.names[n]}"
        for k, n in enumerate(gradient.states)
    ]
    # From steps - 1 down to 0. Where LLVM sees that rows descend, it checks for overlap across all of them at once, of
    # the sums that every row adds to as well, finds some, and does not vectorise: 2 to 10 times slower.
    rows = ["t = abs(back + 1 - steps)", "row = t * size"]
    rows += [f"x{k}_row = t * X{k}_stride" for k in source.arrays["X"]]
    rows += [f"g{k}_row = t * G{k}_stride" for k in source.arrays["G"]]
    for k in source.arrays["S"]:
        rows += [f"before{k} = S{k} if t == 0 else N{k}", f"before{k}_row = 0 if t == 0 else row - size"]
    return _printed(source, body, uniform, varying, single, rows, "back in range(steps)")


def _printed(
    source: Source, body: Body, uniform: list[str], varying: list[str], single: bool, rows: list[str], time: str
) -> Source:
    text = (_SINGLE if single else _KERNEL).format(
        constants="\n".join(f"{name} = real({value})" for value, name in body.constants.items()),
        arguments=", ".join(["steps", "size", "start", "stop", *source.pointers, *source.distances]),
        uniform=indented(uniform, 1),
        time=time,
        row=indented(rows, 3),
        body=indented(varying, 2 if single else 4),
    )
    return replace(source, text=text)
