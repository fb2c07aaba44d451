"""Losses against their definitions, written sample by sample: values, gradients, weights and errors."""

import copy
import itertools
import pickle

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

import snntorch.functional as SF
from snntorch.backprop._truncated import _READOUTS
from snntorch.functional.loss import check_labels, pool_population

NAMES = """
    pool_population check_outputs check_labels check_lengths LossFunctions ce_rate_loss ce_count_loss
    ce_max_membrane_loss tet_loss
    mse_count_loss mse_membrane_loss first_spike_steps SpikeTime mse_temporal_loss ce_temporal_loss ttfs_loss
    van_rossum_loss victor_purpura_distance
""".split()
T, B, N = 7, 5, 6
REDUCTIONS = ("mean", "sum", "none")


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_where_programs_and_pickles_look_for_it(name):
    by_name = pickle.loads(f"csnntorch.functional.loss\n{name}\n.".encode())
    assert by_name is getattr(SF.loss, name)


def draw(seed=0, shape=(T, B, N), rate=0.3, dtype=torch.float64):
    """Spikes, membranes, labels and class weights."""
    g = torch.Generator().manual_seed(seed)
    spk = (torch.rand(shape, generator=g) < rate).to(dtype)
    mem = torch.randn(shape, generator=g, dtype=dtype)
    return spk, mem, torch.randint(N, (shape[1],), generator=g), torch.rand(N, generator=g, dtype=dtype) + 0.5


def ce(logits, y):
    return torch.logsumexp(logits, 0) - logits[y]


def first(train, f=1):
    """Time of the f-th spike of one neuron, or the last step."""
    times = train.nonzero().flatten().tolist()
    return times[f - 1] if len(times) >= f else len(train) - 1


def per_sample(value, x, y):
    """Stack value(x of one sample, its label) over the batch."""
    return torch.stack([torch.as_tensor(value(x[:, b], int(y[b])), dtype=x.dtype) for b in range(x.size(1))])


def one_hot(y, on, off, n=N):
    return torch.tensor([on if i == y else off for i in range(n)], dtype=torch.float64)


def pooled(x):
    return torch.stack([x[:, :2].sum(1), x[:, 2:4].sum(1), x[:, 4:].sum(1)], 1)


# name: (loss with these keywords, the definition for one sample, population coded, reduced shape)
DEFINITIONS = {
    "ce_rate": (SF.ce_rate_loss, {}, lambda x, y: sum(ce(s, y) for s in x) / T),
    "ce_count": (SF.ce_count_loss, {}, lambda x, y: ce(x.sum(0), y)),
    "ce_max": (SF.ce_max_membrane_loss, {}, lambda x, y: ce(x.amax(0), y)),
    "tet": (
        SF.tet_loss,
        {"lamb": 0.3, "phi": 0.7},
        lambda x, y: 0.7 * sum(ce(s, y) for s in x) / T + 0.3 * ((x - 0.7) ** 2).mean(),
    ),
    "ce_temporal": (
        SF.ce_temporal_loss,
        {},
        lambda x, y: ce(-torch.tensor([float(first(n)) for n in x.T], dtype=x.dtype), y),
    ),
    "ce_temporal_reciprocal": (
        SF.ce_temporal_loss,
        {"inverse": "reciprocal"},
        lambda x, y: ce(torch.tensor([1 / (first(n) + 1) for n in x.T], dtype=x.dtype), y),
    ),
    "ttfs": (
        SF.ttfs_loss,
        {"xi": 0.5, "alpha": 0.1, "tau": 3.0},
        lambda x, y: (
            ce(-torch.tensor([float(first(n)) for n in x.T], dtype=x.dtype) / 0.5, y)
            + 0.1 * (torch.tensor(first(x[:, y]) / 3.0).exp() - 1)
        ),
    ),
    "mse_count": (
        SF.mse_count_loss,
        {"correct_rate": 0.8, "incorrect_rate": 0.2},
        lambda x, y: (x.sum(0) - one_hot(y, 5, 1)) ** 2 / T,
    ),
    "mse_membrane": (
        SF.mse_membrane_loss,
        {"on_target": 1.3, "off_target": 0.3},
        lambda x, y: ((x - one_hot(y, 1.3, 0.3)) ** 2).mean(0),
    ),
    "mse_temporal": (
        SF.mse_temporal_loss,
        {"on_target": 1, "off_target": -2},
        lambda x, y: ((torch.tensor([float(first(n)) for n in x.T], dtype=x.dtype) - one_hot(y, 1, T - 2)) / T) ** 2,
    ),
}
MEMBRANE = ("ce_max", "mse_membrane", "tet")
DIVIDED_BY_WEIGHTS = ("ce_temporal", "ce_temporal_reciprocal")
ONE_ELEMENT = ("ce_rate", "mse_membrane")
# Of two trains, with a definition and tests of its own below.
DISTANCES = {SF.van_rossum_loss}


