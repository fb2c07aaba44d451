"""Converted networks against the ReLU networks that they come from."""

from pathlib import Path

import pytest
import torch
from torch import nn

import snntorch as snn
from snntorch.conversion import accuracy_by_steps, ann_to_snn


def conv_net():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(2), nn.Dropout(0.5),
        nn.Sequential(nn.Conv2d(4, 6, 3), nn.ReLU(inplace=True), nn.Flatten()), nn.Identity(),
        nn.Linear(24, 8), nn.BatchNorm1d(8, affine=False), nn.ReLU(), nn.Linear(8, 3),
    )  # fmt: skip
    for module in net.modules():  # statistics and gains that a fold must not lose
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.3, 0.3)
            nn.init.uniform_(module.running_var, 0.2, 2.0)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2.0)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return net.double().eval()


@pytest.mark.parametrize("steps", [1, 7, 50, 200])
def test_a_rate_is_the_activation_to_one_spike(steps):
    """Under a constant drive a in [0, 1], an IF neuron has fired floor(a T) times after T steps, or one less: a tie."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 20), nn.ReLU()).double()
    x = torch.randn(50, 5, dtype=torch.float64)
    spiking = ann_to_snn(net, x, percentile=100)
    activation = net(x) / net(x).max()
    count = snn.unroll(spiking, x, num_steps=steps).sum(0)
    assert (count <= activation * steps + 1e-9).all() and (count >= activation * steps - 1 - 1e-9).all()


def test_the_output_approaches_the_anns_as_one_over_time():
    net, x = conv_net(), torch.rand(20, 1, 8, 8, dtype=torch.float64)
    spiking = ann_to_snn(net, x, percentile=100)
    running = snn.unroll(spiking, x, num_steps=1600).cumsum(0)
    exact = net(x)
    errors = [(running[t - 1] / t - exact).abs().mean().item() for t in (100, 400, 1600)]
    assert errors[1] < errors[0] / 2 and errors[2] < errors[1] / 2
    assert errors[2] < 0.01 * exact.std()


def test_what_becomes_of_the_layers():
    net, x = conv_net(), torch.rand(20, 1, 8, 8, dtype=torch.float64)
    kinds = [type(layer).__name__ for layer in ann_to_snn(net, x)]
    assert kinds == ["Conv2d", "Leaky", "AvgPool2d", "Conv2d", "Leaky", "Flatten", "Linear", "Leaky", "Linear"]
    lif = ann_to_snn(net, x)[1]
    assert (lif.beta, lif.threshold, lif.reset_mechanism, lif.init_hidden) == (1, 1, "subtract", True)


def test_the_network_and_the_data_do_not_change():
    net, x = conv_net().train(), torch.rand(20, 1, 8, 8, dtype=torch.float64)
    before, data = {key: value.clone() for key, value in net.state_dict().items()}, x.clone()
    spiking = ann_to_snn(net, x)
    assert net.training and not spiking.training and torch.equal(x, data)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert not {p.data_ptr() for p in net.parameters()} & {p.data_ptr() for p in spiking.parameters()}


def test_a_lower_percentile_fires_more():
    net, x = conv_net(), torch.rand(20, 1, 8, 8, dtype=torch.float64)
    rates = []
    for percentile in (100, 90, 50):
        rates.append(snn.unroll(ann_to_snn(net, x, percentile)[:2], x, num_steps=50).mean())
    assert rates[0] < rates[1] < rates[2]


def test_accuracy_after_every_step():
    drive = nn.Linear(2, 2, bias=False)
    nn.init.eye_(drive.weight)
    net = nn.Sequential(drive, snn.Leaky(beta=1.0, init_hidden=True))
    x, targets = torch.tensor([[0.1, 0.3], [0.2, 0.6]]), torch.tensor([1, 1])
    # A neuron fires in the first step at which its drive has summed up beyond 1; before that, class 0 wins the tie.
    expected = torch.tensor([0.0, 0.5, 0.5, 1.0, 1.0])
    assert torch.equal(accuracy_by_steps(net, x, targets, 5), expected)
    assert torch.equal(accuracy_by_steps(net, x, targets, 5), expected)  # states are reset


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([nn.Linear(4, 4), nn.Tanh()], r"layer '1', Tanh, cannot be converted; a network may have Linear"),
        ([nn.Conv1d(4, 4, 1), nn.MaxPool1d(2)], r"layer '1', MaxPool1d, cannot .* average pooling"),
        ([nn.Linear(4, 4), nn.ReLU(), nn.BatchNorm1d(4)], r"layer '2', BatchNorm1d, cannot be folded"),
        ([nn.Linear(4, 4), nn.BatchNorm1d(4, track_running_stats=False)], r"no running statistics"),
        ([nn.Linear(4, 4), nn.ReLU(), nn.ReLU()], r"layer '2', ReLU, has no Linear or Conv layer"),
    ],
)
def test_layers_that_cannot_be_converted_are_named(layers, message):
    with pytest.raises(NotImplementedError, match=message):
        ann_to_snn(
            nn.Sequential(*layers), torch.rand(3, 4, 4) if isinstance(layers[0], nn.Conv1d) else torch.rand(3, 4)
        )


def test_bad_arguments():
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    nn.init.constant_(net[0].bias, -10.0)
    with pytest.raises(ValueError, match=r"layer '1', ReLU, is never active on data"):
        ann_to_snn(net, torch.rand(3, 2))
    with pytest.raises(ValueError, match=r"percentile must lie in \(0, 100\], got 0"):
        ann_to_snn(net, torch.rand(3, 2), percentile=0)


def test_the_example_stays_within_one_percent_of_the_ann(monkeypatch, one_thread):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "examples")
    from convert_digits import main

    ann, accuracies = main()
    assert ann > 0.97
    assert accuracies[63] >= ann - 0.01  # at the T that its docstring names
