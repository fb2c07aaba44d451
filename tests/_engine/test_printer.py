"""Printed kernels, kept as text so that a change of what is compiled shows in review.

After a wanted change: `python tests/_engine/test_printer.py` writes them anew.
"""

import re
from pathlib import Path

import pytest
import torch

import snntorch as snn
from snntorch._engine.numba_printer import Source, print_backward, print_backward_by_chunks, print_forward
from snntorch._engine.plans import plan
from snntorch._engine.program import gradient

KERNELS = Path(__file__).parent / "kernels"


class Adaptive(snn.SpikingNeuron):
    """A user's own neuron: every spike raises the threshold."""

    states = ("mem", "raised")

    def __init__(self) -> None:
        super().__init__(learn_threshold=True)
        self.register_value("rho", torch.full((5,), 0.8), learn=True)

    @staticmethod
    def step(x, mem, raised, *, rho, threshold, spike):
        spk = spike(mem + x - threshold - raised)
        return spk, mem + x - spk * threshold, rho * raised + spk


NEURONS = {
    "leaky": lambda: snn.Leaky(0.9),
    "leaky_zero_learning": lambda: snn.Leaky(0.9, reset_mechanism="zero", learn_beta=True),
    "alpha": lambda: snn.Alpha(0.9, 0.8),
    "lapicque_learn_beta": lambda: snn.Lapicque(beta=0.9, learn_beta=True),
    "adaptive": Adaptive,
}


def sources(neuron: snn.SpikingNeuron) -> dict[str, Source]:
    """The kernels forward and backward, over time and for a single step."""
    arguments = neuron.step_arguments(torch.float32)
    found = plan(neuron, (True,), len(neuron.states), arguments, torch.float32, torch.device("cpu"), costly=True)
    program = found.program
    params = [value for value in arguments.values() if isinstance(value, torch.Tensor)] + [*found.beside]
    dense = [value.numel() != 1 for value in params]
    learn = tuple(value.requires_grad for value in params)
    n = len(program.outputs)
    found = {}
    for single in (False, True):
        traces = [True] + [not single] * program.states
        step = gradient(program, (*traces, *[True] * program.states), (True,), learn)
        suffix = "_single" if single else ""
        found["forward" + suffix] = print_forward(program, dense, traces, single)
        found["backward" + suffix] = print_backward(step, dense, n, single)
        if not single:
            found["backward_by_chunks"] = print_backward_by_chunks(step, dense, n)
    return found


def golden() -> dict[str, str]:
    """File name -> text."""
    kinds = {
        "leaky": ("forward", "backward", "forward_single", "backward_single"),
        "adaptive": ("forward", "backward", "backward_by_chunks"),
    }
    return {
        f"{name}_{kind}.py.txt": made[kind].text
        for name, make in NEURONS.items()
        for made in [sources(make())]
        for kind in kinds.get(name, ("forward", "backward"))
    }


@pytest.mark.parametrize("name", list(golden()))
def test_kernels_are_as_reviewed(name):
    assert golden()[name] == (KERNELS / name).read_text()


def test_no_kernel_is_left_over():
    assert {path.name for path in KERNELS.glob("*.py.txt")} == set(golden())


def test_printing_is_repeatable_and_compiles():
    for text in golden().values():
        compile(text, "kernel", "exec")
    assert golden() == golden()


class Alone(snn.SpikingNeuron):
    """A neuron whose kernels no other test makes."""

    states = ("mem",)

    @staticmethod
    def step(x, mem, *, threshold, spike):
        return spike(mem - threshold), 0.8125 * mem + x


def test_kernels_are_shown_as_they_are_made(monkeypatch, capfd):
    x = torch.rand(4, 2, 3, requires_grad=True)
    with snn.backend("fused"):
        snn.unroll(Alone(init_hidden=True), x[:, 1])  # another kernel
        assert capfd.readouterr().err == ""
        monkeypatch.setenv("SNNTORCH_PRINT", "1")
        snn.unroll(Alone(init_hidden=True), x.double()).sum().backward()
        forward, backward = re.findall(r"^# (.*)\n", capfd.readouterr().err, re.MULTILINE)
        line = Alone.step.__code__.co_firstlineno
        assert forward == f"forward of Alone ({__file__}:{line}), cpu, torch.float64"
        assert backward == f"backward of Alone ({__file__}:{line}), cpu, torch.float64"
        snn.unroll(Alone(init_hidden=True), x.double()).sum().backward()
        assert capfd.readouterr().err == ""  # it is known


def test_a_profile_names_the_neuron():
    x = torch.rand(4, 2, 3, requires_grad=True)
    with snn.backend("fused"), torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        snn.unroll(Alone(init_hidden=True), x).sum().backward()
    names = {event.key for event in profile.key_averages()}
    assert {"snntorch: forward of Alone", "snntorch: backward of Alone"} <= names


if __name__ == "__main__":
    KERNELS.mkdir(exist_ok=True)
    for name, text in golden().items():
        (KERNELS / name).write_text(text)
