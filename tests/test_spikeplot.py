"""Plots are checked by the artists they leave on their axes, and by pictures stored in ``tests/baseline``.

To draw the stored pictures anew, run ``SNNTORCH_REGENERATE_BASELINES=1 pytest tests/test_spikeplot.py`` and
look at every one that changed before it is committed.
"""

import base64
import html
import io
import json
import os
import re
import shutil
import subprocess
from functools import cache
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.animation import ArtistAnimation, writers
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.figure import Figure
from matplotlib.image import imread
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image

from snntorch import spikeplot as splt
from snntorch.spikeplot._canvas import COLORS

BASELINES = Path(__file__).parent / "baseline"
REGENERATE = "SNNTORCH_REGENERATE_BASELINES" in os.environ
STYLES = {"light": "default", "dark": "dark_background"}


@pytest.fixture(autouse=True)
def no_figure_left():
    yield
    plt.close("all")


@pytest.fixture
def ax():
    return new_figure(figsize=(2, 1.5), dpi=50).subplots()


def clockwork(num_steps, rates):
    """Spikes [T, N...] of neurons that fire at regular intervals, `rates` spikes per step."""
    rates = torch.as_tensor(rates, dtype=torch.float64)
    steps = torch.arange(num_steps, dtype=torch.float64).reshape(-1, *[1] * rates.ndim)
    return ((steps + 1) * rates).floor() - (steps * rates).floor()


def leaky(num_steps, currents, threshold=1.0):
    """Membrane potentials and spikes [T, N] of leaky neurons under constant currents."""
    mem, trace, spikes = torch.zeros(len(currents)), [], []
    for _ in range(num_steps):
        mem = 0.9 * mem + torch.as_tensor(currents)
        trace.append(mem)
        spikes.append((mem > threshold).float())
        mem = mem - threshold * spikes[-1]
    return torch.stack(trace), torch.stack(spikes)


# --- what holds for every plot --------------------------------------------------------------------------

TRAINS = clockwork(20, [0.1, 0.3, 0.45, 0.2])  # [20, 4]

PLOTS = {
    "animator": lambda data, ax: splt.animator(data, ax.figure, ax),
    "raster": lambda data, ax: splt.raster(data, ax),
    "raster_groups": lambda data, ax: splt.raster_groups(data, {"a": [0, 2], "b": [3]}, ax=ax),
    "spike_count": lambda data, ax: splt.spike_count(data, ax.figure, ax, labels=None),
    "spike_count animated": lambda data, ax: splt.spike_count(data, ax.figure, ax, None, animate=True),
    "psth": lambda data, ax: splt.psth(data, ax=ax),
    "rate_histogram": lambda data, ax: splt.rate_histogram(data, ax=ax),
    "isi_histogram": lambda data, ax: splt.isi_histogram(data, ax=ax),
    "membrane_traces": lambda data, ax: splt.membrane_traces(data, data, 0.5, ax=ax),
    "weight_map": lambda data, ax: splt.weight_map(data, ax=ax),
    "receptive_fields": lambda data, ax: splt.receptive_fields(data, (2, 2), ax=ax),
    "weight_histogram": lambda data, ax: splt.weight_histogram({"a": data}, ax=ax),
}
KINDS = {
    "bfloat16": lambda spikes: spikes.bfloat16(),
    "requires_grad": lambda spikes: spikes.float().requires_grad_(),
    "bool": lambda spikes: spikes.bool(),
    "numpy": lambda spikes: spikes.numpy(),
    "not contiguous": lambda spikes: spikes.T.contiguous().T,
}


def picture(figure):
    """The figure as an array of pixels [H, W, 4] between 0 and 1."""
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba()) / 255


def new_figure(**kwargs):
    """A figure that pyplot does not know, on a canvas with pixels."""
    figure = Figure(**kwargs)
    FigureCanvasAgg(figure)
    return figure


def frames_of(animation):
    """The artists of each frame. They are drawn once, as matplotlib warns of animations that never were."""
    frames = list(animation.new_frame_seq())
    frames[0][0].figure.canvas.draw()
    return frames


@cache
def plotted(plot, change=lambda spikes: spikes):
    """The picture of a plot of `TRAINS` after a change; of an animation, its last frame."""
    figure = new_figure(figsize=(2, 1.5), dpi=50)
    movie = PLOTS[plot](change(TRAINS), figure.subplots())
    if isinstance(movie, ArtistAnimation):
        plt.setp(frames_of(movie)[-1], visible=True)
    return picture(figure)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("plot", PLOTS)
def test_every_kind_of_data_draws_the_same(plot, kind):
    expected = plotted(plot)
    np.testing.assert_array_equal(plotted(plot, KINDS[kind]), expected)
    assert np.ptp(expected) > 0.5


@pytest.mark.parametrize("plot", PLOTS)
def test_one_step_is_enough(plot):
    assert np.ptp(plotted(plot, lambda spikes: spikes[-2:-1])) > 0.5


@pytest.mark.parametrize("plot", PLOTS)
def test_settings_and_current_axes_stay(plot):
    figure, (given_ax, current) = plt.subplots(1, 2)
    plt.sca(current)
    settings = mpl.rcParams.copy()
    empty = {kind: len(getattr(current, kind)) for kind in ("lines", "collections", "patches", "images", "texts")}
    position = given_ax.get_position().bounds

    movie = PLOTS[plot](TRAINS, given_ax)  # noqa: F841  # an animation lives while it is held
    figure.canvas.draw()

    assert mpl.rcParams == settings
    assert plt.gca() is current and plt.gcf() is figure
    assert {kind: len(getattr(current, kind)) for kind in empty} == empty
    assert current.axison
    if plot != "receptive_fields":  # its square pixels shrink the axes
        assert given_ax.get_position().bounds == position


WITHOUT_AXES = {
    "raster_groups": splt.raster_groups,
    "raster_grid": lambda spikes: splt.raster_grid(spikes[:, None]),
    "psth": splt.psth,
    "rate_histogram": splt.rate_histogram,
    "isi_histogram": splt.isi_histogram,
    "membrane_traces": splt.membrane_traces,
    "weight_map": splt.weight_map,
    "weight_histogram": splt.weight_histogram,
    "training_curves": lambda spikes: splt.training_curves({"rate": spikes.mean(1)}),
}


@pytest.mark.parametrize("plot", WITHOUT_AXES)
def test_a_new_figure_is_made_without_axes(plot):
    artists = WITHOUT_AXES[plot](TRAINS)
    artist = artists[0] if isinstance(artists, list) else artists
    assert artist.figure is plt.gcf()


@pytest.mark.parametrize("plot", PLOTS)
@pytest.mark.parametrize("shape", [(), (0, 4)])
def test_data_without_time_is_refused(plot, shape, ax):
    with pytest.raises(ValueError, match=re.escape(f"has shape {list(shape)}")):
        PLOTS[plot](torch.zeros(shape), ax)