def test_every_exported_loss_has_its_definition():
    exported = [value for name, value in vars(SF.loss).items() if not name.startswith("_")]
    losses = {loss for loss in exported if isinstance(loss, type) and issubclass(loss, SF.LossFunctions)}
    missing = losses - {SF.LossFunctions} - {make for make, _, _ in DEFINITIONS.values()} - DISTANCES
    assert not missing, f"write the definition of {[c.__name__ for c in missing]} for one sample in DEFINITIONS"
    names = {name for name in vars(SF.loss) if name.endswith("_loss")}
    assert {loss.__name__ for loss in losses} - {"LossFunctions", "SpikeTime"} == names == names & set(vars(SF))
    assert not names - set(_READOUTS), f"say in backprop._truncated what {names - set(_READOUTS)} reads"


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", DEFINITIONS)
def test_definitions(name, reduction, weighted):
    make, kwargs, value = DEFINITIONS[name]
    spk, mem, y, w = draw()
    x = mem if name in MEMBRANE else spk
    expected = per_sample(value, x, y)
    if weighted:
        expected = expected * w[y].view(-1, *[1] * (expected.dim() - 1))
    if reduction == "sum" or (reduction == "mean" and weighted and name in DIVIDED_BY_WEIGHTS):
        expected = expected.sum() / (w[y].sum() if reduction == "mean" else 1)
    elif reduction == "mean":
        expected = expected.mean()
    if name in ONE_ELEMENT and not weighted and reduction != "none":
        expected = expected.view(1)
    loss = make(reduction=reduction, weight=w if weighted else None, **kwargs)(x, y)
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", ["ce_rate", "ce_count", "mse_count"])
def test_population_coding_sums_neurons_into_classes(name, reduction):
    spk, _, y, w = draw()
    make, kwargs, _ = DEFINITIONS[name]
    loss = make(population_code=True, num_classes=3, reduction=reduction, weight=w[:3], **kwargs)(spk, y % 3)
    if name == "mse_count":  # 7 steps, 2 neurons: 11.2 and 2.8 spikes wanted, truncated
        value = per_sample(lambda x, y: (pooled(x).sum(0) - one_hot(y, 11, 2, 3)) ** 2 / T, spk, y % 3)
        value = value * w[y % 3][:, None]
    elif name == "ce_count":
        value = per_sample(lambda x, y: ce(pooled(x).sum(0), y), spk, y % 3) * w[y % 3]
    else:
        value = per_sample(lambda x, y: sum(ce(s, y) for s in pooled(x)) / T, spk, y % 3) * w[y % 3]
    torch.testing.assert_close(loss, {"mean": value.mean, "sum": value.sum, "none": lambda: value}[reduction]())


@pytest.mark.parametrize("num_classes", [2, 10, 16, 40])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_cross_entropy_options_equal_pytorch_at_any_number_of_classes(num_classes, reduction):
    g = torch.Generator().manual_seed(num_classes)
    x = torch.randn(T, B, num_classes, generator=g, dtype=torch.float64)
    y = torch.randint(num_classes, (B,), generator=g)
    y[1] = 99
    options = {"reduction": reduction, "label_smoothing": 0.2, "ignore_index": 99}
    steps = torch.stack([F.cross_entropy(step, y, **options) for step in x])
    torch.testing.assert_close(SF.ce_rate_loss(**options)(x, y).squeeze(), steps.mean(0))
    torch.testing.assert_close(SF.ce_count_loss(**options)(x, y), F.cross_entropy(x.sum(0), y, **options))
    torch.testing.assert_close(SF.ce_max_membrane_loss(**options)(x, y), F.cross_entropy(x.amax(0), y, **options))
    weight = torch.rand(num_classes, generator=g, dtype=torch.float64)
    times = SF.SpikeTime()(x, y.where(y < 99, 0))[0]
    torch.testing.assert_close(
        SF.ce_temporal_loss(weight=weight, **options)(x, y), F.cross_entropy(-times, y, weight, **options)
    )
    kept = SF.ce_rate_loss(reduction=reduction, weight=weight)(x[:, y < 99], y[y < 99])
    with_ignored = SF.ce_rate_loss(reduction=reduction, weight=weight, ignore_index=99)(x, y)
    torch.testing.assert_close(with_ignored[y < 99] if reduction == "none" else with_ignored, kept)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", ["ce_rate", "ce_count", "ce_max", "tet", "mse_count", "mse_membrane"])
