"""The machine code of the GPU's kernels, for GPUs that need not be there: what Triton and its assembler make of them.

    python benchmarks/gpu_code.py [--only TEXT] [--show TEXT]

Writes `tests/_engine/kernels/machine_code.txt`, which a change of the printer changes in review; `--only` prints the
rows that have a text, and `--show` the loop of one of them, instruction by instruction. A kernel is compiled as it is
launched for 16·512 neurons ("odd": for one more) whose spikes alone are asked for, in training; what is computed again
on the way back is part of its step. A row says

- registers of a thread, and bytes or registers of it that are spilled to memory;
- bits of the narrowest load and store of a thread that the loop over time makes of what changes with it;
- instructions of a step, of which moves;
- cycles of a step, for NVIDIA's from 8.0 on: an estimate, of which an H200 takes 1.4 to 1.5 times as much (500 steps
  forward and backward, with what begins and ends them, at 1.98 GHz). One warp runs alone, as at this size it does. It
  issues an instruction after as many cycles as the assembler wrote into the one before ("stall"), and waits for the
  scoreboards that the assembler made it wait for; these are cleared after `LATENCY`. How control words are laid out is
  told by Jia et al., "Dissecting the NVIDIA Volta GPU Architecture via Microbenchmarking" (2018); latencies of memory
  are those that Luo et al., "Benchmarking and Dissecting the Nvidia Hopper GPU Architecture" (2024), measured on an
  H100, that of a barrier Zhang et al., "A Study of Single and Multi-device Synchronization Methods in Nvidia GPUs"
  (2020), on a V100; the rest is assumed. Slow paths of divisions, which branch away, are not taken.

Layers that feed back follow, each program with bytes of fast memory; there cycles are those of one warp alone, where
others wait with it at barriers and share the memory's 128 bytes a cycle. Of a weight that is read at every step, one
round of that loop is in a step's instructions, and no cycles are told.
"""

import argparse
import importlib.util
import itertools
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from gpu_checks import NEURONS

import snntorch as snn
from snntorch._engine import persistent, persistent_printer, triton_printer
from snntorch._engine.gpu import Kernel
from snntorch._engine.over_time import fewer_bytes
from snntorch._engine.plans import plan
from snntorch._engine.printing import Source
from snntorch._engine.tape import step_gradient, tape

FILE = Path(__file__).resolve().parents[1] / "tests" / "_engine" / "kernels" / "machine_code.txt"
VERSION = "3.9.0"  # of Triton, whose wheel brings the assembler
SIZE = 16 * 512
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
LAYERS = {**{dtype: (dtype, SIZE) for dtype in DTYPES}, "bf16 odd": ("bf16", SIZE + 1)}
TARGETS: dict[str, tuple[str, int | str, int]] = {
    **{f"sm_{number}": ("cuda", number, 32) for number in (75, 80, 90, 100, 120)},
    "gfx90a": ("hip", "gfx90a", 64),
    "gfx942": ("hip", "gfx942", 64),
    "gfx1100": ("hip", "gfx1100", 32),
}
# Cycles until a result is there. LDGSTS copies from memory to what LDS reads; BAR is what a barrier adds.
LATENCY = {"LDS": 29, "LDG": 479, "LDGSTS": 479, "BAR": 22, "MUFU": 24}
OTHERS, READ = 24, 12  # of other instructions without a fixed latency, and until one has read its registers


def sources(
    neuron: snn.SpikingNeuron, spikes_alone: bool = False, dtype: torch.dtype = torch.float32
) -> dict[str, tuple[Source, int]]:
    """The kernels of a neuron on inputs of a dtype, forward and backward, and how many of its outputs are no states."""
    arguments = neuron.step_arguments(torch.float32)
    found = plan(neuron, (True,), len(neuron.states), arguments, torch.float32, torch.device("cpu"), costly=True)
    program: Any = found.program
    params = [value for value in arguments.values() if isinstance(value, torch.Tensor)] + [*found.beside]
    dense = [p.numel() != 1 for p in params]
    needs = (True, *[p.requires_grad for p in params])
    asked = (*[True] * program.free, *[not spikes_alone] * program.states)
    kept = tape(program, False, asked, needs).courses
    written = (*asked[: program.free], *[a or k for a, k in zip(asked[program.free :], kept, strict=True)])
    again = fewer_bytes(program, needs, sum(written) - sum(asked), (dense, torch.float32, dtype, "cuda"))
    kept = (True,) * program.states if again else kept
    step = step_gradient(program, needs, (*asked, *[True] * program.states), kept)
    forward = triton_printer.print_forward(program, dense, asked if again else written, chunks=again)
    back = triton_printer.print_backward_by_chunks if again else triton_printer.print_backward
    return {"forward": (forward, program.free), "backward": (back(step, dense, len(program.outputs)), program.free)}


