"""The cache of kernels: where it is trusted, what it keeps, and that damage only costs time."""

import contextlib
import ctypes
import os
import stat
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import pytest
import torch

import snntorch as snn
from snntorch._engine import cache, machine_code

root_only = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
posix_only = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no owners and modes on this system")
NOBODY = 65534


@pytest.fixture
def place(monkeypatch, tmp_path):
    """Sets the cache's directory, by default a private one; its warnings are given again."""

    def at(path=tmp_path / "private"):
        monkeypatch.setenv("SNNTORCH_CACHE_DIR", str(path))
        return Path(path)

    cache._warn.cache_clear()
    yield at
    cache._warn.cache_clear()


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_a_file_is_kept_whole_and_private(place):
    directory = place()
    cache.write("a.kernel", b"one")
    cache.write("a.kernel", b"two")
    assert cache.read("a.kernel") == b"two"
    assert names(directory) == ["a.kernel"]
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / "a.kernel").stat().st_mode) == 0o600


@posix_only
@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o702, 0o720], ids=oct)
@pytest.mark.parametrize("parent", [False, True], ids=["itself", "parent"])
def test_a_directory_that_others_may_write_is_not_used(place, tmp_path, monkeypatch, mode, parent):
    """A sticky one may be a parent, as `/tmp` is: there nobody moves another's files."""
    monkeypatch.setattr(cache, "_is_own_group", lambda number: False)
    directory = place(tmp_path / "shared" / "own" if parent else tmp_path / "shared")
    cache.write("a.kernel", b"mine")
    (tmp_path / "shared").chmod(mode)
    if parent and mode == 0o1777:
        assert cache.read("a.kernel") == b"mine"
        return
    with pytest.warns(
        RuntimeWarning, match=r"kernels are not kept on disk: .*others may write.*SNNTORCH_CACHE_DIR"
    ) as seen:
        for _ in range(2):  # and one warning
            with pytest.raises(OSError):
                cache.read("a.kernel")
            with pytest.raises(OSError):
                cache.write("b.kernel", b"mine")
    assert len(seen) == 1 and names(directory) == ["a.kernel"]


@posix_only
def test_the_user_s_own_group_may_write(place, tmp_path, monkeypatch):
    """As where each user has a group of his own, and files are made for it (umask 002)."""
    own = []
    monkeypatch.setattr(cache, "_is_own_group", lambda number: number in own)
    directory = place(tmp_path / "parent" / "own")
    cache.write("a.kernel", b"mine")
    for path in (directory, directory.parent):
        path.chmod(0o775)
    with pytest.warns(RuntimeWarning, match="others may write"), pytest.raises(OSError):
        cache.read("a.kernel")
    own.append(directory.stat().st_gid)
    assert cache.read("a.kernel") == b"mine"


@root_only
@pytest.mark.parametrize("which", ["itself", "parent", "link", "file"])
def test_what_belongs_to_another_is_not_used(place, tmp_path, which):
    real = place(tmp_path / "parent" / "own")
    cache.write("a.kernel", b"mine")
    link = tmp_path / "link"
    link.symlink_to("parent")
    given = {"itself": real, "parent": real.parent, "link": link, "file": real / "a.kernel"}[which]
    os.chown(given, NOBODY, NOBODY, follow_symlinks=False)
    place(link / "own" if which == "link" else real)
    warns = pytest.warns(RuntimeWarning, match="another user's") if which != "file" else contextlib.nullcontext()
    with warns, pytest.raises(OSError):
        cache.read("a.kernel")


@posix_only
def test_links_of_the_user_s_own_are_followed(place, tmp_path):
    """Many keep their caches on another disk."""
    cache_at = place(tmp_path / "far" / "own")
    cache.write("a.kernel", b"mine")
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / "relative").symlink_to(os.path.join("..", "far", ".", "own"))
    (tmp_path / "absolute").symlink_to(tmp_path / "near")
    place(tmp_path / "absolute" / "relative")
    assert cache.read("a.kernel") == b"mine"
    cache.write("b.kernel", b"too")
    assert names(cache_at) == ["a.kernel", "b.kernel"]
    (tmp_path / "round").symlink_to("round")
    place(tmp_path / "round")
    with pytest.warns(RuntimeWarning, match="too many"), pytest.raises(OSError):
        cache.read("a.kernel")