def test_gradcheck(name, weighted, reduction):
    make, kwargs, _ = DEFINITIONS[name]
    _, mem, y, w = draw(shape=(3, 4, N))
    loss = make(reduction=reduction, weight=w if weighted else None, **kwargs)
    assert torch.autograd.gradcheck(lambda x: loss(x, y), mem.requires_grad_())


def test_gradcheck_population_time_varying_and_van_rossum():
    _, mem, y, _ = draw(shape=(3, 4, N))
    _, values, _, _ = draw(1, shape=(3, 4, N))
    mem.requires_grad_()
    for loss, targets in [
        (SF.ce_rate_loss(True, 3), y % 3),
        (SF.ce_count_loss(True, 3, label_smoothing=0.1), y % 3),
        (SF.mse_count_loss(0.9, 0.1, True, 3), y % 3),
        (SF.mse_membrane_loss(time_var_targets=True), values),
        (SF.van_rossum_loss(tau=2.0), values),
    ]:
        assert torch.autograd.gradcheck(lambda x, f=loss, t=targets: f(x, t), mem)


# --------------------------------------------------------------------------- squared errors


def test_mse_count_truncates_but_not_rounding_errors():
    wanted = [
        SF.mse_count_loss(rate, 0, reduction="none")(torch.zeros(100, 1, 1), torch.tensor([0])).item()
        for rate in (0.29, 0.299, 0.57)
    ]
    torch.testing.assert_close(torch.tensor(wanted) * 100, torch.tensor([29.0, 29.0, 57.0]) ** 2)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("time_var_targets", [False, True])
def test_mse_membrane_of_images(time_var_targets, reduction):
    mem = torch.randn(T, B, 2, 3, 4, dtype=torch.float64)
    targets = torch.randn(mem.shape[0 if time_var_targets else 1 :], dtype=torch.float64)
    loss = SF.mse_membrane_loss(time_var_targets, reduction=reduction)(mem, targets)
    each = sum((m - (targets[t] if time_var_targets else targets)) ** 2 for t, m in enumerate(mem)) / T
    expected = each if reduction == "none" else getattr(each, reduction)().view(1)
    torch.testing.assert_close(loss, expected)
    with pytest.raises(ValueError, match=r"^targets must be potentials .*, got \(5,\)"):
        SF.mse_membrane_loss(time_var_targets)(mem, torch.arange(B))