def test_colours_stand_out_on_light_and_dark():
    def luminance(color):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
        return np.dot(linear, [0.2126, 0.7152, 0.0722])

    for color in COLORS[:3]:  # the contrast that WCAG 2.2 asks of graphics
        assert 1.05 / (luminance(color) + 0.05) > 3
        assert (luminance(color) + 0.05) / 0.05 > 3


# --- animator and Camera --------------------------------------------------------------------------------


def test_animator_shows_each_step_on_one_scale(ax):
    data = torch.arange(24.0).reshape(4, 2, 3)
    animation = splt.animator(data, ax.figure, ax, interval=70, cmap="viridis")
    frames = frames_of(animation)
    assert len(frames) == 4
    for step, (image,) in enumerate(frames):
        np.testing.assert_array_equal(image.get_array(), data[step])
        assert image.get_clim() == (0, 23)
        assert image.get_cmap().name == "viridis"
    assert animation.event_source.interval == 70
    assert not ax.axison


def test_animator_takes_a_row_and_fewer_steps(ax):
    animation = splt.animator(torch.rand(5, 7), ax.figure, ax, num_steps=3)
    frames = frames_of(animation)
    assert len(frames) == 3
    assert frames[0][0].get_array().shape == (1, 7)


@pytest.mark.parametrize("num_steps", [6, -1])
@pytest.mark.parametrize("function", [splt.animator, splt.spike_count])
def test_steps_that_are_not_there_are_refused(function, num_steps, ax):
    labels = {"labels": None} if function is splt.spike_count else {}
    with pytest.raises(ValueError, match=f"num_steps is {num_steps}, but data has 5 steps"):
        function(torch.rand(5, 4), ax.figure, ax, num_steps=num_steps, **labels)


def test_animator_refuses_other_dimensions(ax):
    with pytest.raises(ValueError, match=re.escape("data has shape [5]; expected 2 or 3 dimensions")):
        splt.animator(torch.rand(5), ax.figure, ax)


def test_camera_records_what_is_new():
    figure = new_figure()
    left, right = figure.subplots(1, 2)
    old = left.plot([0, 1])
    camera = splt.Camera(figure)
    assert camera.snap() == old
    text, dots, bar = right.text(0, 0, "t"), left.scatter([0], [0]), right.bar([0], [1])[0]
    image, line = left.imshow([[0]]), left.plot([1])[0]
    assert camera.snap() == [dots, line, image, bar, text]
    assert camera.snap() == []
    animation = camera.animate(interval=30, blit=False)
    assert isinstance(animation, ArtistAnimation)
    assert frames_of(animation) == [old, [dots, line, image, bar, text], []]
    assert animation.event_source.interval == 30


def test_camera_keeps_count_when_artists_are_removed(ax):
    camera = splt.Camera(ax.figure)
    (old,) = ax.plot([0, 1])
    camera.snap()
    old.remove()
    new = ax.plot([1, 0])
    assert camera.snap() == new


def test_camera_without_frames_is_refused():
    with pytest.raises(ValueError, match="no frames"):
        splt.Camera(Figure()).animate()


# --- raster ---------------------------------------------------------------------------------------------


def test_raster_marks_steps_and_neurons(ax):
    data = torch.zeros(4, 2, 3)
    data[1, 0, 2] = data[3, 1, 0] = 1
    marks = splt.raster(data, ax, s=1.5, c="black", marker="|")
    assert marks.get_offsets().tolist() == [[1, 2], [3, 3]]
    assert marks.get_sizes().tolist() == [1.5]
    assert marks in ax.collections


def test_raster_of_one_train_is_neuron_zero(ax):
    assert splt.raster(torch.tensor([0, 1, 1]), ax).get_offsets().tolist() == [[1, 0], [2, 0]]


def test_raster_groups_stack_by_group():
    top, bottom = Figure().subplots(2)
    spikes = torch.zeros(4, 5)
    spikes[0, 0] = spikes[1, 4] = spikes[2, 2] = spikes[2, 1] = 1
    mask = torch.tensor([False, True, True, False, False])
    first, second = splt.raster_groups(
        spikes, {"ends": [4, 0], "middle": mask}, ax=bottom, rate_ax=top, bin_size=2, time_step=0.5
    )
    assert first.get_offsets().tolist() == [[0, 1], [0.5, 0]]  # neuron 4 is the group's row 0
    assert second.get_offsets().tolist() == [[1, 2], [1, 3]]  # above the two rows of the first group
    assert [tick.get_text() for tick in bottom.get_yticklabels()] == ["ends", "middle"]
    assert bottom.get_yticks().tolist() == [0.5, 2.5]
    assert bottom.get_xlabel() == "Time [s]" and top.get_ylabel() == "Rate [Hz]"
    assert [line.get_data().values.tolist() for line in top.patches] == [[1, 0], [0, 1]]
    for marks, line, color in zip((first, second), top.patches, COLORS, strict=False):
        assert to_rgba(color) == tuple(marks.get_edgecolor()[0]) == line.get_edgecolor()


def test_raster_groups_rates_share_one_axis():
    top, bottom = Figure().subplots(2)
    spikes = clockwork(100, [0.1, 0.9])
    splt.raster_groups(spikes, {"slow": [0], "fast": [1]}, ax=bottom, rate_ax=top)
    low, high = top.get_ylim()
    assert low == 0 and high >= 1


@pytest.mark.parametrize(
    "groups, message",
    [
        ({}, "groups is empty"),
        ({"x": []}, "groups['x'] selects shape [20, 0]"),
        ({"x": 1}, "selects shape [20]"),
    ],
)
def test_raster_groups_refuses_groups_without_neurons(groups, message, ax):
    with pytest.raises(ValueError, match=re.escape(message)):
        splt.raster_groups(TRAINS, groups, ax=ax)


def test_raster_groups_refuses_rates_alone(ax):
    with pytest.raises(ValueError, match="rate_ax was given without ax"):
        splt.raster_groups(TRAINS, rate_ax=ax)


def test_raster_grid_draws_each_sample_on_shared_axes():
    spikes = torch.stack([clockwork(20, [[0.1, 0.3], [0.45, shift]]) for shift in (0.2, 0.5, 0.8)], dim=1)
    figure = Figure()
    marks = splt.raster_grid(spikes, torch.tensor([7, 1, 7]), columns=2, time_step=0.5, fig=figure, s=3)
    for sample, mark in enumerate(marks):
        steps, neurons = spikes[:, sample].flatten(1).numpy().nonzero()
        np.testing.assert_array_equal(mark.get_offsets(), np.column_stack([steps * 0.5, neurons]))
        assert mark.get_sizes().tolist() == [3]
    first, second, third = figure.axes  # the fourth cell is gone
    assert [mark.axes for mark in marks] == [first, second, third]
    assert [ax.get_title() for ax in figure.axes] == ["7", "1", "7"]
    assert first.get_ylim() == second.get_ylim() == third.get_ylim() == (-0.5, 3.5)
    assert first.get_xlim() == second.get_xlim() == third.get_xlim() == (0, 10)
    assert (figure.get_supxlabel(), figure.get_supylabel()) == ("Time [s]", "Neuron")
    written = [ax.xaxis.get_tick_params()["labelbottom"] for ax in figure.axes]
    assert written == [False, True, True]  # the second has nothing below it


