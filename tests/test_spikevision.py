"""The deprecated data sets, on a stand-in for Tonic and, where Tonic is installed, on real file formats."""

import importlib
import sys
import types

import numpy as np
import pytest
import torch


@pytest.fixture
def spikedata():
    for name in ("snntorch.spikevision.spikedata", "snntorch.spikevision"):
        sys.modules.pop(name, None)
    with pytest.warns(DeprecationWarning, match="use the data sets of Tonic"):
        return importlib.import_module("snntorch.spikevision").spikedata


XYTP = np.dtype([("x", int), ("y", int), ("t", int), ("p", int)])
EVENTS = np.array([(3, 5, 10, 1), (3, 5, 990, 1), (31, 0, 1000, 0), (33, 2, 1500, 0), (4, 4, 9999, 1)], XYTP)


class FakeTonic:
    """Has the constructor and the items of Tonic's data sets."""

    lighting, users = ["led"], [7]

    def __init__(self, save_to, train=True, transform=None, target_transform=None):
        self.transform, self.target_transform = transform, target_transform or (lambda x: x)
        if save_to == "missing":
            self.download()

    def download(self):
        self.downloaded = True

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return self.transform(EVENTS), self.target_transform(4)


@pytest.fixture
def tonic(monkeypatch):
    datasets = types.SimpleNamespace(**{name: type(name, (FakeTonic,), {}) for name in ("NMNIST", "DVSGesture", "SHD")})
    monkeypatch.setitem(sys.modules, "tonic", types.SimpleNamespace(datasets=datasets))


def test_nmnist_counts_events(spikedata, tonic):
    data = spikedata.NMNIST("root", num_steps=3)
    counts, target = data[0]
    assert len(data) == 1 and target == 4 and counts.dtype == torch.float32
    expected = torch.zeros(3, 2, 32, 32)
    expected[0, 1, 5, 3] = 2
    expected[1, 0, 0, 31] = 1
    assert torch.equal(counts, expected)  # the fourth event lies outside the picture, the fifth after the end
    assert spikedata.NMNIST("root")[0][0].shape == (300, 2, 32, 32)
    assert spikedata.NMNIST("root", num_steps=5, dt=2000)[0][0].sum((1, 2, 3)).tolist() == [3, 0, 0, 0, 1]


def test_dvsgesture_starts_at_the_first_event(spikedata, tonic):
    before = EVENTS.copy()
    counts, target = spikedata.DVSGesture("root", num_steps=10, ds=4)[0]
    assert counts.shape == (10, 2, 32, 32) and target == 4
    assert counts.nonzero().tolist() == [[0, 0, 0, 7], [0, 1, 1, 0], [1, 0, 0, 8], [9, 1, 1, 1]]
    assert (EVENTS == before).all()
    assert spikedata.DVSGesture("root")[0][0].shape == (500, 2, 128, 128)
    assert spikedata.DVSGesture("root", train=False, ds=16)[0][0].shape == (1800, 2, 8, 8)
    assert spikedata.DVSGesture("root", ds=16, return_meta=True)[0][1:] == (4, "led", 7)


def test_time_shuffle_permutes_the_bins(spikedata, tonic):
    ordered = spikedata.DVSGesture("root", num_steps=10, ds=64)[0][0]
    data = spikedata.DVSGesture("root", num_steps=10, ds=64, time_shuffle=True)
    torch.manual_seed(0)
    shuffled = [data[0][0] for _ in range(5)]
    assert all(torch.equal(x.sum(0), ordered.sum(0)) for x in shuffled)
    assert any(not torch.equal(x, ordered) for x in shuffled)


def test_shd_counts_channels(spikedata, tonic):
    assert spikedata.SHD("root")[0][0].shape == (1000, 700)
    counts, _ = spikedata.SHD("root", num_steps=2, ds=10)[0]
    assert counts.shape == (2, 70) and counts.nonzero().tolist() == [[0, 0], [1, 3]]
    assert counts.sum() == 4


def test_given_transforms_are_used(spikedata, tonic):
    data = spikedata.NMNIST("root", transform=len, target_transform=lambda target: target + 1)
    assert data[0] == (5, 5)


def test_download_only_when_wanted(spikedata, tonic):
    assert spikedata.SHD("missing").events.downloaded
    with pytest.raises(FileNotFoundError, match="SHD is not in missing"):
        spikedata.SHD("missing", download_and_create=False)


def test_errors(spikedata, monkeypatch):
    monkeypatch.setitem(sys.modules, "tonic", None)
    with pytest.raises(ImportError, match=r"NMNIST needs Tonic: pip install snntorch\[data\]"):
        spikedata.NMNIST("root")
    for wrong in (dict(num_steps=0), dict(dt=0)):
        with pytest.raises(ValueError, match="must be positive"):
            spikedata.NMNIST("root", **wrong)


def test_files_in_the_real_formats(spikedata, tmp_path, monkeypatch):
    tonic = pytest.importorskip("tonic")
    h5py = pytest.importorskip("h5py")
    # Tonic looks for the archive and for as many files as the whole data set has.
    monkeypatch.setattr(tonic.dataset.Dataset, "_folder_contains_at_least_n_files_of_type", lambda *args: True)

    folder = tmp_path / "SHD"
    folder.mkdir()
    (folder / "shd_train.h5.zip").touch()
    with h5py.File(folder / "shd_train.h5", "w") as file:
        for name, values, kind in (("times", [0.0005, 0.0015], "f4"), ("units", [699, 3], "u2")):
            column = file.create_dataset(f"spikes/{name}", (1,), dtype=h5py.vlen_dtype(kind))
            column[0] = np.array(values, kind)
        file["labels"] = np.array([12], "u2")
        file["extra/keys"], file["extra/speaker"] = np.array([b"zwei"]), np.array([0], "u2")
    counts, target = spikedata.SHD(tmp_path, num_steps=5, download_and_create=False)[0]
    assert counts.nonzero().tolist() == [[0, 699], [1, 3]] and target == 12

    folder = tmp_path / "NMNIST" / "Train" / "3"
    folder.mkdir(parents=True)
    (tmp_path / "NMNIST" / "train.zip").touch()
    event = bytes([7, 9, 0x80 | 0, 0x07, 0xD0])  # x, y, polarity and the 23 bits of 2000 µs
    (folder / "00001.bin").write_bytes(event)
    counts, target = spikedata.NMNIST(tmp_path, num_steps=5, download_and_create=False)[0]
    assert counts.nonzero().tolist() == [[2, 1, 9, 7]] and target == 3

    folder = tmp_path / "DVSGesture" / "ibmGestureTrain" / "user02_fluorescent"
    folder.mkdir(parents=True)
    (tmp_path / "DVSGesture" / "ibmGestureTrain.tar.gz").touch()
    np.save(folder / "8.npy", np.array([[5, 6, 1, 100], [127, 0, 0, 103]]))  # x, y, polarity, milliseconds
    counts, *rest = spikedata.DVSGesture(tmp_path, return_meta=True, download_and_create=False)[0]
    assert counts.nonzero().tolist() == [[0, 1, 6, 5], [3, 0, 0, 127]] and rest == [8, "fluorescent", 2]
