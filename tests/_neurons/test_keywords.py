"""Every keyword of every constructor arrives: another value changes what the module computes, keeps or warns of."""

import functools
import inspect
import warnings
from typing import Any

import pytest
import torch
from torch import nn

import snntorch as snn
from helpers import flat, gradients
from snntorch import surrogate
from snntorch.functional.quant import state_quant

T, B, F = 6, 2, 3
IMAGE = (4, 4)
QUANT = state_quant(num_bits=2, lower_limit=0.5, upper_limit=0.5)

HIDDEN = {"init_hidden": True}
ONE = {"all_to_all": False, "linear_features": None}
VECTOR = {"beta": torch.full((F,), 0.9)}
CONV = {"linear_features": None, "conv2d_channels": 2, "kernel_size": 3}

# Another value of what any class may be told; of three: the value, what goes with it, and what it is compared with.
COMMON: dict[str, Any] = {
    "threshold": 0.37,
    "spike_grad": surrogate.sigmoid(3),
    "surrogate_disable": True,
    "init_hidden": True,
    "inhibition": True,
    "reset_mechanism": "none",
    "state_quant": QUANT,
    "output": (True, HIDDEN, HIDDEN),
    "graded_spikes_factor": 2.5,
    "reset_delay": False,
    "bias": False,
    "dtype": torch.float64,
    "device": "meta",
    "time_step": 0.5,
    "learn": ("a",),
    **{
        f"learn_{name}": True
        for name in ("alpha", "beta", "threshold", "graded_spikes_factor", "rho", "strength", "width", "coupling")
    },
}
RECURRENT: dict[str, Any] = {
    "V": (0.3, ONE, ONE),
    "all_to_all": (False, {"linear_features": None}, {}),
    "linear_features": (None, {"conv2d_channels": 2, "kernel_size": 3}, {}),
    "conv2d_channels": (2, {"linear_features": None, "kernel_size": 3}, {}),
    "kernel_size": (5, CONV, CONV),
    "learn_recurrent": False,
}

