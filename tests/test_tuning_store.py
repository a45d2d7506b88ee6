"""The store: nothing that was written is lost, whatever happens to the writer, and all comes back as it was."""

import json
import math
import os
import random
import signal
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlbook.tuning import Store, read
from dlbook.tuning import store as store_module

ABOUT = {"space": "Space(lr=Log(low=0.0001, high=1.0))", "seed": 0}
EVENTS = [
    {"kind": "asked", "trial": 0, "config": {"lr": 0.1, "act": "réłu", "sizes": (64, 64)}},
    {"kind": "told", "trial": 0, "loss": math.inf},
    {"kind": "told", "trial": 1, "loss": 0.1 + 0.2},
]

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=True, allow_subnormal=True)
    | st.text()
)
KEYS = st.text().filter(lambda key: not key.startswith("$"))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(KEYS, inner),
    max_leaves=6,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.jsonl"


@pytest.fixture
def quick(monkeypatch):
    """No waiting for the disk, in tests that open hundreds of stores."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def write(path, events=EVENTS, about=ABOUT):
    with Store(path, about) as store:
        for event in events:
            store.append(event)
    return path.read_bytes()


def exactly(value):
    """Something to compare that tells 1 from 1.0 and True, 0.0 from -0.0, a tuple from a list, and knows NaN."""
    if isinstance(value, float):
        return "float", "nan" if math.isnan(value) else struct.pack("d", value)
    if isinstance(value, list | tuple):
        return type(value).__name__, [exactly(one) for one in value]
    if isinstance(value, dict):
        return [(key, exactly(one)) for key, one in value.items()]
    return type(value).__name__, value


# there and back


def test_what_was_appended_is_read_in_its_order(path):
    write(path)
    assert read(path) == (ABOUT, EVENTS)
    assert read(str(path)).events == EVENTS
    with Store(path) as store:
        assert store.events == EVENTS
        assert store.about == ABOUT
        store.append({"more": 1})
        assert store.events == [*EVENTS, {"more": 1}]
    assert read(path).events == [*EVENTS, {"more": 1}]


@given(event=st.dictionaries(KEYS, VALUES), about=st.dictionaries(KEYS, VALUES))
def test_every_value_comes_back_exactly(tmp_path, quick, event, about):
    path = tmp_path / "run.jsonl"
    path.unlink(missing_ok=True)
    with Store(path, about) as store:
        store.append(event)
        assert exactly(store.events[0]) == exactly(event)
    contents = read(path)
    assert exactly(contents.events[0]) == exactly(event)
    assert exactly(contents.about) == exactly(about)
    with Store(path, about) as store:
        assert exactly(store.events) == exactly([event])


def test_every_line_is_json_by_the_letter(path):
    write(path, [{"a": math.nan, "b": [math.inf, -math.inf], "c": (1, (2.5,)), "d": {"e": "new\nline"}}])

    def refuse(word):
        raise AssertionError(word)

    lines = [json.loads(line, parse_constant=refuse) for line in path.read_text("ascii").splitlines()]
    assert lines[0] == {"store": "dlbook", "version": 1, "about": ABOUT}
    assert lines[1] == {
        "a": {"$float": "nan"},
        "b": [{"$float": "inf"}, {"$float": "-inf"}],
        "c": {"$tuple": [1, {"$tuple": [2.5]}]},
        "d": {"e": "new\nline"},
    }


def test_numpy_numbers_are_stored_as_the_numbers_they_are(path):
    event = {
        "a": np.float64(0.1),
        "b": np.float32(0.1),
        "c": np.int64(3),
        "d": np.bool_(True),
        "e": np.float32("nan"),
    }
    write(path, [event])
    stored = read(path).events[0]
    assert exactly({k: stored[k] for k in "abcd"}) == exactly(
        {"a": 0.1, "b": float(np.float32(0.1)), "c": 3, "d": True}
    )
    assert math.isnan(stored["e"])


def test_what_the_caller_changes_later_is_not_what_was_stored(path):
    event = {"curve": [1.0, 0.5]}
    with Store(path) as store:
        store.append(event)
        event["curve"].append(0.1)
        assert store.events == [{"curve": [1.0, 0.5]}]


def test_a_new_file_holds_nothing_and_an_empty_one_is_new(path):
    path.touch()
    assert read(path) == ({}, [])
    assert write(path, []).count(b"\n") == 1
    assert read(path) == (ABOUT, [])


# torn files


def test_cut_at_any_byte_a_store_opens_and_has_lost_no_more_than_the_event_that_was_cut(path, quick):
    whole = write(path)
    starts = [0] + [k + 1 for k, byte in enumerate(whole) if byte == ord("\n")]
    assert len(starts) == 5
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        lines = sum(start <= cut for start in starts[1:])  # that are whole
        kept = EVENTS[: max(lines - 1, 0)]
        assert read(path) == (ABOUT if lines else {}, kept)
        assert path.read_bytes() == whole[:cut]
        with Store(path, ABOUT) as store:
            assert store.events == kept
            store.append({"after": cut})
        assert read(path) == (ABOUT, [*kept, {"after": cut}])
        assert path.read_bytes().startswith(whole[: starts[lines]])


@pytest.mark.parametrize(
    "tail", [b"\0" * 500, b"\0" * 20 + b"\n", b'{"kind": "to\n', b"\xff\xfe\n", b"[" * 10**5 + b"\n"]
)
def test_what_a_power_cut_leaves_at_the_end_is_dropped(path, tail):
    whole = write(path)
    path.write_bytes(whole + tail)
    assert read(path).events == EVENTS
    assert path.read_bytes() == whole + tail
    with Store(path, ABOUT) as store:
        assert store.events == EVENTS
    assert path.read_bytes() == whole


def test_damage_before_the_last_line_is_an_error_with_its_line_and_nothing_is_changed(path):
    lines = write(path).splitlines(keepends=True)
    for number, bad in (
        (2, b"garbage\n"),
        (3, b"[1]\n"),
        (3, b'{"loss": NaN}\n'),
        (3, b'{"loss": Infinity}\n'),
    ):
        damaged = b"".join([*lines[: number - 1], bad, *lines[number:]])
        path.write_bytes(damaged)
        for open_it in (read, Store):
            with pytest.raises(
                ValueError, match=rf"undamaged store, got .*run.jsonl with line {number} damaged: "
            ):
                open_it(path)
        assert path.read_bytes() == damaged


def test_a_first_line_that_is_whole_but_damaged_is_an_error(path):
    path.write_bytes(store_module.OPENING + b"1, \n")
    with pytest.raises(ValueError, match="line 1 damaged"):
        Store(path)


class Fragile:
    """A file that fails after some bytes, as a full disk does."""

    def __init__(self, file, limit):
        self.file, self.left = file, limit

    def write(self, line):
        if self.left == 0:
            raise OSError(28, "No space left on device")
        written = self.file.write(line[: self.left])
        self.left -= written
        return written

    def __getattr__(self, name):
        return getattr(self.file, name)


@pytest.mark.parametrize("limit", [0, 1, 20])
def test_a_full_disk_loses_the_event_that_did_not_fit_and_no_other(path, limit):
    with Store(path, ABOUT) as store:
        store.append(EVENTS[0])
        before = path.read_bytes()
        store._file = Fragile(store._file, limit)
        with pytest.raises(OSError, match="No space left"):
            store.append(EVENTS[1])
        assert store.events == EVENTS[:1]
        assert path.read_bytes() == before
        store._file = store._file.file
        store.append(EVENTS[2])
    assert read(path).events == [EVENTS[0], EVENTS[2]]


def test_a_line_may_be_written_in_pieces(path):
    with Store(path, ABOUT) as store:
        whole, store._file = store._file, Fragile(store._file, 10**9)
        store._file.write = lambda line: whole.write(line[:3])
        store.append(EVENTS[0])
        store._file = whole
    assert read(path).events == EVENTS[:1]


def test_an_event_is_on_the_disk_before_append_returns(path, monkeypatch):
    synced = []
    real = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: (synced.append(os.fstat(descriptor).st_size), real(descriptor))
    )
    with Store(path, ABOUT) as store:
        assert path.stat().st_size in synced  # the header
        assert len(synced) == 2  # and the folder
        store.append(EVENTS[0])
        assert synced[2:] == [path.stat().st_size]
    write(path, [])
    assert len(synced) == 3


# killed

WORKER = """
import sys
from dlbook.tuning import Store
with Store(sys.argv[1], {"what": "counting"}) as store:
    k = len(store.events)
    print("found", k, flush=True)
    while True:
        store.append({"k": k, "loss": float("nan"), "padding": "x" * (k * 997 % 5000)})
        k += 1
        print("wrote", k, flush=True)
