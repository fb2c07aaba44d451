"""`GradedSpikes`, by the import path that public code knows."""

from .gradedspikes import GradedSpikes as GradedSpikes