@pytest.mark.parametrize("time_var_targets", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_mse_membrane_regression_with_one_output(time_var_targets, dtype):
    mem = torch.randn(T, B, 1, dtype=dtype)
    targets = torch.randn(*([T] if time_var_targets else []), B, dtype=dtype)
    loss = SF.mse_membrane_loss(time_var_targets)
    torch.testing.assert_close(loss(mem, targets), loss(mem, targets[..., None]), rtol=0, atol=0)
    expected = (mem[..., 0].double() - targets.double()).square().mean().view(1)
    torch.testing.assert_close(loss(mem, targets).double(), expected, rtol=1e-2, atol=1e-6)
    with pytest.raises(ValueError, match="class labels, whole numbers"):  # no regression of two outputs by one target
        loss(mem.expand(T, B, 2), targets)


def test_van_rossum_of_images_is_that_of_their_pixels():
    spk, targets = (torch.rand(2, T, B, 2, 3, 3) < 0.3).double()
    each = SF.loss.van_rossum_loss(3.0, reduction="none")
    torch.testing.assert_close(each(spk, targets).flatten(1), each(spk.flatten(2), targets.flatten(2)))


def test_mse_membrane_targets():
    _, mem, y, w = draw()
    labels = torch.randint(N, (T, B), generator=torch.Generator().manual_seed(3))
    values = F.one_hot(labels, N).double()
    by_labels = SF.mse_membrane_loss(time_var_targets=True)(mem, labels)
    torch.testing.assert_close(by_labels, ((mem - values) ** 2).mean().view(1))
    torch.testing.assert_close(SF.mse_membrane_loss(time_var_targets=True)(mem, values), by_labels)
    static = SF.mse_membrane_loss(reduction="none")(mem, values[0])
    torch.testing.assert_close(static, ((mem - values[0]) ** 2).mean(0))
    weighted = SF.mse_membrane_loss(time_var_targets=True, weight=w)(mem, labels)
    torch.testing.assert_close(weighted, ((mem - values) ** 2 * w[labels][..., None]).mean())
    for loss, targets, message in [
        (SF.mse_membrane_loss(), labels, r"labels \(5,\) or potentials \(5, 6\).*got \(7, 5\)"),
        (SF.mse_membrane_loss(True), y, r"labels \(7, 5\) or potentials \(7, 5, 6\)"),
        (SF.mse_membrane_loss(weight=w), values[0], "weight needs class labels"),
    ]:
        with pytest.raises(ValueError, match=message):
            loss(mem, targets)


def test_membrane_targets_keep_double_precision():
    loss = SF.mse_membrane_loss(on_target=0.3, off_target=0.1)
    exact = torch.tensor([[[0.1, 0.3]]], dtype=torch.float64)
    assert loss(exact, torch.tensor([1])).item() == 0.0


# --------------------------------------------------------------------------- spike times


@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**31))
def test_first_spikes_and_their_gradient(num_steps, batch, num_outputs, num_spikes, seed):
    g = torch.Generator().manual_seed(seed)
    spk = torch.randn(num_steps, batch, num_outputs, generator=g)
    spk *= torch.rand(spk.shape, generator=g) < 0.4  # graded and negative spikes count as spikes
    spk.requires_grad_()
    targets = torch.randint(num_steps, (num_spikes, batch, num_outputs), generator=g)
    times, wanted = SF.SpikeTime(target_is_time=True, multi_spike=True)(spk, targets)
    torch.testing.assert_close(wanted, targets.float())
    expected = torch.zeros(num_spikes, batch, num_outputs)
    grad, expected_grad = torch.randn(times.shape, generator=g), torch.zeros(spk.shape)
    for f, b, n in itertools.product(range(num_spikes), range(batch), range(num_outputs)):
        t = first(spk[:, b, n], f + 1)
        expected[f, b, n] = t
        expected_grad[t, b, n] -= grad[f, b, n]  # several missing spikes add up at the last step
    torch.testing.assert_close(times, expected)
    times.backward(grad)
    torch.testing.assert_close(spk.grad, expected_grad)
    single, _ = SF.SpikeTime(target_is_time=True)(spk, targets[0])
    torch.testing.assert_close(single, expected[0])


def test_default_targets_are_the_first_and_the_last_step():
    spk, _, y, _ = draw()
    _, wanted = SF.SpikeTime()(spk, y)
    torch.testing.assert_close(wanted, (T - 1) * (1 - F.one_hot(y, N).double()))


def test_label_targets_of_several_spikes():
    spk, _, y, w = draw()
    on, off = [0, 2, T + 3], (-1, -2, 4)
    times, wanted = SF.SpikeTime(on_target=on, off_target=off)(spk, y)
    assert times.shape == wanted.shape == (3, B, N)
    is_label = F.one_hot(y, N).bool()
    for f, (a, b) in enumerate(zip([0, 2, T + 3], [T - 1, T - 2, 4], strict=True)):
        torch.testing.assert_close(wanted[f], torch.where(is_label, float(a), float(b)).double())
    loss = SF.mse_temporal_loss(on_target=on, off_target=off, weight=w, reduction="none")(spk, y)
    torch.testing.assert_close(loss, ((times - wanted) / T) ** 2 * w[y][:, None])


def test_time_targets_broadcast_and_stay_untouched():
    spk, _, _, _ = draw()
    targets = torch.tensor([0, -1, 3, -T, 20, 1])
    original = targets.clone()
    _, wanted = SF.SpikeTime(target_is_time=True)(spk, targets)
    assert torch.equal(targets, original)
    torch.testing.assert_close(wanted, torch.tensor([0, T - 1, 3, 0, 20, 1]).double().expand(B, N))


