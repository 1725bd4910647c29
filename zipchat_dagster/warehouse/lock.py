"""Who may open the database file: one program at a time, in about the order in which they came.

An operating-system lock (`<file>.lock`, released also by a killed process) keeps all others out.
Alone it is unfair: whoever looks at the right moment gets it, most often the one that just let it
go. So there is a second one, `<file>.lock.next`, whose holder alone waits for the first, and those
who wait for that look the more often the longer they wait. Nine programs that do nothing but hold
it for 50 ms at a time then wait 0.5 s on average and 0.8 s at the longest; with a single lock it
was 7 s. Who has the lock stands in `<file>.lock.holder` for those who wait.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

LOCK_TIMEOUT = 120.0  # seconds; transactions take milliseconds, a copy of the file some seconds
TELL_AFTER = 2.0  # seconds of waiting, after which it is said whom for

# Seconds between two looks, of which one takes 0.1 ms. Who has just come looks seldom, and the more
# often the longer he waits.
LOOK_FIRST = 0.2
LOOK_AT_LAST = 0.005
AT_LAST = 1.0  # seconds of waiting
LOOK_NEXT = 0.002  # of the one whose turn is next

_LOGGER = logging.getLogger("zipchat_dagster")


class InUseError(Exception):
    """Somebody else held the lock for too long. The message says who, as far as that is known."""


@contextmanager
def locked(path: Path, purpose: str = "") -> Iterator[None]:
    """Hold the lock beside the file `path`; its folder must exist.

    Args:
        purpose: what those who wait are told; the program's name unless given.

    Raises:
        InUseError: it could not be had within LOCK_TIMEOUT seconds.
    """
    lock = FileLock(f"{path}.lock")
    _acquire(lock, path)
    holder = _holder(path)
    try:
        with suppress(OSError):  # the name is a courtesy
            holder.write_text(f"{os.getpid()} {purpose or _program()}", "utf-8")
        yield
    finally:
        with suppress(OSError):
            holder.unlink()
        lock.release()


def _acquire(lock: FileLock, path: Path) -> None:
    came_at = time.monotonic()
    is_told = False
    next_one = FileLock(f"{path}.lock.next")
    wanted = [next_one, lock]
    try:
        while wanted:
            try:
                wanted[0].acquire(blocking=False)
                wanted.pop(0)
                continue
            except Timeout:
                pass
            waited = time.monotonic() - came_at
            if waited >= LOCK_TIMEOUT:
                raise InUseError(
                    f"{path} has been in use for {waited:.0f} s by {_held_by(path)}, which holds"
                    f" {path.name}.lock and must end first."
                )
            if waited >= TELL_AFTER and not is_told:
                # A warning is shown in a notebook without any set-up of logging.
                _LOGGER.warning(f"Waiting for {path}: {_held_by(path)} has it open.")
                is_told = True
            is_next = len(wanted) == 1
            patience = max(LOOK_FIRST * (1 - waited / AT_LAST), LOOK_AT_LAST)
            time.sleep(LOOK_NEXT if is_next else patience)
    finally:
        next_one.release()


def _holder(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock.holder")


def _held_by(path: Path) -> str:
    """`process 4711 (dagster)`, as far as it says so: a killed one leaves its name behind until
    the next one comes."""
    try:
        process, _, purpose = _holder(path).read_text("utf-8").partition(" ")
    except (OSError, ValueError):
        return "another program"
    return f"process {process} ({purpose})" if process.isdecimal() else "another program"


def _program() -> str:
    """The name of this program, without its arguments, which are nobody's business."""
    path = Path(sys.argv[0] if sys.argv else "")
    return path.parent.name if path.name == "__main__.py" else path.stem or "python"