def test_raster_grid_is_nearly_square_and_numbers_its_samples():
    figure = Figure()
    splt.raster_grid(np.ones((3, 7, 2)), fig=figure)
    assert figure.axes[0].get_gridspec().get_geometry() == (3, 3)
    assert [ax.get_title() for ax in figure.axes] == [f"sample {i}" for i in range(7)]


@pytest.mark.parametrize(
    "shape, arguments, message",
    [
        ((5, 4), {}, "spikes has shape [5, 4]; expected [T, B, N...]"),
        ((5, 0, 4), {}, "spikes has shape [5, 0, 4]"),
        ((5, 2, 4), {"labels": ["a"]}, "labels has 1 entries, but spikes has 2 samples"),
        ((5, 2, 4), {"columns": 0}, "columns is 0"),
        ((5, 2, 4), {"time_step": -1.0}, "time_step is -1.0"),
    ],
)
def test_raster_grid_refuses(shape, arguments, message):
    figure = Figure()
    with pytest.raises(ValueError, match=re.escape(message)):
        splt.raster_grid(torch.ones(shape), fig=figure, **arguments)
    assert not figure.axes


# --- spike_count ----------------------------------------------------------------------------------------


def stem_lengths(stems):
    return [segment[1][0] for segment in stems.get_segments()]


def test_spike_count_draws_totals(ax):
    result = splt.spike_count(TRAINS, ax.figure, ax, labels=["a", "b", "c", "d"], num_steps=10)
    assert result is None
    stems, dots = ax.collections
    assert stem_lengths(stems) == TRAINS[:10].sum(0).tolist()
    assert dots.get_offsets().tolist() == [[n, i + 1] for i, n in enumerate(TRAINS[:10].sum(0).tolist())]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["a", "b", "c", "d"]
    assert ax.get_yticks().tolist() == [1, 2, 3, 4]
    assert ax.get_xlim() == (0, 10)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Time Step", "Labels")
    visible = {side: spine.get_visible() for side, spine in ax.spines.items()}
    assert visible == {"left": True, "bottom": True, "top": False, "right": False}


def test_spike_count_shades_every_other_interval(ax):
    splt.spike_count(TRAINS, ax.figure, ax, labels=None)
    bands = [ax.transData.inverted().transform_bbox(band.get_window_extent()) for band in ax.patches]
    edges = [(band.x0, band.x1) for band in bands]
    ticks = ax.get_xticks().tolist()
    assert len(edges) >= 1
    np.testing.assert_allclose(edges, list(pairwise([*ticks, 20]))[::2][: len(edges)], atol=1e-9)


def test_spike_count_without_shade_or_labels(ax):
    splt.spike_count(TRAINS, ax.figure, ax, labels=None, gridshader=False)
    assert not ax.patches
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["0", "1", "2", "3"]


def test_spike_count_in_seconds(ax):
    splt.spike_count(TRAINS, ax.figure, ax, labels=range(4), time_step=0.002)
    assert ax.get_xlabel() == "Time [s]"
    assert ax.get_xlim() == (0, 20)
    assert [float(tick.get_text()) for tick in ax.get_xticklabels()] == pytest.approx(ax.get_xticks() * 0.002)


def test_spike_count_animation_counts_through_its_step(ax):
    animation = splt.spike_count(
        TRAINS, ax.figure, ax, labels=None, num_steps=6, animate=True, interpolate=3, interval=11
    )
    frames = frames_of(animation)
    assert len(frames) == 18
    for index, (stems, _, line) in enumerate(frames):
        assert stem_lengths(stems) == TRAINS[: index // 3 + 1].sum(0).tolist()
        assert line.get_xdata()[0] == pytest.approx(index / 3)
    assert animation.event_source.interval == 11


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"labels": ["a"]}, "labels has 1 entries, but data has 4 classes"),
        ({"labels": None, "interpolate": 0}, "interpolate is 0"),
    ],
)
def test_spike_count_refuses(arguments, message, ax):
    with pytest.raises(ValueError, match=message):
        splt.spike_count(TRAINS, ax.figure, ax, **arguments)


# --- traces and membranes -------------------------------------------------------------------------------


def test_traces_fill_a_grid_of_the_current_figure():
    mem, spk = leaky(30, [0.2, 0.3, 0.4])
    figure = plt.figure()
    assert splt.traces(mem, spk=spk, dim=(2, 2), spk_height=7, titles=["a", "b", "c"]) is None
    assert [axes.get_title() for axes in figure.axes] == ["a", "b", "c"]  # the fourth cell stays empty
    for neuron, axes in enumerate(figure.axes):
        np.testing.assert_allclose(axes.lines[0].get_ydata(), mem[:, neuron] + 7 * spk[:, neuron], rtol=1e-6)
        assert axes.get_ylim() == figure.axes[0].get_ylim()
        assert not axes.axison


def test_traces_ignore_neurons_beyond_the_grid():
    splt.traces(torch.rand(5, 9), dim=(1, 2), titles=[])
    assert len(plt.gcf().axes) == 2


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"spk": torch.zeros(5, 3)}, "spk has shape [5, 3]; expected data's [5, 4]"),
        ({"dim": (0, 3)}, "dim is (0, 3)"),
        ({"titles": ["a"]}, "titles has 1 entries; expected 4"),
    ],
)
def test_traces_refuse(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        splt.traces(torch.rand(5, 4), **arguments)


def test_membrane_traces_share_one_scale(ax):
    mem, spk = leaky(40, [0.2, 0.3, 0.4])
    thresholds = torch.tensor([1.0, 1.5, 2.0])
    lines = splt.membrane_traces(mem, spk, thresholds, ax=ax, labels="abc")
    zeros = ax.get_yticks()
    assert (np.diff(zeros) < 0).all()  # the first neuron is on top
    for line, zero, trace in zip(lines, zeros, mem.T, strict=True):
        np.testing.assert_allclose(line.get_ydata() - zero, trace, atol=1e-6)
    levels, marks = ax.collections
    assert [segment[0, 1] for segment in levels.get_segments()] == pytest.approx(zeros + thresholds.numpy())
    times, heights = marks.get_offsets().T
    steps, neurons = spk.numpy().nonzero()
    np.testing.assert_array_equal(times, steps)
    peaks = zeros + mem.max().item()  # marks stand over their own lane and below the next
    assert (heights > peaks[neurons]).all()
    assert (heights[neurons > 0] < zeros[neurons[neurons > 0] - 1]).all()
    assert [text.get_text() for text in ax.texts] == ["θ = 1", "θ = 1.5", "θ = 2"]


def test_membrane_traces_of_one_neuron_in_seconds(ax):
    (line,) = splt.membrane_traces(torch.rand(11), threshold=1.0, ax=ax, time_step=1e-3)
    assert line.get_xdata()[-1] == pytest.approx(0.01)
    assert ax.get_xlabel() == "Time [s]"


def test_membrane_traces_at_rest(ax):
    (line,) = splt.membrane_traces(torch.zeros(5, 1), ax=ax)
    assert (line.get_ydata() == 0).all()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"spikes": torch.zeros(5, 3)}, "spikes has shape [5, 3]; expected mem's [5, 4]"),
        ({"threshold": torch.ones(3)}, "threshold has shape [3]; expected one value or [4]"),
        ({"labels": ["a"]}, "labels has 1 entries, but mem has 4 neurons"),
        ({"time_step": 0.0}, "time_step is 0.0"),
    ],
)
def test_membrane_traces_refuse(arguments, message, ax):
    with pytest.raises(ValueError, match=re.escape(message)):
        splt.membrane_traces(torch.rand(5, 4), ax=ax, **arguments)


