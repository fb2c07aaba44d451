"""Converted networks against the ReLU networks that they come from."""

import copy
import pickle
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import snntorch as snn
from snntorch import utils
from snntorch._layers.spikemax import SpikeMax
from snntorch.conversion import accuracy_by_steps, ann_to_snn, error_by_steps


class Function(nn.Module):
    """A network written as a function of its two layers and the input."""

    def __init__(self, function):
        super().__init__()
        self.function, self.a, self.b = function, nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return self.function(self, x)


class BasicBlock(nn.Module):
    """As torchvision's, with one ReLU module that is called twice."""

    def __init__(self, inside, outside, stride=1):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside)
        self.relu = nn.ReLU(inplace=True)
        self.conv2, self.bn2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False), nn.BatchNorm2d(outside)
        self.downsample = None
        if stride > 1 or inside != outside:
            self.downsample = nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))

    def forward(self, x):
        identity = x if self.downsample is None else self.downsample(x)
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += identity
        return self.relu(out)


class ResNet(nn.Module):
    """As torchvision's, small."""

    def __init__(self, width=4, classes=3):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.relu, self.maxpool = nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = nn.Sequential(BasicBlock(width, width))
        self.layer2 = nn.Sequential(BasicBlock(width, 2 * width, stride=2), BasicBlock(2 * width, 2 * width))
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(2 * width, classes)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.fc(torch.flatten(self.avgpool(self.layer2(self.layer1(x))), 1))