"""


@pytest.fixture
def worker(path):
    """Starts a process that writes until it is killed, at the latest when the test ends."""
    started = []

    def start():
        command = [sys.executable, "-c", WORKER, path]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_killed_at_any_moment_a_search_finds_all_that_it_had_been_told_was_written(path, worker):
    rng, stored = random.Random(0), 0
    for attempt in range(10):
        process = worker()
        if attempt % 2:
            for _ in range(3):  # what it found, and two events
                process.stdout.readline()
            time.sleep(rng.uniform(0, 0.05))
        else:
            time.sleep(rng.uniform(0.05, 0.4))  # perhaps before it has opened the store
        process.send_signal(signal.SIGKILL)
        words = process.communicate()[0].split()
        acknowledged = int(words[-1]) if "wrote" in words else stored
        events = read(path).events if path.exists() else []
        assert [event["k"] for event in events] == list(range(len(events)))
        assert len(events) in (acknowledged, acknowledged + 1)
        stored = len(events)
    with Store(path, {"what": "counting"}) as store:
        assert len(store.events) == stored >= 10


def test_a_reader_sees_whole_events_while_another_process_writes(path, worker):
    process = worker()
    assert process.stdout.readline() == "found 0\n"
    lengths = []
    deadline = time.monotonic() + 20
    while len(set(lengths)) < 5 and time.monotonic() < deadline:
        events = read(path).events
        assert [event["k"] for event in events] == list(range(len(events)))
        lengths.append(len(events))
        process.stdout.readline()
    with pytest.raises(ValueError, match="which this process or another has open"):
        Store(path, {"what": "counting"})
    process.kill()
    process.communicate()
    assert lengths == sorted(lengths)
    assert len(set(lengths)) >= 5
    Store(path, {"what": "counting"}).close()


# one writer


def test_a_second_writer_is_refused_until_the_first_is_done_and_a_reader_is_not(path):
    with Store(path, ABOUT) as store:
        store.append(EVENTS[0])
        before = path.read_bytes()
        for _ in range(2):
            with pytest.raises(
                ValueError, match=r"nobody is writing, got .*run.jsonl, .*read\(path\) works meanwhile"
            ):
                Store(path, ABOUT)
        assert read(path).events == EVENTS[:1]
        store.append(EVENTS[1])
        assert path.read_bytes().startswith(before)
    Store(path, ABOUT).close()
    store.close()
    with pytest.raises(ValueError, match="closed file"):
        store.append(EVENTS[2])


def test_a_store_that_could_not_be_opened_lets_the_next_one_in(path):
    write(path)
    with pytest.raises(ValueError, match="about must be"):
        Store(path, {})
    Store(path, ABOUT).close()


def test_on_windows_a_byte_far_behind_the_end_is_locked(path, monkeypatch):
    calls = []

    class msvcrt:
        LK_NBLCK = 2

        @staticmethod
        def locking(descriptor, mode, number):
            calls.append((os.lseek(descriptor, 0, os.SEEK_CUR), mode, number))
            if len(calls) > 1:
                raise PermissionError(13, "Permission denied")

    monkeypatch.setitem(sys.modules, "msvcrt", msvcrt)
    monkeypatch.setattr(store_module, "WINDOWS", True)
    with Store(path, ABOUT) as store:
        store.append(EVENTS[0])
        with pytest.raises(ValueError, match="nobody is writing"):
            Store(path, ABOUT)
    assert calls == [(2**40, 2, 1)] * 2
    assert read(path) == (ABOUT, EVENTS[:1])


def test_a_folder_that_cannot_be_opened_is_no_obstacle(path, monkeypatch):
    def refuse(*arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    write(path)
    assert read(path).events == EVENTS


# files that are not this search's


def test_a_store_goes_on_only_under_the_same_about(path):
    write(path, EVENTS, ABOUT | {"bad": math.nan})
    write(path, [{"more": 1}], ABOUT | {"bad": math.nan})
    before = path.read_bytes()
    others = [
        (ABOUT, r"where bad is nan; got None: give this search another path"),
        (
            ABOUT | {"bad": math.nan, "seed": 1},
            r"about must be that of the search in .*, where seed is 0; got 1",
        ),
        (ABOUT | {"bad": math.nan, "n": 3}, "where n is None; got 3"),
        (ABOUT | {"bad": (1,)}, r"where bad is nan; got \(1,\)"),
    ]
    for about, match in others:
        with pytest.raises(ValueError, match=match):
            Store(path, about)
    assert path.read_bytes() == before
    assert len(read(path).events) == 4
    torn = before[:-3]
    path.write_bytes(torn)
    with pytest.raises(ValueError, match="about must be"):
        Store(path, ABOUT)
    assert path.read_bytes() == torn


@pytest.mark.parametrize("version", ["2", "0", '"1"', "1.5", "null"])
def test_an_unknown_version_is_refused_and_left_as_it_is(path, version):
    data = write(path).replace(b'"version": 1', b'"version": ' + version.encode())
    path.write_bytes(data)
    for open_it in (read, Store):
        with pytest.raises(
            ValueError, match=rf"store of version 1, got .*run.jsonl of version {json.loads(version)}: "
        ):
            open_it(path)
    assert path.read_bytes() == data


@pytest.mark.parametrize(
    "data", [b"hello", b'{"a": 1}\n', b"\n", b'{"store": "other', b"\0" * 9, b"x" * 10**5]
)
def test_a_file_that_is_no_store_is_refused_and_left_as_it_is(path, data):
    path.write_bytes(data)
    for open_it in (read, Store):
        with pytest.raises(
            ValueError, match=r"must be a store or a new file, got .*run.jsonl, which is neither"
        ):
            open_it(path)
    assert path.read_bytes() == data


def test_a_missing_file_or_folder_is_an_error_with_its_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read(tmp_path / "nowhere.jsonl")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Store(tmp_path / "nowhere" / "run.jsonl")
    with pytest.raises(IsADirectoryError):
        Store(tmp_path)


# events that cannot be stored


@pytest.mark.parametrize(
    ("event", "error", "match"),
    [
        ([1], TypeError, "event must be a dictionary, got list"),
        (
            {"a": {"curve": np.zeros(2)}},
            TypeError,
            r"event\['a'\]\['curve'\] must be made of .*got ndarray: try .tolist",
        ),
        ({"a": [0, {1, 2}]}, TypeError, r"event\['a'\]\[1\] must be made of .*got set"),
        ({"a": 1 + 2j}, TypeError, r"event\['a'\] must be made of .*got complex"),
        ({1: 2}, ValueError, "event must have strings that do not begin with .* as its keys, got 1"),
        ({"a": {"$float": "nan"}}, ValueError, r"event\['a'\] must have .*got '\$float'"),
    ],
)
def test_an_event_that_json_cannot_hold_is_an_error_and_nothing_is_written(path, event, error, match):
    with Store(path, ABOUT) as store:
        before = path.read_bytes()
        with pytest.raises(error, match=match):
            store.append(event)
        assert store.events == []
        assert path.read_bytes() == before


def test_an_about_that_json_cannot_hold_is_an_error_before_a_file_is_made(path):
    with pytest.raises(TypeError, match=r"about\['space'\] must be made of .*got object"):
        Store(path, {"space": object()})
    with pytest.raises(TypeError, match="about must be a dictionary, got str"):
        Store(path, "Space()")
    assert not path.exists()
