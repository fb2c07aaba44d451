"""What keeps and shows the accuracies of the examples' recipes."""

import json
import sys
from functools import partial
from pathlib import Path

import pytest

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
    monkeypatch.setattr(accuracy.digits, "train", partial(accuracy.digits.train, epochs=2))
    monkeypatch.setattr(sys, "argv", ["accuracy.py", "digits", "--seeds", "0", "0", "1", "--table"])
    accuracy.main()
    rows = json.loads(accuracy.RESULT.read_text())
    assert [row["library"] for row in rows] == ["ours", "ours"] and [row["seed"] for row in rows] == [0, 1]
    for row in rows:
        first, second = row["epochs"]
        assert 0.5 < second["accuracy"] <= 1 and 0 < first["core_seconds"] < second["core_seconds"]
    assert rows[0]["epochs"][-1]["accuracy"] != rows[1]["epochs"][-1]["accuracy"]  # other weights, another order
    assert "64-128-10, T=25 | ours | 2 |" in capsys.readouterr().out


def test_the_table_says_when_the_aim_was_passed(accuracy):
    def row(library, seed, *reached):
        epochs = [{"seconds": 9, "core_seconds": 10.0 * (i + 1), "accuracy": a} for i, a in enumerate(reached)]
        return {"recipe": "fc", "library": library, "seed": seed, "planned": 3, "epochs": epochs}

    rows = [row("ours", 0, 0.9, 0.981, 0.983), row("ours", 1, 0.98, 0.97, 0.985), row("snntorch 1.0.0", 4, 0.9, 0.95)]
    text = accuracy.table(rows)
    assert "| ours | 2 | 98.40% (98.30% to 98.50%) | 98% | 15 | 30 |" in text
    assert "| snntorch 1.0.0 | 1 | 95.00%; seed 4 after 2 of 3 epochs | 98% | – | 20 |" in text


def test_unknown_recipes_are_refused(accuracy, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["accuracy.py", "cifar"])
    with pytest.raises(SystemExit):
        accuracy.main()
    assert "recipes are fc, conv, digits, not cifar" in capsys.readouterr().err


def test_the_readme_shows_what_is_kept(monkeypatch):
    root = Path(__file__).parents[1]
    monkeypatch.syspath_prepend(root / "examples")
    monkeypatch.syspath_prepend(root / "benchmarks")
    import accuracy

    rows = json.loads((root / "benchmarks" / "results" / "accuracy.json").read_text())
    assert f"<!-- accuracy -->\n\n{accuracy.table(rows)}\n\n<!-- /accuracy -->" in (root / "README.md").read_text()
