"""The demo, shortened: it trains, reports and draws."""

import importlib.util
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[1] / "examples" / "digits.py"
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
    for name in ("raster.png", "training.png"):
        with Image.open(tmp_path / name) as image:
            assert len(image.convert("L").getcolors(256)) > 10  # not blank
    with Image.open(tmp_path / "digit.gif") as image:
        assert image.n_frames == demo.NUM_STEPS == 25
    assert sorted(p.name for p in tmp_path.iterdir()) == ["digit.gif", "raster.png", "training.png"]


def test_it_is_short_enough_to_copy():
    assert len(DEMO.read_text().splitlines()) < 120
