"""From training to a file that other tools and neuromorphic hardware read, with the same spikes at both ends.

Train a network on scikit-learn's digits, go on training with weights of 4 bits, look at what it costs, write it as a
NIR graph, read the file back, and compare every output spike of every test image. The neurons reset to zero in the step
in which they spike, which is what NIR says of a LIF neuron. Measured on the 360 test images, on one thread: 97.5 %
after training, 97.2 % with 4 bits, and of 9,477 output spikes none differs.

    python examples/deploy_digits.py
"""

from pathlib import Path

import nir
import torch
from digits import NUM_STEPS, accuracy, load_data, run
from fit import fit
from quantise_digits import finish, prepare
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import snntorch as snn
from snntorch import functional as SF
from snntorch.export_nir import export_to_nir
from snntorch.import_nir import import_from_nir
from snntorch.metrics import EnergyModel, summary

EPOCHS, FINE_TUNING, BITS = 20, 5, 4
# 8-bit integer additions (Horowitz, ISSCC 2014) and weights of 4 bits; replace by your chip's figures.
CHIP = EnergyModel(mac=0.23e-12, ac=0.03e-12, membrane_update=0.23e-12, weight_bytes=BITS / 8, state_bytes=1)


def build_net() -> nn.Sequential:
    """Two layers of neurons that NIR can describe exactly."""
    lif = {"beta": 0.9, "reset_mechanism": "zero", "reset_delay": False, "init_hidden": True}
    return nn.Sequential(nn.Linear(64, 128), snn.Leaky(**lif), nn.Linear(128, 10), snn.Leaky(**lif))


def as_floats(net: nn.Sequential) -> nn.Sequential:
    """The quantised network with its integers times their scales as ordinary weights, in place: NIR holds floats."""
    for layer in net:
        if isinstance(layer, nn.Linear):
            layer.weight = nn.Parameter(layer.weight.dequantize())
    return net


def main(out: Path = Path("demo_out"), epochs: int = EPOCHS, fine_tuning: int = FINE_TUNING) -> tuple[float, int]:
    """Train, quantise, look, write, read, compare; returns the test accuracy and the number of spikes that differ."""
    torch.manual_seed(0)
    train_x, test_x, train_y, test_y = load_data()
    batches = DataLoader(TensorDataset(train_x, train_y), batch_size=64, shuffle=True)
    net, loss_function = build_net(), SF.ce_rate_loss()
    fit(net, batches, loss_function, epochs, num_steps=NUM_STEPS)
    print(f"trained: {accuracy(net, test_x, test_y):.1%}")

    net = prepare(net, BITS)
    fit(net, batches, loss_function, fine_tuning, lr=1e-3, num_steps=NUM_STEPS)
    net = as_floats(finish(net, BITS))
    reached = accuracy(net, test_x, test_y)
    print(f"{BITS} bits:  {reached:.1%}")
    print(summary(net, test_x, num_steps=NUM_STEPS, energy=CHIP))

    out.mkdir(exist_ok=True)
    file = out / "digits.nir"
    nir.write(file, export_to_nir(net, test_x[:1]))
    print(f"{file}: {file.stat().st_size:,} bytes")

    with torch.no_grad():
        exported = run(net, test_x)
        imported, _ = run(import_from_nir(file), test_x)  # which returns its states, too
    different = int((exported != imported).sum())
    print(f"{int(exported.sum()):,} output spikes; read back, {different} differ")
    return reached, different


if __name__ == "__main__":
    main()
