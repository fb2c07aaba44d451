"""What keeps and shows the accuracies of the examples' recipes."""

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
pytest.importorskip("tqdm", reason="the examples show progress bars")


@pytest.fixture
def accuracy(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "examples")
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    import accuracy

    monkeypatch.setattr(accuracy, "RESULT", tmp_path / "accuracy.json")
    return accuracy


def test_a_run_is_kept_in_place_of_the_one_before(accuracy, monkeypatch, one_thread, capsys):
    digits = sys.modules["recipes"].digits
    monkeypatch.setattr(digits, "train", partial(digits.train, epochs=2))
    monkeypatch.setattr(sys, "argv", ["accuracy.py", "digits", "--seeds", "0", "0", "1", "--table"])
    accuracy.main()
    rows = json.loads(accuracy.RESULT.read_text())["runs"]
    assert [row["library"] for row in rows] == ["ours", "ours"] and [row["seed"] for row in rows] == [0, 1]
    assert all(len(row["accuracies"]) == 2 and 0.5 < row["accuracies"][-1] <= 1 for row in rows)
    assert rows[0]["accuracies"] != rows[1]["accuracies"]  # other weights, another order
    assert "64-128-10, T=25 | ours | 2 |" in capsys.readouterr().out


def test_only_delays_tell_the_order(accuracy, monkeypatch, one_thread):
    accuracy.run("delays", 0, Path())
    reached = {row["recipe"]: row["accuracies"][0] for row in json.loads(accuracy.RESULT.read_text())["runs"]}
    assert reached["delays"] == 1 and reached["no delays"] < 0.6


def test_what_an_epoch_takes_is_kept_apart(accuracy, monkeypatch):
    monkeypatch.setattr(accuracy, "epoch_seconds", lambda name, folder: 12.345)
    monkeypatch.setattr(sys, "argv", ["accuracy.py", "fc", "--time"])
    accuracy.main()
    result = json.loads(accuracy.RESULT.read_text())
    assert result["runs"] == [] and result["times"][0]["epoch_seconds"] == pytest.approx(12.345, abs=0.01)


def test_an_epoch_is_timed_by_a_part_of_it(accuracy, monkeypatch, one_thread):
    mnist = sys.modules["recipes"].mnist
    data = torch.rand(64, 1, 28, 28), None, torch.randint(10, (64,)), None
    monkeypatch.setattr(mnist, "load_data", lambda folder: data)
    monkeypatch.setattr(mnist, "RECIPES", {"fc": replace(mnist.RECIPES["fc"], batch=4)})
    seen = []
    monkeypatch.setattr(mnist, "train", lambda net, recipe, images, labels: seen.append(len(images)))
    assert accuracy.epoch_seconds("fc", Path(), batches=8) > 0 and seen == [8, 32]


def test_a_converted_network_is_right_as_often(accuracy, monkeypatch, one_thread):
    mnist = sys.modules["recipes"].mnist
    labels = torch.arange(60) % 2
    images = torch.zeros(60, 1, 28, 28)
    images[labels == 0, :, :14] = images[labels == 1, :, 14:] = 1
    monkeypatch.setattr(mnist, "load_data", lambda folder: (images, images, labels, labels))
    monkeypatch.setattr(mnist, "Recipe", partial(mnist.Recipe, batch=6))
    accuracy.run("convert", 0, Path())
    reached = {row["recipe"]: row["accuracies"][-1] for row in json.loads(accuracy.RESULT.read_text())["runs"]}
    assert reached == {"residual": 1, "converted": 1}


def test_the_table_says_when_the_aim_was_passed(accuracy):
    def row(library, seed, *reached):
        return {"recipe": "fc", "library": library, "seed": seed, "planned": 3, "accuracies": reached}

    runs = [row("ours", 0, 0.9, 0.981, 0.983), row("ours", 1, 0.98, 0.97, 0.985), row("snntorch 1.0.0", 4, 0.9, 0.95)]
    times = [{"recipe": "fc", "library": "ours", "epoch_seconds": 10}]
    text = accuracy.table({"runs": runs, "times": times})
    assert "| ours | 2 | 98.40% (98.30% to 98.50%) | 98% | 1.5 | 15 |" in text
    assert "| snntorch 1.0.0 | 1 | 95.00%; seed 4 after 2 of 3 epochs | 98% | – | – |" in text


def test_unknown_recipes_are_refused(accuracy, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["accuracy.py", "cifar"])
    with pytest.raises(SystemExit):
        accuracy.main()
    assert "recipes are fc, conv, convert, digits, quantise, vowels, delays, not cifar" in capsys.readouterr().err


def test_documents_show_what_is_kept(monkeypatch):
    root = Path(__file__).parents[1]
    monkeypatch.syspath_prepend(root / "examples")
    monkeypatch.syspath_prepend(root / "benchmarks")
    import accuracy

    result = json.loads((root / "benchmarks" / "results" / "accuracy.json").read_text())
    for document, names in (("README.md", accuracy.README), ("docs/benchmarks.md", accuracy.ROWS)):
        shown = f"<!-- accuracy -->\n\n{accuracy.table(result, names)}\n\n<!-- /accuracy -->"
        assert shown in (root / document).read_text()
