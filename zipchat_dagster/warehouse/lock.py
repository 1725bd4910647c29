"""Who may open the database file: one program at a time, in the order in which they came.

An operating-system lock (`<file>.lock`, released also by a killed process) keeps all others out.
Alone it is unfair: whoever looks at the right moment gets it, most often the one that just let it
go. So everyone who comes draws a ticket, `<file>.ticket.<time>-<process>`, itself such a lock, so
that those of killed processes are known and cleared away; only the oldest one's owner tries for the
file. The order is a courtesy: without it (a ticket that cannot be read or written) the lock still
keeps others out. Who has it stands in `<file>.lock.holder` for those who wait.
"""

from __future__ import annotations

import glob
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

LOCK_TIMEOUT = 120.0  # seconds; transactions take milliseconds, a copy of the file some seconds
TELL_AFTER = 2.0  # seconds of waiting, after which it is said whom for

# Seconds between two looks, of which one takes about 0.1 ms: when it is one's turn, and for each
# who goes before.
LOOK: Final = 0.002
LOOK_PER_TICKET: Final = 0.005

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
    with _ticket(path) as ticket:
        while True:
            before = _before(ticket, path)
            if not before:
                with suppress(Timeout):
                    lock.acquire(blocking=False)
                    return
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
            time.sleep(LOOK + before * LOOK_PER_TICKET)


@contextmanager
def _ticket(path: Path) -> Iterator[Path]:
    """A file whose name sorts by the time of coming, locked for as long as its owner waits."""
    # The clock of the machine, not of the process; it never goes back.
    came = f"{time.monotonic_ns():020}-{os.getpid()}-{threading.get_ident()}"
    ticket = path.with_name(f"{path.name}.ticket.{came}")
    lock = FileLock(ticket)
    try:
        with suppress(OSError):
            lock.acquire(poll_interval=LOOK)
        yield ticket
    finally:
        with suppress(OSError):
            ticket.unlink()
        lock.release()


def _before(ticket: Path, path: Path) -> int:
    """How many go before the owner of this ticket; those of the dead are cleared away."""
    tickets = sorted(path.parent.glob(f"{glob.escape(path.name)}.ticket.*"))
    before = [other for other in tickets if other < ticket]
    for done, other in enumerate(before):
        lock = FileLock(other)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return len(before) - done
        except OSError:
            continue
        with suppress(OSError):
            other.unlink()
        lock.release()
    return 0


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
