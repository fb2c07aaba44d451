"""The MNIST example, on a few made images always, and on a small part of the real ones where they are."""

import gzip
import os
import struct
import sys
import types
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import snntorch as snn

pytest.importorskip("tqdm", reason="the example shows a progress bar")


@pytest.fixture
def mnist(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "examples")
    import mnist

    return mnist


def write_idx(path, values):
    data = struct.pack(f">4B{values.dim()}I", 0, 0, 8, values.dim(), *values.shape) + bytes(values.flatten().tolist())
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def write_all(folder, mnist, suffix="", images=40):
    """Images of two digits: bright above, bright below."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = torch.arange(images) % 2
    pixels = torch.zeros(images, 28, 28, dtype=torch.uint8)
    pixels[labels == 0, :14] = 255
    pixels[labels == 1, 14:] = 255
    for name in mnist.FILES:
        write_idx(folder / f"{name}{suffix}", pixels if "images" in name else labels.to(torch.uint8))


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_files_are_read(mnist, tmp_path, suffix):
    values = torch.arange(2 * 3 * 5, dtype=torch.uint8).view(2, 3, 5)
    write_idx(tmp_path / f"values{suffix}", values)
    assert torch.equal(mnist.read_idx(tmp_path / f"values{suffix}"), values)


@pytest.mark.parametrize("data", [b"", b"\0\0\x0d\1\0\0\0\0", b"\0\0\x08\1\0\0\0\3ab", b"\0\0\x08\2\0\0", b"<html>404"])
def test_what_is_no_whole_idx_file_is_refused(mnist, tmp_path, data):
    (tmp_path / "wrong").write_bytes(data)
    with pytest.raises(ValueError, match="wrong is no whole idx file of bytes"):
        mnist.read_idx(tmp_path / "wrong")


def test_data_are_as_announced(mnist, tmp_path):
    write_all(tmp_path, mnist, ".gz")
    train_x, test_x, train_y, test_y = mnist.load_data(tmp_path)
    assert train_x.shape == test_x.shape == (40, 1, 28, 28) and train_x.unique().tolist() == [0, 1]
    assert train_y.tolist() == test_y.tolist() == [0, 1] * 20


def test_without_data_it_says_where_to_get_them(mnist, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    with pytest.raises(SystemExit) as stopped:
        mnist.load_data(tmp_path)
    said = str(stopped.value)
    assert str(tmp_path) in said and mnist.SOURCE in said and "torchvision" in said and "--data" in said
    assert all(name in said for name in mnist.FILES)


def test_torchvision_fetches_them(mnist, tmp_path, monkeypatch):
    fetched = []

    def fetch(folder, download):
        fetched.append((folder, download))
        write_all(folder / "MNIST" / "raw", mnist)

    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.datasets", types.SimpleNamespace(MNIST=fetch))
    assert len(mnist.load_data(tmp_path)) == 4 and fetched == [(tmp_path, True)]
    mnist.load_data(tmp_path)
    assert len(fetched) == 1  # the second time they are there


@pytest.mark.parametrize("name", ["fc", "conv"])
def test_layerwise_gives_what_the_loop_gives(mnist, name):
    net = mnist.RECIPES[name].net(num_steps=4).double()
    images = torch.rand(3, 1, 28, 28, dtype=torch.float64)
    for a, b in zip(net(images), snn.layerwise(net)(images), strict=True):
        assert a.shape == (4, 3, 10)
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["fc", "conv"])
def test_the_command_trains(mnist, name, tmp_path, monkeypatch, capsys, one_thread):
    write_all(tmp_path, mnist)
    monkeypatch.setattr(mnist, "RECIPES", {name: replace(mnist.RECIPES[name], batch=8)})
    monkeypatch.setattr(sys, "argv", ["mnist.py", "--data", str(tmp_path), "--net", name, "--epochs", "8"])
    mnist.main()
    assert "epoch 8: 100.00% of the test images" in capsys.readouterr().out


@pytest.mark.skipif("SNNTORCH_MNIST" not in os.environ, reason="SNNTORCH_MNIST names no folder with MNIST")
@pytest.mark.parametrize(("name", "images", "expected"), [("fc", 3000, 0.8), ("conv", 1500, 0.8)])
def test_it_learns_a_part_of_the_real_digits(mnist, name, images, expected, one_thread):
    train_x, test_x, train_y, test_y = mnist.load_data(Path(os.environ["SNNTORCH_MNIST"]))
    assert test_y[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]  # a small part of the files will do
    recipe = replace(mnist.RECIPES[name], epochs=1, batch=16)
    net = snn.layerwise(recipe.net())
    mnist.train(net, recipe, train_x[:images], train_y[:images])
    assert mnist.accuracy(net, test_x[:1000], test_y[:1000]) > expected