# --- statistics -----------------------------------------------------------------------------------------


def test_psth_is_the_mean_rate_with_its_standard_error(ax):
    spikes = torch.zeros(5, 3, 2)  # 5 steps, 3 trials, 2 neurons
    spikes[0, 0] = 1
    spikes[1, 0, 0] = 1
    spikes[4, 2] = 1
    line = splt.psth(spikes, ax=ax, bin_size=2, time_step=0.1)
    rates, edges, _ = line.get_data()
    np.testing.assert_allclose(edges, [0, 0.2, 0.4, 0.5])
    trials = np.array([[7.5, 0, 0], [0, 0, 0], [0, 0, 10]])  # spikes / neurons / seconds; the last bin is shorter
    np.testing.assert_allclose(rates, trials.mean(1))
    (shade,) = set(ax.patches) - {line}
    error = trials.std(1, ddof=1) / 3**0.5
    np.testing.assert_allclose(shade.get_data().values, trials.mean(1) + error)
    np.testing.assert_allclose(shade.get_data().baseline, trials.mean(1) - error, atol=1e-12)
    assert ax.get_ylim()[0] == 0
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Time [s]", "Rate [Hz]")


def test_psth_of_one_trial_has_no_shade(ax):
    line = splt.psth(clockwork(200, 0.25), ax=ax)
    assert list(ax.patches) == [line]
    np.testing.assert_allclose(line.get_data().values, 0.25)  # bins of 4 steps
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Time step", "Rate [1/step]")


@pytest.mark.parametrize("function", [splt.psth, splt.isi_histogram])
def test_bins_without_steps_are_refused(function, ax):
    with pytest.raises(ValueError, match="bin_size is 0"):
        function(TRAINS, ax=ax, bin_size=0)


def test_psth_without_trials_is_refused(ax):
    with pytest.raises(ValueError, match=re.escape("spikes has shape [5, 0]")):
        splt.psth(torch.zeros(5, 0), ax=ax)


@given(arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 3), st.integers(1, 9))), st.integers(1, 40))
def test_rate_histogram_counts_each_neuron(spikes, bins):
    bars = splt.rate_histogram(spikes, ax=Figure().subplots(), bins=bins, time_step=0.1)
    num_steps, num_samples, num_neurons = spikes.shape
    rates = [spikes[:, :, n].sum().item() / (num_steps * num_samples * 0.1) for n in range(num_neurons)]
    neurons, edges, _ = bars.get_data()
    assert neurons.sum() == num_neurons
    assert len(neurons) <= bins
    np.testing.assert_allclose(np.diff(edges), edges[1] - edges[0])
    for count, (left, right) in zip(neurons, pairwise(edges), strict=True):
        assert count == sum(left < rate < right for rate in rates)


def test_rate_histogram_marks_the_mean(ax):
    spikes = torch.zeros(10, 2, 2, 2)
    spikes[:5, 0, 0, 0] = -1  # any value but zero is a spike
    spikes[::2, :, 1, 1] = 0.5
    splt.rate_histogram(spikes, ax=ax)
    (line,) = ax.lines
    assert line.get_xdata() == pytest.approx([(0.25 + 0.5) / 4] * 2)
    assert ax.get_title() == "mean 0.188 spikes a step, 2 of 4 silent"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Rate [1/step]", "Neurons")


def test_rate_histogram_of_silence(ax):
    bars = splt.rate_histogram(torch.zeros(50, 6), ax=ax, time_step=0.01)
    neurons, edges, _ = bars.get_data()
    assert neurons.tolist() == [6] and edges.tolist() == [-1, 1]  # one spike in 0.5 s is 2 Hz
    assert ax.get_title() == "mean 0 Hz, 6 of 6 silent"


@pytest.mark.parametrize(
    "shape, arguments, message",
    [
        ((5, 0, 4), {}, "spikes has shape [5, 0, 4]; expected at least one sample and one neuron"),
        ((5, 4), {"bins": 0}, "bins is 0"),
        ((5, 4), {"time_step": 0.0}, "time_step is 0.0"),
    ],
)
def test_rate_histogram_refuses(shape, arguments, message, ax):
    with pytest.raises(ValueError, match=re.escape(message)):
        splt.rate_histogram(torch.ones(shape), ax=ax, **arguments)


@given(arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 3), st.integers(1, 3))), st.integers(1, 4))
def test_isi_histogram_counts_each_gap(spikes, bin_size):
    bars = splt.isi_histogram(spikes, ax=Figure().subplots(), bin_size=bin_size)
    gaps = [
        later - earlier
        for train in spikes.reshape(len(spikes), -1).T
        for earlier, later in pairwise(train.nonzero()[0].tolist())
    ]
    counts, edges, _ = bars.get_data()
    assert counts.sum() == len(gaps)
    for count, (left, right) in zip(counts, pairwise(edges), strict=True):
        assert count == sum(left < gap < right for gap in gaps)


def test_isi_histogram_of_a_clock(ax):
    splt.isi_histogram(clockwork(100, [0.25, 0.25]), ax=ax, time_step=0.01)
    assert ax.get_title() == "mean 0.04 s, CV 0.00"
    assert ax.get_xlabel() == "Interval [s]"


def test_isi_histogram_of_a_poisson_process(ax):
    """Gaps of a Bernoulli(p) train are geometric: mean 1/p, CV sqrt(1 - p)."""
    spikes = torch.rand(20_000, 5, generator=torch.Generator().manual_seed(0)) < 0.1
    splt.isi_histogram(spikes, ax=ax)
    mean, cv = map(float, re.fullmatch(r"mean (\S+) steps, CV (\S+)", ax.get_title()).groups())
    assert mean == pytest.approx(10, abs=0.4)  # four standard errors
    assert cv == pytest.approx(0.9**0.5, abs=0.04)


def test_isi_histogram_without_gaps(ax):
    bars = splt.isi_histogram(torch.eye(4), ax=ax)
    assert bars.get_data().values.sum() == 0
    assert ax.get_title() == "no neuron fired twice"


