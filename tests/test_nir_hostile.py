"""NIR files that someone made to do harm, or that were damaged: a clear error, nothing run, little memory and time."""

import copy
import os
import pickle
import resource
import time

import numpy as np
import pytest
import torch
from torch import nn

import snntorch as snn

nir = pytest.importorskip("nir")
h5py = pytest.importorskip("h5py")

from snntorch.export_nir import export_to_nir  # noqa: E402
from snntorch.import_nir import import_from_nir  # noqa: E402

ERRORS = (ValueError, NotImplementedError)


def scale_between(names, path=None):
    """A chain of Scale nodes of these names, as a graph or, at `path`, as a file."""
    nodes = {"input": nir.Input({"input": np.array([3])})}
    nodes |= {name: nir.Scale(np.full(3, 2.0)) for name in names}
    nodes |= {"output": nir.Output({"output": np.array([3])})}
    graph = nir.NIRGraph(nodes, list(zip(nodes, list(nodes)[1:], strict=False)))
    return graph if path is None else nir.write(path, graph)


@pytest.fixture
def file(tmp_path):
    """A function that writes a good file, lets the test spoil it through h5py, and gives its path."""

    def make(spoil):
        path = tmp_path / "net.nir"
        lif = snn.Leaky(0.9, reset_mechanism="zero", init_hidden=True)
        conv = nn.Conv2d(2, 2, 3, padding=1, groups=2)
        net = nn.Sequential(conv, nn.AvgPool2d(2), nn.Flatten(), nn.Linear(8, 3), lif)
        nir.write(path, export_to_nir(net, torch.rand(1, 2, 4, 4)))
        with h5py.File(path, "r+") as f:
            spoil(f["node"])
        return path

    return make


# -- names are data

HOSTILE = [
    'a" if exec("raise SystemExit") else "a',
    "a'); import os; os.abort(); ('",
    "a\nraise SystemExit\n#",
    "a\\",
    "{__import__('os').abort()}",
    "__class__", "__deepcopy__", "__getattr__", "_modules", "_call_impl", "forward", "set_states", "get_states",
    "state", "input_1", "torch", "self", "None", "import", "ﬁ", "层", " ", ".", "..", "a" * 3000, "\x1b[31m",
]  # fmt: skip


def test_names_are_never_code(tmp_path):
    ran = []
    torch.ran = ran  # what a hostile name would call, were it run
    try:
        names = [*HOSTILE, 'a" if torch.ran.append(1) else "a']
        path = tmp_path / "names.nir"
        scale_between([name for name in names if not set(name) <= {"."}], path)
        for graph in (scale_between(names), path):
            net = import_from_nir(graph)
            assert net(torch.ones(1, 3))[0].tolist() == [[2.0 ** len(net.meta["names"])] * 3]
            assert not ran
            assert all(name.isascii() and name.replace("_", "a").isalnum() for name, _ in net.named_children())
            assert isinstance(net.get_submodule(net.meta["names"]["forward"]), nn.Module)
            assert torch.equal(copy.deepcopy(net)(torch.ones(1, 3))[0], net(torch.ones(1, 3))[0])
            pickle.loads(pickle.dumps(net))
    finally:
        del torch.ran


# -- files


def huge(f):
    del f["nodes/3/weight"]
    f["nodes/3"].create_dataset("weight", shape=(2**20, 2**20), dtype="f8", chunks=(64, 64))


def huge_text(f):
    del f["edges"]
    f.create_dataset("edges", shape=(2**40, 2), dtype=h5py.string_dtype(), chunks=(64, 2))


def bomb(f):
    del f["nodes/3/weight"]
    f["nodes/3"].create_dataset("weight", shape=(2**15, 2**14), dtype="u1", chunks=(2**14, 2**14), compression="gzip")


def many_of_one_text(f):
    """Edges that all refer to one long text cost little in the file and much in memory."""
    del f["edges"]
    f.create_dataset("edges", data=[["x" * 10**5] * 2] * 500, dtype=h5py.string_dtype())


def external_link(f):
    del f["nodes/3/bias"]
    f["nodes/3/bias"] = h5py.ExternalLink("/etc/passwd", "/node")


def soft_link(f):
    del f["nodes/3/bias"]
    f["nodes/3/bias"] = h5py.SoftLink("/node/nodes/3/weight")


def external_data(f):
    del f["nodes/3/bias"]
    f["nodes/3"].create_dataset("bias", (3,), "u1", external=[("/etc/passwd", 0, 3)])


