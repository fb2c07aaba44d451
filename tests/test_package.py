"""The package from outside: its names and signatures, what importing it costs, and who may import whom."""

import ast
import fnmatch
import importlib
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import snntorch as snn

SOURCE = Path(snn.__file__).parent


# -- signatures: the order of the arguments and their defaults are API

LIF = (
    "beta, threshold=1.0, spike_grad=None, surrogate_disable=False, init_hidden=False, inhibition=False, "
    "learn_beta=False, learn_threshold=False, reset_mechanism='subtract', state_quant=False, output=False, "
    "graded_spikes_factor=1.0, learn_graded_spikes_factor=False"
)
HEAD = "threshold=1.0, spike_grad=None, surrogate_disable=False, init_hidden=False, inhibition=False, "
TAIL = "reset_mechanism='subtract', state_quant=False, output=False"
RECURRENT = "V=1.0, all_to_all=True, linear_features=None, conv2d_channels=None, kernel_size=None, " + HEAD
LSTM = HEAD + "learn_threshold=False, reset_mechanism='none', state_quant=False, output=False"
SEQUENCE = (
    "threshold=1.0, spike_grad=None, surrogate_disable=False, learn_beta=False, learn_threshold=False, "
    "state_quant=False, output=True, graded_spikes_factor=1.0, learn_graded_spikes_factor=False, "
    "kernel_truncation_steps=None"
)
PARALLEL = "threshold=1.0, spike_grad=None, surrogate_disable=False"
BNTT = "input_features, time_steps, eps=1e-05, momentum=0.1, affine=True"
BATCH_NORM = ", ".join(
    f"{p.replace(annotation=p.empty)}" for p in inspect.signature(torch.nn.BatchNorm1d).parameters.values()
)
TDBN = "num_features, threshold=1.0, alpha=1.0, eps=1e-05, momentum=0.1"
TEBN = "num_features, time_steps, eps=1e-05, momentum=0.1"
EXPONENTIAL = "C=281.0, g_L=30.0, E_L=-70.6, V_T=-50.4, delta_T=2.0, V_reset=-70.6, "
SIGNATURES = {
    "SpikingNeuron": HEAD + f"learn_threshold=False, {TAIL}, graded_spikes_factor=1.0, "
    "learn_graded_spikes_factor=False",
    "LIF": LIF,
    "Leaky": f"{LIF}, reset_delay=True",
    "Lapicque": f"beta=False, R=False, C=False, time_step=1, {HEAD}learn_beta=False, learn_threshold=False, {TAIL}",
    "Synaptic": f"alpha, beta, {HEAD}learn_alpha=False, learn_beta=False, learn_threshold=False, {TAIL}, "
    "reset_delay=True",
    "Alpha": f"alpha, beta, {HEAD}learn_alpha=False, learn_beta=False, learn_threshold=False, reset_mechanism='zero', "
    "state_quant=False, output=False",
    "RLeaky": f"beta, {RECURRENT}learn_beta=False, learn_threshold=False, learn_recurrent=True, {TAIL}, "
    "reset_delay=True",
    "RSynaptic": f"alpha, beta, {RECURRENT}learn_alpha=False, learn_beta=False, learn_threshold=False, "
    f"learn_recurrent=True, {TAIL}, reset_delay=True",
    "SLSTM": f"input_size, hidden_size, bias=True, {LSTM}",
    "SConv2dLSTM": f"in_channels, out_channels, kernel_size, bias=True, max_pool=0, avg_pool=0, {LSTM}",
    "DeltaLeaky": "delta_threshold=1.0, *args, output=True, **kwargs",
    "StateLeaky": f"beta, channels, {SEQUENCE}",
    "LinearLeaky": f"beta, in_features, out_features, bias=True, device=None, dtype=None, {SEQUENCE}",
    "LeakyParallel": "input_size, hidden_size, beta=None, bias=True, threshold=1.0, dropout=0.0, spike_grad=None, "
    "surrogate_disable=False, learn_beta=False, learn_threshold=False, graded_spikes_factor=1.0, "
    "learn_graded_spikes_factor=False, weight_hh_enable=False, device=None, dtype=None",
    "AssociativeLeaky": "in_dim, d_value, d_key, num_spiking_neurons, use_q_projection=True",
    "ALIF": "beta, rho, strength=1.8, learn_beta=False, learn_rho=False, learn_strength=False, **kwargs",
    "PLIF": "beta=0.5, decay_input=True, reset_delay=True, **kwargs",
    "Izhikevich": "a=0.02, b=0.2, c=-65.0, d=8.0, rest=-65.0, time_step=1.0, threshold=30.0, learn=(), **kwargs",
    "EIF": f"{EXPONENTIAL}time_step=1.0, threshold=-40.4, learn=(), **kwargs",
    "AdEx": f"{EXPONENTIAL}a=4.0, b=80.5, tau_w=144.0, time_step=1.0, threshold=-40.4, learn=(), **kwargs",
    "QIF": "tau=10.0, rest=0.0, critical=0.5, curvature=1.0, v_reset=0.0, time_step=1.0, threshold=1.0, learn=(), "
    "**kwargs",
    "NoisyLeaky": "beta, width=0.1, generator=None, learn_beta=False, learn_width=False, **kwargs",
    "IntegerLeaky": "beta, levels=4, threshold=1.0, init_hidden=False, learn_beta=False, learn_threshold=False, "
    "state_quant=False, output=False",
    "BRF": "omega=10.0, damping=1.0, gamma=0.9, time_step=0.01, learn=(), reset_mechanism='none', **kwargs",
    "SigmaDelta": "threshold=0.1, rectify=True, reset_mechanism='none', **kwargs",
    "TwoCompartment": "to_soma=0.5, to_dendrite=-0.5, feedback=0.5, beta=1.0, beta_dendrite=1.0, "
    "learn_coupling=False, learn_beta=False, **kwargs",
    "GLIF": "alpha=0.5, beta=0.5, gamma=0.5, tau=0.5, leak=0.1, v_reset=0.5, conductance=0.5, learn=True, **kwargs",
    "PSN": f"num_steps, {PARALLEL}",
    "MaskedPSN": f"num_steps, order, masking=1.0, {PARALLEL}",
    "SlidingPSN": f"order, {PARALLEL}",
    "LeakyIntegrator": "beta, gain=1.0, rest=0.0, learn_beta=False, init_hidden=False, output=False",
    "SynapticIntegrator": "alpha, beta, gain=1.0, rest=0.0, learn_alpha=False, learn_beta=False, init_hidden=False, "
    "output=False",
    "Delay": "steps, init_hidden=False, output=False",
    "AxonalDelay": "size, max_delay, width=None, learn_delay=True, init_hidden=False, output=False",
    "SynapticDelay": "in_features, out_features, max_delay, width=None, bias=True, learn_delay=True, "
    "init_hidden=False, output=False",
    "GradedSpikes": "size, constant_factor=None",
    "BatchNormTT1d": BNTT,
    "BatchNormTT2d": BNTT,
    "SequenceDropout": "p=0.5",
    "SequenceDropout1d": "p=0.5",
    "SequenceDropout2d": "p=0.5",
    "SequenceBatchNorm1d": BATCH_NORM,
    "SequenceBatchNorm2d": BATCH_NORM,
    "ThresholdDependentBatchNorm1d": TDBN,
    "ThresholdDependentBatchNorm2d": TDBN,
    "TemporalEffectiveBatchNorm1d": TEBN,
    "TemporalEffectiveBatchNorm2d": TEBN,
    "refractory": "neuron, steps",
    "functional.init.fluctuation_driven_": "layer, neuron, rate, mean=0.0, xi=1.0, share=1.0, num_steps=1000, "
    "generator=None",
    "bounded": "neuron, name='beta', low=0.0, high=1.0",
    "unroll": "module, x, *states, num_steps=None, recompute=None, pack_spikes=False, lengths=None",
    "last_output": "out, lengths=None",
    "surrogate.atan": "alpha=2.0",
    "surrogate.fast_sigmoid": "slope=25",
    "surrogate.sigmoid": "slope=25",
    "surrogate.straight_through_estimator": "",
    "surrogate.triangular": "threshold=1",
    "surrogate.piecewise_linear": "gamma=1.0",
    "surrogate.spike_rate_escape": "beta=1, slope=25",
    "surrogate.heaviside": "",
    "surrogate.SSO": "mean=0, variance=0.2",
    "surrogate.LSO": "slope=0.1",
    "surrogate.SFS": "slope=25, B=1",
    "surrogate.gaussian": "sigma=0.5",
    "surrogate.multi_gaussian": "h=0.15, s=6.0, sigma=0.5",
    "surrogate.erf": "alpha=2.0",
    "surrogate.piecewise_exp": "alpha=1.0",
    "surrogate.soft_sign": "alpha=2.0",
    "surrogate.leaky_relu": "leak=0.1, slope=1.0",
    "surrogate.super_spike": "beta=10.0",
}


