"""Kernels for GPUs: as text, compiled for GPUs that need not be there, interpreted on the CPU, and run where one is.

`PYTHONPATH=tests python tests/_engine/test_triton.py` writes the printed kernels anew.
"""

import contextlib
import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import snntorch as snn
from helpers import flat, gradients, start
from rows import STEP_ROWS, rows
from snntorch._engine import choose, gpu, persistent, triton_printer
from snntorch._engine.plans import plan
from snntorch._time.explain import paths

HERE = Path(__file__).parent
sys.path.append(str(HERE.parents[1] / "benchmarks"))
import gpu_code  # noqa: E402

needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


def printed(lif, **kwargs):
    """The kernels of a neuron whose spikes and membrane are asked for, forward and backward, by file name."""
    return {direction: source for direction, (source, _) in gpu_code.sources(lif, **kwargs).items()}


def by_chunks():
    """Those of a neuron of two states whose spikes alone are asked for: it computes its states again."""
    return printed(snn.Synaptic(0.9, 0.8, learn_alpha=True), spikes_alone=True)


def layer():
    """Those of a layer that feeds back through a matrix."""
    neuron = snn.RSynaptic(0.8, torch.full((64,), 0.9), linear_features=64, learn_alpha=True)
    return {direction: source for direction, (source, _) in gpu_code.layer_sources(neuron, torch.float32).items()}


def learning_leaky():
    return snn.Leaky(torch.full((64,), 0.9), learn_beta=True)


# -- as text


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_printed_kernels_are_those_reviewed(direction):
    assert printed(learning_leaky())[direction].text == (HERE / f"kernels/leaky_{direction}.triton.txt").read_text()
    assert by_chunks()[direction].text == (HERE / f"kernels/synaptic_{direction}_by_chunks.triton.txt").read_text()
    assert layer()[direction].text == (HERE / f"kernels/rsynaptic_{direction}.triton.txt").read_text()


def test_a_single_step_has_no_loop():
    arguments = (lif := learning_leaky()).step_arguments(torch.float32)
    program = plan(lif, (True,), 1, arguments, torch.float32, torch.device("cpu"), costly=True).program
    text = triton_printer.print_forward(program, [True, *[False] * program.params], [True, False], single=True).text
    assert "for " not in text
    assert "tl.store(F0 + here" in text


def test_time_and_size_are_no_constants():
    """So that another number of steps or of neurons compiles nothing."""
    for source in (*printed(learning_leaky()).values(), *by_chunks().values(), *layer().values()):
        (runtime,) = re.findall(r"do_not_specialize=\[(.*)\]", source.text)
        assert runtime.startswith('"steps", "size"')
        assert all(f'"{name}"' in runtime for name in source.distances)


# -- the choice


def test_devices_without_kernels_run_step_by_step(monkeypatch):
    """Told from the CPU, by taking its kernels away."""
    monkeypatch.delitem(choose.PACKAGES, "cpu")
    (path,) = paths(snn.Leaky(0.9), torch.rand(2, 3, 4))
    assert (path.path, path.reason) == ("stepped", "there are no kernels for cpu")


def test_a_gpu_without_triton_runs_step_by_step(monkeypatch):
    monkeypatch.setattr(choose, "_lacks", {})
    monkeypatch.setitem(choose.PACKAGES, "cpu", "no_such_package")
    with pytest.warns(RuntimeWarning, match="no_such_package is not installed"):
        (path,) = paths(snn.Leaky(0.9), torch.rand(2, 3, 4))
    assert (path.path, path.reason) == ("stepped", "no_such_package is not installed")


@pytest.mark.parametrize(("capability", "lacks"), [((6, 1), "compute capability 7.0"), ((7, 0), ""), ((9, 0), "")])
def test_a_gpu_too_old_for_triton_runs_step_by_step(monkeypatch, capability, lacks):
    monkeypatch.setattr(choose, "_lacks", {})
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setitem(choose.PACKAGES, "cuda", "numba")  # which is installed
    with pytest.warns(RuntimeWarning, match=lacks) if lacks else contextlib.nullcontext():
        assert lacks in (found := choose.lacking(torch.device("cuda", 0))) and bool(found) == bool(lacks)