def test_tolerance_is_strict_and_passes_the_gradient():
    spk = torch.eye(4)[:, None].requires_grad_()  # neuron n fires at step n
    targets = torch.tensor([[2, 2, 2, 2]])
    times, _ = SF.SpikeTime(target_is_time=True, tolerance=2)(spk, targets)
    assert times.tolist() == [[0.0, 2.0, 2.0, 2.0]]
    times.sum().backward()
    torch.testing.assert_close(spk.grad, -torch.eye(4)[:, None])
    loss = SF.mse_temporal_loss(target_is_time=True, tolerance=2, reduction="none")(spk, targets)
    assert loss.tolist() == [[0.25, 0.0, 0.0, 0.0]]


def test_gradient_of_the_temporal_losses():
    spk, _, y, _ = draw()
    spk.requires_grad_()
    times = SF.SpikeTime()(spk, y)[0].detach()
    at = F.one_hot(times.long(), T).movedim(-1, 0)
    SF.ce_temporal_loss(reduction="sum")(spk, y).backward()
    by_time = F.one_hot(y, N) - (-times).softmax(1)
    torch.testing.assert_close(spk.grad, -at * by_time)
    spk.grad = None
    SF.mse_temporal_loss(reduction="sum")(spk, y).backward()
    wanted = (T - 1) * (1 - F.one_hot(y, N))
    torch.testing.assert_close(spk.grad, -at * 2 * (times - wanted) / T**2)


def test_training_revives_a_silent_neuron():
    x = torch.full((T, 1, 1), -1.0, requires_grad=True)
    spk = (x > 0).float() + (x - x.detach())
    SF.mse_temporal_loss()(spk, torch.tensor([0])).backward()
    assert x.grad is not None
    assert (x.grad[:-1] == 0).all() and x.grad[-1].item() < 0  # a descent step raises the last input


def test_integer_and_boolean_spikes():
    spk, _, y, _ = draw()
    for dtype in (torch.bool, torch.uint8, torch.int64):
        times, wanted = SF.SpikeTime()(spk.to(dtype), y)
        assert times.dtype == wanted.dtype == torch.float32
        torch.testing.assert_close(times.double(), SF.SpikeTime()(spk, y)[0])
        loss = SF.ce_rate_loss()(spk.to(dtype), y)
        torch.testing.assert_close(loss, SF.ce_rate_loss()(spk.float(), y))


# --------------------------------------------------------------------------- distances between spike trains


def train(times, num_steps=50):
    return F.one_hot(torch.tensor(times), num_steps).sum(0).double().view(-1, 1, 1)


@pytest.mark.parametrize("tau", [1.0, 7.0])
def test_van_rossum_closed_forms(tau):
    distance = SF.van_rossum_loss(tau)
    torch.testing.assert_close(distance(train([5]), torch.zeros(50, 1, 1).double()).item(), 0.5)
    moved = 1 - torch.tensor(-9 / tau).exp().item()
    torch.testing.assert_close(distance(train([5]), train([14])).item(), moved)
    # The definition: difference of the smoothed trains, integrated by the midpoint rule far beyond the end.
    a, b = [3, 8, 9], [4, 20]
    t = torch.arange(0.0, 50 + 20 * tau, 0.001, dtype=torch.float64) + 0.0005
    smooth = lambda times: sum((t > s) * ((s - t) / tau).exp() for s in times)  # noqa: E731
    integral = ((smooth(a) - smooth(b)) ** 2).sum() * 0.001 / tau
    torch.testing.assert_close(distance(train(a), train(b)), integral, rtol=1e-5, atol=0)


def test_van_rossum_reductions():
    a, b = draw(0)[0], draw(1)[0]
    each = SF.van_rossum_loss(3.0, "none")(a, b)
    assert each.shape == (B, N) and (each >= 0).all()
    torch.testing.assert_close(SF.van_rossum_loss(3.0)(a, b), each.mean())
    torch.testing.assert_close(SF.van_rossum_loss(3.0, "sum")(b, a), each.sum())


