"""Devices for which there are no kernels, as MPS: PyTorch computes every step."""

import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils import backend_registration

FILE = Path(__file__).with_name("fake_device.py")


@pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this PyTorch has no devices written in Python",
)
def test_neurons_nets_and_losses_compute_there_what_they_do_on_the_cpu():
    run = subprocess.run([sys.executable, "-W", "error", FILE], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    assert "Leaky     stepped  there are no kernels for fake" in run.stdout
