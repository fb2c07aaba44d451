"""Choosing a path: what is asked for, what is taken, and why."""

import asyncio
import runpy
import threading

import pytest
import torch
from torch import nn

import snntorch as snn
from snntorch._engine import choices, choose, cpu, setting
from snntorch._engine.setting import asked
from snntorch._time.explain import paths

T, B, F = 4, 2, 3


def taken(neuron, x=None, **kwargs):
    """The path of one neuron, with its reason."""
    with choices() as made:
        snn.unroll(neuron, torch.rand(T, B, F) if x is None else x, *([] if neuron.init_hidden else [None]), **kwargs)
    return {path for _, path, _ in made}, {reason for _, _, reason in made}


def test_the_choice_holds_within_its_context_only():
    lif = snn.Leaky(0.9)
    with snn.backend("eager"):
        assert taken(lif) == ({"stepped"}, {"the backend is eager"})
        with snn.backend("fused"):
            assert taken(lif) == ({"fused cpu"}, {""})
        assert taken(lif)[0] == {"stepped"}
    assert taken(lif)[0] == {"fused cpu"}
    with pytest.raises(KeyError), snn.backend("eager"):
        raise KeyError
    assert taken(lif)[0] == {"fused cpu"}


def test_the_choice_for_good():
    lif = snn.Leaky(0.9)
    before = snn.backend("eager")
    assert taken(lif)[0] == {"stepped"}
    before.__exit__()
    assert taken(lif)[0] == {"fused cpu"}
    snn.backend("eager")
    assert taken(lif)[0] == {"stepped"}
    seen = []
    thread = threading.Thread(target=lambda: seen.append(taken(lif)[0]))
    thread.start()
    thread.join()
    assert seen == [{"stepped"}]  # in every thread
    snn.backend("auto")
    assert taken(lif)[0] == {"fused cpu"}


def test_a_bare_call_inside_a_block_holds_until_it_ends():
    lif = snn.Leaky(0.9)
    with snn.backend("eager"):
        snn.backend("fused")
        assert taken(lif)[0] == {"fused cpu"}
    assert taken(lif)[0] == {"fused cpu"}
    with snn.backend("fused"):
        snn.backend("eager")
        with snn.backend("fused"):
            assert taken(lif)[0] == {"fused cpu"}
        assert taken(lif)[0] == {"stepped"}
    assert taken(lif)[0] == {"fused cpu"}


def test_the_choice_as_a_decorator_holds_while_the_function_runs():
    lif = snn.Leaky(0.9)

    @snn.backend("eager")
    def path(depth=0):
        return taken(lif)[0] if depth == 0 else path(depth - 1)

    for depth in (0, 2, 0):
        assert taken(lif)[0] == {"fused cpu"}
        assert path(depth) == {"stepped"}
    assert taken(lif)[0] == {"fused cpu"} and path.__name__ == "path"

    @snn.backend("eager")
    async def later():
        return taken(lif)[0]

    assert asyncio.run(later()) == {"stepped"}
    assert taken(lif)[0] == {"fused cpu"}


def test_one_object_serves_many_blocks():
    lif, eager = snn.Leaky(0.9), snn.backend("eager")
    for _ in range(2):
        with eager:
            with eager:
                assert taken(lif)[0] == {"stepped"}
            assert taken(lif)[0] == {"stepped"}
        assert taken(lif)[0] == {"fused cpu"}


