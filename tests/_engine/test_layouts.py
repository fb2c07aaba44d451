"""However input, states, parameters and cotangents lie in memory: values and gradients are those of the eager loop."""

import itertools

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import snntorch as snn

F64 = torch.float64
T, SHAPE = 3, (2, 3, 2, 4)  # [B, C, H, W]; a layer with feedback takes [B, F]


def permuted(order):
    def place(x):
        lead = x.dim() - len(order)  # time stays first
        dims = [*range(lead), *(lead + d for d in order)]
        return x.permute(dims).contiguous().permute([dims.index(d) for d in range(x.dim())])

    place.__name__ = f"order {order}"
    return place


def as_it_is(x):
    return x


def strided(x):
    return x.repeat_interleave(2, -1)[..., ::2]


def offset(x):
    return torch.cat([x.flatten()[:1], x.flatten()])[1:].view_as(x)


def expanded(x):
    return x[:1].expand_as(x)


def expanded_inside(x):
    return x[..., :1].expand_as(x)


def flipped(x):
    return x.flip(-1)


def time_inside(x):
    return x.movedim(0, -1).contiguous().movedim(-1, 0)


PLACES = [as_it_is, strided, offset, expanded, expanded_inside, flipped, time_inside]
IMAGES = st.sampled_from([*PLACES, *map(permuted, itertools.permutations(range(4)))])
ROWS = st.sampled_from([*PLACES, permuted((1, 0))])


def both(call, leaves, places, weights):
    """Values and gradients of a call of placed leaves, whose results have placed cotangents, on both paths."""
    results = []
    for way in ("fused", "eager"):
        fresh = [leaf.clone().requires_grad_() for leaf in leaves]
        with snn.backend(way):
            out = call(*(place(leaf) for place, leaf in zip(places, fresh, strict=False)))
        cotangents = [place(w) for place, w in zip(places[len(leaves) :], weights, strict=False)]
        results.append([out, torch.autograd.grad(out, fresh, cotangents[: len(out)])])
    return results


def drawn(*shapes):
    draw = torch.Generator().manual_seed(0)
    return [2 * torch.rand(shape, generator=draw, dtype=F64) for shape in shapes]


class Given(snn.Synaptic):
    """A Synaptic whose decay is passed, as a tensor of any layout."""

    def __init__(self, beta):
        super().__init__(0.5, 0.5)
        self.to(F64).beta = beta / 2


@settings(max_examples=60, deadline=None)
@given(st.tuples(*[IMAGES] * 7), st.booleans())
def test_single_steps(places, neurons):
    decay = (3, 2, 4) if neurons else (3, 1, 1)
    leaves = drawn(SHAPE, SHAPE, SHAPE, decay)
    places = (*places[:3], as_it_is if places[3].__name__.startswith("order") else places[3], *places[4:])

    def call(x, syn, mem, beta):
        return Given(beta)(x, syn, mem)

    found, expected = both(call, leaves, places, drawn(SHAPE, SHAPE, SHAPE))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.tuples(*[IMAGES] * 7), st.booleans())
def test_over_time(places, neurons):
    decay = (3, 2, 4) if neurons else (3, 1, 1)
    leaves = drawn((T, *SHAPE), SHAPE, SHAPE, decay)
    places = (*places[:3], as_it_is if places[3].__name__.startswith("order") else places[3], *places[4:])

    def call(x, syn, mem, beta):
        return snn.unroll(Given(beta), x, syn, mem)

    course = (T, *SHAPE)
    found, expected = both(call, leaves, places, drawn(course, course, course))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.tuples(*[ROWS] * 7))
def test_with_feedback(places):
    leaves = drawn((T, 2, 5), (2, 5), (2, 5), (5,))

    def call(x, spk, mem, beta):
        torch.manual_seed(0)
        layer = snn.RLeaky(0.5, linear_features=5).to(F64)
        layer.beta = beta / 2
        return snn.unroll(layer, x, spk, mem)

    found, expected = both(call, leaves, (*places[:3], as_it_is, *places[4:]), drawn((T, 2, 5), (T, 2, 5)))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
