"""One epoch of backpropagation through time: over whole sequences, or cut into chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import torch
from torch import Tensor, nn

from .._time.layers import uncut
from .._time.unroll import unroll
from ..utils import detach, reset

if TYPE_CHECKING:
    from typing_extensions import Unpack

Readout = Literal["spk", "mem"]

# Which output each of the library's losses and regularisers reads.
_READOUTS: dict[str, Readout] = {
    "ce_rate_loss": "spk",
    "ce_count_loss": "spk",
    "ce_temporal_loss": "spk",
    "ce_max_membrane_loss": "mem",
    "mse_count_loss": "spk",
    "mse_temporal_loss": "spk",
    "mse_membrane_loss": "mem",
    "tet_loss": "mem",
    "ttfs_loss": "spk",
    "van_rossum_loss": "spk",
    "l1_rate_sparsity": "spk",
    "rate_bounds": "spk",
    "membrane_bounds": "mem",
}


class Options(TypedDict, total=False):
    """The keyword-only arguments that `TBPTT`, `BPTT` and `RTRL` share; see `TBPTT`."""

    readout: Readout | None
    sequence: bool
    clip_grad_norm: float | None
    amp: torch.dtype | None
    scaler: torch.amp.GradScaler | None
    progress: bool
    on_update: Callable[[Tensor, Tensor, Tensor], object] | None


def TBPTT(
    net: nn.Module,
    dataloader: Iterable[tuple[Tensor, Tensor]],
    optimizer: torch.optim.Optimizer,
    criterion: Callable[[Tensor, Tensor], Tensor],
    num_steps: int | None = False,
    time_var: bool = True,
    time_first: bool = True,
    regularization: Callable[[Tensor], Tensor] | Literal[False] | None = False,
    device: torch.device | str = "cpu",
    K: int | None = 1,
    *,
    readout: Readout | None = None,
    sequence: bool = False,
    clip_grad_norm: float | None = None,
    amp: torch.dtype | None = None,
    scaler: torch.amp.GradScaler | None = None,
    progress: bool = False,
    on_update: Callable[[Tensor, Tensor, Tensor], object] | None = None,
) -> Tensor:
    """Train for one epoch by truncated backpropagation through time: an update after every K steps.

    The states of the network are zeroed before each batch, and cut from their history after each update. A chunk's
    outputs `[k, B, C]` (`k <= K`; the last chunk is what is left) meet the batch's whole targets, so that targets
    which count spikes count those of K steps.

    Args:
        net: called once a time step (by `snntorch.unroll`); returns the output spikes, or a tuple with the spikes
            first and the membrane potential last. Its neurons keep their states themselves (`init_hidden=True`).
        dataloader: yields `(data, targets)`: data `[T, B, ...]`, where T may differ between batches, or, with
            `time_var=False`, `[B, ...]`, the input of every step.
        optimizer: of the network's parameters.
        criterion: `criterion(outputs, targets)`, one value. Where its `time_var_targets` is true, it gets those of
            the chunk's steps, from the first dimension of the targets.
        num_steps: number of steps T, with `time_var=False`.
        time_var: whether the data varies over time.
        time_first: whether data is `[T, B, ...]`, not `[B, T, ...]`.
        regularization: added to the loss, of the spikes (of the membrane potential for `membrane_bounds`).
        device: where to train.
        K: steps between updates; None, False or 0 for whole sequences.
        readout: which output the criterion reads, `"spk"` or `"mem"`; None where it is one of
            `snntorch.functional`'s losses, which tell.
        sequence: call the network once a chunk, on `[k, B, ...]`, as one whose forward is itself a loop over time
            needs, unless it says `takes_sequence = True`.
        clip_grad_norm: bound of the gradient's norm at every update.
        amp: dtype for automatic mixed precision, such as `torch.bfloat16`.
        scaler: of the losses, for `amp=torch.float16`; keep it between epochs.
        progress: show a progress bar (needs tqdm).
        on_update: called as `on_update(loss, outputs, targets)` after each update, all detached: for metrics, a
            learning-rate schedule, a log.

    Returns:
        The loss per step, a detached scalar, which is the mean over batches of `sum over chunks of loss * k / T`.

    Raises:
        ValueError: `num_steps` beside `time_var=True` or missing without it, `K > num_steps`, `time_first=False`
            without `time_var`, no batches or steps, a network that does not return what the loss needs.
        TypeError: a criterion of one's own without `readout`.

    Source: Williams and Peng, "An efficient gradient-based algorithm for on-line training of recurrent network
    trajectories", Neural Computation 2(4), 1990.

    Example:
        >>> import snntorch as snn, torch
        >>> from snntorch import backprop, functional
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 2), snn.Leaky(beta=0.9, init_hidden=True, output=True))
        >>> batches = [(torch.rand(10, 8, 4), torch.randint(2, (8,)))]
        >>> optimizer = torch.optim.Adam(net.parameters())
        >>> loss = backprop.TBPTT(net, batches, optimizer, functional.ce_rate_loss(), K=5)
        >>> loss.shape
        torch.Size([])
    """
    num_steps = num_steps or None
    K = K or None
    _check_times(net, num_steps, time_var, time_first, K)
    kind = torch.device(device).type
    scaler = scaler if scaler is not None else torch.amp.GradScaler(kind, enabled=False)
    read = readout or _named_readout(criterion)
    if read not in ("spk", "mem"):
        raise ValueError(f"readout must be 'spk', 'mem' or None, got {readout!r}")
    read_penalty = _READOUTS.get(_name(regularization), "spk")

    net.to(device)
    total, batches = torch.zeros((), device=device), 0
    for data, targets in bar(dataloader) if progress else dataloader:
        net.train()
        targets = targets.to(device)
        if time_var and not time_first:
            data = data.transpose(0, 1)
        if not time_var:
            data = data.to(device)
        steps = len(data) if num_steps is None else num_steps
        if steps == 0:
            raise ValueError(f"data must hold at least one time step, got shape {tuple(data.shape)}")
        reset(net)
        for start in range(0, steps, K or steps):
            length = min(K or steps, steps - start)
            chunk = slice(start, start + length)
            with torch.autocast(kind, dtype=amp, enabled=amp is not None):
                out = _run(net, data[chunk].to(device) if time_var else data, None if time_var else length, sequence)
                outputs = _read(out, read)
                wanted = targets[chunk] if getattr(criterion, "time_var_targets", False) else targets
                loss = _single(criterion(outputs, wanted))
                if regularization:
                    loss = loss + _single(regularization(_read(out, read_penalty)))
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            if clip_grad_norm is not None:
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(net.parameters(), clip_grad_norm)
            scaler.step(optimizer)
            scaler.update()
            detach(net)
            total = total + loss.detach() * (length / steps)
            if on_update is not None:
                on_update(loss.detach(), outputs.detach(), wanted)
        batches += 1
    if not batches:
        raise ValueError("dataloader must yield at least one batch, got none")
    return total / batches


def BPTT(
    net: nn.Module,
    dataloader: Iterable[tuple[Tensor, Tensor]],
    optimizer: torch.optim.Optimizer,
    criterion: Callable[[Tensor, Tensor], Tensor],
    num_steps: int | None = False,
    time_var: bool = True,
    time_first: bool = True,
    regularization: Callable[[Tensor], Tensor] | Literal[False] | None = False,
    device: torch.device | str = "cpu",
    **options: Unpack[Options],
) -> Tensor:
    """Train for one epoch by backpropagation through time: an update after every sequence.

    Arguments, return value and errors are those of `TBPTT`, whose `K` is the length of the sequence here.

    Source: Werbos, "Backpropagation through time: what it does and how to do it", Proceedings of the IEEE 78(10), 1990.

    Example:
        >>> import snntorch as snn, torch
        >>> from snntorch import backprop, functional
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 2), snn.Leaky(beta=0.9, init_hidden=True, output=True))
        >>> batches = [(torch.rand(8, 4), torch.randint(2, (8,)))]
        >>> optimizer = torch.optim.Adam(net.parameters())
        >>> loss = backprop.BPTT(net, batches, optimizer, functional.ce_rate_loss(), num_steps=10, time_var=False)
    """
    return TBPTT(
        net, dataloader, optimizer, criterion, num_steps, time_var, time_first, regularization, device, K=None,
        **options,
    )  # fmt: skip


def RTRL(
    net: nn.Module,
    dataloader: Iterable[tuple[Tensor, Tensor]],
    optimizer: torch.optim.Optimizer,
    criterion: Callable[[Tensor, Tensor], Tensor],
    num_steps: int | None = False,
    time_var: bool = True,
    time_first: bool = True,
    regularization: Callable[[Tensor], Tensor] | Literal[False] | None = False,
    device: torch.device | str = "cpu",
    **options: Unpack[Options],
) -> Tensor:
    """Train for one epoch with an update after every time step, on the gradient of that step alone.

    This is `TBPTT` with `K=1`, under the name that it has in the published snnTorch: the states keep their values
    but not their history, so no gradient reaches an earlier step. It is **not** real-time recurrent learning as
    Williams and Zipser (1989) define it, which carries the states' sensitivities forward. `eprop` and `ottt` do
    that, exactly for one layer of neurons, at the same cost in memory.

    Arguments, return value and errors are those of `TBPTT`.

    Example:
        >>> import snntorch as snn, torch
        >>> from snntorch import backprop, functional
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 2), snn.Leaky(beta=0.9, init_hidden=True, output=True))
        >>> batches = [(torch.rand(10, 8, 4), torch.randint(2, (8,)))]
        >>> loss = backprop.RTRL(net, batches, torch.optim.Adam(net.parameters()), functional.ce_rate_loss())
    """
    return TBPTT(
        net, dataloader, optimizer, criterion, num_steps, time_var, time_first, regularization, device, K=1, **options
    )


def _check_times(net: nn.Module, num_steps: int | None, time_var: bool, time_first: bool, K: int | None) -> None:
    for name, value in (("num_steps", num_steps), ("K", K)):
        if value is not None and (not isinstance(value, int) or value < 1):
            raise ValueError(f"{name} must be a positive int, got {value!r}")
    if time_var and num_steps is not None:
        raise ValueError(f"num_steps={num_steps} goes with time_var=False; with time_var=True the data tells")
    if not time_var and num_steps is None:
        raise ValueError("num_steps must be given with time_var=False")
    if not time_var and not time_first:
        raise ValueError("time_first=False needs time_var=True: data that does not vary has no time dimension")
    if K is not None and num_steps is not None and K > num_steps:
        raise ValueError(f"K must be at most num_steps={num_steps}, got {K}")
    if K is not None and (whole := uncut(net)):
        raise ValueError(
            f"K must be None for {type(whole[0]).__name__}, which keeps no state between two chunks; got {K}"
        )


def _name(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _named_readout(criterion: Any) -> Readout:
    if _name(criterion) not in _READOUTS:
        raise TypeError(
            f"criterion {_name(criterion)} is none of {', '.join(_READOUTS)}; say which output it reads with "
            "readout='spk' or readout='mem'"
        )
    return _READOUTS[_name(criterion)]


def _run(net: nn.Module, x: Tensor, num_steps: int | None, sequence: bool) -> Any:
    if not sequence:
        return unroll(net, x, num_steps=num_steps)
    return net(x if num_steps is None else x.expand(num_steps, *x.shape))


def _read(out: Any, readout: Readout) -> Tensor:
    """The spikes or the membrane potential of what a network returned."""
    if isinstance(out, Tensor):
        if readout == "mem":
            raise ValueError("the loss reads the membrane potential, but net returns one tensor, taken for its spikes; "
                             "give its last neuron output=True")  # fmt: skip
        return out
    value = out[0 if readout == "spk" else -1]
    return value if isinstance(value, Tensor) else value[0]  # DeltaLeaky returns (mem, mem_prev)


def _single(loss: Tensor) -> Tensor:
    if loss.numel() != 1:
        raise ValueError(f"criterion and regularization must return one value, got shape {tuple(loss.shape)}")
    return loss.reshape(())


def bar(steps: Iterable) -> Any:
    """The same steps, with a progress bar."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        raise ImportError("progress=True needs tqdm: pip install 'snntorch[progress]'") from None
    return tqdm(steps)
