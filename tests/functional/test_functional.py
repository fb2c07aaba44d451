"""Every public name resolves from `snntorch.functional` without a further import."""

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
