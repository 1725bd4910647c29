"""A section of `make bench` about personal data: what masking and rewriting it costs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.common import LOG, file_tables, peak_megabytes
from zipchat_dagster.client import ConversationRead
from zipchat_dagster.warehouse import Warehouse, store
from zipchat_dagster.warehouse.privacy import KEEP, Mode, Privacy
from zipchat_dagster.warehouse.rewriting import rewrite_personal_data
from zipchat_dagster.warehouse.store import MessageWork

CONVERSATIONS, MESSAGES = 100_000, 10  # of each conversation
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def personal_data() -> None:
    """Processor time for a million messages of 300 characters: masking them, rewriting them"""
    hashing, dropping = (_privacy("hash"), _privacy("drop"))
    for mode, privacy in (("keep", KEEP), ("hash", hashing), ("drop", dropping)):
        seconds = 0.0
        for reads in _batches():
            messages = [message for _, read in reads for message in read.messages]
            began_at = time.process_time()
            for message in messages:
                privacy.mask("message", message)
            seconds += time.process_time() - began_at
        print(f"masking, {mode}: {seconds:.1f} s", flush=True)
    with file_tables() as tables:
        began_at = time.process_time()
        with tables.small_transactions():
            for reads in _batches():
                with tables.transaction() as transaction:
                    store.store_reads(transaction, reads, chat_id=1)
        print(f"storing, keep: {time.process_time() - began_at:.0f} s", flush=True)
        for mode, privacy in (("hash", hashing), ("drop", dropping)):
            size = tables.path.stat().st_size // 2**20
            began_at = time.process_time()
            rows = rewrite_personal_data(Warehouse(tables.path, privacy=privacy), LOG)
            print(
                f"rewriting to {mode}: {rows}, {time.process_time() - began_at:.0f} s, file {size}"
                f" MB before, {tables.path.stat().st_size // 2**20} MB after, peak memory"
                f" {peak_megabytes()} MB",
                flush=True,
            )


def _privacy(mode: Mode) -> Privacy:
    return Privacy(mode, mode, mode, key="benchmark-" * 4)


def _batches() -> Iterator[list[tuple[MessageWork, ConversationRead]]]:
    """All conversations, read with their messages, in batches of 200."""
    for first in range(0, CONVERSATIONS, 200):
        yield [_read(number) for number in range(first, first + 200)]


def _read(number: int) -> tuple[MessageWork, ConversationRead]:
    at = BEGIN + timedelta(minutes=5 * number)
    conversation: dict[str, Any] = {
        "id": number,
        "created_at": at.isoformat(),
        "last_message_at": at.isoformat(),
        "channel": "web",
        "share_url": f"https://share.example.com/c/{number}",
        "lead": {
            "id": number // 2,
            "full_name": f"Ada Number {number // 2}",
            "email": f"ada{number // 2}@example.com",
            "phone_number": f"+49170{number // 2:07}",
        },
    }
    messages: list[dict[str, Any]] = [
        {
            "id": number * MESSAGES + n,
            "role": ("user", "assistant")[n % 2],
            "message": f"Message {n} of conversation {number}. "
            + "Where is my order, please? " * 10,
            "manual_reply": False,
            "status": "read",
            "sender_id": None,
            "created_at": (at + timedelta(seconds=n)).isoformat(),
        }
        for n in range(MESSAGES)
    ]
    work = MessageWork(number, ask_from=None, first_day="2026-01-01")
    return work, ConversationRead(conversation, messages, at, None)
