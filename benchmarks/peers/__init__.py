"""The implementations that are compared: a library and a way to use it, one small class each.

| impl | Python environment | what runs |
|---|---|---|
| snntorch | the published snnTorch | the loop over time steps that its users write |
| spikingjelly | SpikingJelly | its multi-step mode; stateless layers fold time into the batch |
| memopt | SpikingJelly | the same with its `memopt`: checkpoints whose inputs are kept as bits |
| norse | Norse | its box neuron, lifted over time |
| sinabs | Sinabs | its LIF, on `[B, T, ...]` |
| unmodified | ours | exactly the code of `snntorch` |
| unroll | ours | `snn.unroll` |
| packed | ours | `snn.unroll` in `snn.packed_spikes` |
| recompute | ours | `snn.unroll(..., recompute=10)` |
| lengths | ours | `snn.unroll` of samples that end one by one, from half of the steps on |
| layerwise | ours | exactly the code of `snntorch`, in `snn.layerwise` |
| folded | ours | folded by hand: stateless layers on `[T·B, ...]`, each neuron in `snn.unroll` |
| floor | ours | the same net with ReLU for neurons and time folded into the batch; |
| | | for a neuron alone, a plain copy of the bytes that must move |
| floor-stepped | ours | the linear layers alone, called once a step |
"""

from .base import Peer
from .floor import Floor, FloorStepped
from .norse import Norse
from .ours import Folded, Layerwise, Lengths, Packed, Recompute, Unmodified, Unroll
from .sinabs import Sinabs
from .snntorch import SnnTorch
from .spikingjelly import Memopt, SpikingJelly

IMPLEMENTATIONS: dict[str, type[Peer]] = {
    "snntorch": SnnTorch,
    "spikingjelly": SpikingJelly,
    "memopt": Memopt,
    "norse": Norse,
    "sinabs": Sinabs,
    "unmodified": Unmodified,
    "unroll": Unroll,
    "packed": Packed,
    "recompute": Recompute,
    "lengths": Lengths,
    "layerwise": Layerwise,
    "folded": Folded,
    "floor": Floor,
    "floor-stepped": FloorStepped,
}
# What an environment needs beyond torch for what we run; a package's own requirements would pull another torch.
ENVIRONMENTS = {peer.environment: (peer.package, peer.needs) for peer in IMPLEMENTATIONS.values() if peer.package}
