"""Kernels where they run: threads, forks, memory that nobody cleared, and a cache that may be damaged."""

import multiprocessing
import os
import stat
import subprocess
import sys
import threading

import pytest
import torch

import snntorch as snn
from helpers import gradients, run, start
from rows import one_per_class, rows
from snntorch._engine import cache

T = 9
LARGE = (40, 2, 5000)  # shared out between threads


def neuron(**kwargs):
    return snn.Synaptic(0.8, 0.6, learn_alpha=True, learn_beta=True, **kwargs)


def trained(x):
    """Outputs and gradients of a neuron over x."""
    layer, x = neuron(), x.clone().requires_grad_()
    out = snn.unroll(layer, x, None, None)
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


def test_thread_count_changes_no_bit(threads, large):
    results = []
    for count in (1, 2, 3, 7):
        threads(count)
        x, layer = large.clone().requires_grad_(), snn.Leaky(0.9, learn_beta=False)
        spk, mem = snn.unroll(layer, x, None)
        results.append([spk, mem, *torch.autograd.grad((spk * mem).sum(), x)])
    for other in results[1:]:
        assert all(map(torch.equal, other, results[0]))
    assert results[0][0].any()


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


def _in_child(queue, x):
    torch.set_num_threads(3)
    with torch.no_grad(), snn.backend("fused"):
        spk, mem = snn.unroll(snn.Leaky(0.9), x, None)
    queue.put((spk.numpy().sum(), mem.numpy().sum()))  # torch's own threads (OpenMP) do not survive the fork


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # Python 3.12 on forks of processes with threads
def test_after_fork(threads, large):
    """As in a DataLoader's workers: the parent's threads are gone, the child makes its own."""
    threads(3)
    with torch.no_grad():
        spk, mem = snn.unroll(snn.Leaky(0.9), large, None)
    context = multiprocessing.get_context("fork")
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
    assert poisoned or row.cls in (snn.LeakyParallel, snn.AssociativeLeaky)


# -- the cache, from the outside: every test is a new process

WORK = """
import torch, snntorch as snn
x = torch.ones(6, 2, requires_grad=True)
with snn.backend("fused"):
    spk, mem = snn.unroll(snn.Leaky(0.5), x, None)
(spk.sum() + mem.sum()).backward()
print(spk.sum().item(), mem.sum().item(), x.grad.sum().item())
"""


def start_process(directory, code=WORK, **env):
    env = {**os.environ, "SNNTORCH_CACHE_DIR": str(directory), **env}
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def result(process):
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    return out


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """What the work prints, and a cache that knows its kernels."""
    directory = tmp_path_factory.mktemp("kernels") / "mine"
    return result(start_process(directory)), directory


@pytest.fixture
def filled(known, tmp_path):
    """A copy of the cache."""
    directory = tmp_path / "copy"
    subprocess.run(["cp", "-a", str(known[1]), str(directory)], check=True)
    return directory


def files(directory):
    return {path: path.stat().st_mtime_ns for path in directory.rglob("*") if path.is_file()}


def test_cache_is_private_and_holds_a_file_a_kernel(known):
    out, directory = known
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert [path.suffix for path in files(directory)] == [".kernel"] * 2  # forward, backward
    with snn.backend("eager"):
        spk, mem = snn.unroll(snn.Leaky(0.5), torch.ones(6, 2), None)
    assert out.split()[:2] == [str(spk.sum().item()), str(mem.sum().item())]


def test_a_second_process_compiles_nothing(known):
    out, directory = known
    before = files(directory)
    code = WORK + "import sys\nassert 'numba' not in sys.modules, 'compiles'\n"
    assert result(start_process(directory, code)) == out
    assert files(directory) == before


DAMAGES = {
    "empty": lambda content: b"",
    "garbage": lambda content: b"\x80\x00garbage(\n",
    "cut short": lambda content: content[: len(content) // 2],
    "one bit": lambda content: content[:100] + bytes([content[100] ^ 1]) + content[101:],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files_are_made_anew(known, filled, damage):
    sound = {path: path.read_bytes() for path in files(filled)}
    for path, content in sound.items():
        path.write_bytes(DAMAGES[damage](content))
    assert result(start_process(filled)) == known[0]
    assert {path: path.read_bytes() for path in files(filled)} == sound


def test_deletion_while_running(known, filled):
    code = WORK.replace("\n(spk", f"\nimport shutil; shutil.rmtree({str(filled)!r})\n(spk")
    assert result(start_process(filled, code)) == known[0]


def test_two_processes_at_once(known, tmp_path):
    both = [start_process(tmp_path / "shared") for _ in range(2)]
    assert [result(process) for process in both] == [known[0]] * 2


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no users on this system")
def test_a_directory_that_others_may_write_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("SNNTORCH_CACHE_DIR", str(tmp_path))
    tmp_path.chmod(0o777)
    assert cache.directory() is None
    tmp_path.chmod(0o700)
    assert cache.directory() == tmp_path
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)  # somebody else's
    assert cache.directory() is None


def test_no_place_to_write(known, tmp_path):
    """A home that cannot be made: kernels live in memory."""
    blocked = tmp_path / "file"
    blocked.write_text("no directory")
    assert result(start_process(blocked / "below")) == known[0]
    out = start_process("", HOME=str(blocked), XDG_CACHE_HOME="")
    assert result(out) == known[0]
    assert blocked.read_text() == "no directory"


def test_a_directory_without_write_permission_is_not_used(monkeypatch, tmp_path):
    monkeypatch.setenv("SNNTORCH_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # as for anyone but root, on a read-only directory
    assert cache.directory() is None


def test_files_are_written_whole_and_only_once(tmp_path):
    path = tmp_path / "kernel.py"
    cache.keep(path, "a = 1\n")
    os.utime(path, ns=(1, 1))
    cache.keep(path, "a = 1\n")
    assert path.stat().st_mtime_ns == 1
    cache.keep(path, "a = 2\n")
    assert path.read_text() == "a = 2\n"
    assert [p.name for p in tmp_path.iterdir()] == ["kernel.py"]