# --- weights --------------------------------------------------------------------------------------------


def test_weight_map_is_symmetric_about_zero(ax):
    weight = torch.tensor([[[1.0, -4.0], [2.0, 0.0]]])
    image = splt.weight_map(weight, ax=ax)
    assert image.get_clim() == (-4, 4)
    assert image.get_array().tolist() == [[1, -4, 2, 0]]
    assert splt.weight_map(weight, ax=ax, limit=10).get_clim() == (-10, 10)
    assert splt.weight_map(0 * weight, ax=ax).get_clim() == (-1, 1)


def test_receptive_fields_tile_neurons_row_by_row(ax):
    weight = torch.arange(1.0, 13.0).reshape(3, 4)
    mosaic = splt.receptive_fields(weight, (2, 2), ax=ax).get_array().filled(0)
    expected = [
        [1, 2, 0, 5, 6],
        [3, 4, 0, 7, 8],
        [0, 0, 0, 0, 0],
        [9, 10, 0, 0, 0],
        [11, 12, 0, 0, 0],
    ]
    assert mosaic.tolist() == expected


def test_receptive_fields_give_each_filter_a_column(ax):
    weight = torch.arange(1.0, 7.0).reshape(2, 3, 1, 1)  # two filters, three channels, one pixel
    mosaic = splt.receptive_fields(weight, ax=ax).get_array().filled(0)
    assert mosaic[::2, ::2].tolist() == [[1, 4], [2, 5], [3, 6]]
    flat = splt.receptive_fields(weight[:, :1], ax=ax, columns=1).get_array().filled(0)
    assert flat.tolist() == [[1], [0], [4]]


def test_receptive_fields_scale_each(ax):
    weight = torch.tensor([[[1.0, -2.0]], [[30.0, 10.0]], [[0.0, 0.0]]])
    mosaic = splt.receptive_fields(weight, ax=ax, scale="each", columns=1).get_array().filled(9)
    np.testing.assert_allclose(mosaic[::2], [[0.5, -1], [1, 1 / 3], [0, 0]])


@pytest.mark.parametrize(
    "shape, arguments, message",
    [
        ((3, 4), {}, "weight has shape [3, 4]; expected [N, H, W]"),
        ((3, 4), {"shape": (3, 2)}, "4 inputs do not fill (3, 2)"),
        ((3, 2, 2), {"scale": "none"}, "scale is 'none'; expected 'all' or 'each'"),
        ((3, 2, 2), {"columns": 0}, "columns is 0"),
        ((3, 0), {}, "weight has shape [3, 0]; expected [neurons, inputs...], none empty"),
        ((3,), {}, "weight has shape [3]; expected [neurons, inputs...], none empty"),
    ],
)
def test_receptive_fields_refuse(shape, arguments, message, ax):
    with pytest.raises(ValueError, match=re.escape(message)):
        splt.receptive_fields(torch.ones(shape), ax=ax, **arguments)


@given(
    arrays(np.float32, st.integers(1, 30), elements=st.floats(-100, 100, width=32, allow_subnormal=False)),
    st.integers(1, 60),
)
def test_weight_histogram_counts_each_weight(weight, bins):
    (bars,) = splt.weight_histogram(weight, ax=Figure().subplots(), bins=bins)
    fractions, edges, _ = bars.get_data()
    assert fractions.sum() == pytest.approx(1)
    assert 0 in edges
    assert len(fractions) <= bins + 1
    assert fractions[edges[1:] <= 0].sum() == pytest.approx((weight < 0).mean())
    np.testing.assert_allclose(np.diff(edges), edges[1] - edges[0])


def test_weight_histogram_compares_layers(ax):
    layers = {f"layer {i}": (i + 1) * torch.linspace(-1, 1, 100 * (i + 1)) for i in range(7)}
    outlines = splt.weight_histogram(layers, ax=ax, bins=20)
    for outline, values in zip(outlines, layers.values(), strict=True):
        fractions, edges, _ = outline.get_data()
        np.testing.assert_array_equal(edges, outlines[0].get_data().edges)
        inside = [((values >= left) & (values < right)).double().mean() for left, right in pairwise(edges[:-1])]
        np.testing.assert_allclose(fractions[:-1], inside)
        assert fractions.sum() == pytest.approx(1)
        assert not outline.get_fill()
    assert len({(outline.get_edgecolor(), outline.get_linestyle()) for outline in outlines}) == 7
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(layers)
    (zero,) = ax.lines
    assert list(zero.get_xdata()) == [0, 0]


def test_weight_histogram_of_one_layer_is_filled(ax):
    (bars,) = splt.weight_histogram(torch.nn.Linear(3, 4).weight, ax=ax)
    assert bars.get_fill() and ax.get_legend() is None
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Weight", "Fraction of weights")


@pytest.mark.parametrize(
    "weight, bins, message",
    [
        ({}, 5, "weight is empty; expected at least one layer"),
        ({"fc": torch.ones(3, 0)}, 5, "weight['fc'] has shape [3, 0]; expected finite weights"),
        ({"fc": torch.tensor(0.5)}, 5, "weight['fc'] has shape []"),
        (torch.tensor([1, torch.nan]), 5, "weight has shape [2]; expected finite weights"),
        (torch.ones(2), 0, "bins is 0"),
    ],
)
def test_weight_histogram_refuses(weight, bins, message, ax):
    with pytest.raises(ValueError, match=re.escape(message)):
        splt.weight_histogram(weight, ax=ax, bins=bins)


# --- training -------------------------------------------------------------------------------------------

HISTORY = {
    "train_loss": [2.1, 1.2, 0.8, 0.6],
    "train/accuracy": [0.2, 0.5, 0.7, 0.8],
    "loss_val": [2.2, 1.4, 1.5, float("inf")],
    "val/accuracy": [0.1, float("nan"), 0.65, 0.6],
    "lr": [0.1, 0.1, 0.01, 0.01],
}


def test_training_curves_give_each_metric_a_panel():
    figure = Figure()
    lines = splt.training_curves(HISTORY, fig=figure)
    loss, accuracy, rate = figure.axes
    assert [line.axes for line in lines] == [loss, accuracy, loss, accuracy, rate]
    for line, values in zip(lines, HISTORY.values(), strict=True):
        known = [(epoch, value) for epoch, value in enumerate(values, start=1) if np.isfinite(value)]
        assert line.get_xydata().tolist() == [list(point) for point in known]
    assert [ax.get_ylabel() for ax in figure.axes] == ["Loss", "Accuracy", "Lr"]
    assert [ax.get_xlabel() for ax in figure.axes] == ["", "", "Epoch"]
    train, val = lines[0].get_color(), lines[2].get_color()
    assert train != val
    assert [line.get_color() for line in lines[:4]] == [train, train, val, val]
    legends = [[text.get_text() for text in ax.get_legend().get_texts()] for ax in (loss, accuracy)]
    assert legends == [["train_loss", "loss_val"], ["train/accuracy", "val/accuracy"]]
    assert rate.get_legend() is None
    assert all(float(tick).is_integer() for tick in rate.get_xticks())


