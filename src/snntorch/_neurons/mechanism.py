"""The reset mechanism: a setting that may change at any time, and that a checkpoint holds as a number."""

from typing import Any

import torch
from torch import Tensor, nn

RESET_MECHANISMS = {"subtract": 0, "zero": 1, "none": 2}


class ResetMechanism(nn.Module):
    """A neuron with a reset mechanism."""

    reset_mechanism_val: Tensor

    def _register_reset_mechanism(self, value: str) -> None:
        self.register_buffer("reset_mechanism_val", torch.tensor(0))
        self.reset_mechanism = value

    @property
    def reset_mechanism(self) -> str:
        """`"subtract"`, `"zero"` or `"none"`; setting it takes effect from the next step."""
        return self._reset_mechanism

    @reset_mechanism.setter
    def reset_mechanism(self, value: str) -> None:
        if value not in RESET_MECHANISMS:
            raise ValueError(f"reset_mechanism must be one of {', '.join(RESET_MECHANISMS)}, got {value!r}")
        self._reset_mechanism = value
        self.reset_mechanism_val = torch.full_like(self.reset_mechanism_val, RESET_MECHANISMS[value])

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        state_dict, prefix, *_, errors = args
        value = state_dict.get(f"{prefix}reset_mechanism_val")
        if value is not None and value.device.type != "meta" and int(value) not in RESET_MECHANISMS.values():
            errors.append(f"{prefix}reset_mechanism_val must be one of 0, 1, 2, got {int(value)}")
            return
        super()._load_from_state_dict(*args, **kwargs)
        if self.reset_mechanism_val.device.type != "meta":
            self._reset_mechanism = list(RESET_MECHANISMS)[int(self.reset_mechanism_val)]
