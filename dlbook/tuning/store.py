"""The store: what a search has done so far, in a file that survives whatever happens to the search.

Each event is a line of JSON at the end of the file, and is on the disk before `append` returns::

    with Store("run.jsonl", about={"space": repr(space)}) as store:
        store.append({"kind": "told", "trial": 3, "loss": float("nan")})
        store.events            # the dictionaries of this run and of those before it
    read("run.jsonl").events    # at any time, from anywhere

* A process killed in the middle of an append leaves a torn last line. The next writer cuts it off, and readers skip
  it: at most the event that was being written is lost. Damage anywhere else is an error that names the line.
* One writer at a time: a second one, in the same process or another, is refused. The lock ends with the process,
  however it ends, but a child made by fork holds on to it. Reading needs no lock and blocks nobody.
* The first line has the version of the format, and `about`: what the search was. A store goes on only under the same
  `about`, so that two searches are never mixed. A file that is refused is left as it is.
* Numbers come back as they went in. JSON knows no NaN, no infinity and no tuple: they are written as
  `{"$float": "nan"}` and `{"$tuple": [...]}`, and names that begin with `$` are refused.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

VERSION = 1
OPENING = b'{"store": "dlbook", "version": '
WINDOWS = os.name == "nt"


class Contents(NamedTuple):
    """What a store holds."""

    about: dict[str, Any]
    events: list[dict[str, Any]]


def read(path: str | Path) -> Contents:
    """Everything in the store so far, also while a search is writing to it."""
    about, events, _ = _parse(path, Path(path).read_bytes())
    return Contents(about or {}, events)


class Store:
    """A store opened for writing, new or to be continued; use it in a `with` statement."""

    def __init__(self, path: str | Path, about: Mapping[str, Any] | None = None):
        self.path = Path(path)
        encoded = _checked("about", {} if about is None else about)
        header = _line({"store": "dlbook", "version": VERSION, "about": encoded})
        self._file = open(self.path, "a+b", buffering=0)
        try:
            _lock(self._file.fileno(), self.path)
            self._file.seek(0)
            known, self.events, whole = _parse(self.path, self._file.read())
            if known is not None and about is not None:
                _check_same(self.path, known, about)
            self._file.truncate(whole)
            if known is None:
                self._write(header)
                _sync_folder(self.path.parent)
                known = _decoded(header)["about"]
            self.about = known
        except BaseException:
            self._file.close()
            raise

    def append(self, event: Mapping[str, Any]) -> None:
        """Add an event; it is on the disk when this returns. If it cannot be written, the file is as before."""
        line = _line(_checked("event", event))
        self._write(line)
        self.events.append(_decoded(line))

    def close(self) -> None:
        """Let another writer in."""
        self._file.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def _write(self, line: bytes) -> None:
        end = os.fstat(self._file.fileno()).st_size
        try:
            while line:
                line = line[self._file.write(line) :]
            os.fsync(self._file.fileno())
        except BaseException:
            self._file.truncate(end)
            raise


def _parse(path: str | Path, data: bytes) -> tuple[dict[str, Any] | None, list[dict[str, Any]], int]:
    """`about`, the events, and how many bytes hold them; `about` is None in a file without a whole first line."""
    if data[: len(OPENING)] != OPENING[: len(data)]:
        raise ValueError(
            f"path must be a store or a new file, got {path}, which is neither: it was left as it is"
        )
    *lines, torn = data.split(b"\n")
    if not lines:
        return None, [], 0
    decoded = []
    for number, line in enumerate(lines, start=1):
        try:
            decoded.append(_decoded(line))
        except (ValueError, RecursionError) as error:
            if 1 < number == len(lines):
                torn = line + b"\n" + torn
                break
            raise ValueError(
                f"path must be an undamaged store, got {path} with line {number} damaged: {error}"
            ) from None
    header, *events = decoded
    if header["version"] != VERSION:
        raise ValueError(
            f"path must be a store of version {VERSION}, got {path} of version {header['version']}: "
            "it was written by another dlbook; use that one, or another path"
        )
    return header.get("about", {}), events, len(data) - len(torn)


def _line(encoded: dict[str, Any]) -> bytes:
    return json.dumps(encoded, allow_nan=False).encode("ascii") + b"\n"


def _checked(name: str, value: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a dictionary, got {type(value).__name__}")
    return _encoded(name, value)


def _encoded(name: str, value: Any) -> Any:
    """`value` with its tuples, NaNs and infinities in words; `name` is what an error calls it."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not isfinite(value):
        return {"$float": str(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        items = [_encoded(f"{name}[{k}]", one) for k, one in enumerate(value)]
        return {"$tuple": items} if isinstance(value, tuple) else items
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str) or key.startswith("$"):
                raise ValueError(
                    f"{name} must have strings that do not begin with $ as its keys, got {key!r}"
                )
        return {key: _encoded(f"{name}[{key!r}]", one) for key, one in value.items()}
    raise TypeError(
        f"{name} must be made of numbers, strings, None, lists, tuples and dictionaries, "
        f"got {type(value).__name__}: try .tolist() for an array, str() or repr() for the rest"
    )


def _decoded(line: bytes) -> dict[str, Any]:
    decoded = json.loads(line.decode("ascii"), object_hook=_restored, parse_constant=_refused)
    if not isinstance(decoded, dict):
        raise ValueError("it is no dictionary")
    return decoded


def _restored(pairs: dict[str, Any]) -> Any:
    if pairs.keys() == {"$float"}:
        return float(pairs["$float"])
    return tuple(pairs["$tuple"]) if pairs.keys() == {"$tuple"} else pairs


def _refused(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


def _check_same(path: Path, known: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    for key in sorted(known.keys() | about.keys()):
        old, new = (_encoded("about", one.get(key)) for one in (known, about))
        if old != new:
            raise ValueError(
                f"about must be that of the search in {path}, where {key} is {known.get(key)!r}; "
                f"got {about.get(key)!r}: give this search another path"
            )


def _lock(descriptor: int, path: Path) -> None:
    try:
        if WINDOWS:
            import msvcrt

            os.lseek(descriptor, 2**40, os.SEEK_SET)  # a byte far behind the end, where no reader goes
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        raise ValueError(
            f"path must be a file that nobody is writing, got {path}, which this process or another has open: "
            "close that store or end that search, or give this one another path; read(path) works meanwhile"
        ) from None


def _sync_folder(folder: Path) -> None:
    """Put the name of a new file on the disk as well; Windows cannot open a folder, and need not."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
