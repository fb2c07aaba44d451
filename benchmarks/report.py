"""Make tables and a plot from a result of run.py.

    python benchmarks/report.py RESULT.json [--short] [--plot PLOT.svg]

Prints markdown. Times are medians over rounds. A ratio is taken within each round, so that a slow minute of
the machine falls on both sides, and shown as its median with quartiles.
"""

import argparse
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

NAMES = {
    "snntorch": "snnTorch",
    "spikingjelly": "SpikingJelly",
    "memopt": "SpikingJelly, memopt",
    "norse": "Norse",
    "sinabs": "Sinabs",
    "unmodified": "ours, same code",
    "unroll": "ours, `unroll`",
    "packed": "ours, packed",
    "recompute": "ours, `recompute`",
    "lengths": "ours, `lengths`",
    "layerwise": "ours, `layerwise`",
    "folded": "ours, by hand",
    "floor": "floor",
    "floor-stepped": "floor, stepped",
}
OKABE_ITO = ("#E69F00", "#CC79A7", "#009E73", "#D55E00", "#56B4E9", "#0072B2", "#000000", "#F0E442")
COLOURS = dict(zip(NAMES, (*OKABE_ITO, "#999999", "#BBBBBB", "#777777", "#DDDDDD", "#444444", "#222222"), strict=True))
OURS = ("unroll", "layerwise", "unmodified")  # the first of these that a row has stands for it
BASE = "@base"
SECTIONS = {
    "net": "Nets: one training step (ms)",
    "form": "Networks of any form: one training step (ms)",
    "neuron": "Neurons alone: forward + backward (ms)",
    "variant": "Variants (ms)",
    "modern": "What snnTorch 1.0.0 has not: neurons alone, nets (ms)",
    "loss": "Losses and accuracies (ms)",
    "spikegen": "Spike generation (ms)",
    "scaling": "Scaling (ms)",
    "memory": "Less kept for the backward pass: one training step (ms)",
    "recording": "What recording costs: forward only (ms)",
}


def best(row: dict) -> str:
    """The implementation of ours that a row stands for."""
    return next((impl for impl in OURS if impl in row["seconds"]), OURS[-1])


def ratio(row: dict, slow: str, fast: str) -> np.ndarray | None:
    """Quartiles over the rounds of how many times `fast` is faster."""
    if not {slow, fast} <= row["seconds"].keys():
        return None
    return np.nanpercentile(np.divide(row["seconds"][slow], row["seconds"][fast]), [25, 50, 75])


def cell(values: np.ndarray | None) -> str:
    return "–" if values is None else f"{values[1]:.3g}× ({values[0]:.3g}–{values[2]:.3g})"