def find(path):
    found = snn
    for name in path.split("."):
        found = getattr(found, name)
    return found


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature(name):
    bare = [p.replace(annotation=p.empty) for p in inspect.signature(find(name)).parameters.values()]
    assert ", ".join(map(str, bare)) == SIGNATURES[name]


def test_every_neuron_layer_and_surrogate_has_its_signature():
    homes = {name: getattr(value, "__module__", "") for name, value in vars(snn).items() if inspect.isclass(value)}
    names = {name for name, home in homes.items() if home.startswith(("snntorch._neurons", "snntorch._layers"))}
    missing = (names | {f"surrogate.{name}" for name in snn.surrogate.FACTORIES}) - set(SIGNATURES)
    assert not missing, f"give {missing} a line in SIGNATURES: the order of arguments is API"


def test_other_signatures():
    bare = inspect.signature(snn.AssociativeLeaky.from_num_spiking_neurons).parameters
    assert list(bare) == ["in_dim", "num_spiking_neurons", "use_q_projection"]
    assert bare["use_q_projection"].default is True
    assert len(inspect.signature(snn.surrogate.custom_surrogate).parameters) == 1


def test_every_name_of_the_contract_is_there():
    for name in SIGNATURES:
        assert find(name).__module__.startswith("snntorch")
    others = "__version__ functional utils spikegen spikeplot backprop export_nir import_nir surrogate"
    assert set(others.split()) <= set(dir(snn))
    with pytest.raises(AttributeError, match="module 'snntorch' has no attribute 'Leeky'"):
        snn.Leeky  # noqa: B018