def edit_distance(a, b, cost):
    """By trying every choice for the last spikes."""
    if not a or not b:
        return len(a) + len(b)
    return min(
        1 + edit_distance(a[:-1], b, cost),
        1 + edit_distance(a, b[:-1], cost),
        cost * abs(a[-1] - b[-1]) + edit_distance(a[:-1], b[:-1], cost),
    )


@given(st.integers(0, 2**31), st.sampled_from([0.0, 0.1, 0.4, 3.0]))
def test_victor_purpura_is_the_cheapest_edit(seed, cost):
    a, b = draw(seed, (9, 2, 3), rate=0.4)[0], draw(seed + 1, (9, 2, 3), rate=0.4)[0]
    distance = SF.victor_purpura_distance(a, b, cost)
    for i, n in itertools.product(range(2), range(3)):
        times = [x[:, i, n].nonzero().flatten().tolist() for x in (a, b)]
        assert distance[i, n].item() == pytest.approx(edit_distance(*times, cost), abs=1e-5)
    torch.testing.assert_close(distance, SF.victor_purpura_distance(b, a, cost))


def test_victor_purpura_of_silent_trains():
    silent, spk = torch.zeros(9, 2, 3), draw(shape=(9, 2, 3))[0]
    assert (SF.victor_purpura_distance(silent, silent) == 0).all()
    torch.testing.assert_close(SF.victor_purpura_distance(spk, silent), spk.sum(0).float())


# --------------------------------------------------------------------------- what all losses share


ALL = [
    *[pytest.param(make, kwargs, id=name) for name, (make, kwargs, _) in DEFINITIONS.items()],
    pytest.param(SF.van_rossum_loss, {}, id="van_rossum"),
]


@pytest.mark.parametrize(("make", "kwargs"), ALL)
def test_names_copies_and_dtypes(make, kwargs):
    loss = make(**kwargs)
    assert loss.__name__ == make.__name__ and isinstance(loss, SF.LossFunctions)
    spk, _, y, _ = draw()
    targets = draw(1)[0] if make is SF.van_rossum_loss else y
    value = loss(spk, targets)
    torch.testing.assert_close(pickle.loads(pickle.dumps(loss))(spk, targets), value)
    torch.testing.assert_close(copy.deepcopy(loss)(spk, targets), value)
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        narrow = loss(spk.to(dtype), targets)
        assert narrow.dtype == dtype
        torch.testing.assert_close(narrow, value.to(dtype))


def test_half_precision_accumulates_in_float32():
    spk = torch.ones(3000, 1, 2, dtype=torch.float16)
    assert SF.mse_count_loss(1, 1)(spk, torch.tensor([0])).item() == 0.0


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("name", DEFINITIONS)
def test_cuda_equals_cpu_and_never_waits(name):
    make, kwargs, _ = DEFINITIONS[name]
    spk, mem, y, w = draw()
    x = (mem if name in MEMBRANE else spk).requires_grad_()
    expected = make(weight=w, **kwargs)(x, y)
    (expected_grad,) = torch.autograd.grad(expected, x)
    loss = make(weight=w.cuda(), **kwargs)
    x, y = x.detach().cuda().requires_grad_(), y.cuda()
    loss(x, y)
    torch.cuda.set_sync_debug_mode("error")
    try:
        value = loss(x, y)
        (grad,) = torch.autograd.grad(value, x)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(value.cpu(), expected)
    torch.testing.assert_close(grad.cpu(), expected_grad)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ["ce_rate", "mse_count", "mse_temporal"])
def test_compiles_without_graph_breaks(name):
    make, kwargs, _ = DEFINITIONS[name]
    spk, _, y, w = draw()
    loss = make(weight=w, **kwargs)
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(spk, y), loss(spk, y))


def test_a_loss_of_the_users_own():
    class last_step_loss(SF.LossFunctions):
        def _compute_loss(self, prediction, targets):
            _, num_steps, num_outputs = self._prediction_check(prediction)
            assert (num_steps, num_outputs) == prediction.shape[::2]
            return F.cross_entropy(prediction[-1], targets, reduction="none")

    _, mem, y, _ = draw()
    assert last_step_loss().__name__ == "last_step_loss"
    assert last_step_loss("none")(mem, y).shape == (B,)
    torch.testing.assert_close(last_step_loss()(mem, y), F.cross_entropy(mem[-1], y))
    with pytest.raises(NotImplementedError, match="_compute_loss"):
        SF.LossFunctions()(mem, y)


