"""The cache on disk: what it gives is what was put, whoever writes beside it and whatever breaks."""

import io
import os
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import PIL.Image
import pytest

from polymodal.encoders import cache as disk
from polymodal.encoders import shards
from polymodal.encoders.base import Encoded, from_rows
from polymodal.encoders.cache import Cache
from polymodal.encoders.decoding import Corrupt
from polymodal.errors import CacheWarning

D = 6


def keys_of(numbers):
    """(n, 32) keys of integers, spread over their first bytes."""
    joined = b"".join(disk.key(str(int(number))) for number in numbers)
    return np.frombuffer(joined, dtype=np.uint8).reshape(-1, disk.KEY_BYTES)


def vectors_of(numbers):
    """The only right values of these keys."""
    return (np.asarray(numbers)[:, None] * 10 + np.arange(D)).astype(np.float32)


def put(cache, numbers):
    cache.put(keys_of(numbers), Encoded(vectors_of(numbers)))
    cache.flush()


def assert_never_wrong(cache, numbers):
    """Whatever is found has the right values; returns which."""
    hits = cache.get(keys_of(numbers))
    if hits.mask.any():
        np.testing.assert_array_equal(hits.vectors(), vectors_of(np.asarray(numbers)[hits.mask]))
    return hits.mask


# ---- what is put is found ----------------------------------------------------------------------------


def test_rows_come_back_in_any_order_from_several_shards(tmp_path):
    cache = Cache(tmp_path, "a")
    put(cache, range(5))
    put(cache, range(5, 9))
    assert assert_never_wrong(cache, [8, 0, 99, 3, 3]).tolist() == [True, True, False, True, True]
    again = Cache(tmp_path, "a")
    assert assert_never_wrong(again, range(9)).all()
    assert not Cache(tmp_path, "b").get(keys_of(range(9))).mask.any()


def test_nothing_is_found_in_an_empty_cache(tmp_path):
    hits = Cache(tmp_path / "none", "a").get(keys_of([1]))
    assert hits.mask.tolist() == [False]
    assert hits.sequences() == []


def test_hits_are_memory_mapped(tmp_path):
    cache = Cache(tmp_path, "a")
    put(cache, range(10))
    found = cache.get(keys_of(range(2, 7))).vectors()
    base = found
    while not isinstance(base, np.memmap):
        base = base.base
    assert not found.flags.writeable
    np.testing.assert_array_equal(found, vectors_of(range(2, 7)))


def test_sequences_come_back(tmp_path):
    rng = np.random.default_rng(0)
    rows = [rng.standard_normal((t, D)).astype(np.float32) for t in (3, 1, 7)]
    cache = Cache(tmp_path, "a")
    cache.put(keys_of([0, 1]), from_rows(rows[:2]))
    cache.put(keys_of([2]), from_rows(rows[2:]))
    cache.flush()
    hits = Cache(tmp_path, "a").get(keys_of([2, 5, 0, 1]))
    assert hits.mask.tolist() == [True, False, True, True]
    assert not hits.are_vectors
    for found, expected in zip(hits.sequences(), [rows[2], rows[0], rows[1]], strict=True):
        np.testing.assert_array_equal(found, expected)


def test_rows_are_written_together_and_when_they_are_many(tmp_path, monkeypatch):
    cache = Cache(tmp_path, "a")
    for i in range(5):
        cache.put(keys_of([i]), Encoded(vectors_of([i])))
    assert not list(tmp_path.rglob("*.npz"))
    cache.flush()
    assert len(list(tmp_path.rglob("*.npz"))) == 1
    monkeypatch.setattr(disk, "SHARD_BYTES", 10)
    cache.put(keys_of([7]), Encoded(vectors_of([7])))
    assert len(list(tmp_path.rglob("*.npz"))) == 2


def test_many_keys_with_the_same_beginning(tmp_path):
    """Keys are sorted by their first bytes, and compared as a whole."""
    keys = keys_of(range(4)).copy()
    keys[:, :8] = 7
    cache = Cache(tmp_path, "a")
    cache.put(keys, Encoded(vectors_of(range(4))))
    cache.flush()
    for i in range(4):
        hits = cache.get(keys[i : i + 1])
        if hits.mask.any():
            np.testing.assert_array_equal(hits.vectors(), vectors_of([i]))
    assert cache.get(keys[:1]).mask.any() or cache.get(keys[1:2]).mask.any()