class VGG(nn.Module):
    """As torchvision's, small."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2, 2),
            nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2, 2),
        )  # fmt: skip
        self.avgpool = nn.AdaptiveAvgPool2d((2, 2))
        self.classifier = nn.Sequential(nn.Linear(24, 8), nn.ReLU(True), nn.Dropout(), nn.Linear(8, 3))

    def forward(self, x):
        return self.classifier(self.avgpool(self.features(x)).view(x.size(0), -1))


class Functional(nn.Module):
    """No layer but those with weights: branches, concatenation, pre-activation, constants, a transposed view."""

    def __init__(self):
        super().__init__()
        self.stem, self.left, self.right = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 2, 1), nn.Conv2d(4, 4, 3, 1, 1, groups=2)
        self.norm, self.tokens, self.out = nn.BatchNorm2d(6), nn.Linear(6, 5), nn.Linear(45, 3)
        self.register_buffer("shift", torch.tensor([0.1, -0.1, 0.2])[:, None, None])

    def forward(self, x):
        x = F.relu(self.stem(x))
        left, right = F.relu(self.left(F.max_pool2d(x, 2)) * 2), self.right(x).clamp(min=0)
        x = torch.cat([left, F.avg_pool2d(right, kernel_size=2)], dim=1)
        x = F.relu(self.norm(x)) / 2 - x + 0.05
        x = torch.relu(self.tokens(x.reshape(x.shape[0], 6, -1).transpose(1, 2)))
        return self.out(F.dropout(x, 0.5, self.training).flatten(1))


class Reshaped(nn.Module):
    """What changes shapes and nothing else, between layers whose scales differ, and before a sum."""

    def __init__(self):
        super().__init__()
        self.stem, self.mixed, self.out = nn.Conv2d(1, 4, 3), nn.Linear(6, 6), nn.Linear(144, 3)

    def forward(self, x):
        x = F.relu(self.stem(x))
        x = F.relu(self.mixed(x.contiguous()) + F.dropout(x, 0.5, self.training))
        return self.out(x.reshape(x.shape[0], 2, 72).view(x.shape[0], -1))


def trained(net):
    """Statistics and gains that a fold must not lose."""
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.3, 0.3)
            nn.init.uniform_(module.running_var, 0.2, 2.0)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 2.0)
                nn.init.uniform_(module.bias, -0.5, 0.5)
    return net.double().eval()


def conv_net():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(2), nn.Dropout(0.5),
        nn.Sequential(nn.Conv2d(4, 6, 3), nn.ReLU(inplace=True), nn.Flatten()), nn.Identity(),
        nn.Linear(24, 8), nn.BatchNorm1d(8, affine=False), nn.ReLU(), nn.Linear(8, 3),
    )  # fmt: skip
    return trained(net)


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


@pytest.mark.parametrize(
    ("make", "threshold"),
    [(conv_net, "layer"), (VGG, "channel"), (ResNet, "channel"), (ResNet, "layer"), (Functional, "channel"),
     (Reshaped, "layer"), (Reshaped, "channel")],
)  # fmt: skip
def test_the_output_approaches_the_anns_as_one_over_time(make, threshold):
    torch.manual_seed(0)
    net, x = trained(make()), torch.rand(6, 1, 8, 8, dtype=torch.float64)
    spiking = ann_to_snn(net, x, 100, threshold)
    errors = error_by_steps(spiking, net, x, 400)
    assert errors[99] < errors[24] / 2 and errors[399] < errors[99] / 2
    assert errors[399] < 0.05 * net(x).std()
    utils.reset(spiking)  # a step at a time, and for a batch of another size
    steps = torch.stack([spiking(x[:2]) for _ in range(20)])
    utils.reset(spiking)
    torch.testing.assert_close(snn.unroll(spiking, x[:2], num_steps=20), steps)


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


def test_layers_keep_their_names_and_the_shortcut_gets_a_weight():
    net, x = trained(ResNet()), torch.rand(6, 1, 8, 8, dtype=torch.float64)
    spiking = ann_to_snn(net, x)
    names = [name for name, module in spiking.named_modules() if not list(module.children())]
    assert names[:4] == ["conv1", "relu", "maxpool.pool", "layer1.0.conv1"]
    assert {"layer1.0.relu", "layer1.0.relu_1", "layer1.0.conv2", "layer2.0.downsample.0", "fc"} < set(names)
    assert [name for name in names if "scale" in name] == ["maxpool_scale", "layer2.0.relu_scale"]
    for other in (copy.deepcopy(spiking), pickle.loads(pickle.dumps(spiking))):
        torch.testing.assert_close(snn.unroll(other, x, num_steps=5), snn.unroll(spiking, x, num_steps=5))
        utils.reset(spiking)


def test_a_maximum_of_spikes_counts_as_the_neuron_that_fired_most():
    gate, x = SpikeMax(nn.MaxPool2d(2)), (torch.rand(30, 2, 3, 4, 4) < torch.rand(2, 3, 4, 4)).float()
    steps = torch.stack([gate(now) for now in x])
    assert set(steps.unique().tolist()) == {0, 1}
    assert torch.equal(steps.sum(0), F.max_pool2d(x.sum(0), 2))
    utils.reset(gate)
    assert torch.equal(torch.cat([snn.unroll(gate, part) for part in x.split([11, 1, 18])]), steps)
    assert not torch.equal(F.max_pool2d(x.flatten(0, 1), 2).unflatten(0, (30, 2)).sum(0), steps.sum(0))


def test_a_progress_bar_shows_the_error_and_changes_nothing(capsys):
    net, x = conv_net(), torch.rand(3, 1, 8, 8, dtype=torch.float64)
    spiking = ann_to_snn(net, x)
    errors = error_by_steps(spiking, net, x, 12)
    assert "error" not in capsys.readouterr().err
    torch.testing.assert_close(error_by_steps(spiking, net, x, 12, progress=True), errors)
    assert f"error={errors[-1].item():.2e}" in capsys.readouterr().err


def test_thresholds_of_channels_are_right_earlier():
    """Where one channel is much weaker than the others."""
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3)).double()
    with torch.no_grad():
        net[0].weight[0] /= 50
        net[0].bias[0] /= 50
        net[2].weight[:, 0] *= 50
    x = torch.rand(50, 4, dtype=torch.float64)
    errors = [error_by_steps(ann_to_snn(net, x, threshold=way), net, x, 64)[-1] for way in ("layer", "channel")]
    assert errors[1] < errors[0] / 4


def test_a_lower_percentile_fires_more():
    net, x = conv_net(), torch.rand(20, 1, 8, 8, dtype=torch.float64)
    rates = [snn.unroll(ann_to_snn(net, x, percentile)[:2], x, num_steps=50).mean() for percentile in (100, 90, 50)]
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
    ("net", "message"),
    [
        (nn.Sequential(nn.Linear(4, 4), nn.Tanh()), r"layer '1', Tanh, cannot be converted; a network may have linear"),
        (nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, track_running_stats=False)), r"'1'.* no running statistics"),
        (Function(lambda m, x: m.a(x) * m.b(x)), r"^mul cannot be converted"),
        (Function(lambda m, x: F.dropout(m.a(x))), r"^dropout cannot be converted: it draws in evaluation too"),
        (Function(lambda m, x: F.pad(m.a(x), (0, 1), value=1.0)), r"^pad cannot be converted"),
        (Function(lambda m, x: F.linear(x, m.a(x))), r"^linear cannot be converted"),
        (Function(lambda m, x: m.a(x) if m.b(x).sum() > 0 else x), r"bool reads a value that depends on the sample"),
    ],
)
def test_what_cannot_be_converted_is_named(net, message):
    with pytest.raises(NotImplementedError, match=message):
        ann_to_snn(net, torch.rand(4, 4))


def test_bad_arguments():
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    nn.init.constant_(net[0].bias, -10.0)
    with pytest.raises(ValueError, match=r"layer '1', ReLU, is never active on data"):
        ann_to_snn(net, torch.rand(3, 2))
    with pytest.raises(ValueError, match=r"threshold must be 'layer' or 'channel', got 'neuron'"):
        ann_to_snn(net, torch.rand(3, 2), threshold="neuron")
    with pytest.raises(TypeError, match="data must be a tensor of inputs, got list"):
        ann_to_snn(conv_net(), [torch.rand(2, 1, 8, 8)])
    with pytest.raises(ValueError, match=r"percentile must lie in \(0, 100\], got 0"):
        ann_to_snn(net, torch.rand(3, 2), percentile=0)


def test_the_example_stays_within_one_percent_of_the_ann(monkeypatch, one_thread):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "examples")
    from convert_digits import main

    ann, accuracies = main()
    assert ann > 0.97
    assert accuracies[31] >= ann - 0.01  # at the T that its docstring names