def virtual_data(f):
    del f["nodes/3/bias"]
    layout = h5py.VirtualLayout(shape=(3,), dtype="f4")
    layout[:] = h5py.VirtualSource("/tmp/other.h5", "x", shape=(3,))
    f["nodes/3"].create_virtual_dataset("bias", layout)


def inside_itself(f):
    f["nodes/3/nodes"] = f["nodes"]
    del f["nodes/3/type"]
    f["nodes/3/type"] = "NIRGraph"


def twice(f):
    f["nodes/again"] = f["nodes/3"]


def deep(f):
    group = f["nodes"]
    for _ in range(200):
        group = group.create_group("sub")
        group["type"] = "NIRGraph"
        group = group.create_group("nodes")


def crowd(f):
    for i in range(300):
        f["nodes"].create_group(f"n{i}")["type"] = "Scale"


def put(path, value):
    def spoil(f):
        if path in f:
            del f[path]
        f[path] = value

    spoil.__name__ = f"{path}={str(value)[:20]}"
    return spoil


FILES = [
    (huge, "more data than"), (huge_text, "more data than"), (bomb, None), (many_of_one_text, None),
    (external_link, "link to elsewhere"), (soft_link, "link to elsewhere"), (external_data, "another file"),
    (virtual_data, "another file"), (inside_itself, "several places"), (twice, "several places"), (deep, "deep"),
    (crowd, "has no input|scale is missing"),
    (put("nodes/3/weight", np.full((3, 8), np.nan)), "'3'.*weight must not hold NaN"),
    (put("nodes/3/weight", np.full((3, 8), np.inf)), "'3'.*weight must not hold NaN or infinity"),
    (put("nodes/3/weight", np.ones((3, 8), complex)), "numbers"),
    (put("nodes/3/weight", np.ones((0, 8))), "'3'.*not empty"),
    (put("nodes/3/weight", "text"), "'3'.*real numbers"),
    (put("nodes/3/bias", np.ones(4)), "'3'.*bias must have 3"),
    (put("nodes/3/type", "Evil"), "'3'.*no counterpart"),
    (put("nodes/3/type", "__class__"), "'3'.*no counterpart"),
    (put("nodes/3/type", 7), "no type"),
    (put("nodes/0/stride", -1), "'0'.*stride"), (put("nodes/0/stride", 0), "'0'.*stride"),
    (put("nodes/0/padding", 10**9), "'0'.*padding"), (put("nodes/0/padding", "open"), "'0'.*padding"),
    (put("nodes/0/padding", np.arange(3)), "'0'.*padding"), (put("nodes/0/dilation", 0.5), "'0'.*dilation"),
    (put("nodes/0/groups", 10**6), "'0'.*groups"), (put("nodes/0/groups", 5), "'0'"),
    (put("nodes/0/metadata/snntorch/groups", 10**9), ...), (put("nodes/0/metadata/snntorch/groups", -2), ...),
    (put("nodes/1/kernel_size", 2**40), "'1'.*kernel_size"), (put("nodes/2/start_dim", -99), "'2'.*start_dim"),
    (put("nodes/4/tau", np.zeros(3)), "'4'.*time constants"), (put("nodes/4/tau", -np.ones(3)), "'4'.*time"),
    (put("nodes/4/tau", np.ones(7)), "'4'.*same shape"), (put("nodes/4/r", np.full(3, np.inf)), "'4'.*infinite"),
    (put("nodes/4/metadata/snntorch/reset_mechanism", "os.abort()"), "'4'.*reset_mechanism"),
    (put("nodes/4/metadata/snntorch/neuron", "Lapicque"), "'4'"),
    (put("metadata/snntorch/dt", np.nan), "dt"), (put("metadata/snntorch/dt", "1"), "dt"),
    (put("edges", np.ones((2, 2))), "edges"), (put("edges", [[b"input", b"3", b"4"]]), "edges"),
    (put("edges", [[b"input", b"nowhere"]]), "no node 'nowhere'"),
    (put("edges", [[b"input", b"4"], [b"4", b"output"]]), "has no input"),
    (put("edges", [[b"input", b"4"], [b"input", b"4"], [b"4", b"output"]]), "twice"),
    (put("edges", [[b"input", b"3"], [b"3", b"2"], [b"2", b"3"], [b"3", b"output"]]), "no neuron|has no input"),
    (put("nodes/output/type", "Input"), "several Input|no Output"), (put("nodes/input/type", "Output"), "no Input"),
    (put("type", "LIF"), "NIRGraph"),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "message"), FILES, ids=[spoil.__name__ for spoil, _ in FILES])
