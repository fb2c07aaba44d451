"""An energy estimate from counted operations, with every assumption a number that can be replaced."""

from dataclasses import dataclass
from typing import NamedTuple


class Energy(NamedTuple):
    """Joules per sample.

    Attributes:
        compute: arithmetic of synapses and neurons.
        memory: reads of weights, reads and writes of membrane potentials.

    Example:
        >>> Energy(compute=1e-9, memory=3e-9).total
        4e-09
    """

    compute: float
    memory: float

    @property
    def total(self) -> float:
        """Both together."""
        return self.compute + self.memory


@dataclass(frozen=True)
class EnergyModel:
    """Joules per operation and per byte moved; a first-order estimate, not a measurement of any chip.

    With `M` effective MACs, `A` effective ACs and `U` membrane updates per sample::

        compute = mac * M + ac * A + membrane_update * U
        memory  = byte * (weight_bytes * (M + A) + 2 * state_bytes * U)

    So every effective operation reads its weight (nothing is reused, as on event-driven hardware), every membrane
    update reads and writes one state, and a zero input or a zero weight costs nothing. Leakage, the routing of spikes
    and the host's own work are left out. Memory usually dominates (Lemaire et al., "An analytical estimation of spiking
    neural networks energy efficiency", ICONIP 2022).

    The defaults are Horowitz's figures for 45 nm at 0.9 V ("Computing's energy problem (and what we can do about it)",
    ISSCC 2014), for 32-bit floats:

    Attributes:
        mac: a multiplication, 3.7 pJ, and an addition, 0.9 pJ.
        ac: an addition, 0.9 pJ.
        membrane_update: a decay and an addition, as one MAC.
        byte: an eighth of a 64-bit access to a 32 KB SRAM, 20 pJ. Of the same source: 10 pJ for 8 KB, 100 pJ for 1 MB,
            1.3 to 2.6 nJ for DRAM.
        weight_bytes: bytes of a weight.
        state_bytes: bytes of a membrane potential.

    Example:
        Integers of 8 bits (0.2 pJ a multiplication, 0.03 pJ an addition) in a memory of 1 MB:

        >>> model = EnergyModel(mac=0.23e-12, ac=0.03e-12, byte=100e-12 / 8, weight_bytes=1)
        >>> energy = model.estimate(acs=1000)
        >>> f"{energy.compute:.3g} J + {energy.memory:.3g} J"
        '3e-11 J + 1.25e-08 J'
    """

    mac: float = 4.6e-12
    ac: float = 0.9e-12
    membrane_update: float = 4.6e-12
    byte: float = 20e-12 / 8
    weight_bytes: float = 4
    state_bytes: float = 4

    def estimate(self, macs: float = 0, acs: float = 0, membrane_updates: float = 0) -> Energy:
        """The energy of so many operations.

        Args:
            macs: effective multiply-accumulates.
            acs: effective accumulates.
            membrane_updates: updates of membrane potentials.
        """
        return Energy(
            compute=self.mac * macs + self.ac * acs + self.membrane_update * membrane_updates,
            memory=self.byte * (self.weight_bytes * (macs + acs) + 2 * self.state_bytes * membrane_updates),
        )
