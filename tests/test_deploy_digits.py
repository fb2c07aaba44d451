"""The deployment example: the file says the same as the network."""

from pathlib import Path

import pytest
import torch

pytest.importorskip("torchao", reason="torchao is in the test extra")
nir = pytest.importorskip("nir", reason="nir is in the test extra")


@pytest.fixture
def example(monkeypatch, one_thread):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "examples")
    import deploy_digits

    return deploy_digits


def test_the_file_gives_the_same_spikes(example, tmp_path, capsys):
    reached, different = example.main(tmp_path, epochs=4, fine_tuning=1)
    assert reached > 0.9
    assert different == 0
    printed = capsys.readouterr().out
    assert "parameters, 38,480 bytes; 25 steps, 360 samples" in printed
    nodes = nir.read(tmp_path / "digits.nir").nodes
    assert sorted(type(node).__name__ for node in nodes.values()) == [
        "Affine",
        "Affine",
        "Input",
        "LIF",
        "LIF",
        "Output",
    ]
    for name in ("0", "2"):  # 4 bits, symmetric: no row of a weight has more than 16 values
        assert all(len(row.unique()) <= 16 for row in torch.as_tensor(nodes[name].weight))


def test_a_changed_weight_in_the_file_would_be_noticed(example, tmp_path):
    torch.manual_seed(0)
    net, x = example.build_net(), torch.rand(5, 64)
    graph = example.export_to_nir(net, x[:1])
    spikes = example.run(net, x)
    assert torch.equal(example.run(example.import_from_nir(graph), x)[0], spikes)
    graph.nodes["2"].bias = graph.nodes["2"].bias + 1
    assert not torch.equal(example.run(example.import_from_nir(graph), x)[0], spikes)
