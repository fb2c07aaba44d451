"""Two processes under torchrun, one of which is killed once, come to what one process comes to."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

import snntorch as snn
from snntorch import utils

HERE = Path(__file__).parent
pytest.importorskip("tqdm", reason="the example shows a progress bar")
if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
    pytest.skip("this PyTorch has no gloo", allow_module_level=True)

import distributed_worker as worker  # noqa: E402


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What the two processes wrote."""
    folder = tmp_path_factory.mktemp("distributed")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]
    command += ["--monitor-interval=0.1", str(HERE / "distributed_worker.py"), str(folder)]
    run = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=300
    )
    assert run.returncode == 0, run.stderr
    assert "epoch" not in run.stdout  # nobody watches: no bar
    return torch.load(folder / "found.pt")


def expected():
    """One process, whole batches, no accumulation, a loop over time."""
    net, x, y = worker.made()
    optimizer = torch.optim.Adam(net.parameters(), 5e-3)
    for epoch in range(worker.SETTINGS["epochs"]):
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(epoch))
        for part in order.split(worker.SETTINGS["batch"]):
            utils.reset(net)
            with snn.backend("eager"):
                spikes = sum(net.layers(x[part]) for _ in range(net.num_steps))
            optimizer.zero_grad()
            cross_entropy(spikes, y[part]).backward()
            optimizer.step()
    return {name: p.detach() for name, p in net.named_parameters()}


@pytest.mark.parametrize("engine", ["ddp", "fsdp"])
def test_it_is_one_process(found, engine):
    """Uneven batches, and under FSDP2 parts that are empty; each in float64."""
    if engine not in found:
        pytest.skip("this PyTorch has no fully_shard")
    before = dict(worker.made()[0].named_parameters())
    wanted = expected()
    assert all((wanted[name] - before[name]).abs().max() > 1e-3 for name in wanted)
    torch.testing.assert_close(found[engine], wanted, rtol=0, atol=1e-10)


def test_the_open_step_alone_was_lost(found):
    """The second life did again the step in which the worker was killed, and the rest."""
    assert found["steps"] == [(1, 1), (1, 2), (1, 3), (1, 4)]


def test_states_are_not_broadcast(found):
    """Each process has those of its own input, after a forward of DDP, which broadcasts buffers."""
    net = worker.made()[0]
    first, second = found["states"]
    assert not torch.equal(first, second)
    assert not {name.rpartition(".")[2] for name, _ in net.named_buffers()} & {"mem", "spk"}
