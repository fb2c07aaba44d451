"""Where kernels are kept on disk: a private directory, safe to delete at any time.

Code is loaded from it, so it counts only where no one else could have written: nobody but the user and root may change
any directory or symbolic link on the way to it. Each is opened from the one before, so that nothing is exchanged
between check and use.
"""

import contextlib
import functools
import os
import stat
import time
import warnings
from collections.abc import Iterator
from typing import NamedTuple

# What is kept at most, the last used, and for how long a file that is being written.
_FILES, _BYTES, _WRITING = 4096, 256 << 20, 3600
_USED = 3600  # seconds for which a use is not noted anew
_LINKS = 40  # symbolic links on one path, as for Linux
_DIRECTORY = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
_FILE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class _Directory(NamedTuple):
    """An open directory: names in it are `prefix + name`, relative to `descriptor`."""

    prefix: str
    descriptor: int | None


class _Untrusted(OSError):
    pass


def read(name: str) -> bytes:
    """A file of the cache.

    Raises:
        OSError: where there is none that is the user's alone.
    """
    with _directory() as (prefix, directory):
        file = os.open(prefix + name, os.O_RDONLY | _FILE, dir_fd=directory)
        with os.fdopen(file, "rb") as stream:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode) or not _is_private(status):
                raise PermissionError(f"{name} is another user's or others may write to it")
            if time.time() - status.st_mtime > _USED:
                with contextlib.suppress(OSError):  # on a read-only disk nothing is removed either
                    os.utime(prefix + name, dir_fd=directory)
            return stream.read()


def write(name: str, content: bytes) -> None:
    """Write a file so that whoever reads it sees all of it or none, and remove what was not used for longest.

    Raises:
        OSError: where nothing can be written.
    """
    with _directory() as (prefix, directory):
        passing = f"{prefix}{os.urandom(8).hex()}.tmp"
        file = os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FILE, 0o600, dir_fd=directory)
        try:
            with os.fdopen(file, "wb") as stream:
                stream.write(content)
            os.replace(passing, prefix + name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(passing, dir_fd=directory)
            raise
        _sweep(prefix, directory)


def _sweep(prefix: str, directory: int | None) -> None:
    """Remove what is too much, and what somebody began to write and left."""
    now, room, kernels = time.time(), _BYTES, []
    for name in os.listdir(prefix if directory is None else directory):
        with contextlib.suppress(OSError):  # another process removes as well
            status = os.stat(prefix + name, dir_fd=directory, follow_symlinks=False)
            if name.endswith(".kernel"):
                kernels.append((status.st_mtime, status.st_size, name))
            elif name.endswith(".tmp") and now - status.st_mtime > _WRITING:
                os.unlink(prefix + name, dir_fd=directory)
    for count, (_, size, name) in enumerate(sorted(kernels, reverse=True), 1):
        room -= size
        if room < 0 or count > _FILES:
            with contextlib.suppress(OSError):
                os.unlink(prefix + name, dir_fd=directory)


@contextlib.contextmanager
def _directory() -> Iterator[_Directory]:
    """The directory, made where it is missing: `SNNTORCH_CACHE_DIR`, or `snntorch` in the user's cache directory."""
    home = os.environ.get("SNNTORCH_CACHE_DIR")
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    if not home and not os.path.isabs(base):
        raise FileNotFoundError("the user has no home directory")
    path = os.path.abspath(home or os.path.join(base, "snntorch"))
    if not hasattr(os, "geteuid"):  # Windows, where a user's directories are closed to others
        os.makedirs(path, exist_ok=True)
        yield _Directory(path + os.sep, None)
        return
    try:
        descriptor = _walk(path)
    except _Untrusted as reason:
        _warn(f"kernels are not kept on disk: {reason}; SNNTORCH_CACHE_DIR chooses another directory")
        raise
    try:
        yield _Directory("", descriptor)
    finally:
        os.close(descriptor)


@functools.cache  # once
def _warn(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=2)


def _walk(path: str) -> int:
    """The descriptor of a directory of the user's, where no one else could have put another in its place.

    Raises:
        _Untrusted: where others could.
        OSError: where there is none, and none can be made.
    """
    passing = _DIRECTORY | getattr(os, "O_PATH", 0)  # asks for no permission to list what is on the way
    here, where, parts, links = os.open(os.sep, passing), os.sep, path.split(os.sep)[::-1], 0
    try:
        status = os.fstat(here)
        owners = {0, os.geteuid(), status.st_uid}  # in a container the root directory's may be known by another number
        _check(status, where, owners)
        while parts:
            part = parts.pop()
            if part in ("", "."):
                continue
            where = os.path.join(where, part)
            try:
                status = os.stat(part, dir_fd=here, follow_symlinks=False)
            except FileNotFoundError:
                with contextlib.suppress(FileExistsError):  # another process was faster
                    os.mkdir(part, 0o700, dir_fd=here)
            else:
                if stat.S_ISLNK(status.st_mode):
                    links += 1
                    if status.st_uid not in owners or links > _LINKS:
                        raise _Untrusted(f"the symbolic link {where} is another user's, or one of too many")
                    target = os.readlink(part, dir_fd=here)
                    parts += target.split(os.sep)[::-1]
                    part, where = (os.sep, os.sep) if os.path.isabs(target) else (".", os.path.dirname(where))
            above, here = here, os.open(part, passing, dir_fd=here)
            os.close(above)
            status = os.fstat(here)
            _check(status, where, owners)
        if not _is_private(status):
            raise _Untrusted(f"{where} is another user's, or others may write to it")
        return os.open(".", _DIRECTORY, dir_fd=here)
    finally:
        os.close(here)


def _check(status: os.stat_result, where: str, owners: set[int]) -> None:
    """That others can't exchange what owners keep in a directory; a sticky one, as `/tmp`, leaves each his own."""
    if status.st_uid not in owners:
        raise _Untrusted(f"{where} is another user's")
    if _is_shared(status) and not status.st_mode & stat.S_ISVTX:
        raise _Untrusted(f"others may write to {where}")


def _is_private(status: os.stat_result) -> bool:
    """Whether the user owns it and nobody else may write to it."""
    return not hasattr(os, "geteuid") or (status.st_uid == os.geteuid() and not _is_shared(status))


def _is_shared(status: os.stat_result) -> bool:
    """Whether others than its owner may write to it; many systems give each user a group of his own."""
    others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return bool(others) and not (others == stat.S_IWGRP and _is_own_group(status.st_gid))


def _is_own_group(number: int) -> bool:
    import grp
    import pwd

    try:
        user, group = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(number)
    except KeyError:
        return False
    return group.gr_name == user and {*group.gr_mem} <= {user}
