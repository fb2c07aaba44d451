"""What every spiking neuron shares: its parameters, and the run of one pure step, once or over time."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from .. import surrogate
from .._engine import product_dtype, program_text, run, run_feedback, stepped
from .caller import warn
from .describe import described
from .emission import listen, remember
from .ends import ends_now, lasts
from .keywords import keywords
from .pieces import WinnerTakesAll, fitted
from .published import Published
from .recorder import recorder_of
from .settings import Settings
from .states import Stateful, state_dtype

_PLAIN = {bool, str, int, float, type(None)}  # settings that are seen to be no tensors
_NUMBERS = {"alpha", "beta", "threshold", "delta_threshold", "V", "R", "C", "time_step", "factor"}  # broadcast


class SpikingNeuron(Settings, Published):
    """Base of every neuron that runs step by step.

    A subclass names its `states` and writes `step`, one pure function of one time step::

        step(input, *states, *, parameters...) -> (spk, *new_states)

    Its keyword-only arguments name attributes of the module: tensors (`beta`, `threshold`), `spike` (the spike
    function), `factor` (the graded spikes factor), `reset_mechanism`, or any other setting; `**rest` for those of the
    step it overrides. States and tensors arrive in the input's dtype, float32 where that is half precision. A mapping
    `resting` may say what a state starts from: a number, or the name of an attribute, which may be learnt; else it is
    0. From the step derive the module's call, the stored states, reset, detach and `snntorch.unroll`.

    Args:
        threshold: membrane potential above which the neuron spikes; a number or a tensor that broadcasts against the
            input's last dimensions.
        spike_grad: the surrogate gradient: a `snntorch.surrogate`, any callable tensor -> tensor, a name such as
            `"atan"`, or None for `atan()`.
        surrogate_disable: let no gradient through the spike.
        init_hidden: keep the states inside the module; calls then neither take nor (unless `output`) return them.
        inhibition: only the neuron of a sample that is furthest above its threshold may spike.
        learn_threshold: make the threshold a parameter.
        reset_mechanism: `"subtract"` the threshold, reset to `"zero"`, or `"none"`.
        state_quant: a `snntorch.functional.state_quant`, applied to every state after its update.
        output: with `init_hidden`, return the states as well.
        graded_spikes_factor: what a spike is multiplied by.
        learn_graded_spikes_factor: make that factor a parameter.

    Raises:
        ValueError: for an unknown reset mechanism or a NaN parameter.
        TypeError: for a surrogate factory that was not called, or an `autograd.Function` class.

    Example:
        A neuron with an adaptive threshold, `theta = threshold + a`:

        >>> import snntorch as snn, torch
        >>> class Adaptive(snn.SpikingNeuron):
        ...     states = ("mem", "a")
        ...
        ...     def __init__(self, beta, rho, **kwargs):
        ...         super().__init__(**kwargs)
        ...         self.register_value("beta", beta)
        ...         self.register_value("rho", rho, learn=True)
        ...
        ...     @staticmethod
        ...     def step(x, mem, a, *, beta, rho, threshold, spike):
        ...         mem = beta * mem + x
        ...         spk = spike(mem - threshold - a)
        ...         return spk, mem - spk * threshold, rho * a + spk
        >>> lif = Adaptive(beta=0.9, rho=0.8)
        >>> spk, mem, a = snn.unroll(lif, torch.ones(10, 2, 3))
        >>> spk.sum(0)[0]
        tensor([5., 5., 5.], grad_fn=<...>)
    """

    takes_sequence: ClassVar[bool] = False
    threshold: Tensor
    graded_spikes_factor: Tensor
    step: ClassVar[Callable[..., tuple[Tensor, ...]]]

    def __init__(
        self,
        threshold: float | Tensor = 1.0,
        spike_grad: surrogate.SpikeGrad | str | None = None,
        surrogate_disable: bool = False,
        init_hidden: bool = False,
        inhibition: bool = False,
        learn_threshold: bool = False,
        reset_mechanism: str = "subtract",
        state_quant: Any = False,
        output: bool = False,
        graded_spikes_factor: float | Tensor = 1.0,
        learn_graded_spikes_factor: bool = False,
    ) -> None:
        super().__init__()
        if inhibition:
            warn("inhibition allows one spike per sample and step at most")
        self.init_hidden = init_hidden
        self.inhibition = inhibition
        self.output = output
        self.surrogate_disable = surrogate_disable
        self.state_quant = state_quant
        self.spike_grad = surrogate.no_gradient if surrogate_disable else surrogate.resolve(spike_grad)
        self.register_value("threshold", threshold, learn=learn_threshold)
        self.register_value("graded_spikes_factor", graded_spikes_factor, learn=learn_graded_spikes_factor)
        self._register_reset_mechanism(reset_mechanism)
        self._init_mem()

    def extra_repr(self) -> str:
        """What differs from the defaults."""
        return described(self)

    # -- what a step is given

    @property
    def spike(self) -> surrogate.SpikeGrad:
        """The spike function of `mem - threshold`."""
        return WinnerTakesAll(self.spike_grad) if self.inhibition else self.spike_grad

    @property
    def factor(self) -> Tensor:
        """The graded spikes factor."""
        return self.graded_spikes_factor

    # -- one step

    def project(self, input_: Tensor) -> Tensor:
        """What a weight makes of the input alone, `[..., B, ...]`, with or without a time dimension before it."""
        return input_

    def drive(self, projected: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """What `step` takes before the states: the projected input, or what a weight makes of the states added."""
        return (projected,)

    @property
    def recurs(self) -> bool:
        """Whether a `drive` of the class's own depends on the states."""
        return True

    @property
    def linear_feedback(self) -> tuple[int, Tensor, Tensor | None] | None:
        """The state's number, weight and bias, where `drive` adds `state @ weight.T + bias`, or convolves likewise."""
        return None

    def spike_shape(self, input_: Sequence[int], states: Sequence[Sequence[int]]) -> Sequence[int]:
        """Shape of the spikes: the input's, or where a weight makes what the step takes, the states'."""
        return input_ if type(self).drive is SpikingNeuron.drive else states[-1]

    program_text = program_text  # as a method: torch.compile before 2.12 takes no module as an argument

    def step_arguments(self, dtype: torch.dtype) -> dict[str, Any]:
        """The step's keyword arguments, read from the module now; tensors in `dtype`."""
        parameters, buffers = self._parameters, self._buffers
        arguments = {}
        for name in keywords(type(self)):
            value = parameters.get(name, buffers.get(name))  # where getattr of nn.Module would look last
            if value is None:
                value = getattr(self, name)
            if type(value) not in _PLAIN and isinstance(value, Tensor) and value.dtype is not dtype:
                value = value.to(dtype)
            arguments[name] = value
        return arguments

    def forward(self, input_: Tensor, *states: Any, **named_states: Any) -> Any:
        """One time step.

        Args:
            input_: `[B, ...]`; whole numbers and truth values are taken in the threshold's dtype.
            *states: the states in the class's order; one that is left out or None is the stored one. A freshly reset
                one, or one of shape `[0]`, means zeros of whatever shape the input asks for. Input and states
                broadcast.
            **named_states: the same by keyword.

        Returns:
            `(spk, *states)`, or `spk` alone with `init_hidden=True` and `output=False`; spikes in the input's dtype,
            states in float32 where that is half precision.

        Raises:
            TypeError: for an input that is no tensor of real numbers, or states beside `init_hidden=True`.
            ValueError: for a state or a parameter whose shape does not broadcast.
        """
        if type(input_) is not Tensor or not input_.is_floating_point():
            input_ = self.floating(input_)
        state = self._begin(input_, states, named_states)
        if state and state[0].shape != input_.shape and self._broadcasts(input_.shape, state):
            input_ = input_.expand(state[0].shape)
        recorder = recorder_of(input_, *state)
        if recorder is None and self._by_methods():
            return self._returned(*self._run_by_methods(input_, state))
        spk, state = self.one_step(input_, state) if recorder is None else recorder.neuron(self, input_, state)
        self._store(state)
        return self._returned(spk, state)

    def one_step(self, input_: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """The spikes and the states of one step, without regard to the stored ones."""
        driven = self.drive(self.project(input_), *state)
        arguments = self._arguments(input_.dtype, state)
        emitting = listen(self, state, arguments)
        (spk, *_), state = run(self, driven, state, arguments)
        remember(self, state, emitting)
        return spk, state

    def _broadcasts(self, shape: Sequence[int], state: Sequence[Tensor]) -> bool:
        """Whether an input of that shape is smaller than the states."""
        return len(state) > 0 and state[0].shape != shape and type(self).state_shape is Stateful.state_shape

    def _arguments(self, dtype: torch.dtype, state: Sequence[Tensor]) -> dict[str, Any]:
        """The step's keyword arguments, its numbers in shapes that add nothing to the states'."""
        arguments = self.step_arguments(state_dtype(dtype))
        for name, value in arguments.items():
            if name in _NUMBERS and isinstance(value, Tensor) and value.dim():
                arguments[name] = fitted(name, value, state[0].shape)
        return arguments

    def _returned(self, spk: Tensor, state: Sequence[Tensor]) -> Any:
        if self.returns_state:  # that very tensor, so that a layer that writes into the spikes writes into the state
            if state[0] is not None and (spk is None or spk.dtype == state[0].dtype) and not lasts(state[0]):
                spk = state[0]
            state = state[1:]
        return spk if self.init_hidden and not self.output else (spk, *state)

    @property
    def returns_state(self) -> bool:
        """Whether the spikes are a state too."""
        return self.states[:1] == ("spk",)

    def feeds_back_in(self, dtype: torch.dtype) -> bool:
        """Whether its spikes are a state that is rounded to this dtype where it feeds back."""
        feedback = self.linear_feedback if self.returns_state else None
        return feedback is not None and product_dtype(feedback[1]) == dtype

    # -- a whole sequence

    def sequence(self, inputs: Tensor, states: Sequence = (), num_steps: int | None = None, kept: Any = None) -> Any:
        """What `snntorch.unroll` returns for this neuron: its outputs stacked over time; `kept` gets its states'."""
        if type(inputs) is not Tensor or not inputs.is_floating_point():
            inputs = self.floating(inputs)
        steps, now, static = (inputs.shape[0], inputs[0], False) if num_steps is None else (num_steps, inputs, True)
        state = self._begin(now, states, {})
        if self._broadcasts(now.shape, state):
            shape, ones = state[0].shape, (1,) * (state[0].dim() - now.dim())
            inputs = inputs.expand(shape) if static else inputs.reshape(steps, *ones, *now.shape).expand(steps, *shape)
        spikes_only = self.init_hidden and not self.output and kept is None
        half = state_dtype(inputs.dtype) != inputs.dtype
        wanted = [spikes_only or half or not self.returns_state, *[not spikes_only] * len(self.states)]
        over_time = self.over_time if (ends := ends_now(steps)) is None else ends.over_time(self, range(steps))
        courses, state = over_time(inputs, state, steps, static, wanted)
        self._store(state)
        if kept is not None:
            kept += courses[1:]
        return self._returned(courses[0], courses[1:])

    def over_time(
        self, inputs: Tensor, state: list[Tensor], steps: int, static: bool, wanted: Sequence[bool]
    ) -> tuple[list[Any], list[Tensor]]:
        """All time steps, without regard to the stored states.

        Args:
            inputs: `[T, B, ...]`, or `[B, ...]` where static.
            state: the states before the first step.
            steps: number of steps.
            static: whether every step has the same input.
            wanted: for the spikes and then each state whether its course is asked for.

        Returns:
            The courses, `[T, B, ...]` each, with None where not wanted, and the states after the last step.
        """
        arguments = self._arguments(inputs.dtype, state)
        emitting = listen(self, state, arguments)
        courses, state = self._courses(self.project(inputs), state, arguments, steps, static, wanted)
        remember(self, state, emitting)
        return courses, state

    def _courses(
        self, projected: Tensor, state: list[Tensor], arguments: dict[str, Any], steps: int, static: bool,
        wanted: Sequence[bool],
    ) -> tuple[list[Any], list[Tensor]]:  # fmt: skip
        """As `over_time`, of the projected inputs."""
        if type(self).drive is SpikingNeuron.drive or not self.recurs:
            return run(self, (projected,), state, arguments, steps=steps, varies=(not static,), wanted=wanted)
        feedback = self.linear_feedback
        if feedback is not None and (whole := run_feedback(self, projected, feedback, state, arguments, steps, wanted)):
            return whole
        stepped(self, "what it takes depends on its states, at every step", by_kernels=True)
        trains: list[list[Any]] = []
        for now in (projected,) * steps if static else projected.unbind():
            train, state = run(self, self.drive(now, *state), state, arguments)
            trains.append(train)
        return [torch.stack([train[k] for train in trains]) if w else None for k, w in enumerate(wanted)], state