# ---- keys --------------------------------------------------------------------------------------------


def test_a_key_is_the_content(tmp_path):
    first, second = tmp_path / "a.png", tmp_path / "b.png"
    first.write_bytes(b"abc")
    second.write_bytes(b"abc")
    assert disk.key(first) == disk.key(second) == disk.key(b"abc")
    second.write_bytes(b"abd")
    assert disk.key(first) != disk.key(second)
    assert disk.key("abc") != disk.key(b"abc")
    sound = np.ones(4, np.float32)
    different = [(sound, 8000), (sound, 16_000), (sound.astype(np.float64), 8000), (sound[:2], 8000)]
    assert len({disk.key(cell) for cell in different}) == 4
    assert len(disk.key("half \ud83c of a character")) == disk.KEY_BYTES
    with pytest.raises(Corrupt, match="no such file"):
        disk.key(tmp_path / "none")


def test_an_images_key_knows_its_palette():
    colours = PIL.Image.new("P", (1, 1), 0)
    colours.putpalette([255, 0, 0])
    other = PIL.Image.new("P", (1, 1), 0)
    other.putpalette([0, 255, 0])
    assert disk.key(colours) != disk.key(other)
    assert disk.key(np.zeros((2, 3), np.uint8)) != disk.key(np.zeros((3, 2), np.uint8))


# ---- damage ------------------------------------------------------------------------------------------


def test_any_changed_byte_is_a_miss_and_never_a_wrong_value(tmp_path):
    rng = np.random.default_rng(0)
    put(Cache(tmp_path, "a"), range(20))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 2
    for path in files:
        whole = path.read_bytes()
        for place in rng.integers(0, len(whole), 60):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << rng.integers(8)
            path.write_bytes(damaged)
            assert_never_wrong(Cache(tmp_path, "a"), range(20))
        for size in (0, 1, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:size])
            assert not assert_never_wrong(Cache(tmp_path, "a"), range(20)).any()
        path.write_bytes(whole)
    assert assert_never_wrong(Cache(tmp_path, "a"), range(20)).all()


def test_a_changed_number_is_a_miss(tmp_path):
    put(Cache(tmp_path, "a"), range(20))
    path = next(tmp_path.rglob("*.npy"))
    damaged = bytearray(path.read_bytes())
    damaged[-3] ^= 1
    path.write_bytes(damaged)
    assert not Cache(tmp_path, "a").get(keys_of(range(20))).mask.any()


def test_a_sound_shard_stands_in_for_a_damaged_one(tmp_path):
    put(Cache(tmp_path, "a"), range(10))
    next(tmp_path.rglob("*.npy")).write_bytes(b"")
    put(Cache(tmp_path, "a"), range(5))
    assert assert_never_wrong(Cache(tmp_path, "a"), range(10)).tolist() == [True] * 5 + [False] * 5


def test_rows_of_another_file_are_a_miss(tmp_path):
    put(Cache(tmp_path, "a"), range(4))
    put(Cache(tmp_path, "b"), range(4, 8))
    first, second = sorted(tmp_path.rglob("*.npy"))
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)
    for name in "ab":
        assert not Cache(tmp_path, name).get(keys_of(range(8))).mask.any()


# ---- disks -------------------------------------------------------------------------------------------