@posix_only
def test_files_that_are_not_plain_and_private_are_not_read(place):
    directory = place()
    cache.write("a.kernel", b"mine")
    (directory / "link.kernel").symlink_to("a.kernel")
    os.mkfifo(directory / "pipe.kernel")  # opening one waits for a writer
    (directory / "directory.kernel").mkdir()
    cache.write("open.kernel", b"mine")
    (directory / "open.kernel").chmod(0o666)
    for name in ("link.kernel", "pipe.kernel", "directory.kernel", "open.kernel", "none.kernel"):
        with pytest.raises(OSError):
            cache.read(name)
    cache.write("open.kernel", b"again")
    assert cache.read("open.kernel") == b"again"


@root_only
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "renameat2"), reason="no exchange in one go on this system")
def test_nothing_is_exchanged_between_check_and_use(place, tmp_path):
    """A parent is now a directory of ours, now a link of another's to a file of his."""
    place(tmp_path / "parent" / "own")
    cache.write("a.kernel", b"mine")
    evil = tmp_path / "evil" / "own"
    evil.mkdir(parents=True, mode=0o700)
    (evil / "a.kernel").write_bytes(b"forged")
    (evil / "a.kernel").chmod(0o600)
    (tmp_path / "link").symlink_to("evil")
    os.chown(tmp_path / "link", NOBODY, NOBODY, follow_symlinks=False)
    names = [os.fsencode(tmp_path / name) for name in ("parent", "link")]
    over = threading.Event()

    def exchange():
        while not over.is_set():
            ctypes.CDLL(None).renameat2(-100, names[0], -100, names[1], 2)  # AT_FDCWD, RENAME_EXCHANGE

    attacker = threading.Thread(target=exchange)
    attacker.start()
    found = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for _ in range(2000):
                with contextlib.suppress(OSError):
                    found.append(cache.read("a.kernel"))
    finally:
        over.set()
        attacker.join()
    assert 0 < len(found) < 2000 and set(found) == {b"mine"}


def used(directory, name, ago):
    at = time.time() - ago
    os.utime(directory / name, (at, at))


def test_the_least_recently_used_are_removed(place, monkeypatch):
    directory = place()
    for k in range(4):
        cache.write(f"{k}.kernel", bytes(100))
        used(directory, f"{k}.kernel", 90000 - k)
    cache.read("0.kernel")  # by which it is the last used
    monkeypatch.setattr(cache, "_FILES", 4)
    cache.write("4.kernel", bytes(100))
    assert names(directory) == ["0.kernel", "2.kernel", "3.kernel", "4.kernel"]
    monkeypatch.setattr(cache, "_BYTES", 250)
    cache.write("5.kernel", bytes(100))
    assert names(directory) in (["0.kernel", "5.kernel"], ["4.kernel", "5.kernel"])  # both were used just now


def test_what_somebody_began_to_write_and_left_is_removed(place):
    directory = place()
    cache.write("0.kernel", b"")
    for name, ago in (("old.tmp", 7200), ("young.tmp", 60), ("other.txt", 7200)):
        (directory / name).write_bytes(b"half")
        used(directory, name, ago)
    cache.write("1.kernel", b"")
    assert names(directory) == ["0.kernel", "1.kernel", "other.txt", "young.tmp"]


