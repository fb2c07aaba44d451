"""Kernels where they run: threads, forks, interrupts, and memory that nobody cleared."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import weakref

import pytest
import torch

import snntorch as snn
from helpers import gradients, run, start
from rows import one_per_class, rows
from snntorch._engine import choose, cpu

posix_only = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no signals of this kind on this system")

T = 9
LARGE = (40, 2, 5000)  # shared out between threads


def neuron(**kwargs):
    return snn.Synaptic(0.8, 0.6, learn_alpha=True, learn_beta=True, **kwargs)


def trained(x):
    """Outputs and gradients of a neuron over x."""
    layer, x = neuron(), x.clone().requires_grad_()
    out = snn.unroll(layer, x, torch.zeros(0), torch.zeros(0))
    return [*out, *gradients(out, x, layer).values()]


@pytest.fixture
def threads():
    """Sets the number of threads, and puts it back."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def large():
    return torch.rand(LARGE, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=["PyTorch's threads", "the system's threads"])
def ways(request, monkeypatch):
    """Whose threads kernels run in."""
    if request.param == "the system's threads":
        monkeypatch.setattr(cpu, "_in_all_threads", None)
    elif cpu._in_all_threads is None:
        pytest.skip("PyTorch's threads are not OpenMP's")


@pytest.mark.usefixtures("ways")
def test_thread_count_changes_no_bit(threads, large):
    results = []
    for count in (1, 2, 3, 7):
        threads(count)
        x, layer = large.clone().requires_grad_(), snn.Leaky(0.9, learn_beta=False)
        spk, mem = snn.unroll(layer, x, torch.zeros(0))
        results.append([spk, mem, *torch.autograd.grad((spk * mem).sum(), x)])
    for other in results[1:]:
        assert all(map(torch.equal, other, results[0]))
    assert results[0][0].any()


@pytest.mark.skipif(cpu._in_all_threads is None, reason="PyTorch's threads are not OpenMP's")
def test_kernels_run_in_the_threads_of_pytorch(threads, large, monkeypatch):
    """Which other threads would have to share their cores with."""
    monkeypatch.setattr(cpu, "start_new_thread", lambda *_: pytest.fail("a thread was started"))
    threads(3)
    trained(large)


def test_several_python_threads_at_once(large):
    """Each computes what it would compute alone, also where all compile the same new kernel."""
    expected, found = [trained(large + i / 10) for i in range(4)], [None] * 4

    def work(i):
        found[i] = trained(large + i / 10)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_interrupted_nothing_more_is_begun_and_nothing_runs_on():
    """The calling thread is interrupted at its first piece, and again while it waits for the others."""
    here, begun, ended, released = threading.get_ident(), [], [], threading.Event()

    def work(piece):
        if threading.get_ident() == here:
            while len(begun) < 3:
                time.sleep(0.001)
            threading.Timer(0.05, signal.raise_signal, [signal.SIGINT]).start()  # the second
            threading.Timer(0.2, released.set).start()
            raise KeyboardInterrupt
        begun.append(piece)
        released.wait(30)
        ended.append(piece)

    with pytest.raises(KeyboardInterrupt):
        cpu._share(work, list(range(20)), 3)
    assert released.is_set() and len(begun) == 3 and sorted(ended) == sorted(begun)


def test_an_error_in_another_thread_is_raised():
    here, failed = threading.get_ident(), threading.Event()

    def work(piece):
        if threading.get_ident() == here:
            failed.wait(30)
        else:
            failed.set()
            raise MemoryError("no more")

    with pytest.raises(MemoryError, match="no more"):
        cpu._share(work, list(range(4)), 1)


def test_threads_that_cannot_start_leave_the_work(threads, large, monkeypatch):
    def refuse(*args):
        raise RuntimeError("can't start new thread")

    expected = snn.unroll(snn.Leaky(0.9), large, torch.zeros(0))
    threads(3)
    monkeypatch.setattr(cpu, "_in_all_threads", None)
    monkeypatch.setattr(cpu, "start_new_thread", refuse)
    assert all(map(torch.equal, snn.unroll(snn.Leaky(0.9), large, torch.zeros(0)), expected))


