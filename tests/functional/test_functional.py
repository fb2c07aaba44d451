"""Every public name resolves from `snntorch.functional` without a further import."""

import subprocess
import sys

import pytest

import snntorch.functional as SF

NAMES = """
    accuracy_rate accuracy_temporal
    ce_rate_loss ce_count_loss ce_max_membrane_loss mse_count_loss mse_membrane_loss mse_temporal_loss
    ce_temporal_loss LossFunctions SpikeTime l1_rate_sparsity state_quant STDPLearner
    TripletSTDPLearner RewardSTDPLearner BCMLearner Recorder BaseMonitor OutputMonitor
    InputMonitor AttributeMonitor GradInputMonitor GradOutputMonitor unpack_len1_tuple
""".split()


@pytest.mark.parametrize("name", NAMES)
def test_names_are_callable(name):
    assert callable(getattr(SF, name))


def test_submodules_resolve_in_a_fresh_process():
    program = """
import snntorch
for name in "acc loss reg quant probe stdp_learner".split():
    assert getattr(snntorch.functional, name).__name__ == "snntorch.functional." + name
"""
    subprocess.run([sys.executable, "-c", program], check=True)
