"""N-MNIST, DVS Gesture and Spiking Heidelberg Digits as dense spike counts, read through Tonic."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..spikegen import from_events


def _open(name: str, root: str | os.PathLike[str], train: bool, download: bool, **transforms: Any) -> Any:
    """Open Tonic's data set of that name."""
    try:
        from tonic import datasets  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(f"{name} needs Tonic: pip install snntorch[data]") from error
    kind = getattr(datasets, name)
    if not download:

        def refuse(self: Any) -> None:
            raise FileNotFoundError(f"{name} is not in {root}, and download_and_create is False")

        kind = type(name, (kind,), {"download": refuse})
    return kind(save_to=os.fspath(root), train=train, **transforms)


class _EventDataset(Dataset):
    """A data set of Tonic; unless another `transform` is given, its events become spike counts."""

    def __init__(
        self, root: str | os.PathLike[str], train: bool, transform: Callable | None, target_transform: Callable | None,
        download: bool, num_steps: int, dt: float, size: tuple[int, ...], ds: int = 1,
    ):  # fmt: skip
        if num_steps < 1 or dt <= 0 or ds < 1:
            raise ValueError(f"num_steps, dt and ds must be positive, got {num_steps}, {dt} and {ds}")
        self.num_steps, self.dt, self.size, self.ds = num_steps, dt, size, ds
        transforms = {"transform": transform or self._frames, "target_transform": target_transform}
        self.events = _open(type(self).__name__, root, train, download, **transforms)

    def _frames(self, events: np.ndarray) -> Tensor:
        events = events.copy()
        for name in {"x", "y"}.intersection(events.dtype.names or ()):
            events[name] //= self.ds
        return from_events(events, self.size, self.num_steps, self.dt, drop=True)

    def __len__(self) -> int:
        return len(self.events)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return self.events[index]


class NMNIST(_EventDataset):
    """Handwritten digits seen by an event camera in three saccades.

    An item is `(counts [T, 2, 32, 32], digit)`: events of each polarity and pixel (the outer two rows and
    columns of the camera's 34 are cut off) in each time bin.

    Source: G. Orchard, A. Jayawant, G. K. Cohen and N. Thakor, "Converting static image datasets to spiking
    neuromorphic datasets using saccades", Frontiers in Neuroscience 9, 2015.

    Args:
        root: folder of the data set.
        train: whether to read the training part, or the test part.
        transform: applied to the events, a structured array with the fields x, y, t (µs) and p, instead of counting.
        target_transform: applied to the digit.
        download_and_create: whether to fetch the data set when it is not in `root`.
        num_steps: number of time bins T.
        dt: width of a time bin, in µs.

    Raises:
        ImportError: Tonic is not installed.
        FileNotFoundError: the data set is neither there nor to be fetched.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        train: bool = True,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        download_and_create: bool = True,
        num_steps: int = 300,
        dt: float = 1000,
    ):
        size = 2, 32, 32
        super().__init__(root, train, transform, target_transform, download_and_create, num_steps, dt, size)


class DVSGesture(_EventDataset):
    """Eleven hand gestures seen by an event camera.

    An item is `(counts [T, 2, 128 // ds, 128 // ds], gesture)`: events of each polarity and pixel in each
    time bin since the first event.

    Source: A. Amir et al., "A low power, fully event-based gesture recognition system", CVPR 2017.

    Args:
        target_transform: applied to the gesture's number.
        num_steps: number of time bins T; `None` means 500 for training and 1800 for testing.
        ds: factor by which height and width are reduced; `None` means 1.
        return_meta: whether an item is `(counts, gesture, lighting, user)`.
        time_shuffle: whether the time bins come in random order (a control that takes away the timing).

    The other arguments and the errors are those of `NMNIST`.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        train: bool = True,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        download_and_create: bool = True,
        num_steps: int | None = None,
        dt: float = 1000,
        ds: int | None = None,
        return_meta: bool = False,
        time_shuffle: bool = False,
    ):
        self.return_meta = return_meta
        self.time_shuffle = time_shuffle
        if num_steps is None:
            num_steps = 500 if train else 1800
        ds = 1 if ds is None else ds
        size = 2, 128 // ds, 128 // ds
        super().__init__(root, train, transform, target_transform, download_and_create, num_steps, dt, size, ds)

    def _frames(self, events: np.ndarray) -> Tensor:
        events = events.copy()
        events["t"] -= events["t"][:1]  # recordings are cut from longer ones
        frames = super()._frames(events)
        return frames[torch.randperm(len(frames))] if self.time_shuffle else frames

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        item = super().__getitem__(index)
        return (*item, self.events.lighting[index], self.events.users[index]) if self.return_meta else item


class SHD(_EventDataset):
    """Spoken digits in English and German as spikes of 700 cochlear channels (Spiking Heidelberg Digits).

    An item is `(counts [T, 700 // ds], digit)`: spikes of each channel in each time bin.

    Source: B. Cramer, Y. Stradmann, J. Schemmel and F. Zenke, "The Heidelberg spiking data sets for the systematic
    evaluation of spiking neural networks", IEEE Transactions on Neural Networks and Learning Systems 33(7), 2022.

    Args:
        target_transform: applied to the digit, 0 to 9 in English and 10 to 19 in German.
        ds: number of neighbouring channels that are counted together.

    The other arguments and the errors are those of `NMNIST`; events have the fields t, x and p.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        train: bool = True,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        download_and_create: bool = True,
        num_steps: int = 1000,
        ds: int = 1,
        dt: float = 1000,
    ):
        size = (700 // ds,)
        super().__init__(root, train, transform, target_transform, download_and_create, num_steps, dt, size, ds)
