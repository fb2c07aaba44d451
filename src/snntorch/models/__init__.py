"""Networks of the literature: constructors, any neuron, modules of one time step that `snntorch.unroll` folds."""

from .qkformer import QKFormer as QKFormer
from .resnet import SEWResNet as SEWResNet
from .resnet import sew_resnet18 as sew_resnet18
from .resnet import sew_resnet34 as sew_resnet34
from .shd import DelayNet as DelayNet
from .spikformer import QKAttention as QKAttention
from .spikformer import Spikformer as Spikformer
from .spikformer import SpikingSelfAttention as SpikingSelfAttention
from .vgg import SpikingVGG as SpikingVGG