def test_a_full_disk_gives_one_warning_and_leaves_nothing(tmp_path, monkeypatch):
    def full(file, values):
        file.write(b"some of it")
        raise OSError(28, "No space left on device")

    cache = Cache(tmp_path, "a")
    monkeypatch.setattr(np, "save", full)
    with pytest.warns(CacheWarning, match="cannot be written to .No space left on device.*POLYMODAL_CACHE"):
        put(cache, range(3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        put(cache, range(3))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not cache.get(keys_of(range(3))).mask.any()


def test_a_disk_that_fills_between_the_two_files_leaves_nothing(tmp_path, monkeypatch):
    def full(index):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shards, "_sealed", full)
    with pytest.warns(CacheWarning):
        put(Cache(tmp_path, "a"), range(3))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_folder_that_is_a_file_gives_a_warning(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.warns(CacheWarning):
        put(Cache(tmp_path / "taken", "a"), range(3))


# ---- several processes -------------------------------------------------------------------------------

WRITER = """
import sys, time
import numpy as np
sys.path.insert(0, {tests!r})
from test_cache import Cache, put
from polymodal.encoders import cache as disk
disk.MOST_SMALL = {most}
cache = Cache({path!r}, "a")
print("ready", flush=True)
for start in range({first}, {last}, 10):
    put(cache, range(start, start + 10))
"""


def writer(path, first, last, most=disk.MOST_SMALL):
    tests = os.path.dirname(__file__)
    code = WRITER.format(tests=tests, path=str(path), first=first, last=last, most=most)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_two_processes_write_and_merge_at_once(tmp_path):
    reader, before = Cache(tmp_path, "a"), np.zeros(600, dtype=bool)
    with writer(tmp_path, 0, 400) as one, writer(tmp_path, 200, 600) as other:
        while one.poll() is None or other.poll() is None:
            found = assert_never_wrong(reader, range(600))
            assert found[before].all()  # what was there once is never gone
            before = found
    assert (one.returncode, other.returncode) == (0, 0)
    assert assert_never_wrong(reader, range(600)).all()
    assert assert_never_wrong(Cache(tmp_path, "a"), range(600)).all()
    assert n_shards(tmp_path) <= disk.MOST_SMALL + 2


def test_a_killed_writer_leaves_whole_shards_alone(tmp_path):
    with writer(tmp_path, 0, 1_000_000) as process:
        assert process.stdout.readline() == "ready\n"
        while not list(tmp_path.rglob("*.npz")):
            time.sleep(0.01)
        time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
    found = assert_never_wrong(Cache(tmp_path, "a"), range(20_000))
    assert found.any()
    assert (found.reshape(-1, 10).all(axis=1) == found.reshape(-1, 10).any(axis=1)).all()  # shards of ten
    put(Cache(tmp_path, "a"), range(20_000, 20_010))
    assert assert_never_wrong(Cache(tmp_path, "a"), range(20_010))[-10:].all()


def test_a_process_killed_while_it_merges_loses_nothing(tmp_path):
    before = np.zeros(4000, dtype=bool)
    for k in range(4):
        with writer(tmp_path, k * 1000, 1_000_000, most=2) as process:
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.15 + 0.05 * k)
            reader = Cache(tmp_path, "a")
            before |= assert_never_wrong(reader, range(4000))
            process.send_signal(signal.SIGKILL)
        assert assert_never_wrong(reader, range(4000))[before].all()
        assert assert_never_wrong(Cache(tmp_path, "a"), range(4000))[before].all()
    assert before.any()


def test_what_killed_processes_left_is_removed_after_a_day(tmp_path):
    cache = Cache(tmp_path, "a")
    put(cache, range(3))
    old = [cache.path / "x.npy.tmp", cache.path / "y.npy"]
    for path in old:
        path.write_bytes(b"")
        os.utime(path, (0, 0))
    young = cache.path / "z.npy"
    young.write_bytes(b"")
    again = Cache(tmp_path, "a")
    assert [path.exists() for path in old] == [False, False]
    assert young.exists()
    assert assert_never_wrong(again, range(3)).all()


# ---- many small shards -------------------------------------------------------------------------------


def n_shards(path):
    return len(list(path.rglob("*.npz")))


def test_many_small_puts_leave_few_files(tmp_path):
    cache, reader = Cache(tmp_path, "a"), Cache(tmp_path, "a")
    for i in range(150):
        put(cache, [i, i // 2])
        assert n_shards(tmp_path) <= disk.MOST_SMALL + 1
    for own in (cache, reader, Cache(tmp_path, "a")):
        assert assert_never_wrong(own, range(150)).all()


def test_merging_keeps_the_order_and_each_key_once(tmp_path):
    cache = Cache(tmp_path, "a")
    for start in (0, 3, 6):
        put(cache, range(start, start + 5))
    cache.merge()
    (rows,) = tmp_path.rglob("*.npy")
    np.testing.assert_array_equal(np.load(rows), vectors_of(range(11)))
    found = cache.get(keys_of(range(11))).vectors()
    assert found.base is not None  # one file: nothing is copied
    np.testing.assert_array_equal(found, vectors_of(range(11)))


def test_sequences_are_merged(tmp_path):
    rng = np.random.default_rng(0)
    rows = [rng.standard_normal((t, D)).astype(np.float32) for t in (3, 1, 7, 2)]
    cache = Cache(tmp_path, "a")
    for numbers in ([0, 1], [1, 2], [3]):
        cache.put(keys_of(numbers), from_rows([rows[i] for i in numbers]))
        cache.flush()
    cache.merge()
    assert n_shards(tmp_path) == 1
    for found, expected in zip(cache.get(keys_of(range(4))).sequences(), rows, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_what_a_reader_has_mapped_stays_readable(tmp_path):
    cache, reader = Cache(tmp_path, "a"), Cache(tmp_path, "a")
    for i in range(4):
        put(cache, [i])
    held = reader.get(keys_of([1, 2]))
    cache.merge()
    np.testing.assert_array_equal(held.vectors(), vectors_of([1, 2]))
    assert assert_never_wrong(reader, range(4)).all()  # two of which it had not opened


def test_a_shard_that_goes_while_it_is_looked_for_is_found_in_the_merged_one(tmp_path, monkeypatch):
    cache, reader = Cache(tmp_path, "a"), Cache(tmp_path, "a")
    for i in range(3):
        put(cache, [i])
    checked = shards.checked

    def merged_just_before(index):
        monkeypatch.setattr(shards, "checked", checked)
        cache.merge()
        return checked(index)

    monkeypatch.setattr(shards, "checked", merged_just_before)
    assert assert_never_wrong(reader, range(3)).all()


def test_damaged_shards_are_not_merged(tmp_path):
    cache = Cache(tmp_path, "a")
    put(cache, range(3))
    damaged = next(tmp_path.rglob("*.npy"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    put(cache, range(3, 6))
    cache.merge()
    assert n_shards(tmp_path) == 1
    assert assert_never_wrong(cache, range(6)).tolist() == [False] * 3 + [True] * 3


def test_a_disk_too_full_to_merge_leaves_all_as_it_was(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    cache = Cache(tmp_path, "a")
    for i in range(5):
        put(cache, [i])
    before = sorted(tmp_path.rglob("*"))
    for what in ("_copy", "_sealed"):
        with monkeypatch.context() as patched:
            patched.setattr(shards, what, full)
            cache.merge()
        assert sorted(tmp_path.rglob("*")) == before
    assert assert_never_wrong(cache, range(5)).all()


def test_a_large_file_is_checked_in_parts(tmp_path, monkeypatch):
    put(Cache(tmp_path, "a"), range(20))  # a file with one checksum for all of it
    monkeypatch.setattr(shards, "CHECKED_BYTES", 50)
    put(Cache(tmp_path, "a"), range(20, 40))
    assert assert_never_wrong(Cache(tmp_path, "a"), range(40)).all()
    path = max(tmp_path.rglob("*.npy"), key=lambda own: own.stat().st_mtime_ns)
    whole = path.read_bytes()
    for place in range(0, len(whole), 37):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert assert_never_wrong(Cache(tmp_path, "a"), range(40)).tolist() == [True] * 20 + [False] * 20


# ---- which folder ------------------------------------------------------------------------------------


def test_the_folder_is_chosen_by_block_variable_and_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv(disk.VARIABLE, raising=False)
    assert disk.folder() == tmp_path / ".cache" / "polymodal"
    monkeypatch.setenv(disk.VARIABLE, str(tmp_path / "mine"))
    assert disk.folder() == tmp_path / "mine"
    with disk.use(tmp_path / "other"):
        assert disk.folder() == tmp_path / "other"
        with disk.use(None):
            assert disk.folder() is None
    monkeypatch.setenv(disk.VARIABLE, "off")
    assert disk.folder() is None


def test_an_index_holds_no_pickle(tmp_path):
    put(Cache(tmp_path, "a"), range(3))
    stream = io.BytesIO(next(tmp_path.rglob("*.npz")).read_bytes()[:-4])
    with np.load(stream, allow_pickle=False) as saved:
        assert sorted(saved.files) == ["checksum", "keys"]