@pytest.mark.parametrize("shared", [False, True])
def test_overlapping_blocks_in_threads_do_not_meet(shared):
    one = {"eager": snn.backend("eager"), "fused": snn.backend("fused")} if shared else None
    entered, left, seen = threading.Event(), threading.Event(), {}

    def first():
        with one["eager"] if shared else snn.backend("eager"):
            entered.set()
            left.wait(10)
            seen["first"] = asked()
        seen["first after"] = asked()

    def second():
        entered.wait(10)
        with one["fused"] if shared else snn.backend("fused"):
            seen["second"] = asked()
        seen["second after"] = asked()
        left.set()

    threads = [threading.Thread(target=f) for f in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (seen["first"], seen["second"]) == ("eager", "fused")
    if shared:
        one["fused"].__exit__(), one["eager"].__exit__()
    else:
        assert (seen["first after"], seen["second after"], asked()) == ("auto", "auto", "auto")


def test_interleaved_tasks_keep_their_choices():
    async def task(name):
        with snn.backend(name):
            await asyncio.sleep(0)
            return asked()

    async def both():
        return await asyncio.gather(task("eager"), task("fused"))

    assert asyncio.run(both()) == ["eager", "fused"] and asked() == "auto"


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:The .grad attribute:UserWarning")
def test_a_compiled_function_follows_the_choice():
    torch._dynamo.reset()
    lif, x = snn.Leaky(0.9), torch.rand(T, B, F)
    graphs = []

    def backend(graph, _):
        graphs.append("snntorch.run" in graph.code)
        return graph

    compiled = torch.compile(lambda x: snn.unroll(lif, x, torch.zeros(0)), fullgraph=True, backend=backend)
    compiled(x)
    with snn.backend("eager"):
        compiled(x)
    compiled(x)
    assert graphs == [True, False]


def test_unknown_backends():
    with pytest.raises(ValueError, match="backend must be one of auto, fused, eager, got 'turbo'"):
        snn.backend("turbo")
    assert taken(snn.Leaky(0.9))[0] == {"fused cpu"}


def test_environment(monkeypatch):
    """As it is when the package is imported."""
    monkeypatch.delenv("SNNTORCH_BACKEND", raising=False)
    assert runpy.run_path(setting.__file__)["asked"]() == "auto"
    for name in setting.BACKENDS:
        monkeypatch.setenv("SNNTORCH_BACKEND", name)
        assert runpy.run_path(setting.__file__)["asked"]() == name
    monkeypatch.setenv("SNNTORCH_BACKEND", "turbo")
    with pytest.raises(ValueError, match="SNNTORCH_BACKEND must be one of auto, fused, eager, got 'turbo'"):
        runpy.run_path(setting.__file__)


def test_a_choice_that_cannot_be_honoured_raises_with_the_reason():
    with snn.backend("fused"):
        with pytest.raises(RuntimeError, match=r"the backend is fused, but .*flatten"):
            taken(inhibited())
        with pytest.raises(RuntimeError, match="tensor subclass"):
            taken(snn.Leaky(0.9), torch.rand(T, B, F).as_subclass(Tagged))
        with pytest.raises(RuntimeError, match="operation by operation"):
            torch.func.vmap(lambda x: snn.unroll(snn.Leaky(0.9), x, torch.zeros(0)))(torch.rand(5, T, F))


class Tagged(torch.Tensor):
    pass


def inhibited(**kwargs):
    with pytest.warns(UserWarning, match="one spike"):
        return snn.Leaky(0.9, inhibition=True, **kwargs)


def test_explain_a_mixed_net(capsys):
    net = nn.Sequential(
        nn.Linear(3, 4), snn.Leaky(0.9, init_hidden=True), nn.BatchNorm1d(4),
        nn.Sequential(nn.Linear(4, 4), inhibited(init_hidden=True)),
        nn.Linear(4, 2), snn.RLeaky(0.9, linear_features=2, init_hidden=True),
    )  # fmt: skip
    snn.explain(net, torch.rand(T, B, 3))
    lines = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    assert [(name, layer) for name, layer, _ in lines] == [
        ("0", "Linear"), ("1", "Leaky"), ("2", "BatchNorm1d"), ("3.0", "Linear"), ("3.1", "Leaky"), ("4", "Linear"),
        ("5", "RLeaky"),
    ]  # fmt: skip
    for (_, _, found), start in zip(
        lines, ("folded", "fused cpu", "folded", "folded", "stepped", "folded", "fused cpu"), strict=True
    ):
        assert found.startswith(start)
    assert "its own statistics" in lines[2][2]
    assert "flatten" in lines[4][2]
    assert "matrix product" in lines[6][2]


def test_explain_leaves_the_module_alone():
    lif = snn.Leaky(0.9, init_hidden=True)
    spk = lif(torch.ones(B, F))
    mem = lif.mem.clone()
    assert [p.path for p in paths(lif, torch.rand(T, B, F))] == ["fused cpu"]
    assert torch.equal(lif.mem, mem) and spk.shape == (B, F)


@pytest.mark.filterwarnings("default")
def test_without_numba_neurons_run_step_by_step_with_one_warning(monkeypatch):
    monkeypatch.setattr(choose, "_lacks", {})
    monkeypatch.setattr(choose.importlib.util, "find_spec", lambda name: None)
    lif, x = snn.Leaky(0.9), torch.rand(T, B, F)
    with pytest.warns(RuntimeWarning, match="numba is not installed: neurons run step by step") as caught:
        first = snn.unroll(lif, x, torch.zeros(0))
        snn.unroll(lif, x, torch.zeros(0))
    assert len(caught) == 1
    assert taken(lif) == ({"stepped"}, {"numba is not installed"})
    with snn.backend("fused"), pytest.raises(RuntimeError, match="numba is not installed"):
        snn.unroll(lif, x, torch.zeros(0))
    monkeypatch.undo()
    torch.testing.assert_close(first, snn.unroll(lif, x, torch.zeros(0)), rtol=0, atol=0)


def test_no_kernel_is_made_anew_for_other_sizes(monkeypatch):
    """One kernel a direction, whatever T and the batch."""
    made, make = [], cpu.Kernel.__init__

    def counted(self, source, dtype):
        made.append(source)
        make(self, source, dtype)

    monkeypatch.setattr(cpu.Kernel, "__init__", counted)
    lif = snn.Leaky(0.9, threshold=0.7, graded_spikes_factor=3.25, learn_beta=True, spike_grad=unseen)
    for steps, batch in ((3, 2), (50, 2), (3, 17), (1, 1), (7, 300)):
        spk, mem = snn.unroll(lif, torch.rand(steps, batch, F), torch.zeros(0))
        (spk.sum() + mem.sum()).backward()
    assert len(made) == 2  # forward, backward


def unseen(x):
    return torch.sigmoid(3.0625 * x)