@pytest.mark.usefixtures("ways")
@pytest.mark.parametrize("flushes", [True, False])  # what PyTorch's threads do that were there before
def test_flushing_of_denormals_holds_in_every_thread(threads, flushes):
    threads(3)
    torch.set_flush_denormal(not flushes)
    torch.ones(LARGE).exp()
    if not torch.set_flush_denormal(flushes):
        pytest.skip("this processor does not flush denormals")
    try:
        x = torch.zeros(LARGE)
        x[0] = 2e-38
        _, mem = snn.unroll(snn.Leaky(0.5), x, torch.zeros(0))
    finally:
        torch.set_flush_denormal(False)
    assert (mem[2:4] == 0).all() == flushes and (mem[2:4] > 0).all() != flushes and (mem[0] > 0).all()


def outcome(code, cache, seconds=300):
    """What a new process prints."""
    env = {**os.environ, "SNNTORCH_CACHE_DIR": str(cache)}
    arguments = [sys.executable, "-c", code]
    run = subprocess.run(arguments, env=env, capture_output=True, text=True, timeout=seconds)
    assert run.returncode == 0, (run.returncode, run.stdout, run.stderr)
    return run.stdout, run.stderr


INTERRUPTED = """
import random, signal, time, torch, snntorch as snn
from snntorch._engine import choose, cpu

torch.set_num_threads(4)
held, called, ways = [], cpu.Kernel.__call__, [cpu._in_all_threads, None]

def spy(kernel, steps, size, tensors, strides):
    held[:] = tensors
    called(kernel, steps, size, tensors, strides)

def interrupt(number, frame):
    global left
    if left:
        left -= 1
        raise KeyboardInterrupt

def kept():
    return [tensor.clone() for tensor in held]

cpu.Kernel.__call__ = spy
signal.signal(signal.SIGALRM, interrupt)
left, layer, x = 0, snn.Leaky(0.9), torch.rand(60, 64, 512)
memory = torch.full((3, *x.shape), 7.0)  # the input lies between guards
x = memory[1].copy_(x)
with torch.no_grad():
    expected = snn.unroll(layer, x, torch.zeros(0))
    took = 1.0
    for _ in range(9):  # the shortest: on a busy machine a long one would let most signals come too late
        began = time.perf_counter()
        snn.unroll(layer, x, torch.zeros(0))
        took = min(took, time.perf_counter() - began)
    interrupted = 0
    for trial in range(100):
        left, cpu._in_all_threads = 1 + trial % 2, ways[trial // 2 % 2]
        try:
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 1.2 * took), 2e-4)
                found = snn.unroll(layer, x, torch.zeros(0))
            finally:
                left = 0
                signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            left = 0
            signal.setitimer(signal.ITIMER_REAL, 0)  # the second one may have come before this was done
            interrupted += 1
            before, guards = kept(), [torch.full_like(x, 5.0) for _ in range(3)]  # where freed memory is given out anew
            time.sleep(0.002)
            assert all(torch.equal(a.view(torch.int32), b.view(torch.int32)) for a, b in zip(before, held))
            assert all((guard == 5).all() for guard in guards)
        else:
            assert all(map(torch.equal, found, expected))
        held.clear()
    assert all(map(torch.equal, snn.unroll(layer, x, torch.zeros(0)), expected))
assert (memory[0] == 7).all() and (memory[2] == 7).all()
print(interrupted)
"""


@posix_only
def test_signals_at_random_times(tmp_path):
    """After an interrupt no thread writes any more, neither to its own memory nor to what came in its place."""
    out, _ = outcome(INTERRUPTED, tmp_path)
    assert int(out) > 10


