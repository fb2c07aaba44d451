"""What a network costs: NeuroBench's metrics, an energy estimate and a summary of every layer."""

from .energy import Energy as Energy
from .energy import EnergyModel as EnergyModel
from .static import connection_sparsity as connection_sparsity
from .static import footprint as footprint
from .summary import Summary as Summary
from .summary import summary as summary
from .workload import LayerCount as LayerCount
from .workload import Workload as Workload