@pytest.mark.parametrize("name", [n for n in SIGNATURES if n[0].isupper() and "_neurons" in find(n).__module__])
def test_where_tutorials_import_a_neuron_from(name):
    special = {"SpikingNeuron": "neurons", "LIF": "neurons", "AssociativeLeaky": "associative", "MaskedPSN": "psn",
               "SlidingPSN": "psn"}  # fmt: skip
    module = special.get(name, name.lower())
    assert getattr(importlib.import_module(f"snntorch._neurons.{module}"), name) is find(name)


def test_the_package_is_typed_and_every_public_name_documented():
    assert (SOURCE / "py.typed").exists()
    for name in SIGNATURES:
        assert inspect.getdoc(find(name))


# -- what `import snntorch` costs

IMPORT = """
import sys, json
import torch
before = set(sys.modules)
import snntorch as snn
loaded = set(sys.modules) - before
for name in ("surrogate", "functional", "utils", "spikegen", "spikeplot", "backprop", "export_nir", "import_nir"):
    getattr(snn, name)
for name in "acc init loss reg quant probe stdp_learner".split():
    assert getattr(snn.functional, name).__name__ == f"snntorch.functional.{name}"
print(json.dumps([sorted(loaded), sorted(set(sys.modules) - before)]))
"""
OPTIONAL = {"numba", "llvmlite", "triton", "matplotlib", "pandas", "nir", "nirtorch", "tqdm", "tonic"}
LATER = {"torch._dynamo", "torch._inductor", "torch._export", "torch.onnx", "torch.utils.tensorboard"}  # seconds each