# The class -> what it is built with, and other values of the keywords that are its own, or differ there.
TABLE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "SpikingNeuron": ({}, {}),
    "LIF": ({"beta": 0.9}, {"beta": 0.5}),
    "Leaky": ({"beta": 0.9}, {"beta": 0.5}),
    "Lapicque": ({"beta": 0.8}, {"beta": 0.6, "R": 2.0, "C": 2.0}),
    "Synaptic": ({"alpha": 0.8, "beta": 0.6}, {"alpha": 0.3, "beta": 0.3}),
    "Alpha": ({"alpha": 0.8, "beta": 0.6}, {"alpha": 0.7, "beta": 0.3, "threshold": 0.1}),
    "RLeaky": ({"beta": 0.9, "linear_features": F}, {"beta": 0.5}),
    "RSynaptic": ({"alpha": 0.8, "beta": 0.6, "linear_features": F}, {"alpha": 0.3, "beta": 0.3}),
    "SLSTM": (
        {"input_size": F, "hidden_size": F, "threshold": 0.05, "reset_mechanism": "zero"},
        {"input_size": F + 1, "hidden_size": 5, "threshold": 0.01},
    ),
    "SConv2dLSTM": (
        {"in_channels": 2, "out_channels": 2, "kernel_size": 3, "threshold": 0.05, "reset_mechanism": "zero"},
        {"in_channels": 3, "out_channels": 4, "kernel_size": 1, "max_pool": 2, "avg_pool": 2, "threshold": 0.01},
    ),
    "DeltaLeaky": ({"beta": 0.9}, {"delta_threshold": 0.2, "beta": 0.5, "init_hidden": (True, {"output": False}, {}),
                                     "output": (False, HIDDEN, HIDDEN)}),
    "StateLeaky": (
        {"beta": 0.9, "channels": F},
        {"beta": 0.5, "channels": (4, VECTOR, VECTOR), "output": False, "kernel_truncation_steps": 2},
    ),
    "LinearLeaky": (
        {"beta": 0.9, "in_features": F, "out_features": 4},
        {"beta": 0.5, "in_features": 2, "out_features": 2, "output": False, "kernel_truncation_steps": 2},
    ),
    "LeakyParallel": (
        {"input_size": F, "hidden_size": 4, "beta": 0.9, "threshold": 0.2},
        {"input_size": 2, "hidden_size": 5, "beta": 0.5, "dropout": 0.5,
         "weight_hh_enable": (True, {"learn_beta": True}, {"learn_beta": True}), "threshold": 0.1},
    ),
    "AssociativeLeaky": (
        {"in_dim": F, "d_value": 2, "d_key": 2, "num_spiking_neurons": 4},
        {"in_dim": 2, "d_value": (3, {"num_spiking_neurons": 6}, {}), "d_key": (3, {"num_spiking_neurons": 6}, {}),
         "num_spiking_neurons": 6, "use_q_projection": False},
    ),
    "ALIF": ({"beta": 0.9, "rho": 0.8}, {"beta": 0.5, "rho": 0.2, "strength": 0.5}),
    "PLIF": ({}, {"beta": 0.8, "decay_input": False}),
    "Izhikevich": ({}, {"a": 0.1, "b": 0.3, "c": -50.0, "d": 2.0, "rest": -60.0, "threshold": -20.0}),
    "EIF": ({}, {"C": 200.0, "g_L": 20.0, "E_L": -60.0, "V_T": -45.0, "delta_T": 3.0, "V_reset": -50.0,
                 "learn": ("C",), "threshold": -50.0}),
    "AdEx": ({}, {"C": 200.0, "g_L": 20.0, "E_L": -60.0, "V_T": -45.0, "delta_T": 3.0, "V_reset": -50.0, "a": 10.0,
                  "b": 800.0, "tau_w": 30.0, "threshold": -50.0}),
    "QIF": ({}, {"tau": 3.0, "rest": 0.2, "critical": 0.3, "curvature": 2.0, "v_reset": 0.3, "learn": ("tau",)}),
    "NoisyLeaky": (
        {"beta": 0.9, "width": 0.5},
        {"beta": 0.5, "width": 1.5, "generator": torch.Generator().manual_seed(3), "threshold": 0.1},
    ),
    "IntegerLeaky": ({"beta": 0.6}, {"beta": 0.2, "levels": 1}),
    "BRF": (
        {},
        {"omega": 5.0, "damping": 3.0, "gamma": 0.5, "learn": ("omega",), "reset_mechanism": "zero",
            "time_step": 0.02, "threshold": 0.3},
    ),
    "SigmaDelta": ({}, {"rectify": False, "reset_mechanism": "zero"}),
    "TwoCompartment": (
        {}, {"to_soma": 0.1, "to_dendrite": -0.1, "feedback": 0.1, "beta": 0.5, "beta_dendrite": 0.5}
    ),
    "GLIF": (
        {}, {"alpha": 0.9, "beta": 0.9, "gamma": 0.9, "tau": 0.9, "leak": 0.3, "v_reset": 0.1, "conductance": 0.9,
                "learn": False},
    ),
    "PSN": ({"num_steps": T}, {"num_steps": T - 1}),
    "MaskedPSN": ({"num_steps": T, "order": 3}, {"num_steps": T - 1, "order": 1, "masking": 0.5}),
    "SlidingPSN": ({"order": 3}, {"order": 1}),
    "LeakyIntegrator": ({"beta": 0.9}, {"beta": 0.5, "gain": 2.0, "rest": 1.0}),
    "SynapticIntegrator": ({"alpha": 0.8, "beta": 0.9}, {"alpha": 0.3, "beta": 0.5, "gain": 2.0, "rest": 1.0}),
    "Delay": ({"steps": 1}, {"steps": 2}),
    "AxonalDelay": ({"size": F, "max_delay": 3}, {"size": 1, "max_delay": 5, "width": 1.0, "learn_delay": False}),
    "SynapticDelay": (
        {"in_features": F, "out_features": 2, "max_delay": 3},
        {"in_features": 2, "out_features": 4, "max_delay": 5, "width": 1.0, "learn_delay": False},
    ),
    "BatchNormTT1d": (
        {"input_features": F, "time_steps": T},
        {"input_features": 2, "time_steps": T - 1, "eps": 0.5, "momentum": 0.9, "affine": False},
    ),
    "BatchNormTT2d": (
        {"input_features": 2, "time_steps": T},
        {"input_features": 3, "time_steps": T - 1, "eps": 0.5, "momentum": 0.9, "affine": False},
    ),
    **{
        f"SequenceBatchNorm{n}d": (
            {"num_features": F},
            {"num_features": 2, "eps": 0.5, "momentum": 0.9, "affine": False, "track_running_stats": False},
        )
        for n in (1, 2)
    },
    **{
        f"ThresholdDependentBatchNorm{n}d": (
            {"num_features": F}, {"num_features": 2, "alpha": 0.7, "eps": 0.5, "momentum": 0.9}
        )
        for n in (1, 2)
    },
    **{
        f"TemporalEffectiveBatchNorm{n}d": (
            {"num_features": F, "time_steps": T}, {"num_features": 2, "time_steps": T + 1, "eps": 0.5, "momentum": 0.9}
        )
        for n in (1, 2)
    },
    **{f"SequenceDropout{n}": ({}, {"p": 0.9}) for n in ("", "1d", "2d")},
    "GradedSpikes": ({"size": F, "constant_factor": 1.0}, {"size": 2, "constant_factor": 2.0}),
}  # fmt: skip
SCALES = {"Izhikevich": 60.0, "EIF": 2500.0, "AdEx": 3000.0, "QIF": 4.0, "BRF": 60.0}
IMAGES = {"SConv2dLSTM", *(name for name in TABLE if name.endswith("2d"))}
INPUTS = (
    "input_size", "in_features", "in_dim", "input_features", "num_features", "in_channels", "conv2d_channels", "size",
)  # fmt: skip
EXPORTED = {n: c for n, c in vars(snn).items() if inspect.isclass(c) and issubclass(c, nn.Module)}