def test_population_code_counts():
    spk, _, _, _ = draw()
    counts = SF.LossFunctions()._population_code(spk, 3, N)
    torch.testing.assert_close(counts, spk.sum(0).view(B, 3, 2).sum(2))
    torch.testing.assert_close(pool_population(spk, 3).sum(0), counts)


@pytest.mark.parametrize(
    ("make", "kwargs", "message"),
    [
        (SF.ce_rate_loss, {"reduction": "average"}, "reduction must be"),
        (SF.ce_count_loss, {"label_smoothing": 2.0}, "label_smoothing"),
        (
            SF.ce_temporal_loss,
            {"inverse": "squared"},
            "inverse must be 'negate' or 'reciprocal', got 'squared'",
        ),
        (SF.mse_temporal_loss, {"target_is_time": True, "weight": torch.ones(N)}, "target_is_time"),
        (SF.tet_loss, {"lamb": -1}, "lamb"),
        (SF.ttfs_loss, {"xi": 0}, "xi"),
        (SF.van_rossum_loss, {"tau": 0}, "tau"),
    ],
)
def test_bad_constructor_arguments(make, kwargs, message):
    with pytest.raises(ValueError, match=message):
        make(**kwargs)


@pytest.mark.parametrize("num_classes", [False, 4])
@pytest.mark.parametrize("make", [SF.ce_rate_loss, SF.ce_count_loss, SF.mse_count_loss])
def test_population_needs_a_divisor(make, num_classes):
    spk, _, y, _ = draw()
    with pytest.raises(ValueError, match="num_classes must divide the number of output neurons 6"):
        make(population_code=True, num_classes=num_classes)(spk, y)


@pytest.mark.parametrize(("make", "kwargs"), [p for p in ALL if p.id != "van_rossum"])
def test_bad_inputs(make, kwargs):
    spk, _, y, _ = draw()
    loss = make(**kwargs)
    with pytest.raises(ValueError, match=r"\[T, B, (N|\.\.\.)\]"):
        loss(spk[0], y)
    with pytest.raises(ValueError, match=r"\[T, B, (N|\.\.\.)\] with T > 0"):
        loss(spk[:0], y)
    with pytest.raises(ValueError, match="targets must be"):
        loss(spk, y[:-1])
    torch.testing.assert_close(loss(spk, y.double()), loss(spk, y), rtol=0, atol=0)
    for wrong in (y + 0.5, y.float().log()):
        with pytest.raises(ValueError, match="class labels, whole numbers"):
            loss(spk, wrong)
    for label in (-1, N):
        wrong = y.clone()
        wrong[2] = label
        with pytest.raises(ValueError, match=r"targets must lie in 0\.\.5"):
            loss(spk, wrong)
    with pytest.raises(ValueError, match="weight must hold a value for each of the 6 classes"):
        make(weight=torch.ones(3), **kwargs)(spk, y)


def test_bad_spike_time_targets():
    spk, _, y, _ = draw()
    with pytest.raises(ValueError, match=r"broadcast to \(5, 6\), got \(3,\)"):
        SF.SpikeTime(target_is_time=True)(spk, torch.zeros(3))
    with pytest.raises(ValueError, match=r"\[F, B, N\]"):
        SF.SpikeTime(target_is_time=True, multi_spike=True)(spk, torch.zeros(B, N))
    for on, off in [([1, 2], [3]), ([1, 2], 3), (0, -1)]:
        with pytest.raises(IndexError, match="on_target and off_target"):
            SF.SpikeTime(on_target=on, off_target=off, multi_spike=True)(spk, y)


def test_bad_spike_trains():
    spk, _, _, _ = draw()
    for distance in (SF.van_rossum_loss(), SF.victor_purpura_distance):
        with pytest.raises(ValueError, match=r"shape \(7, 5, 6\), got \(6, 5, 6\)"):
            distance(spk, spk[1:])
    with pytest.raises(ValueError, match="cost"):
        SF.victor_purpura_distance(spk, spk, cost=-1)