@needs_triton
def test_a_gpu_without_a_c_compiler_runs_step_by_step(monkeypatch):
    """Here without a GPU at all: whatever stops a first kernel is told once."""
    device = torch.device("cuda", 0)
    monkeypatch.setattr(choose, "_lacks", {})
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)

    def load(text):
        raise RuntimeError("Failed to find C compiler.\nPlease specify via CC")

    monkeypatch.setattr(gpu, "_load", load)
    with pytest.warns(RuntimeWarning, match="Failed to find C compiler"):
        reason = choose.lacking(device)
    assert reason == "Triton can't compile a kernel here (RuntimeError: Failed to find C compiler.)"
    assert choose.lacking(device) == reason  # without a warning


@needs_triton
@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_a_compiler_that_fails_is_told(monkeypatch, tmp_path):
    """By Triton's own build of what launches kernels, which here takes an empty file for the GPU's driver."""
    (tmp_path / "libcuda.so.1").touch()
    for name, value in {"CC": "/bin/false", "TRITON_LIBCUDA_PATH": tmp_path, "TRITON_CACHE_DIR": tmp_path}.items():
        monkeypatch.setenv(name, str(value))
    zeros = torch.zeros
    monkeypatch.setattr(torch, "zeros", lambda *size, device: zeros(*size))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert "/bin/false" in gpu.failure(torch.device("cuda", 0))


# -- compiled, for which no GPU is needed


def same_triton():
    return importlib.util.find_spec("triton") is not None and importlib.metadata.version("triton") == gpu_code.VERSION


@needs_triton
@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize(("target", "layer"), [
    ("sm_90", "fp32"), ("sm_90", "bf16"), ("sm_90", "bf16 odd"), ("gfx942", "fp32"), ("gfx942", "bf16"),
])  # fmt: skip
def test_it_compiles(target, direction, layer):
    """For GPUs that need not be there; where Triton is the one that wrote the file, to what was reviewed."""
    dtype, size = gpu_code.LAYERS[layer]
    source, free = gpu_code.sources(snn.Leaky(0.9), spikes_alone=True, dtype=gpu_code.DTYPES[dtype])[direction]
    made = gpu_code.compiled(source, free, dtype, target, size)
    row = gpu_code.row(f"Leaky, {direction}, {layer}, {target}", made, source)
    if same_triton():
        assert row in gpu_code.FILE.read_text().splitlines()
    if target == "sm_90":
        code = made.asm["ptx"]
        loads = len(re.findall(r"cp\.async\.ca\.shared\.global", code))
        assert loads >= 16  # of the steps to come
        assert "fma" not in code  # which would round otherwise than PyTorch
        assert ("div.full" in code) == (direction == "backward")
        assert "st.global.v2.b32" in code or dtype == "bf16"  # several values at once
    else:
        assert direction == "backward" or not re.search(r"v_(pk_)?(fma|fmac|mad|mac)_f32", made.asm["amdgcn"])


@needs_triton
@pytest.mark.parametrize(("direction", "target"), [("forward", "gfx942"), ("backward", "sm_90")])
def test_a_layer_that_feeds_back_compiles_whole(direction, target):
    """In the memory that is counted for it, and without a spilled register."""
    name = f"RLeaky 128, B=64, {direction}, bf16, {target}"
    row = gpu_code.layer_row(name, snn.RLeaky(0.9, linear_features=128), direction, "bf16", target, 64)
    spilled, memory = row.removeprefix(name).split()[1:3]
    assert spilled == "0"
    assert int(memory) <= persistent.memory(1, 128, 64, torch.bfloat16)
    if same_triton():
        assert row in gpu_code.FILE.read_text().splitlines()