def table(header: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    header = list(header)
    rule = ["---", *["--:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, rule, *lines))


def named(lane: str) -> str:
    """How an implementation is called, that of a base too."""
    impl, at, _ = lane.partition("@")
    return NAMES[impl] + (", base" if at else "")


def label(row: dict) -> str:
    """Its name, with the value of the size that the row varies."""
    return " ".join([row["workload"], *(f"{key}={row['sizes'][key]}" for key in row["scan"])])


def times(rows: list[dict]) -> str:
    """A line a row: medians of every implementation, then ours against each other one."""
    impls = [impl for impl in NAMES if any(impl in row["seconds"] for row in rows)]
    others = [impl for impl in impls if impl not in OURS]
    header = ["workload", *(NAMES[i] for i in impls), *(f"{NAMES[i]} / ours" for i in others)]
    lines = []
    for row in rows:
        medians = [1e3 * np.nanmedian(row["seconds"][i]) if i in row["seconds"] else math.nan for i in impls]
        cells = ["–" if math.isnan(m) else f"{m:.3g}" for m in medians]
        lines.append([label(row), *cells, *(cell(ratio(row, i, best(row))) for i in others)])
    return table(header, lines)


def means(rows: list[dict]) -> str:
    """Geometric means of the ratios over the rows of a kind that have both sides."""
    kinds = {"nets": ("net",), "neurons alone": ("neuron",), "both": ("net", "neuron"), "any form": ("form",)}
    lines = []
    for name, groups in kinds.items():
        chosen = [row for row in rows if row["group"] in groups]
        if not chosen:
            continue
        columns = [
            [ratio(row, "snntorch", best(row)) for row in chosen],
            [ratio(row, "snntorch", "unmodified") for row in chosen],
            [ratio(row, "spikingjelly", best(row)) for row in chosen],
            [ratio(row, best(row), "floor") for row in chosen],
        ]
        logs = [[math.log(r[1]) for r in column if r is not None] for column in columns]
        lines.append([name, *(f"{math.exp(np.mean(log)):.3g}× ({len(log)})" if log else "–" for log in logs)])
    names = ("snnTorch / ours", "snnTorch / ours, same code", "SpikingJelly / ours", "ours / floor")
    return table(["geometric means (rows)", *names], lines)


def recorded(rows: list[dict]) -> str:
    """Microseconds that each recorded call adds to the same net folded by hand."""
    lines = []
    for row in rows:
        calls = 2 * row["sizes"]["layers"] * row["sizes"]["T"]
        for impl in ("layerwise", "unroll"):
            if {impl, "folded"} <= row["seconds"].keys():
                added = np.subtract(row["seconds"][impl], row["seconds"]["folded"])
                low, middle, high = np.nanpercentile(1e6 * added / calls, [25, 50, 75])
                lines.append([f"{label(row)} · {NAMES[impl]}", f"{calls}", f"{middle:.3g} ({low:.3g}–{high:.3g})"])
    return table(["recording", "calls", "added a call (µs)"], lines)


def against_base(rows: list[dict], base: str) -> str:
    """How many times faster each way of ours is than the same one in another revision."""
    lines = []
    for row in rows:
        for impl in NAMES:
            if (speed := ratio(row, impl + BASE, impl)) is not None:
                before, now = (f"{1e3 * np.nanmedian(row['seconds'][i]):.3g}" for i in (impl + BASE, impl))
                lines.append([f"{label(row)} · {NAMES[impl]}", before, now, cell(speed)])
    return table([f"against {base} (ms)", "before", "now", "before / now"], lines)


def memory(lines: list[dict]) -> str:
    keys = {
        "step_bytes": "peak added",
        "saved_bytes": "saved by autograd",
        "saved_leaf_bytes": "inputs, weights",
        "kept_bytes": "kept for backward",
        "most_bytes": "tensors at most",
    }
    keys = {key: title for key, title in keys.items() if any(key in line for line in lines)}  # older results'
    names = [f"{line['workload']} · {NAMES[line['impl']]}" for line in lines]
    mib = [[f"{line[key] / 2**20:.3g}" if key in line else "–" for key in keys] for line in lines]
    body = [[name, *cells] for name, cells in zip(names, mib, strict=True)]
    return table(["one step (MiB)", *keys.values()], body)


def kept(result: dict[str, Any]) -> str:
    """What the nets whose memory is measured take, each implementation a column: time, and bytes of tensors."""
    rows = [row for row in result["rows"] if row["group"] == "memory"]
    impls = [impl for impl in NAMES if any(impl in row["seconds"] for row in rows)]
    body = []
    for row in rows:
        found = {line["impl"]: line for line in result["memory"] if line["workload"] == row["workload"]}
        times = [f"{1e3 * np.nanmedian(row['seconds'][i]):.3g}" if i in row["seconds"] else "–" for i in impls]
        body.append([f"{row['workload'].removeprefix('kept by ')}: ms", *times])
        for key, title in (("kept_bytes", "kept, MiB"), ("most_bytes", "at most, MiB")):
            body.append([title, *[f"{found[i][key] / 2**20:.3g}" if i in found else "–" for i in impls]])
    return table(["", *[NAMES[impl] for impl in impls]], body)


def starts(lines: list[dict]) -> str:
    keys = {"total": "import to first result", "import": "import", "first": "step 1", "second": "step 2"}
    keys |= {"reshaped_first": "other T, B: step 1", "reshaped_second": "step 2"}
    body = []
    for line in lines:
        line["total"] = line["import"] + line["first"]
        kernel = ", kernel known" if line["cache_filled"] else ""
        name = f"{NAMES[line['impl']]}, T={line['T']}{kernel}"
        body.append([name, *(f"{line[key]:.3g}" for key in keys)])
    return table(["fresh process (s)", *keys.values()], body)


def short(result: dict[str, Any]) -> str:
    """What the README shows."""
    about = result["machine"]
    when = f"{result['date']}, {about['cpu']}, {about['cores']} cores, torch {about['software']['ours']['torch']}"
    return f"{means(result['rows'])}\n\nTraining steps, {when}; medians of {result['rounds']} interleaved rounds.\n"


def markdown(result: dict[str, Any]) -> str:
    """Everything in a result as markdown."""
    about, rows = result["machine"], result["rows"]
    versions = {name: v for software in about["software"].values() for name, v in software.items()}
    machine = f"{about['cpu']}, {about['cores']} cores, {about['memory_gib']} GiB, {about['system']}"
    software = ", ".join(f"{name} {version}" for name, version in versions.items() if name != "threads")
    how = f"medians of {result['rounds']} interleaved rounds, ratios with quartiles"
    parts = [f"{result['date']}; {machine}; {software}; {how}."]
    parts.append(against_base(rows, base) if (base := result.get("base")) else means(rows))
    for group, title in SECTIONS.items():
        if chosen := [row for row in rows if row["group"] == group]:
            parts += [f"### {title}", times(chosen)]
            parts += [recorded(chosen)] if group == "recording" else []
    for make, name in ((memory, "memory"), (starts, "start")):
        if lines := [line for line in result[name] if "error" not in line]:
            parts.append(make(lines))
    faults = {f"{row['workload']} · {named(i)}: {e}" for row in rows for i, e in row["errors"].items()}
    parts += ["Not timed:", "\n".join(f"- {fault}" for fault in sorted(faults))] if faults else []
    return "\n\n".join(parts) + "\n"


def plot(result: dict[str, Any], path: Path) -> None:
    """Left: times of the main table; right: how many times longer the longest T takes than the shortest."""
    import matplotlib.pyplot as plt

    rows = [row for row in result["rows"] if row["group"] in ("net", "form", "neuron") and row["seconds"]]
    scans: dict[str, list[dict]] = {}
    for row in result["rows"]:
        if row["scan"] == ["T"]:
            scans.setdefault(row["workload"], []).append(row)
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5.5), width_ratios=(2, 1), layout="constrained")
    for impl, name in NAMES.items():
        style = dict(fmt="|" if "floor" in impl else "o", ms=12 if "floor" in impl else 7, color=COLOURS[impl])
        for axes, lines in ((left, [[row] for row in rows]), (right, list(scans.values()))):
            at = [i for i, line in enumerate(lines) if impl in line[0]["seconds"] and impl in line[-1]["seconds"]]
            if not at:
                continue
            times = [[np.array(row["seconds"][impl]) for row in lines[i]] for i in at]
            values = [1e3 * t[0] if axes is left else t[-1] / t[0] for t in times]
            low, middle, high = np.nanpercentile(values, [25, 50, 75], axis=1)
            axes.errorbar(middle, at, xerr=[middle - low, high - middle], label=name.replace("`", ""), **style)
    left.set(xscale="log", xlabel="one training step [ms]", yticks=range(len(rows)))
    left.set_yticklabels([row["workload"].replace(", T=", "\nT=", 1) for row in rows])
    right.set(yticks=range(len(scans)), yticklabels=[name.removesuffix(" over T") for name in scans])
    for first, *_, last in list(scans.values())[:1]:
        T = first["sizes"]["T"], last["sizes"]["T"]
        right.axvline(T[1] / T[0], color="black", linestyle=":", linewidth=1)
        right.set(xscale="log", xlabel=f"time, T={T[1]} over T={T[0]}", title="dotted: linear")
        right.set_xticks(ticks := [2, 4, 8, 16], map(str, ticks), minor=False)
        right.minorticks_off()
    for axes in (left, right):
        axes.invert_yaxis()
        axes.grid(axis="x", alpha=0.3)
    if rows:
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=len(NAMES))
    figure.savefig(path)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("result", type=Path)
    parser.add_argument("--plot", type=Path, help="where to draw (the suffix names the format)")
    parser.add_argument("--short", action="store_true", help="print what the README shows")
    options = parser.parse_args()
    result = json.loads(options.result.read_text())
    print(short(result) if options.short else markdown(result))
    if options.plot:
        plot(result, options.plot)


if __name__ == "__main__":
    main()