@pytest.mark.parametrize("best, mode, epoch", [("loss_val", "min", 2), ("val/accuracy", "max", 3), ("lr", "min", 3)])
def test_training_curves_mark_the_best_epoch(best, mode, epoch):
    figure = Figure()
    lines = splt.training_curves(HISTORY, best=best, mode=mode, fig=figure)
    for ax in figure.axes:
        (mark,) = set(ax.lines) - set(lines)
        assert list(mark.get_xdata()) == [epoch, epoch]
    assert figure.get_suptitle() == f"best epoch {epoch}: {best} {HISTORY[best][epoch - 1]:.3g}"


@pytest.mark.parametrize(
    "kind",
    [np.array, torch.tensor, lambda values: [torch.tensor(value, requires_grad=True) for value in values], iter],
    ids=["numpy", "tensor", "list of tensors", "iterator"],
)
def test_training_curves_take_every_kind_of_numbers(kind):
    (line,) = splt.training_curves({"loss": kind([0.5, 0.25])}, fig=Figure())
    assert line.get_xydata().tolist() == [[1, 0.5], [2, 0.25]]


def test_training_curves_of_one_epoch_show_a_point():
    figure = new_figure(figsize=(2, 1.5), dpi=50)
    (line,) = splt.training_curves({"loss": [0.5]}, fig=figure)
    left, right = line.axes.get_xlim()
    assert [tick for tick in line.axes.get_xticks() if left <= tick <= right] == [1]
    with_point = picture(figure)
    line.remove()
    assert np.abs(with_point - picture(figure)).max() > 0.5


@pytest.mark.parametrize(
    "history, arguments, error, message",
    [
        ({}, {}, ValueError, "history is empty"),
        ({"loss": 0.5}, {}, TypeError, "history['loss'] is 0.5; expected a sequence"),
        ({"loss": []}, {}, ValueError, "history['loss'] has shape [0]"),
        ({"loss": torch.ones(3, 2)}, {}, ValueError, "history['loss'] has shape [3, 2]; expected 1 dimensions"),
        ({"loss": [1, 2], "val": [1]}, {}, ValueError, "history['val'] has 1 entries; expected 2, one for each epoch"),
        ({"loss": [1]}, {"best": "val"}, ValueError, "best is 'val'; expected one of history's 'loss'"),
        ({"loss": [np.nan]}, {"best": "loss"}, ValueError, "history['loss'] has no finite value"),
        ({"loss": [1]}, {"best": "loss", "mode": "low"}, ValueError, "mode is 'low'; expected 'min' or 'max'"),
    ],
)
def test_training_curves_refuse(history, arguments, error, message):
    with pytest.raises(error, match=re.escape(message)):
        splt.training_curves(history, fig=Figure(), **arguments)


# --- overview -------------------------------------------------------------------------------------------


def network_run(batch=3):
    """Spikes of a made-up network: each sample's output fires most for another class."""
    image = torch.linspace(0.02, 0.3, 36).reshape(6, 6)
    hidden = torch.linspace(0.05, 0.4, 12)
    output = torch.tensor([0.1, 0.3, 0.2, 0.05])
    shift = [1 + 0.1 * sample for sample in range(batch)]
    return {
        "input": clockwork(40, torch.stack([image * s for s in shift])),
        "hidden": clockwork(40, torch.stack([hidden * s for s in shift])),
        "output": clockwork(40, torch.stack([output.roll(sample) for sample in range(batch)])),
    }


def test_overview_shows_each_layer_and_the_counts():
    run = network_run()
    figure = splt.overview(run, sample=1, labels=["a", "b", "c", "d"], fig=Figure())
    *rows, bars = figure.axes
    assert [ax.get_title() for ax in rows[::2]] == [
        "input: 36 neurons",
        "hidden: 12 neurons",
        "output: 4 neurons",
    ]
    assert rows[1].get_title() == "mean of 3 samples"
    for raster_ax, rate_ax, spikes in zip(rows[::2], rows[1::2], run.values(), strict=True):
        assert len(raster_ax.collections[0].get_offsets()) == spikes[:, 1].sum()
        np.testing.assert_allclose(rate_ax.patches[0].get_data().values, spikes.flatten(1).mean(1))
    assert [bar.get_height() for bar in bars.patches] == run["output"][:, 1].sum(0).tolist()
    assert [text.get_text() for text in bars.texts] == ["", "", "12", ""]
    assert [bar.get_facecolor() == to_rgba(COLORS[1]) for bar in bars.patches] == [False, False, True, False]
    assert [tick.get_text() for tick in bars.get_xticklabels()] == ["a", "b", "c", "d"]


def test_overview_of_a_silent_output_has_no_winner():
    run = {"input": torch.ones(4, 2, 3), "output": torch.zeros(4, 2, 30)}
    bars = splt.overview(run, sample=-1, labels=np.arange(30), fig=Figure()).axes[-1]
    assert {text.get_text() for text in bars.texts} == {""}
    assert {bar.get_facecolor() for bar in bars.patches} == {to_rgba(COLORS[0])}


def test_overview_thins_large_layers_and_says_so():
    run = {"wide": torch.ones(2, 1, 10, 10)}
    figure = splt.overview(run, max_neurons=4, time_step=0.01)
    assert figure is plt.gcf()
    ax = figure.axes[0]
    assert ax.get_title() == "wide: 100 neurons, 4 shown"
    assert sorted(set(ax.collections[0].get_offsets()[:, 1].tolist())) == [0, 33, 66, 99]
    assert figure.axes[1].get_ylabel() == "Rate [Hz]"


@pytest.mark.parametrize(
    "run, arguments, error, message",
    [
        ({}, {}, ValueError, "run is empty"),
        ({"a": torch.zeros(4, 2)}, {}, ValueError, "run['a'] has shape [4, 2]"),
        ({"a": torch.zeros(4, 2, 3), "b": torch.zeros(5, 2, 3)}, {}, ValueError, "with [T, B] = [4, 2]"),
        ({"a": torch.zeros(4, 2, 0)}, {}, ValueError, "run['a'] has shape [4, 2, 0]"),
        (
            {"a": torch.zeros(4, 2, 3)},
            {"labels": ["x"]},
            ValueError,
            "labels has 1 entries, but the output has 3",
        ),
        ({"a": torch.zeros(4, 2, 3)}, {"max_neurons": 0}, ValueError, "max_neurons is 0"),
        ({"a": torch.zeros(4, 2, 3)}, {"sample": 2}, IndexError, "sample is 2, but the batch has 2 samples"),
    ],
)
def test_overview_refuses(run, arguments, error, message):
    with pytest.raises(error, match=re.escape(message)):
        splt.overview(run, fig=Figure(), **arguments)


# --- save -----------------------------------------------------------------------------------------------


