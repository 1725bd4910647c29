"""Access to the database file: one program at a time, first come, first served.

A lock of the operating system on `<file>.lock` keeps all others out; it is released even if its
holder is killed. By itself it is unfair: most often the program that just released it gets it
again. So each program draws a ticket, `<file>.ticket.<time>-<process>`, and only the owner of the
oldest one tries for the lock. A ticket is locked too, which shows whether its owner is still alive;
those of killed processes are deleted. Exclusion does not depend on tickets: if they cannot be
written, only the order is lost. `<file>.lock.holder` names the holder for those who wait.
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
TELL_AFTER = 2.0  # seconds of waiting, after which a warning names the holder

# Seconds between two tries, each of which takes about 0.1 ms: for the first in the queue, and more
# for each program ahead.
LOOK: Final = 0.002
LOOK_PER_TICKET: Final = 0.005

_LOGGER = logging.getLogger("zipchat_dagster")


class InUseError(Exception):
    """Another program held the lock for too long. The message names it, if it is known."""


@contextmanager
def locked(path: Path, purpose: str = "") -> Iterator[None]:
    """Hold the lock beside the file `path`; its folder must exist.

    Args:
        purpose: what others see who wait for it; by default the program's name.

    Raises:
        InUseError: the lock was not free within LOCK_TIMEOUT seconds.
    """
    lock = FileLock(f"{path}.lock")
    _acquire(lock, path)
    holder = _holder(path)
    try:
        with suppress(OSError):  # without the name, the lock works all the same
            holder.write_text(f"{os.getpid()} {purpose or program()}", "utf-8")
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
                # A notebook shows warnings even if logging is not set up.
                _LOGGER.warning(f"Waiting for {path}: {_held_by(path)} has it open.")
                is_told = True
            time.sleep(LOOK + before * LOOK_PER_TICKET)


@contextmanager
def _ticket(path: Path) -> Iterator[Path]:
    """A file whose name sorts by the time of arrival, locked as long as its owner waits."""
    # This clock is the machine's, not the process's, and never goes back.
    came = f"{time.monotonic_ns():020}-{os.getpid()}-{threading.get_ident()}"
    ticket = path.with_name(f"{path.name}.ticket.{came}")
    lock = FileLock(ticket)
    try:
        with suppress(OSError):
            lock.acquire(timeout=TELL_AFTER, poll_interval=LOOK)
        yield ticket
    finally:
        with suppress(OSError):
            ticket.unlink()
        lock.release()


def _before(ticket: Path, path: Path) -> int:
    """How many programs are ahead of this ticket's owner. Deletes the tickets of killed ones."""
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
    """Such as `process 4711 (dagster)`. A killed process leaves its name until the next holder."""
    try:
        process, _, purpose = _holder(path).read_text("utf-8").partition(" ")
    except (OSError, ValueError):
        return "another program"
    return f"process {process} ({purpose})" if process.isdecimal() else "another program"


def program() -> str:
    """The name of this program without its arguments, which may hold secrets."""
    path = Path(sys.argv[0] if sys.argv else "")
    return path.parent.name if path.name == "__main__.py" else path.stem or "python"