def layer_sources(neuron: Any, dtype: torch.dtype) -> dict[str, tuple[Source, int]]:
    """As `sources`, of a neuron that feeds back through a matrix, all of whose outputs are asked for, in one kernel."""
    arguments = neuron.step_arguments(torch.float32)
    index, weight, _ = neuron.linear_feedback
    count = weight.shape[0] // weight.shape[1]
    found = plan(
        neuron, (True,) * count, len(neuron.states), arguments, torch.float32, torch.device("cpu"), costly=True
    )
    program: Any = found.program
    params = [value for value in arguments.values() if isinstance(value, torch.Tensor)] + [*found.beside]
    dense, written = [p.numel() != 1 for p in params], (True,) * len(program.outputs)
    needs = (True,) * count + tuple(p.requires_grad for p in params)
    kept = tape(program, False, written, needs)
    forward = persistent_printer.print_forward(program, dense, written, index, any(kept.inputs))
    step = step_gradient(program, needs, (*written, *[True] * program.states), kept.courses)
    back = persistent_printer.print_backward(step, dense, len(program.outputs), index)
    return {"forward": (forward, program.free), "backward": (back, program.free)}


def compiled(source: Source, free: int, dtype: str, target: str, size: int = SIZE, width: int = 0) -> Any:
    """What Triton makes of a kernel for a target, as it is launched for that many neurons.

    A `width` is that of a layer that feeds back.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    kernel = (persistent.Kernel if width else Kernel)(source, torch.float32)
    strides, warp = [size] * len(source.distances), TARGETS[target][2]
    if isinstance(kernel, persistent.Kernel):
        options = kernel.sizes(size, strides, torch.empty(width, width, dtype=DTYPES[dtype]), ROOM[target], warp)
    else:
        options = kernel.options(size, strides, warp)
    names = kernel._jit.arg_names
    half = {
        f"{kind}{k}" for kind, k in source.slots if kind in ("X", "DX", "D", "W", "R") or (kind in "YG" and k < free)
    }
    types = {name: f"*{dtype}" if name in half else "*fp32" for name in source.pointers}
    types |= dict.fromkeys(["steps", "size", *source.distances], "i32")
    constants = {name: value for name, value in options.items() if name in names}
    signature = types | dict.fromkeys(constants, "constexpr")
    values = {(names.index(name),): value for name, value in constants.items()}
    aligned = {(i,): [["tt.divisibility", 16]] for i in range(len(source.pointers))}
    flags = {name: value for name, value in options.items() if name not in names}
    return triton.compile(ASTSource(kernel._jit, signature, values, aligned),
                          target=GPUTarget(*TARGETS[target]), options=flags)  # fmt: skip


# -- NVIDIA's


def disassembled(cubin: bytes, resources: bool = False) -> str:
    """The instructions, each with its control word; or what the kernel takes."""
    found = importlib.util.find_spec("triton")
    assert found is not None and found.origin is not None
    tools = Path(found.origin).parent / "backends" / "nvidia" / "bin"
    command = [tools / "cuobjdump", "-res-usage"] if resources else [tools / "nvdisasm", "-c", "-hex"]
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        return subprocess.run([*command, file.name], capture_output=True, text=True, check=True).stdout


Instruction = tuple[str, int]  # its text, its control word


def nvidia_loop(cubin: bytes) -> list[Instruction]:
    """The loop that stores most, without the ways around the fast path of a division."""
    code: list[Instruction] = []
    labels: dict[str, int] = {}
    for line in disassembled(cubin).splitlines():
        if label := re.match(r"(\.L_x_\d+):", line):
            labels[label[1]] = len(code)
        elif first := re.match(r"\s+/\*[0-9a-f]{4,}\*/\s+(.*?)\s*;", line):
            code.append((first[1], 0))
        elif second := re.match(r"\s+/\* 0x([0-9a-f]{16}) \*/", line):
            code[-1] = (code[-1][0], int(second[1], 16) >> 41)
    loops, around = [range(0)], set[int]()
    for i, (text, _) in enumerate(code):
        if branch := re.search(r"BRA\S* .*\((\.L_x_\d+)\)", text):
            to = labels[branch[1]]
            if to < i:
                loops.append(range(to, i + 1))
            elif to < i + 10 and any("CALL" in other for other, _ in code[i:to]):
                around |= {*range(i + 1, to)}
    longest = max(loops, key=lambda loop: (sum("STG" in code[i][0] for i in loop), len(loop)))
    return [code[i] for i in longest if i not in around]


def operation(text: str) -> str:
    """`LDS.64` of `@P0 LDS.64 R2, [R4]`."""
    return re.sub(r"^@!?U?P\w+ +", "", text).split()[0]


def cycles(loop: list[Instruction], rounds: int = 40) -> float:
    """Of one round, when the loop has come to run evenly."""
    now, begun = 0, 0
    boards, copies = [0] * 6, [0]
    for turn in range(2 * rounds):
        begun = now if turn == rounds else begun
        for text, control in loop:
            stall, writes, reads, waits = control & 15, control >> 5 & 7, control >> 8 & 7, control >> 11 & 63
            name = operation(text).partition(".")[0]
            now = max([now, *(boards[b] for b in range(6) if waits >> b & 1)])
            if name == "DEPBAR":  # waits for all copies but the last few
                copies = copies[-1 - int(text.split(",")[1], 16) :]
                now = max(now, copies[0])
            if name == "LDGDEPBAR":
                copies.append(now + LATENCY["LDGSTS"])
            elif writes < 6:
                boards[writes] = max(boards[writes], now + LATENCY.get(name, OTHERS))
            if reads < 6:
                boards[reads] = max(boards[reads], now + READ)
            now += max(stall, 1) + (LATENCY["BAR"] if name == "BAR" else 0)
    return (now - begun) / rounds


def nvidia(made: Any, writes: float | None, target: str) -> list[str]:
    """A row's facts; a loop that writes so many values a step, or of one step."""
    loop = nvidia_loop(made.asm["cubin"])
    names = [operation(text) for text, _ in loop if not text.startswith("@!PT")]  # which never runs
    used = disassembled(made.asm["cubin"], resources=True)
    registers, stack = (int(re.search(rf"{what}:(\d+)", used)[1]) for what in ("REG", "STACK"))  # type: ignore[index]
    stores = [name for name in names if name.startswith("STG")]
    loads = [name for name in names if re.match(r"LDG(STS)?\.", name)]
    steps = len(stores) / writes if writes else 1
    moves = sum(name == "MOV" or name.startswith("IMAD.MOV") for name in names)
    time = f"{cycles(loop) / steps:.0f}" if target != "sm_75" else "-"
    return [str(registers), str(stack), _narrowest(loads), _narrowest(stores), f"{len(names) / steps:.0f}",
            f"{moves / steps:.0f}", time]  # fmt: skip