def test_labels_of_any_integer_dtype():
    spk, _, y, w = draw()
    expected = SF.mse_temporal_loss(weight=w)(spk, y)
    for dtype in (torch.uint8, torch.int32):
        torch.testing.assert_close(SF.mse_temporal_loss(weight=w)(spk, y.to(dtype)), expected)
        assert check_labels(y.to(dtype), (B,)).dtype == torch.int64


LENGTHS = [4, T, 0, 1, 6]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", DEFINITIONS)
def test_lengths_leave_out_what_comes_after_each_end(name, reduction, weighted):
    """Each sample's loss, and gradient, is that of its own steps alone; one of no steps counts for nothing."""
    make, kwargs, _ = DEFINITIONS[name]
    spk, mem, y, w = draw()
    x = (mem if name in MEMBRANE else spk).requires_grad_()
    weight = w if weighted else None
    one = make(reduction="none", weight=weight, **kwargs)
    values = [one(x[:n, b : b + 1], y[b : b + 1])[0] if n else None for b, n in enumerate(LENGTHS)]
    expected = torch.stack([torch.zeros_like(values[0]) if v is None else v for v in values])
    real = torch.tensor(LENGTHS) > 0
    if reduction != "none":
        divides = w[y][real].sum() if weighted and name in DIVIDED_BY_WEIGHTS else expected[real].numel()
        expected = expected.sum() / (divides if reduction == "mean" else 1)
        expected = expected.view(1) if name in ONE_ELEMENT and not weighted else expected
    padded = torch.where(torch.arange(T)[:, None, None] < torch.tensor(LENGTHS)[:, None], x, torch.nan)
    loss = make(reduction=reduction, weight=weight, **kwargs)(padded, y, lengths=LENGTHS)
    torch.testing.assert_close(loss, expected)
    grads = [torch.autograd.grad(value.sum(), x, retain_graph=True)[0] for value in (loss, expected)]
    torch.testing.assert_close(*grads)


def test_lengths_of_other_losses_and_accuracies():
    spk, _, y, _ = draw()
    other = draw(1)[0]
    multi = SF.mse_temporal_loss(True, multi_spike=True, reduction="none")
    cases = (
        (lambda x, z, y, **k: SF.van_rossum_loss(3.0, reduction="none")(x, z, **k), 0),
        (lambda x, z, y, **k: SF.loss.victor_purpura_distance(x, z, **k), 0),
        (lambda x, z, y, **k: multi(x, torch.ones(2, x.size(1), N).double(), **k), 1),
        (lambda x, z, y, **k: SF.mse_membrane_loss(True, reduction="none")(x, z, **k), 0),
        (lambda x, z, y, **k: SF.ce_rate_loss(True, 3, reduction="none", ignore_index=2)(x, y % 3, **k), 0),
        (lambda x, z, y, **k: SF.acc.predict_rate(x, **k), 0),
        (lambda x, z, y, **k: SF.acc.predict_temporal(x, **k), 0),
    )
    for value, dim in cases:
        found = value(spk, other, y, lengths=torch.tensor(LENGTHS))
        for b, n in enumerate(LENGTHS):
            if n:
                alone = value(spk[:n, b : b + 1], other[:n, b : b + 1], y[b : b + 1])
                torch.testing.assert_close(found.select(dim, b), alone.select(dim, 0))
    hits = SF.acc.predict_rate(spk, lengths=LENGTHS) == y
    assert SF.accuracy_rate(spk, y, lengths=LENGTHS) == hits.double().mean()
    assert SF.accuracy_temporal(spk, y, lengths=[T] * B) == SF.accuracy_temporal(spk, y)


def test_wrong_lengths_are_named():
    spk, _, y, _ = draw()
    loss = SF.ce_count_loss()
    with pytest.raises(ValueError, match=r"lengths must lie in 0..7, the steps of the outputs, got 0..8"):
        loss(spk, y, lengths=[8, 0, 1, 1, 1])
    with pytest.raises(ValueError, match=r"one entry for each of 5 samples, got shape \(1,\)"):
        loss(spk, y, lengths=[8])
    with pytest.raises(TypeError, match=r"lengths must be integers, got torch.float32"):
        loss(spk, y, lengths=torch.ones(B))

    class own(SF.LossFunctions):
        def _compute_loss(self, prediction, targets):
            return prediction.sum((0, 2))

    own()(spk, y)
    with pytest.raises(TypeError, match="own takes no lengths"):
        own()(spk, y, lengths=LENGTHS)
