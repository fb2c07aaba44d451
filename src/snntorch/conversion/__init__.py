"""Convert a trained ReLU network into a network of integrate-and-fire neurons."""

from ._balancing import ann_to_snn as ann_to_snn
from ._by_steps import accuracy_by_steps as accuracy_by_steps
from ._by_steps import error_by_steps as error_by_steps
