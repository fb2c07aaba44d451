"""Pictures of spikes: rasters, counts, membranes, statistics, weights, training curves and animations.

The functions take tensors of any device and dtype (gradients are left alone) or NumPy arrays, draw on the
axes that they are given, and hand back what they drew. None of them changes matplotlib's settings. Colours
can be told apart by colour-blind readers and stand out on light and on dark backgrounds.

matplotlib is optional (`pip install snntorch[plot]`) and is imported when a plot is drawn.
"""

from ._animation import Camera as Camera
from ._animation import animator as animator
from ._count import spike_count as spike_count
from ._membrane import membrane_traces as membrane_traces
from ._membrane import traces as traces
from ._overview import overview as overview
from ._raster import raster as raster
from ._raster import raster_grid as raster_grid
from ._raster import raster_groups as raster_groups
from ._save import player as player
from ._save import save as save
from ._statistics import isi_histogram as isi_histogram
from ._statistics import psth as psth
from ._statistics import rate_histogram as rate_histogram
from ._training import training_curves as training_curves
from ._weights import receptive_fields as receptive_fields
from ._weights import weight_histogram as weight_histogram
from ._weights import weight_map as weight_map
