"""The example of sequences of unequal length, on a few made ones."""

import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("tqdm", reason="the example shows a progress bar")


@pytest.fixture
def vowels(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "examples")
    import vowels

    return vowels


def write(folder, samples=24):
    """Two speakers, one louder than the other, and utterances of 3 to 6 steps."""
    torch.manual_seed(0)
    for part in ("TRAIN", "TEST"):
        lines = ["#JapaneseVowels", "@problemName JapaneseVowels", "@data", ""]
        for i in range(samples):
            steps = (i % 2 + torch.rand(12, 3 + i % 4)).tolist()
            lines.append(":".join([*(",".join(map(str, channel)) for channel in steps), str(1 + i % 2)]))
        (folder / f"JapaneseVowels_{part}.ts").write_text("\n".join(lines) + "\n")


def test_files_are_read_and_padded(vowels, tmp_path):
    write(tmp_path)
    sequences, labels = vowels.read_ts(tmp_path / "JapaneseVowels_TRAIN.ts")
    assert [tuple(x.shape) for x in sequences[:5]] == [(3, 12), (4, 12), (5, 12), (6, 12), (3, 12)]
    (x, lengths, speakers), _ = vowels.load_data(tmp_path)
    assert x.shape == (6, 24, 12) and lengths[:4].tolist() == [3, 4, 5, 6] and torch.equal(speakers, labels)
    there = torch.arange(6)[:, None] < lengths
    assert not x[~there].any() and x[there].mean(0).abs().max() < 1e-5
    torch.testing.assert_close(x[there].std(0), torch.ones(12))


def test_steps_behind_the_end_count_for_nothing(vowels):
    net, lengths = vowels.Net(hidden=8).eval(), torch.tensor([4, 6])
    x = torch.randn(6, 2, 12)
    expected = net(x, lengths)
    x[4:, 0] = 100
    assert torch.equal(net(x, lengths), expected)
    torch.testing.assert_close(net(x[:4, :1], lengths[:1]), expected[:1])


def test_the_command_trains(vowels, tmp_path, monkeypatch, capsys, one_thread):
    write(tmp_path)
    monkeypatch.setattr(sys, "argv", ["vowels.py", "--data", str(tmp_path), "--epochs", "20"])
    vowels.main()
    assert "test accuracy 100.0%" in capsys.readouterr().out


def test_without_aeon_it_says_where_the_data_are(vowels, monkeypatch):
    monkeypatch.setattr(vowels.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="pip install aeon"):
        vowels.folder()
