"""Where kernels are kept on disk: a private directory, safe to delete at any time."""

import os
import tempfile
from pathlib import Path


def directory() -> Path | None:
    """The directory for kernels, made where it is missing; None where none can be had.

    It is `SNNTORCH_CACHE_DIR`, or `snntorch` in the user's cache directory. As code is loaded from it, it must belong
    to the user and be closed to everyone else's writing.
    """
    home = os.environ.get("SNNTORCH_CACHE_DIR")
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    path = Path(home) if home else Path(base) / "snntorch"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
    except OSError:
        return None
    if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & 0o022):
        return None
    return path if os.access(path, os.W_OK | os.X_OK) else None


def keep(path: Path, text: str) -> None:
    """Write a file unless it is there with just this text, so that whoever reads it sees all of it or none.

    A file that is there keeps its time of writing, by which compiled code is known to belong to it.
    """
    try:
        if path.read_text() == text:
            return
    except (OSError, UnicodeDecodeError):
        pass
    write(path, text.encode())


def write(path: Path, content: bytes) -> None:
    """Write a file so that whoever reads it sees all of it or none."""
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    os.replace(name, path)