# Every child finds a thread of its parent somewhere in importing the compiler or compiling.
FORKED = """
import os, signal, sys, threading, time, warnings, torch, snntorch as snn
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on forks of processes with threads

def neuron(k):
    class Own(snn.SpikingNeuron):
        states = ("mem",)
        @staticmethod
        def step(x, mem, *, threshold, spike):
            for _ in range(k):
                mem = 0.5 * mem + x
            return spike(mem - threshold), mem
    return Own()

def work(k):
    with torch.no_grad(), snn.backend("fused"):
        _, mem = snn.unroll(neuron(k), torch.ones(2, 3), torch.zeros(0))
    assert torch.allclose(mem[0], torch.tensor(2 - 2 * 0.5 ** k)), mem

def wait(child, what):
    for _ in range(1500):  # 150 s: a busy machine takes a minute
        if (status := os.waitpid(child, os.WNOHANG))[0]:
            assert status[1] == 0, (what, status)
            return
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    raise AssertionError(f"{what} hangs")

def child(function, what):
    number = os.fork()
    if not number:
        try:
            function()
            os._exit(0)
        except BaseException as error:
            print(what, repr(error), file=sys.stderr)
            os._exit(1)
    return number

def scene(delay):
    over = []
    def compile_on():
        for k in (1, 2):
            work(k)
        over.append(True)
    thread = threading.Thread(target=compile_on)
    thread.start()
    time.sleep(delay)
    wait(child(lambda: (work(1), work(3)), f"the child forked after {delay} s"), "a child")
    thread.join()
    assert over

torch.ones(1).clone()  # what PyTorch makes at its first use: a child forked meanwhile would wait for it forever
for i in range(6):
    wait(child(lambda: scene(0.3 * i), f"scene {i}"), f"scene {i}")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks on this system")
def test_forks_while_another_thread_compiles(tmp_path):
    outcome(FORKED, tmp_path)


AT_THE_END = """
import atexit, threading, time, torch, snntorch as snn
torch.set_num_threads(3)
x = torch.ones(40, 2, 5000)

def work(make=lambda: snn.Leaky(0.5)):
    layer = make()
    with torch.no_grad(), snn.backend("fused"):
        mem = snn.unroll(layer, x, *[torch.zeros(0)] * len(layer.states))[-1]
    print(f"{mem.double().sum().item()}\\n", end="", flush=True)

def other():
    work(lambda: snn.Synaptic(0.5, 0.5))

"""
ENDINGS = {
    "atexit": "atexit.register(work); work()",
    "atexit, a new kernel": "atexit.register(other); work()",
    "atexit, the first kernel": "atexit.register(work)",
    "plain thread": "threading.Thread(target=lambda: (time.sleep(1), work(), other())).start(); work()",
    "plain thread, the first kernel": "threading.Thread(target=lambda: (time.sleep(1), work())).start()",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_when_python_ends(ending, tmp_path, known):
    out, error = outcome(AT_THE_END + ENDINGS[ending], tmp_path if "kernel" in ending else known)
    assert out and error == ""
    leaky = snn.unroll(snn.Leaky(0.5), torch.ones(LARGE), torch.zeros(0))[-1].double().sum().item()
    synaptic = snn.unroll(snn.Synaptic(0.5, 0.5), torch.ones(LARGE), None, None)[-1].double().sum().item()
    assert all(float(line) in (leaky, synaptic) for line in out.split())


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """A cache that knows the kernels of these neurons."""
    directory = tmp_path_factory.mktemp("kernels")
    outcome(AT_THE_END + "work(); other()", directory)
    return directory


def test_no_thread_holds_the_work_after_a_run(monkeypatch):
    """One that ended after Python would free a tensor there, and abort the process."""
    started, pieces = [], []
    monkeypatch.setattr(cpu, "start_new_thread", lambda function, arguments: started.append(function))

    def work(piece):
        pieces.append(piece)

    gone = weakref.ref(work)
    cpu._share(work, [0, 1, 2], 2)
    del work
    assert len(started) == 2 and pieces == [0, 1, 2] and gone() is None


DAEMON = (
    AT_THE_END
    + """