# What is an attribute, and no more: DeltaLeaky takes Leaky's arguments, and has no reset.
NO_USE = {("DeltaLeaky", "reset_delay"), ("DeltaLeaky", "threshold")}

# Other values that are wrong beside the rest, and named so.
REFUSED = {
    ("AssociativeLeaky", "num_spiking_neurons"), ("BRF", "reset_mechanism"), ("GLIF", "reset_mechanism"),
    ("SigmaDelta", "reset_mechanism"), ("MaskedPSN", "num_steps"), ("PSN", "num_steps"), ("StateLeaky", "channels"),
}  # fmt: skip


class Bare(snn.SpikingNeuron):
    """A step for the base, which has none."""

    states = ("mem",)

    @staticmethod
    def step(x, mem, *, threshold, spike, factor, reset_mechanism, state_quant):
        """As Leaky's."""
        return snn.Leaky.step(
            x, mem, beta=0.9 * threshold, threshold=threshold, spike=spike, factor=factor,
            reset_mechanism=reset_mechanism, reset_delay=True, state_quant=state_quant,
        )  # fmt: skip


class BareLIF(snn.LIF):
    """The same with a decay."""

    states = ("mem",)
    step = staticmethod(functools.partial(snn.Leaky.step, reset_delay=True))


def keywords(cls: type) -> list[str]:
    """What the constructor takes, with what it hands on to its bases."""
    found: list[str] = []
    for base in cls.__mro__:
        if "__init__" in vars(base):
            parameters = list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]
            if base.__name__ in EXPORTED or not found:  # the first is the class's own, whoever wrote it
                found += [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
            if all(p.kind is not p.VAR_KEYWORD for p in parameters):
                break
    return list(dict.fromkeys(found))


def made(name: str, kwargs: dict[str, Any]) -> Any:
    """What comes of a module: what it keeps, warns of, and computes."""
    with warnings.catch_warnings(record=True) as warned, torch.random.fork_rng(devices=()), snn.backend("eager"):
        warnings.simplefilter("always")
        torch.manual_seed(0)
        module = {"SpikingNeuron": Bare, "LIF": BareLIF}.get(name, EXPORTED[name])(**kwargs)
        kept = [(n, p.shape, p.dtype, p.device, p.requires_grad) for n, p in module.named_parameters()]
        kept += [(n, b.shape, b.dtype, b.device) for n, b in module.named_buffers()]
        if any(t.device.type == "meta" for t in module.parameters()):
            return kept
        size = next((kwargs[k] for k in INPUTS if kwargs.get(k)), F)
        sample = (size, *IMAGE) if name in IMAGES or kwargs.get("conv2d_channels") else (size,)
        x = (SCALES.get(name, 1.0) * (torch.randn(T, B, *sample) + 0.3)).to(kwargs.get("dtype")).requires_grad_()
        if isinstance(module, nn.ModuleList):
            out: Any = torch.stack([bn(now) for bn, now in zip(module, x, strict=False)])
        else:
            states: Any = getattr(module, "states", ()) if not getattr(module, "init_hidden", True) else ()
            given = [torch.zeros(0)] * len(states)
            out = snn.unroll(module, x, *([tuple(given)] if name == "DeltaLeaky" and given else given))
        grads = gradients(out, x, module) if any(o.requires_grad for o in flat(out)) else {}
    values = [o.tolist() for o in (*flat(out), *grads.values(), *module.buffers())]
    return kept, [str(o.shape) for o in flat(out)], repr(values), [str(w.message) for w in warned]


CASES = [(name, keyword) for name in sorted(EXPORTED) for keyword in keywords(EXPORTED[name])]


def test_the_table_has_a_row_for_every_class():
    assert set(TABLE) == set(EXPORTED), f"give {set(EXPORTED) - set(TABLE)} a row in TABLE"


@pytest.mark.parametrize(("name", "keyword"), [case for case in CASES if case not in NO_USE])
def test_another_value_counts(name, keyword):
    base, own = TABLE[name]
    table = {**COMMON, **(RECURRENT if name in ("RLeaky", "RSynaptic") else {}), **own}
    assert keyword in table, f"no other value of {keyword} in the table"
    value = table[keyword]
    value, beside, before = value if isinstance(value, tuple) and len(value) == 3 else (value, {}, {})
    expected = made(name, {**base, **before})
    if (name, keyword) in REFUSED:
        with pytest.raises(ValueError, match="must be"):
            made(name, {**base, **beside, keyword: value})
    else:
        assert made(name, {**base, **beside, keyword: value}) != expected
