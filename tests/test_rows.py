"""The table of rows is whole: what is exported without its row would run through no test."""

import inspect

import rows
import snntorch as snn
from snntorch import surrogate

# What a neuron is made of, and no neuron itself.
BASES = {snn.SpikingNeuron, snn.LIF}
# They run on sequences of one length, which the tests of rows vary.
ONE_LENGTH = {snn.PSN, snn.MaskedPSN}
# Its gradient is drawn at backward: no two runs agree.
RANDOM = {surrogate.SSO}


def test_every_exported_neuron_has_its_row() -> None:
    exported = {c for c in vars(snn).values() if inspect.isclass(c)}
    neurons = {c for c in exported if c.__module__.startswith("snntorch._neurons")} - BASES
    assert len(neurons) > 10
    missing = {c.__name__ for c in neurons - ONE_LENGTH - {row.cls for row in rows.ROWS}}
    assert not missing, f"give {missing} a row in tests/rows.py: a function of its own, named in _NEURONS"


def test_every_surrogate_has_its_row() -> None:
    spikes = [surrogate.resolve(row.kwargs.get("spike_grad")) for row in rows.ROWS]
    covered = {spike.function for spike in spikes if isinstance(spike, surrogate.Surrogate)}
    missing = {name for name, f in surrogate.FACTORIES.items() if f not in RANDOM and f().function not in covered}
    assert not missing, f"give {missing} a row with it as `spike_grad` in tests/rows.py"
    assert any(isinstance(spike, surrogate.LearnableWidth) for spike in spikes)
    assert surrogate.CustomSurrogate in covered