def go_on():
    while True:
        with torch.no_grad():
            snn.unroll(snn.Leaky(0.5), x, torch.zeros(0))
threading.Thread(target=go_on, daemon=True).start()
time.sleep(SECONDS)
"""
)


@pytest.mark.parametrize("seconds", [0, 0.3, 1])  # it loads modules, or compiles, or computes
def test_when_python_ends_under_a_daemon_thread(seconds, tmp_path, known):
    """It does not hang. PyTorch's own operations may abort here, which a daemon thread leaves amid C++."""
    code, env = (
        DAEMON.replace("SECONDS", str(seconds)),
        {**os.environ, "SNNTORCH_CACHE_DIR": str(tmp_path if seconds < 1 else known)},
    )
    run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=300)
    assert (run.returncode, run.stderr) in [(0, ""), (-6, "terminate called without an active exception\n")]


@pytest.mark.parametrize(("value", "said"), [("0", "fused cpu"), ("1", "stepped  NUMBA_DISABLE_JIT is set")])
def test_without_numba_s_compiler_neurons_step(monkeypatch, capsys, large, value, said):
    monkeypatch.setattr(choose, "_lacks", {})
    monkeypatch.setenv("NUMBA_DISABLE_JIT", value)
    snn.explain(snn.Leaky(0.9), large)
    assert capsys.readouterr().out.split(None, 1) == ["Leaky", f"{said}\n"]


def test_asyncio(threads, large):
    import asyncio

    async def all_at_once():
        return await asyncio.gather(*(asyncio.to_thread(trained, large) for _ in range(3)))

    threads(2)
    expected = trained(large)
    for found in asyncio.run(all_at_once()):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def _in_child(queue, x):
    torch.set_num_threads(3)
    with torch.no_grad(), snn.backend("fused"):
        spk, mem = snn.unroll(snn.Leaky(0.9), x, torch.zeros(0))
    queue.put((spk.numpy().sum(), mem.numpy().sum()))  # torch's own threads (OpenMP) do not survive the fork


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # Python 3.12 on forks of processes with threads
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_in_a_child(threads, large, method):
    """As in a DataLoader's workers: the parent's threads are gone, the child makes its own."""
    threads(3)
    with torch.no_grad():
        spk, mem = snn.unroll(snn.Leaky(0.9), large, torch.zeros(0))
    context = multiprocessing.get_context(method)
    queue = context.SimpleQueue()
    child = context.Process(target=_in_child, args=(queue, large))
    child.start()
    child.join(60)
    alive = child.is_alive()
    child.kill()
    assert not alive and child.exitcode == 0
    assert queue.get() == (spk.numpy().sum(), mem.numpy().sum())


@rows(one_per_class())
def test_every_element_is_written(row, monkeypatch):
    """Memory for results is poisoned with NaN before the kernels run; none may be left."""
    empty, poisoned = torch.empty, []

    def poison(*args, **kwargs):
        out = empty(*args, **kwargs)
        if out.is_floating_point():
            poisoned.append(out.fill_(float("nan")).numel())
        return out

    layer, x = row.make(), row.input(T, 3).requires_grad_()
    monkeypatch.setattr(torch, "empty", poison)
    outs = [run(row, layer, x)]
    if not row.takes_sequence:
        outs.append(snn.unroll(layer, x, *start(row, layer)))
    for out in outs:
        tensors = [out] if isinstance(out, torch.Tensor) else out
        assert not any(t.isnan().any() for part in tensors for t in (part if isinstance(part, tuple) else (part,)))
        assert not any(g.isnan().any() for g in gradients(out, x, layer).values())
    assert poisoned or row.cls in (snn.LeakyParallel, snn.AssociativeLeaky, snn.SlidingPSN)