@needs_triton
@pytest.mark.parametrize(("direction", "dtype"), [("forward", "fp32"), ("backward", "bf16")])
def test_a_wide_layer_that_feeds_back_reads_its_weight_ahead(direction, dtype):
    """Sixteen bytes at once, while others are multiplied; what all threads write is read after a barrier."""
    source, free = gpu_code.layer_sources(snn.RLeaky(0.9, linear_features=512), gpu_code.DTYPES[dtype])[direction]
    made = gpu_code.compiled(source, free, dtype, "sm_80", 128 * 512, 512)
    assert made.metadata.shared <= 99 << 10
    loop = made.asm["ttgir"].partition("scf.for")[2]
    product = re.search(r"(tt\.store .*\n(?:.*\n)*?)(.*barrier.*\n)(?:.*\n)*?.*scf\.for(?:.*\n)*?.*tt\.dot", loop)
    assert product and "async_copy_global_to_local" in product[0]
    assert "async_copy_global_to_local" not in loop.partition("barrier")[0]
    assert re.search(r"cp\.async\.cg\.shared\.global .* 0x10", made.asm["ptx"])


@needs_triton
def test_a_product_is_summed_before_anything_is_added_to_it():
    """As PyTorch rounds; Triton likes to begin the sum with what is added."""
    source, free = gpu_code.layer_sources(snn.RLeaky(0.9, linear_features=32), torch.float32)["forward"]
    text = gpu_code.compiled(source, free, "fp32", "sm_80", 3 * 32, 32).asm["ttgir"]
    (product,) = re.findall(r"tt\.dot %\S+, %\S+, (%\w+)", text)
    assert re.search(rf"{product} = arith\.constant dense<0\.0+e\+00>", text)


@pytest.mark.parametrize(("inputs", "width", "batch", "dtype", "room"), [
    (1, 128, 512, torch.float32, 163), (1, 128, 513, torch.float32, 0), (1, 129, 1, torch.float32, 0),
    (1, 64, 1024, torch.float32, 48), (1, 256, 2048, torch.bfloat16, 163), (1, 256, 2049, torch.float16, 0),
    (1, 257, 1, torch.bfloat16, 0), (4, 128, 64, torch.bfloat16, 163), (4, 64, 64, torch.float32, 99),
])  # fmt: skip
def test_layers_that_feed_back_hold_a_weight_that_fits(inputs, width, batch, dtype, room):
    """In so many KiB, or nowhere: 227 are the most that a GPU has."""
    memory = persistent.memory(inputs, width, batch, dtype)
    assert memory <= room << 10 if room else memory > 227 << 10


@pytest.mark.parametrize(("inputs", "width", "batch", "dtype", "room", "shares"), [
    (1, 256, 1, torch.float32, 99, (1, 32)), (1, 256, 1024, torch.float32, 99, (8, 32)),
    (1, 256, 1025, torch.float32, 227, (0, 0)), (1, 512, 128, torch.float32, 99, (2, 16)),
    (1, 300, 512, torch.bfloat16, 99, (4, 16)), (1, 512, 128, torch.float32, 64, (0, 0)),
    (1, 1024, 256, torch.bfloat16, 163, (2, 16)), (1, 1024, 128, torch.float32, 227, (2, 16)),
    (1, 1024, 129, torch.float32, 227, (0, 0)), (1, 2048, 1, torch.bfloat16, 227, (0, 0)),
    (4, 256, 128, torch.float32, 99, (2, 32)), (4, 512, 65, torch.float32, 99, (0, 0)),
    (1, 256, 64, torch.float64, 227, (0, 0)),
])  # fmt: skip
def test_layers_that_feed_back_read_a_weight_that_does_not_fit(inputs, width, batch, dtype, room, shares):
    """Where the cache moves it faster than the host launches; by few samples of many programs, and few of its rows."""
    assert persistent.shares(inputs, width, batch, dtype, room << 10) == shares


def test_a_weight_is_not_read_at_every_step_on_amds_gpus(monkeypatch):
    """Where Triton's barrier does not wait for what others have stored."""
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert persistent.shares(1, 256, 64, torch.float32, 160 << 10) == (0, 0)
    assert persistent.shares(1, 128, 64, torch.float32, 160 << 10) == (1, 128)


@pytest.mark.parametrize(("properties", "room"), [
    ({"major": 9, "shared_memory_per_block": 48 << 10, "shared_memory_per_block_optin": 227 << 10}, 227 << 10),
    ({"major": 8, "shared_memory_per_block": 48 << 10}, 48 << 10), ({"major": 8}, 48 << 10), ({"major": 7}, 0),
])  # fmt: skip
def test_a_device_says_how_much_memory_a_program_has(monkeypatch, properties, room):
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(**properties))
    persistent._room.cache_clear()
    assert persistent._room(torch.device("cuda", 0)) == room
    persistent._room.cache_clear()