@posix_only
def test_a_full_disk_leaves_nothing_half_written(place):
    import resource
    import signal

    directory = place()
    cache.write("a.kernel", b"mine")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(OSError):
            cache.write("a.kernel", bytes(1000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert names(directory) == ["a.kernel"] and cache.read("a.kernel") == b"mine"


@root_only
def test_a_read_only_directory_is_read(place):
    with tempfile.TemporaryDirectory() as parent:
        directory = place(os.path.join(parent, "own"))
        cache.write("a.kernel", b"mine")
        used(directory, "a.kernel", 90000)
        for path in (directory, directory / "a.kernel"):
            os.chown(path, NOBODY, NOBODY)
        directory.chmod(0o500)
        os.chmod(parent, 0o711)
        os.seteuid(NOBODY)
        try:
            assert cache.read("a.kernel") == b"mine"
            with pytest.raises(PermissionError):
                cache.write("b.kernel", b"mine")
        finally:
            os.seteuid(0)


def test_a_place_that_cannot_be_made(place, tmp_path):
    (tmp_path / "file").write_text("no directory")
    place(tmp_path / "file" / "below")
    with pytest.raises(OSError):
        cache.write("a.kernel", b"mine")


def test_without_a_home_nothing_is_written(place, tmp_path, monkeypatch):
    place("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as for a user without an entry and without HOME
    with pytest.raises(OSError):
        cache.write("a.kernel", b"mine")
    assert names(tmp_path) == []


IR = "define i64 @answer() { ret i64 42 }\ndefine i64 @other() { ret i64 7 }"


def test_a_file_is_bound_to_its_key_and_function():
    file = machine_code.pack("key", IR, "answer")
    assert machine_code.load("key", file)[1]
    with pytest.raises(ValueError, match="damaged"):
        machine_code.load("other key", file)
    with pytest.raises(ValueError, match="damaged"):
        machine_code.load("key", file.replace(b"answer\n", b"other\n", 1))
    forged = file[32:].replace(b"answer\n", b"none\n", 1)
    with pytest.raises(ValueError, match="lacks its function"):
        machine_code.load("key", machine_code._digest("key", forged) + forged)


# -- from the outside: every test is a new process

WORK = """
import torch, snntorch as snn
x = torch.ones(6, 2, requires_grad=True)
with snn.backend("fused"):
    spk, mem = snn.unroll(snn.Leaky(0.5), x, torch.zeros(0))
(spk.sum() + mem.sum()).backward()
print(spk.sum().item(), mem.sum().item(), x.grad.sum().item())
"""


def start_process(directory, code=WORK, **env):
    env = {**os.environ, "SNNTORCH_CACHE_DIR": str(directory), **env}
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def result(process):
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    return out


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """What the work prints, and a cache that knows its kernels."""
    directory = tmp_path_factory.mktemp("kernels") / "mine"
    return result(start_process(directory)), directory


@pytest.fixture
def filled(known, tmp_path):
    """A copy of the cache."""
    directory = tmp_path / "copy"
    subprocess.run(["cp", "-a", str(known[1]), str(directory)], check=True)
    return directory


def files(directory):
    return {path: path.stat().st_mtime_ns for path in directory.rglob("*") if path.is_file()}


def test_cache_is_private_and_holds_a_file_a_kernel(known):
    out, directory = known
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert [path.suffix for path in files(directory)] == [".kernel"] * 2  # forward, backward
    with snn.backend("eager"):
        spk, mem = snn.unroll(snn.Leaky(0.5), torch.ones(6, 2), torch.zeros(0))
    assert out.split()[:2] == [str(spk.sum().item()), str(mem.sum().item())]


def test_a_second_process_compiles_nothing(known):
    out, directory = known
    before = files(directory)
    code = WORK + "import sys\nassert 'numba' not in sys.modules, 'compiles'\n"
    assert result(start_process(directory, code)) == out
    assert files(directory) == before


DAMAGES = {
    "empty": lambda content: b"",
    "garbage": lambda content: b"\x80\x00garbage(\n",
    "cut short": lambda content: content[: len(content) // 2],
    "one bit": lambda content: content[:100] + bytes([content[100] ^ 1]) + content[101:],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_not_loaded(damage):
    with pytest.raises(ValueError, match="damaged"):
        machine_code.load("key", DAMAGES[damage](machine_code.pack("key", IR, "answer")))


@pytest.mark.parametrize("damages", [("empty", "one bit"), ("garbage", "cut short"), None], ids=str)
def test_damaged_and_exchanged_files_are_made_anew(known, filled, damages):
    """One damage for forward's file and one for backward's; or each lies under the other's name."""
    paths = sorted(files(filled))
    sound = [path.read_bytes() for path in paths]
    bad = [DAMAGES[damage](content) for damage, content in zip(damages, sound, strict=True)] if damages else sound[::-1]
    for path, content in zip(paths, bad, strict=True):
        path.write_bytes(content)
    assert result(start_process(filled)) == known[0]
    assert [path.read_bytes() for path in paths] == sound


@posix_only
def test_a_directory_of_others_costs_one_warning(known, filled):
    filled.chmod(0o777)
    for path in files(filled):
        path.write_bytes(b"")
    process = start_process(filled, "import warnings; warnings.simplefilter('default')" + WORK)
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0 and out == known[0]
    assert error.count("RuntimeWarning: kernels are not kept on disk") == 1
    assert all(path.read_bytes() == b"" for path in files(filled))


def test_deletion_while_running(known, filled):
    code = WORK.replace("\n(spk", f"\nimport shutil; shutil.rmtree({str(filled)!r})\n(spk")
    assert result(start_process(filled, code)) == known[0]


def test_two_processes_at_once(known, tmp_path):
    both = [start_process(tmp_path / "shared") for _ in range(2)]
    assert [result(process) for process in both] == [known[0]] * 2


def test_no_place_to_write(known, tmp_path):
    """A home that cannot be made: kernels live in memory."""
    blocked = tmp_path / "file"
    blocked.write_text("no directory")
    out = start_process("", HOME=str(blocked), XDG_CACHE_HOME="")
    assert result(out) == known[0]
    assert blocked.read_text() == "no directory"