@pytest.fixture
def movie():
    """Three frames: red, green, blue."""
    figure = new_figure(figsize=(1.5, 1), dpi=60)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.axis("off")
    frames = [[ax.imshow([[color]], aspect="auto")] for color in ((1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0))]
    animation = ArtistAnimation(figure, frames, interval=100)
    yield animation
    figure.canvas.draw()


def player_frames(page):
    """The pictures in a saved player, each as the bytes of a PNG."""
    sources = json.loads(re.search(r"const frames = (\[.*?\]);", page)[1])
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    return [base64.b64decode(source.split(",")[1]) for source in sources]


def test_save_gif(movie, tmp_path):
    path = splt.save(movie, tmp_path / "movie.GIF")
    with Image.open(path) as image:
        assert image.n_frames == 3
        assert image.info["duration"] == 100
        colors = []
        for frame in range(3):
            image.seek(frame)
            colors.append(image.convert("RGB").getpixel((10, 10)))
    assert colors == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]


@pytest.mark.skipif(not writers.is_available("ffmpeg"), reason="ffmpeg is not installed")
def test_save_mp4(movie, tmp_path):
    path = splt.save(movie, str(tmp_path / "movie.mp4"), fps=7)
    decode = ["ffmpeg", "-v", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    pixels = np.frombuffer(subprocess.run(decode, capture_output=True, check=True).stdout, np.uint8)
    means = pixels.reshape(3, 60, 90, 3).mean((1, 2))
    np.testing.assert_allclose(means, 255 * np.eye(3), atol=8)


def test_save_mp4_without_ffmpeg_names_what_works(movie, tmp_path, monkeypatch):
    monkeypatch.setattr(writers, "is_available", lambda name: False)
    with pytest.raises(RuntimeError, match=r"ffmpeg.*\.gif or \.html"):
        splt.save(movie, tmp_path / "movie.mp4")


def test_save_html_holds_everything(movie, tmp_path):
    path = splt.save(movie, tmp_path / "a <b> $c.html", dpi=40)
    page = path.read_text("utf-8")
    assert len(player_frames(page)) == 3
    assert player_frames(page)[0][:4] == b"\x89PNG"
    assert "<title>a &lt;b&gt; $c</title>" in page
    assert "const interval = 100" in page
    assert not re.search(r"https?:|<link|<script src|@import|url\(", page)


def test_save_html_at_another_speed(movie, tmp_path):
    page = splt.save(movie, tmp_path / "movie.htm", fps=4).read_text("utf-8")
    assert "const interval = 250.0" in page


@pytest.mark.parametrize(
    "name, arguments, message",
    [("movie.avi", {}, "path ends in '.avi'; expected .gif"), ("movie.gif", {"fps": 0}, "fps is 0")],
)
def test_save_refuses(movie, tmp_path, name, arguments, message):
    with pytest.raises(ValueError, match=message):
        splt.save(movie, tmp_path / name, **arguments)


def test_a_notebook_shows_the_page_that_is_saved(movie, tmp_path):
    shown = splt.player(movie)
    assert shown.page == splt.save(movie, tmp_path / "animation.html").read_text("utf-8")
    (page,) = re.findall(r'srcdoc="([^"]*)"', shown._repr_html_())
    assert html.unescape(page) == shown.page
    assert shown.height > 60  # the picture's, and room for the controls


def test_a_notebook_does_not_show_the_figure_of_a_film_again(movie):
    import matplotlib.pyplot as plt

    other, fig = plt.figure(), plt.figure()
    splt.player(ArtistAnimation(fig, [[fig.text(0, 0, "x")]]))
    assert plt.fignum_exists(other.number) and not plt.fignum_exists(fig.number)
    plt.close(other)


# --- the player in a browser ----------------------------------------------------------------------------

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
in_browser = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]


def browse(page, *flags):
    """Open a page in a headless browser, offline, for two seconds of its own time; return what it prints."""
    assert CHROMIUM is not None
    return subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={page.parent / 'profile'}",
            "--virtual-time-budget=2000",
            *flags,
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout


def with_script(page, script):
    page.write_text(page.read_text("utf-8").replace("</body>", f"<script>{script}</script></body>"), "utf-8")
    return page


NO_LOOP = "document.querySelector('#loop').checked = false"


class TestPlayer:
    pytestmark = in_browser

    def test_plays_to_the_end_without_loop(self, movie, tmp_path):
        page = with_script(splt.save(movie, tmp_path / "movie.html"), "document.querySelector('#loop').checked = false")
        dom = browse(page, "--dump-dom")
        assert re.search(r'<output id="counter">3 / 3</output>', dom)
        assert re.search(r'<button id="play"[^>]*>Play</button>', dom)

    def test_buttons_keys_and_slider(self, movie, tmp_path):
        script = """
          const $ = id => document.getElementById(id), seen = [];
          const note = () => seen.push($("counter").value.split(" ")[0] + $("play").textContent);
          const key = k => document.body.dispatchEvent(new KeyboardEvent("keydown", {key: k, bubbles: true}));
          note(); $("play").click(); note();
          $("forward").click(); note(); $("back").click(); $("back").click(); note();
          key("ArrowRight"); note(); key("ArrowRight"); key("ArrowLeft"); note();
          $("slider").value = 2; $("slider").dispatchEvent(new Event("input")); note();
          key(" "); note();
          document.body.dataset.seen = seen.join(" ");
        """
        dom = browse(with_script(splt.save(movie, tmp_path / "movie.html"), script), "--dump-dom")
        # Playing from the last frame starts over from the first one.
        assert 'data-seen="1Pause 1Play 2Play 3Play 1Play 1Play 3Play 1Pause"' in dom

    def test_shows_the_frame_in_light_and_dark(self, movie, tmp_path):
        page = with_script(splt.save(movie, tmp_path / "movie.html"), "document.querySelector('#loop').checked = false")
        for scheme, is_dark in ((0, True), (1, False)):
            target = tmp_path / f"{scheme}.png"
            browse(
                page,
                f"--blink-settings=preferredColorScheme={scheme}",
                f"--screenshot={target}",
                "--window-size=500,300",
            )
            pixels = np.asarray(Image.open(target).convert("RGB")).astype(int)
            blue = (np.abs(pixels - [0, 0, 255]) < 8).all(axis=2)
            assert blue.sum() == pytest.approx(90 * 60, rel=0.02)  # the last frame, in its own size
            assert (pixels[0, 0].mean() < 64) == is_dark


# --- pictures -------------------------------------------------------------------------------------------


def draw_animator(figure):
    x = torch.linspace(-1, 1, 24)
    wave = torch.cos(9 * torch.hypot(x[:, None], x[None, :]) - torch.arange(3.0)[:, None, None])
    return splt.animator(wave, figure, figure.subplots())


def draw_raster(figure):
    splt.raster(clockwork(60, torch.linspace(0.05, 0.4, 30)), figure.subplots(), s=3, color=COLORS[0])


