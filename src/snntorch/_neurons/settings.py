"""What a neuron is set to: numbers, learnt or not, and a reset mechanism, which a checkpoint holds as a number."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from .pieces import initial_tensor
from .recorder import recorder_now


class Settings(nn.Module):
    """A neuron with settings, which may change at any time."""

    reset_dict: ClassVar[dict[str, int]] = {"subtract": 0, "zero": 1, "none": 2}
    reset_mechanism_val: Tensor
    states: ClassVar[tuple[str, ...]]

    def __setattr__(self, name: str, value: Any) -> None:
        recorder = None if torch.compiler.is_compiling() else recorder_now()
        if recorder is not None and not recorder.stopped and name not in self.states:
            value = recorder.about_to_set(self, name, value)
        super().__setattr__(name, value)

    def register_value(self, name: str, value: Any, learn: bool = False, persistent: bool = True) -> None:
        """Register a number or tensor as a parameter (`learn=True`) or a buffer of the module.

        An `nn.Parameter` that is to be learnt is shared, everything else copied. A buffer that is not `persistent` is
        in no `state_dict`.

        Raises:
            TypeError: where `value` is complex.
            ValueError: where it holds NaN.
        """
        if learn:
            checked = initial_tensor(name, value)
            self.register_parameter(name, value if isinstance(value, nn.Parameter) else nn.Parameter(checked))
        else:
            self.register_buffer(name, initial_tensor(name, value), persistent)

    def _register_reset_mechanism(self, value: str) -> None:
        self.register_buffer("reset_mechanism_val", torch.tensor(0))
        self.reset_mechanism = value

    @property
    def reset_mechanism(self) -> str:
        """`"subtract"`, `"zero"` or `"none"`; setting it takes effect from the next step."""
        return self._reset_mechanism

    @reset_mechanism.setter
    def reset_mechanism(self, value: str) -> None:
        if value not in self.reset_dict:
            raise ValueError(f"reset_mechanism must be one of {', '.join(self.reset_dict)}, got {value!r}")
        self._reset_mechanism = value
        self.reset_mechanism_val = torch.full_like(self.reset_mechanism_val, self.reset_dict[value])

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        state_dict, prefix, *_, errors = args
        value = state_dict.get(f"{prefix}reset_mechanism_val")
        if value is not None and value.device.type != "meta" and int(value) not in self.reset_dict.values():
            errors.append(f"{prefix}reset_mechanism_val must be one of 0, 1, 2, got {int(value)}")
            return
        super()._load_from_state_dict(*args, **kwargs)
        if self.reset_mechanism_val.device.type != "meta":
            self._reset_mechanism = list(self.reset_dict)[int(self.reset_mechanism_val)]
