"""The benchmarks' registry, gate, worker and report, at toy size."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))

import report
import run
from peers import ENVIRONMENTS, IMPLEMENTATIONS
from workloads import REGISTRY, TOY

ROOT = Path(__file__).resolve().parent.parent
OURS = [(w, impl) for w in REGISTRY.values() for impl in w.impls if IMPLEMENTATIONS[impl].environment == "ours"]


def test_registry_names_known_implementations():
    for workload in REGISTRY.values():
        assert set(workload.impls) <= IMPLEMENTATIONS.keys()
        assert workload.group in report.SECTIONS
        assert len(workload.scan) <= 1


@pytest.mark.parametrize(("workload", "impl"), OURS, ids=[f"{w.name}|{i}" for w, i in OURS])
def test_our_workloads_run(workload, impl):
    task = workload.make(impl, **TOY)
    out, *_ = task.step()
    if workload.gate == "spikes":
        assert out.shape[:2] == (TOY["T"], TOY["B"]) or impl == "floor"
        if "floor" not in impl:
            assert set(out.unique().tolist()) <= {0.0, 1.0}
            forward_only = workload.group == "recording"
            assert forward_only or any(leaf.grad is not None and leaf.grad.abs().sum() > 0 for leaf in task.leaves)
    assert np.isfinite(np.asarray(out.detach() if torch.is_tensor(out) else out)).all()


WAYS = [(w.name, way) for w in REGISTRY.values() if "unmodified" in w.impls for way in run.GATED[1:] if way in w.impls]


@pytest.mark.parametrize(("name", "way"), WAYS)
def test_every_way_computes_what_the_loop_does(name, way):
    tasks = [REGISTRY[name].make(impl, **TOY) for impl in ("unmodified", way)]
    outs = []
    for task in tasks:
        torch.manual_seed(0)  # the same upstream gradient for both
        outs.append(task.step()[0])
    assert torch.equal(*outs)
    for a, b in zip(tasks[0].leaves, tasks[1].leaves, strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_gate(tmp_path):
    spikes, membranes, gradient = np.zeros((4, 2, 3)), np.full((4, 2, 3), 0.5), np.ones(5)
    reference = save(tmp_path / "a.npz", out0=spikes, out1=membranes, grad0=gradient)
    assert run.gate(reference, reference, "spikes") is None

    flipped = spikes.copy()
    flipped[1, 0, 0] = 1
    other = save(tmp_path / "b.npz", out0=flipped, grad0=gradient)
    assert run.gate(reference, other, "spikes") == "spikes differ in 1 of 2 samples"
    membranes[1, 0, 0] = 1 + 1e-7
    excused = save(tmp_path / "c.npz", out0=spikes, out1=membranes, grad0=gradient)
    assert run.gate(excused, other, "spikes") is None

    wrong = save(tmp_path / "d.npz", out0=spikes, grad0=1.01 * gradient)
    assert "grad0" in run.gate(reference, wrong, "spikes")
    assert "shape" in run.gate(reference, save(tmp_path / "e.npz", out0=spikes[1:]), "spikes")
    assert "values" in run.gate(reference, save(tmp_path / "f.npz", out0=spikes + 0.1), "values")
    assert "mean" in run.gate(excused, save(tmp_path / "g.npz", out0=flipped), "mean")


def test_worker_measures_and_survives_errors():
    name, sizes = "MLP 784-512-512-10, T=30, B=100, static", TOY
    with run.Worker() as worker:
        memory = worker.ask("memory", workload=name, impl="floor", sizes=sizes)
        assert 0 < memory["kept_bytes"] < memory["most_bytes"]
        assert "KeyError" in worker.ask("build", workload="nothing", impl="floor", sizes={})["error"]
        steps = worker.ask("build", workload=name, impl="floor", sizes=sizes, threads=1)["steps"]
        assert worker.ask("measure", workload=name, impl="floor", steps=steps)["seconds"] > 0
        assert worker.ask("about")["torch"].startswith(torch.__version__.split("+")[0])


def test_a_base_is_another_revision_with_the_same_ways(tmp_path):
    if not (Path(run.HERE).parent / ".git").exists():
        pytest.skip("no repository to take a revision from")
    workload = REGISTRY["tutorial 5 as written, T=25, B=128"]
    with run.revision("HEAD") as variables, run.Worker(**variables) as worker:
        source = Path(variables["PYTHONPATH"], "snntorch")
        assert (source / "__init__.py").exists() and source.parents[1] != run.HERE.parent
        lanes = run.lanes(workload, {"ours": worker, "base": worker})
        assert list(lanes) == [
            *("unmodified", "unmodified@base", "layerwise", "layerwise@base", "folded", "folded@base", "floor"),
        ]
        verdicts = run.gated({"ours": worker, "base": worker}, workload, TOY)
        assert len({verdict["mean"] for lane, verdict in verdicts.items() if lane != "floor"}) == 1
        assert not any("error" in verdict for verdict in verdicts.values())


def test_every_implementation_is_a_peer_with_its_environment():
    assert ENVIRONMENTS.keys() == {peer.environment for peer in IMPLEMENTATIONS.values()} - {"ours"}
    assert all("==" in package for package, _ in ENVIRONMENTS.values())
    assert IMPLEMENTATIONS.keys() == report.NAMES.keys()


def tiny_result():
    def row(group, scan, T, **seconds):
        sizes, name = {"T": T, "threads": 1}, f"{group} row"
        return dict(workload=name, group=group, scan=scan, sizes=sizes, seconds=seconds, output_mean={}, errors={})

    rows = [
        row("net", [], 5, snntorch=[0.2, 0.4], unroll=[0.1, 0.2], unmodified=[0.2, 0.4], floor=[0.05, 0.1]),
        row("neuron", [], 5, snntorch=[0.8, 0.8], unroll=[0.1, 0.1]),
        row("scaling", ["T"], 5, unroll=[0.1]),
        row("scaling", ["T"], 10, unroll=[0.2]),
    ]
    rows[1]["errors"] = {"unmodified": "gate: spikes differ"}
    memory = dict(workload="net row", impl="unroll", step_bytes=2**20, kept_bytes=2**21, most_bytes=2**22)
    start = dict.fromkeys(("import", "first", "second", "reshaped_first", "reshaped_second"), 0.5)
    start |= dict(workload="net row", impl="unroll", T=5, cache_filled=True)
    machine = dict(cpu="a CPU", cores=2, memory_gib=4, system="Linux", software={"ours": {"torch": "2"}})
    return dict(date="2026-01-01", rounds=2, machine=machine, rows=rows, memory=[memory], start=[start])


def test_report_renders(tmp_path):
    result = json.loads(json.dumps(tiny_result()))
    text = report.markdown(result)
    assert "| net row | 200 " not in text  # medians of rounds, not the first
    assert "| net row | 300 | 300 | 150 | 75 | 2× (2–2) | 0.5× (0.5–0.5) |" in text
    assert "| both | 4× (2) | 1× (1) | – | 2× (1) |" in text
    assert "neuron row · ours, same code: gate: spikes differ" in text
    assert "scaling row T=10" in text
    assert "before / now" not in text
    pytest.importorskip("matplotlib").use("Agg")
    report.plot(result, tmp_path / "plot.svg")
    assert (tmp_path / "plot.svg").stat().st_size > 1000


def test_the_readme_shows_a_result_that_is_kept():
    readme = (ROOT / "README.md").read_text()
    result = json.loads((ROOT / re.findall(r"\((benchmarks/results/[\w-]+-cpu\.json)\)", readme)[0]).read_text())
    assert f"<!-- benchmarks -->\n\n{report.short(result)}\n<!-- /benchmarks -->" in readme


def test_the_page_of_benchmarks_shows_results_that_are_kept():
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    result = json.loads((ROOT / re.findall(r"\(\.\./(benchmarks/results/[\w-]+-modern\.json)\)", page)[0]).read_text())
    assert report.times(result["rows"]) in page
    assert {row["workload"] for row in result["rows"]} == {w.name for w in REGISTRY.values() if w.group == "modern"}


def test_the_page_of_speed_shows_what_is_kept():
    page = (ROOT / "docs" / "speed.md").read_text()
    result = json.loads((ROOT / re.findall(r"\(\.\./(benchmarks/results/[\w-]+-kept\.json)\)", page)[0]).read_text())
    assert report.kept(result) in page
    assert {row["workload"] for row in result["rows"]} == {w.name for w in REGISTRY.values() if w.group == "memory"}


def test_report_of_a_base_and_of_what_recording_costs():
    result = tiny_result()
    row = dict(workload="small", group="recording", scan=[], output_mean={}, errors={"folded@base": "TypeError: no"})
    row |= dict(sizes={"T": 5, "layers": 2}, seconds={"layerwise": [3e-4, 3e-4], "folded": [1e-4, 1e-4]})
    row["seconds"] |= {"layerwise@base": [6e-4, 6e-4]}
    text = report.markdown(result | {"base": "0123abc", "rows": [row]})
    assert "| small · ours, `layerwise` | 20 | 10 (10–10) |" in text  # 200 µs more for 2 · 2 · 5 calls
    assert "| small · ours, `layerwise` | 0.6 | 0.3 | 2× (2–2) |" in text
    assert "against 0123abc" in text
    assert "small · ours, by hand, base: TypeError: no" in text