def test_quotients_that_conditions_see_are_exact():
    """So that a spike computed again on the way back is the one that was."""

    def step(x, mem, *, threshold, spike):
        mem = mem / 1.5 + x
        return spike(mem - threshold), torch.where(mem / 1.25 > 1, mem * 0, mem)

    neuron = type("Divided", (snn.SpikingNeuron,), {"states": ("mem",), "step": staticmethod(step)})()
    text = printed(neuron)["backward"].text
    (condition,) = re.findall(r"(v\d+) > ", text)
    assert re.search(rf"{condition} = div\(", text)
    assert re.search(r"= \w+ / \w+", text)


@pytest.mark.parametrize("warp", [32, 64])
@pytest.mark.parametrize("size", [1, 16 * 512, 65535, 65536, 131071, 131072, 10**7])
def test_small_layers_take_several_steps_a_round(size, warp):
    kernel = gpu.Kernel(printed(snn.Leaky(0.9))["forward"], torch.float32)
    options = kernel.options(size, [size], warp)
    assert (options["BLOCK"] == 2 * warp) == (options["UNROLL"] == 4) == (size < 2048 * warp)
    threads = options["num_warps"] * warp
    assert 2 <= options["BLOCK"] / threads <= 8


@pytest.mark.parametrize(
    ("size", "stride", "place", "words"),
    [(64, 64, 1 << 20, False), (6, 10, 1 << 20, False), (65, 65, 1 << 20, True), (64, 65, 1 << 20, True),
     (64, 64, 2 + (1 << 20), True), (64, 64, 4 + (1 << 20), True)],
)  # fmt: skip
def test_rows_that_do_not_begin_at_words_are_read_by_words(size, stride, place, words):
    """Those of 16 bits; what does not begin at a multiple of 16 bytes begins anywhere for Triton."""
    for source in (printed(snn.Leaky(0.9))["forward"], by_chunks()["backward"]):
        kernel = gpu.Kernel(source, torch.float32)
        strides = [stride] * len(source.distances)
        assert kernel.options(size, strides, 32, place % 16 != 0)["WORDS"] is words


@pytest.mark.parametrize("warp", [32, 64])
@pytest.mark.parametrize("size", [1, 10**7])
def test_few_neurons_wait_in_the_registers_of_a_thread(size, warp):
    kernel = gpu.Kernel(by_chunks()["backward"], torch.float32)
    options = kernel.options(size, [size], warp)
    assert (options["BLOCK"], options["num_warps"], options["CHUNK"]) == (2 * warp, 1, 8)


@pytest.mark.parametrize(("properties", "warp"), [({"warp_size": 64}, 64), ({"warp_size": 32}, 32), ({}, 32)])
def test_kernels_are_laid_out_for_the_devices_warps(monkeypatch, properties, warp):
    gpu.warp_of.cache_clear()
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(**properties))
    assert gpu.warp_of(torch.device("cuda", 0)) == warp
    assert gpu.warp_of(torch.device("cpu")) == 32
    gpu.warp_of.cache_clear()


class NoGPU:
    """Stands for Triton's driver of a GPU, as far as compiling and launching ask it; keeps what is launched."""

    def __init__(self):
        self.launched = []
        properties = {"max_shared_mem": 227 << 10}
        self.utils = SimpleNamespace(
            get_device_properties=lambda device: properties, load_binary=lambda *_: (None, None, 32, 0, 1024)
        )

    def launcher_cls(self, source, metadata):
        return lambda x, y, z, stream, function, packed, launch, enter, leave, *args: self.launched.append((x, args))

    def get_current_target(self):
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", 90, 32)

    def get_current_device(self):
        return 0

    def get_current_stream(self, device):
        return 0


