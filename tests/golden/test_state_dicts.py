"""What the published snnTorch 1.0.0 writes into checkpoints: keys, shapes and order, for every option that counts.

`state_dicts.json` holds a row for each: the class, its arguments, `key[shape]` of its `state_dict()`, and the names of
its parameters, learnt and frozen, in the order by which optimisers number them.
"""

import json
import re
from pathlib import Path

import pytest
import torch

import snntorch as snn

ROWS = json.loads((Path(__file__).parent / "state_dicts.json").read_text())


def made(row):
    arguments = {k: torch.tensor(v["tensor"]) if isinstance(v, dict) else v for k, v in row["arguments"].items()}
    return getattr(snn, row["class"])(**arguments)


def shapes(row):
    entries = [re.fullmatch(r"([\w.]+)(?:\[([\d,]+)\])?", entry).groups() for entry in row["state"].split()]
    return {key: tuple(map(int, shape.split(","))) if shape else () for key, shape in entries}


def label(row):
    return f"{row['class']}({', '.join(f'{k}={v}' for k, v in row['arguments'].items())})"


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("row", ROWS, ids=label)
def test_a_checkpoint_has_the_published_keys_and_shapes_both_ways(row):
    neuron = made(row)
    state = neuron.state_dict()
    assert {key: tuple(value.shape) for key, value in state.items()} == shapes(row)
    theirs = {key: torch.rand(shape) for key, shape in shapes(row).items()}
    if "reset_mechanism_val" in theirs:
        theirs["reset_mechanism_val"] = torch.tensor(1)
    if "recurrent.V" in theirs:
        theirs["recurrent.V"] = theirs["V"]
    if "tau" in theirs:
        theirs["beta"] = 1 - 1 / theirs["tau"]
    neuron.load_state_dict(theirs, strict=True)
    torch.testing.assert_close(neuron.state_dict(), theirs)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("row", ROWS, ids=label)
def test_an_optimiser_finds_the_published_parameters_in_their_order(row):
    """But for StateLeaky's beta, which is none: nothing there would train it, and here it follows tau."""
    found = dict(made(row).named_parameters())
    learnt, frozen = row.get("learnt", "").split(), row.get("frozen", "").split()
    expected = [name for name in learnt if name != "beta" or "tau" not in learnt]
    assert [name for name, p in found.items() if p.requires_grad] == expected
    assert [name for name, p in found.items() if not p.requires_grad] == frozen