def test_a_spoilt_file_is_a_clear_error(file, spoil, message):
    """`...` where what was spoilt is a note alone, which counts for nothing unless it is right."""
    path = file(spoil)
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if message is ...:
        assert import_from_nir(path)(torch.rand(1, 2, 4, 4))[0].shape == (1, 3)
    else:
        with pytest.raises(ERRORS, match=message):
            import_from_nir(path)
    assert time.perf_counter() - start < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024  # KiB


@pytest.mark.parametrize("content", [b"", b"x" * 100, b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n" + bytes(4096)])
def test_what_is_no_nir_file(tmp_path, content):
    path = tmp_path / "no.nir"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="no readable NIR file"):
        import_from_nir(path)
    with pytest.raises(FileNotFoundError):
        import_from_nir(tmp_path / "missing.nir")


def test_damaged_bytes_are_an_error_or_another_network(file):
    """Every run spoils other places: bytes exchanged, and the file cut."""
    path = file(lambda f: None)
    good, random = bytearray(path.read_bytes()), np.random.default_rng(0)
    seen = set()
    for round_ in range(int(os.environ.get("SNNTORCH_FUZZ", 15))):
        bad = bytearray(good)
        for at in random.integers(0, len(bad), random.integers(1, 30)):
            bad[at] = random.integers(256)
        if round_ % 5 == 0:
            bad = bad[: random.integers(len(bad))]
        path.write_bytes(bad)
        try:
            net = import_from_nir(path)
            net(torch.rand(1, 2, 4, 4))
            seen.add("runs")
        except (ValueError, NotImplementedError, RuntimeError) as error:
            seen.add(type(error).__name__)
    assert "ValueError" in seen


# -- graphs


def inner(names, edges):
    shape = np.array([3])
    nodes = {"input": nir.Input({"input": shape}), **names, "output": nir.Output({"output": shape})}
    return nir.NIRGraph(nodes, edges, type_check=False)


def test_wires_side_by_side_do_not_multiply():
    """Thirty pairs of subgraphs that hand their input on: 2^30 paths, and the sum over them."""
    wire = [("input", "output")]
    names = {f"{side}{i}": inner({}, wire) for i in range(30) for side in "ab"}
    names |= {f"w{i}": nir.Scale(np.full(3, 0.5)) for i in range(30)}
    edges, last = [], "input"
    for i in range(30):
        edges += [(last, f"a{i}"), (last, f"b{i}"), (f"a{i}", f"w{i}"), (f"b{i}", f"w{i}")]
        last = f"w{i}"
    net = import_from_nir(inner(names, [*edges, (last, "output")]))
    assert net(torch.ones(1, 3))[0].tolist() == [[1.0] * 3]
    names = {f"{side}{i}": inner({}, wire) for i in range(30) for side in "ab"}
    names |= {f"c{i}": inner({}, wire) for i in range(30)}
    edges = [(a.replace("w", "c"), b.replace("w", "c")) for a, b in edges]
    net = import_from_nir(inner(names, [*edges, ("c29", "output")]))
    assert net(torch.ones(1, 3))[0].tolist() == [[2.0**30] * 3]


def test_a_graph_inside_itself_and_one_of_a_thousand_millions(monkeypatch):
    monkeypatch.setattr("snntorch._nir.graph.NODES", 2000)
    graph = inner({}, [("input", "output")])
    for _ in range(31):
        graph = inner({"a": graph, "b": graph}, [("input", "a"), ("input", "b"), ("a", "output"), ("b", "output")])
    with pytest.raises(ValueError, match="more than 2000 nodes"):
        import_from_nir(graph)
    graph.nodes["a"] = graph
    with pytest.raises(ValueError, match=r"deep|nodes"):
        import_from_nir(graph)


def test_many_loops_take_little_time():
    count = 60
    shape = np.ones(3)
    names = {f"n{i}": nir.LIF(tau=1e-3 * shape, r=shape, v_leak=0 * shape, v_threshold=shape) for i in range(count)}
    edges = [(a, b) for a in names for b in names]
    start = time.perf_counter()
    net = import_from_nir(inner(names, [("input", "n0"), *edges, ("n0", "output")]))
    assert net(torch.ones(1, 3))[0].shape == (1, 3)
    assert time.perf_counter() - start < 30


def test_delays_that_no_memory_holds():
    for delay in (np.array([1e9]), np.full(10**6, 0.2)):
        with pytest.raises(ValueError, match=r"'delay'.*too much to keep"):
            import_from_nir(nir.NIRGraph.from_list(nir.Delay(delay)))