def draw_raster_groups(figure):
    top, bottom = figure.subplots(2, sharex=True, height_ratios=(1, 3))
    groups = {"excitatory": slice(0, 24), "inhibitory": slice(24, 30)}
    spikes = clockwork(60, torch.linspace(0.05, 0.4, 30))
    splt.raster_groups(spikes, groups, ax=bottom, rate_ax=top, bin_size=4, time_step=1e-3)


def draw_spike_count(figure):
    spikes = clockwork(50, [0.1, 0.6, 0.3, 0.45])
    splt.spike_count(spikes, figure, figure.subplots(), labels=["cat", "dog", "owl", "bat"])


def draw_spike_count_animation(figure):
    spikes = clockwork(8, [0.1, 0.6, 0.3, 0.45])
    return splt.spike_count(spikes, figure, figure.subplots(), labels=None, animate=True, time_step=0.01)


def draw_traces(figure):
    mem, spk = leaky(40, [0.12, 0.2, 0.3, 0.4])
    splt.traces(mem, spk=spk, dim=(2, 2), titles=["a", "b", "c", "d"])


def draw_membrane_traces(figure):
    mem, spk = leaky(60, [0.12, 0.2, 0.3])
    splt.membrane_traces(mem, spk, 1.0, ax=figure.subplots(), time_step=1e-3)


def draw_psth(figure):
    bump = 0.1 + 0.6 * torch.exp(-((torch.arange(60) - 25) ** 2) / 128)
    phases = torch.linspace(0, 1, 12, dtype=torch.float64)
    level = bump.double().cumsum(0)[:, None] + phases
    splt.psth(torch.diff(level.floor(), dim=0), ax=figure.subplots(), bin_size=3, time_step=1e-3)


def draw_isi_histogram(figure):
    splt.isi_histogram(clockwork(400, torch.linspace(0.03, 0.3, 40)), ax=figure.subplots())


def draw_weight_map(figure):
    angle = torch.linspace(0, 6, 20)
    splt.weight_map(torch.sin(angle[:8, None] * angle), ax=figure.subplots())


def draw_receptive_fields(figure):
    x = torch.linspace(-2, 2, 12)
    y, x = torch.meshgrid(x, x, indexing="ij")
    turn = torch.linspace(0, 3, 8)[:, None, None]
    gabor = torch.cos(4 * (x * turn.cos() + y * turn.sin())) * torch.exp(-(x**2) - y**2)
    splt.receptive_fields(gabor, ax=figure.subplots(), columns=4)


def draw_raster_grid(figure):
    figure.subplots_adjust(0.13, 0.16, 0.95, 0.9, hspace=0.5)
    samples = [clockwork(40, torch.linspace(0.02, 0.3, 16).roll(3 * sample)) for sample in range(5)]
    labels = ["cat", "dog", "owl", "bat", "cow"]
    splt.raster_grid(torch.stack(samples, dim=1), labels, columns=3, time_step=1e-3, fig=figure)


def draw_rate_histogram(figure):
    rates = 0.15 + 0.15 * torch.sin(torch.arange(90.0))
    splt.rate_histogram(clockwork(100, rates.clamp(min=0.02) - 0.02), ax=figure.subplots(), time_step=1e-3)


def draw_weight_histogram(figure):
    quantiles = torch.linspace(0.001, 0.999, 2000)
    splt.weight_histogram(0.1 + 0.3 * torch.special.ndtri(quantiles), ax=figure.subplots())


def draw_weight_histogram_layers(figure):
    quantiles = torch.linspace(0.001, 0.999, 2000)
    normal, uniform = 0.3 * torch.special.ndtri(quantiles), 1.2 * (quantiles - 0.5)
    layers = {"hidden": normal, "recurrent": uniform, "output": 0.4 + normal[::10] / 2}
    splt.weight_histogram(layers, ax=figure.subplots(), bins=40)


def draw_training_curves(figure):
    figure.subplots_adjust(0.2, 0.15, 0.95, 0.83, hspace=0.45)
    epochs = torch.arange(1.0, 13)
    loss, overfit = 2.3 * torch.exp(-epochs / 4), 0.004 * epochs**2
    history = {
        "train_loss": loss,
        "val_loss": loss + overfit + 0.2,
        "train_accuracy": 1 - loss / 2.5,
        "val_accuracy": 0.95 - (loss + overfit) / 2.5,
    }
    splt.training_curves(history, best="val_loss", fig=figure)


def draw_overview(figure):
    figure.set_size_inches(7, 6)
    figure.subplots_adjust(0.1, 0.1, 0.97, 0.95, wspace=0.25, hspace=0.7)
    splt.overview(network_run(), labels=["cat", "dog", "owl", "bat"], fig=figure)


PICTURES = {name.removeprefix("draw_"): function for name, function in globals().items() if name.startswith("draw_")}
TOLERANCE = 0.015  # matplotlib 3.8 and 3.11 differ by 0.010; three rows of missing spike marks by 0.024


def excess(pixels, other):
    """How far each pixel is from the range of `other` within two pixels around it."""
    around = sliding_window_view(np.pad(other, ((2, 2), (2, 2), (0, 0)), mode="edge"), (5, 5), axis=(0, 1))
    return pixels - pixels.clip(around.min((-1, -2)), around.max((-1, -2)))


def distance(drawn, stored):
    """Root mean square difference from 0 to 1, but for shifts by two pixels, as between font renderers."""
    assert drawn.shape == stored.shape
    return float(np.sqrt(np.maximum(excess(drawn, stored) ** 2, excess(stored, drawn) ** 2).mean()))


def draw(name, style, tmp_path):
    with plt.style.context(STYLES[style]):
        figure = plt.figure(figsize=(4.2, 3), dpi=80)
        figure.subplots_adjust(0.2, 0.15, 0.8, 0.9, hspace=0.3)  # fonts move nothing
        movie = PICTURES[name](figure)
        if movie is None:
            return picture(figure)
        page = splt.save(movie, tmp_path / "movie.html").read_text("utf-8")
        return imread(io.BytesIO(player_frames(page)[-1]))


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", PICTURES)
def test_picture(name, style, tmp_path):
    baseline = BASELINES / f"{name}_{style}.png"
    drawn = draw(name, style, tmp_path)
    if REGENERATE:
        plt.imsave(baseline, drawn)
    found = distance(drawn, imread(baseline))
    if found > TOLERANCE:
        plt.imsave(tmp_path / baseline.name, drawn)
    assert found <= TOLERANCE, f"compare {tmp_path / baseline.name} with {baseline}"


@pytest.mark.parametrize("style", STYLES)
def test_picture_comparison_notices_missing_marks(style, tmp_path, monkeypatch):
    def without_spikes(figure):
        mem, _ = leaky(60, [0.12, 0.2, 0.3])
        splt.membrane_traces(mem, None, 1.0, ax=figure.subplots(), time_step=1e-3)

    monkeypatch.setitem(PICTURES, "membrane_traces", without_spikes)
    drawn = draw("membrane_traces", style, tmp_path)
    assert distance(drawn, imread(BASELINES / f"membrane_traces_{style}.png")) > TOLERANCE