# -- AMD's


def amd(made: Any, writes: float | None) -> list[str]:
    """As `nvidia`."""
    text = made.asm["amdgcn"]
    code = [line.split(";")[0].strip() for line in text.splitlines()]
    code = [line for line in code if line and (line.endswith(":") or not line.startswith("."))]
    labels = {line[:-1]: i for i, line in enumerate(code) if line.endswith(":")}
    loops = [range(0)]
    for i, line in enumerate(code):
        to = labels.get(line.split()[-1], i) if re.match(r"s_c?branch", line) else i
        if to < i:
            loops.append(range(to, i + 1))
    names = [code[i].split()[0] for i in max(loops, key=len) if not code[i].endswith(":")]
    loads, stores = ([name for name in names if re.match(rf"(global|buffer)_{what}", name)] for what in ("load", "st"))
    steps = len(stores) / writes if writes else 1
    registers, spilled = (re.search(rf"\.{what}:\s+(\d+)", text)[1] for what in ("vgpr_count", "vgpr_spill_count"))  # type: ignore[index]
    moves = sum(name.startswith(("v_mov", "s_mov")) for name in names)
    return [registers, spilled, _narrowest(loads), _narrowest(stores), f"{len(names) / steps:.0f}",
            f"{moves / steps:.0f}", "-"]  # fmt: skip


_BITS = {"byte": 8, "ubyte": 8, "short": 16, "ushort": 16, "dwordx2": 64, "dwordx3": 96, "dwordx4": 128,
         **{f"{sign}{bits}": bits for sign in ("", "U", "S", "u", "b") for bits in (8, 16, 64, 128)}}  # fmt: skip


def _narrowest(names: list[str]) -> str:
    """Bits that the accesses of these names move at least, 32 where a name says nothing."""
    parts = (re.split(r"[._]", name) for name in names)
    return str(min((next((_BITS[p] for p in each if p in _BITS), 32) for each in parts), default="-"))


# -- rows


def rows(only: str = "", show: bool = False) -> Iterator[str]:
    """A line for each kernel, dtype and target whose name has a text."""
    for (kind, make), direction, (layer, (dtype, size)), target in itertools.product(
        NEURONS.items(), ("forward", "backward"), LAYERS.items(), TARGETS
    ):
        name = f"{kind}, {direction}, {layer}, {target}"
        if only not in name or kind == "one-to-one":
            continue
        source, free = sources(make(size), spikes_alone=True, dtype=DTYPES[dtype])[direction]
        made = compiled(source, free, dtype, target, size)
        yield row(name, made, source)
        if show:
            yield from (text for text, _ in nvidia_loop(made.asm["cubin"]))