def test_importing_it_loads_nothing_optional():
    """Beyond what `import torch` loads, itself and small modules of the standard library; its submodules are lazy."""
    run = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
    first, then = json.loads(run.stdout)
    others = {name for name in first if name.split(".")[0] not in {"snntorch", "torch", *sys.stdlib_module_names}}
    assert others == set()
    assert "snntorch._engine.dispatch" in first
    assert not [name for name in first if name.startswith(("snntorch.functional", "snntorch.spikeplot", "asyncio"))]
    for name in then:
        assert name.split(".")[0] not in OPTIONAL
        assert not any(name == later or name.startswith(f"{later}.") for later in LATER)


# -- who may import whom

# Files, what they may import, what they may import inside functions. The first line that a file matches counts.
ROOMS = [
    ("surrogate.py", "torch", ""),
    # text in, text out
    ("_engine/operations.py _engine/graph.py _engine/program.py _engine/print*.py _engine/*_printer.py "
     "_engine/recent.py",
     "snntorch._engine.operations snntorch._engine.graph snntorch._engine.program snntorch._engine.printing "
     "snntorch._engine.recent snntorch._engine.triton_printer", ""),
    # functions that printed kernels call; the kernels import it, nothing else does
    ("_engine/*_math.py", "numpy numba triton", ""),
    ("_engine/machine_code.py", "llvmlite", ""),  # imported where a kernel is wanted
    ("_engine/*.py", "torch snntorch._engine", "numba triton"),
    ("_neurons/*.py",
     "torch snntorch.surrogate snntorch._engine.run snntorch._engine.run_feedback snntorch._engine.stepped "
     "snntorch._engine.computes snntorch._engine.expands snntorch._engine.product_dtype "
     "snntorch._engine.program_text snntorch._engine.private snntorch._neurons", ""),
    ("_layers/*.py",
     "torch snntorch.surrogate snntorch._engine.note snntorch._engine.without_autocast snntorch._neurons "
     "snntorch._layers", ""),
    ("_time/*.py",
     "torch snntorch.surrogate snntorch._engine.note snntorch._engine.choices snntorch._engine.listening "
     "snntorch._engine.ONE_EACH snntorch._engine.asked snntorch._engine.backend snntorch._engine.bits "
     "snntorch._engine.stepped snntorch._engine.private snntorch._neurons snntorch._layers snntorch._time", ""),
    ("*_nir.py _nir/*.py",
     "torch numpy snntorch.surrogate snntorch._neurons snntorch._layers snntorch._time snntorch._nir", "nir h5py"),
    ("functional/*.py spikegen/*.py", "torch numpy snntorch.functional snntorch.spikegen", ""),
    ("utils.py", "torch numpy", ""),
    ("backprop/*.py metrics/*.py conversion/*.py",
     "torch numpy snntorch._neurons snntorch._layers snntorch._time snntorch.functional snntorch.utils "
     "snntorch.backprop snntorch.metrics snntorch.conversion", "tqdm"),
    ("spikeplot/*.py", "torch numpy snntorch.spikeplot", "matplotlib"),
    ("spikevision/*.py", "torch numpy snntorch.spikegen snntorch.spikevision", "tonic"),
    ("models/*.py", "torch numpy snntorch", ""),
    ("__init__.py", "snntorch", ""),
    ("_version.py", "", ""),
]  # fmt: skip


def imports(file):
    """(dotted name, inside a function) of every import; what only a type checker sees is left out."""
    package = ["snntorch", *file.relative_to(SOURCE).parent.parts]

    def walk(node, inside):
        if isinstance(node, ast.Import):
            yield from ((name.name, inside) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1]] if node.level else []
            yield from ((".".join([*base, *filter(None, [node.module]), name.name]), inside) for name in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.orelse:
                yield from walk(child, inside)
        else:
            inside = inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for child in ast.iter_child_nodes(node):
                yield from walk(child, inside)

    for name, inside in walk(ast.parse(file.read_text()), False):
        if name.split(".")[0] not in sys.stdlib_module_names:
            yield name, inside


def allowed(name, prefixes):
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes.split())


