"""Some hundred cases of the fuzzer, of few kernels; `make fuzz` runs thousands, of all of them."""

import pytest

import fuzz
import snntorch as snn

CASES, CHUNK = 300, 30


@pytest.mark.parametrize("first", range(0, CASES, CHUNK))
def test_random_nets_agree_with_a_plain_loop(first):
    outcomes = [fuzz.check(seed, few_kernels=True) for seed in range(first, first + CHUNK)]
    assert outcomes.count("agree") > CHUNK / 2


def test_a_small_error_is_found_and_replayed(monkeypatch):
    """Else the fuzzer's agreement would say nothing."""
    unroll = snn.unroll

    def wrong(net, x, **options):
        return unroll(net, x * (1 + 1e-3), **options)

    seeds = range(20)
    assert {fuzz.check(seed, few_kernels=True) for seed in seeds} <= {"agree", "near"}
    monkeypatch.setattr(snn, "unroll", wrong)

    def failures():
        for seed in seeds:
            try:
                fuzz.check(seed, few_kernels=True)
            except fuzz.Disagreement as error:
                yield str(error)

    found = list(failures())
    assert len(found) > 5
    assert found == list(failures())
