"""The demo, shortened: it trains, reports and draws."""

import base64
import importlib.util
import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "examples" / "digits.py"
pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
pytest.importorskip("tqdm", reason="the demo shows a progress bar")


@pytest.fixture(scope="module")
def demo():
    spec = importlib.util.spec_from_file_location("digits", DEMO)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_data_are_split_as_announced(demo):
    train_x, test_x, train_y, test_y = demo.load_data()
    assert (len(train_x), len(test_x)) == (1437, 360) == (len(train_y), len(test_y))
    assert train_x.min() == 0 and train_x.max() == 1 and train_x.shape[1] == 64
    assert test_y.bincount().tolist() == pytest.approx([36] * 10, abs=2)  # stratified


def test_it_trains_and_draws(demo, tmp_path, capsys):
    """Three of the epochs take it far beyond the 10 % of chance."""
    from PIL import Image

    accuracy = demo.main(tmp_path, epochs=3)
    assert 0.8 < accuracy <= 1
    printed = capsys.readouterr().out
    assert f"{64 * 128 + 128 + 128 * 10 + 10 + 2}" in printed  # weights, biases and two decays
    assert f"{accuracy:.1%}" in printed and "spikes per neuron and step" in printed
    pictures = {"raster.png", "confusion.png", "training.png", "digit.gif"}
    assert {p.name for p in tmp_path.iterdir()} == {*pictures, "index.html"}
    for name in pictures - {"digit.gif"}:
        with Image.open(tmp_path / name) as image:
            assert len(image.convert("L").getcolors(256)) > 10  # not blank
    with Image.open(tmp_path / "digit.gif") as image:
        assert image.n_frames == demo.NUM_STEPS == 25
    assert str(tmp_path / "index.html") in printed and all(name in printed for name in pictures)
    assert all((ROOT / path).exists() and path in printed for path in demo.NEXT)  # what to read next is there


def test_the_page_needs_no_other_file(demo, tmp_path):
    from PIL import Image

    for name in ("a.png", "b.gif"):
        Image.new("RGB", (4, 3)).save(tmp_path / name)
    demo.write_page({"test accuracy": "97.8%"}, {"a.png": "The first.", "b.gif": "The second."}, tmp_path)
    page = (tmp_path / "index.html").read_text()
    sources = re.findall(r'src="([^"]*)"', page)
    assert [source.split(";")[0] for source in sources] == ["data:image/png", "data:image/gif"]
    assert base64.b64decode(sources[0].split(",")[1]) == (tmp_path / "a.png").read_bytes()
    assert "97.8%" in page and page.count("The first.") == 2 and not re.search(r"href|https?://|<script", page)


def test_the_raster_shows_all_output_neurons_and_steps(demo, tmp_path, monkeypatch):
    import matplotlib.pyplot as plt

    figures, subplots = [], plt.subplots
    monkeypatch.setattr(plt, "subplots", lambda *a, **k: figures.append(subplots(*a, **k)) or figures[-1])
    output = torch.zeros(25, 10)
    output[:, 7] = 1  # one neuron alone spikes
    demo.draw_raster(torch.rand(25, 128).round(), output, 7, tmp_path / "raster.png")
    _, (_, bottom) = figures[0]
    assert bottom.get_yticks().tolist() == list(range(10))
    assert bottom.get_ylim()[0] < 0 and bottom.get_ylim()[1] > 9
    assert bottom.get_xlim() == (-0.5, 24.5)
    plt.close("all")


def test_the_confusion_matrix_counts(demo, tmp_path, monkeypatch):
    import matplotlib.pyplot as plt

    figures, subplots = [], plt.subplots
    monkeypatch.setattr(plt, "subplots", lambda *a, **k: figures.append(subplots(*a, **k)) or figures[-1])
    demo.draw_confusion(torch.tensor([1, 1, 1, 5]), torch.tensor([1, 1, 7, 5]), tmp_path / "confusion.png")
    _, ax = figures[0]
    assert {(t.get_position(), t.get_text()) for t in ax.texts} == {((1, 1), "2"), ((1, 7), "1"), ((5, 5), "1")}
    assert ax.get_title() == "3 of 4 test images right"
    plt.close("all")


def test_it_is_short_enough_to_copy():
    assert len(DEMO.read_text().splitlines()) < 180