FILES = {str(file.relative_to(SOURCE)): file for file in sorted(SOURCE.rglob("*.py"))}


def room(path):
    """What a file may import, and what inside functions."""
    found = [rest for patterns, *rest in ROOMS if any(fnmatch.fnmatch(path, pattern) for pattern in patterns.split())]
    assert found, f"{path} is in no room: give it a line in ROOMS and in CONTRIBUTING.md"
    return found[0]


@pytest.mark.parametrize("path", FILES)
def test_imports_keep_to_their_room(path):
    top, inside = room(path)
    for name, deep in imports(FILES[path]):
        assert allowed(name, f"{top} {inside}" if deep else top), f"{path} imports {name}"
        assert not name.endswith("_math") and "_math." not in name


def test_every_room_is_in_the_guide():
    """And nothing else; and each has a file."""
    for pattern in " ".join(patterns for patterns, *_ in ROOMS).split():
        assert fnmatch.filter(FILES, pattern), f"no file is in the room {pattern}"
    guide = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()
    table = guide[guide.index("## The rooms") :].split("\n## ")[0]
    named = set(re.findall(r"`([\w.]+)`", "".join(line.split("|")[1] for line in table.splitlines() if "|" in line)))
    there = {path.split("/")[0].removesuffix(".py") for path in FILES} - {"__init__", "_version"}
    files = {Path(path).stem for path in FILES if path.startswith("_engine/")}
    assert there <= named <= there | files


def test_no_file_is_long_without_a_reason():
    """300 lines; longer ones say why at their top, in the words "longer than others"."""
    for path, file in FILES.items():
        text = file.read_text()
        reason = " ".join((ast.get_docstring(ast.parse(text)) or "").split())
        assert text.count("\n") <= 300 or "longer than others" in reason, path


def test_the_rules_see_what_they_should(tmp_path, monkeypatch):
    """The parser finds nested, relative and aliased imports, and skips those of type checkers."""
    file = tmp_path / "_engine" / "x.py"
    file.parent.mkdir()
    file.write_text(
        "from typing import TYPE_CHECKING\nimport torch.nn as nn\nfrom .. import surrogate\nfrom .graph import Graph\n"
        "if TYPE_CHECKING:\n    import numba\nelse:\n    import triton\n"
        "class A:\n    def f(self):\n        from numba import njit\n"
    )
    monkeypatch.setattr(sys.modules[__name__], "SOURCE", tmp_path)
    assert list(imports(file)) == [
        ("torch.nn", False), ("snntorch.surrogate", False), ("snntorch._engine.graph.Graph", False),
        ("triton", False), ("numba.njit", True),
    ]  # fmt: skip


def private_names(tree):
    """What a file uses of PyTorch by a name with an underscore: imports, and attributes of what it imported."""
    of_torch = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = {name.asname or name.name.split(".")[0]: name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = {name.asname or name.name: f"{node.module}.{name.name}" for name in node.names}
        else:
            continue
        of_torch |= {alias: name for alias, name in names.items() if name.split(".")[0] == "torch"}
    found = {name for name in of_torch.values() if "._" in name and not name.endswith("__")}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr[0] == "_" and not node.attr.endswith("__"):
            root, _, rest = ast.unparse(node).partition(".")
            found |= {f"{of_torch[root]}.{rest}"} if root in of_torch else set()
    return found


def test_private_names_of_torch_stand_in_one_file():
    """What PyTorch's modules and tensors carry is not seen; ruff's list in pyproject.toml has its names."""
    example = "import torch\nfrom torch import nn\nfrom torch._x import y\ntorch.f(nn.m._N, torch.a.b, torch._C.c().d)"
    assert private_names(ast.parse(example)) == {"torch._x.y", "torch.nn.m._N", "torch._C"}
    for path, file in FILES.items():
        found = private_names(ast.parse(file.read_text()))
        assert not found or path == "_engine/private.py", f"{path} uses {found}: let _engine/private.py say why"


def test_no_star_imports_and_no_global_state_at_import():
    assert all("import *" not in file.read_text() for file in FILES.values())
    assert torch.get_default_dtype() is torch.float32