@needs_triton
def test_other_lengths_and_batches_compile_nothing(monkeypatch):
    """Every launch of a new kind goes through Triton's choice of what to compile, and others to what was compiled.

    Only the last step, to the GPU, is left out.
    """
    from triton.runtime import driver
    from triton.runtime.jit import JITFunction

    from snntorch._engine.gpu import Kernel

    run = JITFunction.run
    monkeypatch.setattr(JITFunction, "run", lambda *args, **kwargs: run(*args, **{**kwargs, "warmup": True}))
    before = driver._active
    driver.set_active(there := NoGPU())
    try:
        kernel = Kernel(printed(learning_leaky())["forward"], torch.float32)

        def launch(steps, size, dtype=torch.float32):
            values = {"X0": torch.empty(steps, size, dtype=dtype), "P1": torch.ones(1)}
            rows = [values.get(name, torch.empty(steps, size)) for name in kernel.source.pointers]
            kernel(steps, size, rows, [size])
            ((variants, *_),) = kernel._jit.device_caches.values()
            return len(variants)

        assert [launch(*sizes) for sizes in ((20, 512), (1, 512), (21, 512), (20, 16), (500, 1024))] == [1] * 5
        assert launch(20, 17) == 2  # rows that are not aligned
        assert launch(20, 512, torch.bfloat16) == 3
        names = kernel._jit.arg_names
        for steps, size in (7, 512), (9, 1024):  # as one of these before
            assert launch(steps, size) == 3
            programs, args = there.launched[-1]
            assert programs == -(-size // 64)
            named = dict(zip(names, args, strict=True))
            assert (named["steps"], named["size"] * named["ALIGN"], named["BLOCK"]) == (steps, size, 64)
    finally:
        driver._active = before


# -- interpreted


# What the interpreter, which computes in NumPy, tells nothing more about: every row runs in float64 and bfloat16, and
# which outputs are asked for is decided before anything is printed.
TOLD = "float32 or -half] or test_loss_on_one_output and (state or first) or test_expanded_gradients and (mean or part)"


INTERPRETED = [
    ["test_numbers.py"], ["test_operations.py", "test_gpu.py", "interpreted.py", "interpreted_persistent.py"],
]  # fmt: skip


@needs_triton
@pytest.mark.parametrize("files", INTERPRETED, ids=lambda files: files[0])
def test_the_engines_tests_pass_interpreted(files):
    """The tests of the engine's numbers, and some more, with Triton's interpreter in the place of Numba."""
    environment = {**os.environ, "TRITON_INTERPRET": "1", "SNNTORCH_KERNELS": "triton", "CUDA_VISIBLE_DEVICES": ""}
    # Values outside a block are computed too, though never stored: zeros divided by zeros among them.
    command = [sys.executable, "-m", "pytest", "-q", "-W", "ignore::RuntimeWarning", "-p", "no:cacheprovider"]
    command += ["-W", "ignore:Conversion of an array with ndim:DeprecationWarning"]  # Triton 3.6's, of NumPy before 2.4
    command += ["-k", f"not ({TOLD})"] if files == ["test_numbers.py"] else []
    run = subprocess.run([*command, *(HERE / file for file in files)], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]


# -- native


def on_gpu(row, dtype, name):
    """Outputs and gradients of a row on the GPU with a backend."""
    neuron = row.make(dtype).cuda()
    x = row.input(7, 3, dtype).cuda().requires_grad_()
    with snn.backend(name):
        out = flat(snn.unroll(neuron, x, *start(row, neuron)))
    return out, gradients(out, x, neuron)


@pytest.mark.cuda
@needs_cuda
@rows(STEP_ROWS)
def test_native_equals_eager(row):
    found, d_found = on_gpu(row, torch.float64, "auto")
    expected, d_expected = on_gpu(row, torch.float64, "eager")
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    tolerance = 2e-6 if "quant" in row.name else 1e-10
    torch.testing.assert_close(d_found, d_expected, rtol=tolerance, atol=tolerance)


if __name__ == "__main__":
    for direction, source in printed(learning_leaky()).items():
        (HERE / "kernels" / f"leaky_{direction}.triton.txt").write_text(source.text)
    for direction, source in by_chunks().items():
        (HERE / "kernels" / f"synaptic_{direction}_by_chunks.triton.txt").write_text(source.text)
    for direction, source in layer().items():
        (HERE / "kernels" / f"rsynaptic_{direction}.triton.txt").write_text(source.text)