def row(name: str, made: Any, source: Source) -> str:
    """The line of a compiled kernel."""
    options = Kernel(source, torch.float32).options(SIZE, [SIZE] * len(source.distances))
    writes = len(source.arrays["Y"] if "Y" in source.arrays else source.arrays["DX"])
    if "Y" in source.arrays:
        writes += len(source.arrays["B"]) / options["UNROLL"]  # once a round
    target = name.split(", ")[-1]
    cells = nvidia(made, writes, target) if target.startswith("sm") else amd(made, writes)
    return f"{name:44}" + "".join(f"{cell:>13}" for cell in cells)


def header() -> str:
    """What stands above the rows."""
    columns = ("registers", "spilled", "load, bits", "store, bits", "instructions", "moves", "cycles")
    return f"Triton {VERSION}; see benchmarks/gpu_code.py\n\n" + " " * 44 + "".join(f"{c:>13}" for c in columns)


# -- layers that feed back through a matrix

# Bytes of fast memory that a program may have there, and what is compiled for them where it fits.
ROOM = {"sm_80": 163 << 10, "sm_90": 227 << 10, "sm_120": 99 << 10, "gfx942": 64 << 10}
RECURRENT: list[tuple[str, Callable[[int], Any], str, int, int]] = [
    ("RLeaky", lambda width: snn.RLeaky(0.9, linear_features=width), "fp32", 128, 512),
    ("RLeaky", lambda width: snn.RLeaky(0.9, linear_features=width), "fp32", 64, 64),
    ("RLeaky", lambda width: snn.RLeaky(0.9, linear_features=width), "fp32", 512, 128),
    ("RLeaky", lambda width: snn.RLeaky(0.9, linear_features=width), "bf16", 256, 64),
    ("RLeaky", lambda width: snn.RLeaky(0.9, linear_features=width), "bf16", 128, 64),
    ("RLeaky", lambda width: snn.RLeaky(0.9, linear_features=width), "bf16", 1024, 128),
    ("SLSTM", lambda width: snn.SLSTM(width, width), "fp32", 64, 64),
    ("SLSTM", lambda width: snn.SLSTM(width, width), "fp32", 256, 128),
    ("SLSTM", lambda width: snn.SLSTM(width, width), "bf16", 128, 64),
]


def layer_rows(only: str = "") -> Iterator[str]:
    """A line for each layer, direction and target whose name has a text."""
    for (kind, make, dtype, width, batch), direction, target in itertools.product(
        RECURRENT, ("forward", "backward"), ROOM
    ):
        name = f"{kind} {width}, B={batch}, {direction}, {dtype}, {target}"
        neuron = make(width)
        inputs = neuron.linear_feedback[1].shape[0] // width
        if only in name and persistent.shares(inputs, width, batch, DTYPES[dtype], ROOM[target])[0]:
            yield layer_row(name, neuron, direction, dtype, target, batch)


def layer_row(name: str, neuron: Any, direction: str, dtype: str, target: str, batch: int) -> str:
    """The line of a layer's kernel."""
    width = neuron.linear_feedback[1].shape[1]
    source, free = layer_sources(neuron, DTYPES[dtype])[direction]
    made = compiled(source, free, dtype, target, batch * width, width)
    cells = nvidia(made, None, target) if target.startswith("sm") else amd(made, None)
    cells[2:2] = [str(made.metadata.shared)]
    shape = persistent.shares(len(source.arrays["W"]), width, batch, DTYPES[dtype], ROOM[target])
    cells[-1] = cells[-1] if shape[1] >= width else "-"
    return f"{name:44}" + "".join(f"{cell:>13}" for cell in cells)


def layer_header() -> str:
    """What stands above these rows."""
    columns = ("registers", "spilled", "memory", "load, bits", "store, bits", "instructions", "moves", "cycles")
    return "Layers that feed back, all of a step's values\n\n" + " " * 44 + "".join(f"{c:>13}" for c in columns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="print the rows whose name has this text")
    parser.add_argument("--show", default="", help="print these rows with the instructions of their loops")
    options = parser.parse_args()
    if options.only or options.show:
        print("\n".join([header(), *rows(options.only or options.show, show=bool(options.show))]))
        print("\n".join([layer_header(), *layer_rows(options.only or options.show)]))
    else:
        FILE.write_text("\n".join([header(), *rows(), "", layer_header(), *layer_rows()]) + "\n")


if __name__ == "__main__":
    main()
