"""The tutorials run: each script's cells, in order, at a reduced size."""

import re
from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

import snntorch as snn
from snntorch import spikeplot

FOLDER = Path(__file__).parent.parent / "docs" / "tutorials"
SCRIPTS = sorted(FOLDER.glob("*.py"))
TUTORIALS = [path for path in SCRIPTS if path.stem != "gallery"]
pytest.importorskip("sklearn", reason="the digits come with scikit-learn")


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None) -> Iterator[None]:
    """A folder that may be written to, and the settings that a reader has."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SNNTORCH_TUTORIALS", "small")
    monkeypatch.delenv("SNNTORCH_MNIST", raising=False)
    with snn.backend("auto"), plt.rc_context():
        plt.switch_backend("Agg")
        yield
    plt.close("all")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_it_runs(path: Path, reader: None) -> None:
    exec(compile(path.read_text(), path.name, "exec"), {"__name__": "tutorial"})


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_it_is_whole(path: Path) -> None:
    """What is learnt, an exercise with its answer, references, pictures; and a place in the contents."""
    text = path.read_text()
    assert text.startswith("# %% [markdown]\n# # ")
    assert "**You will learn**" in text and "# ## References" in text and "plt." in text
    assert text.index("# ## Exercise") < text.index('# %% tags=["hide-cell"]') < text.index("# ## References")
    assert [
        cell for cell in text.split("# %%")[1:] if "plt." in cell and "player" not in cell and ' alt="' not in cell
    ] == []
    assert f"\n{path.stem}\n" in (FOLDER / "index.md").read_text()


def test_the_gallery_shows_every_plot() -> None:
    text = (FOLDER / "gallery.py").read_text()
    plots = [name for name in vars(spikeplot) if not name.startswith("_")]
    missing = [name for name in plots if not re.search(rf"spikeplot\.{name}\b", text)]
    assert missing == []
