"""Removing the texts of messages that are older than `Privacy.retention_days`.

What is read from the API when it is too old already is stored without its text (`store.py`). This
is for what grows old in the tables. Nothing that is derived depends on texts.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pandas as pd

from zipchat_dagster.warehouse import store
from zipchat_dagster.warehouse.warehouse import Warehouse

MESSAGES_AT_ONCE = 20_000


def redact_old_texts(warehouse: Warehouse, *, now: datetime) -> int:
    """Remove the texts that are too old, in short transactions. Returns how many messages lost
    theirs. Rejected messages of that age are deleted.

    What a killed run leaves, the next one does. Afterwards a scrub is due.
    """
    days = warehouse.privacy.retention_days
    if days is None:
        return 0
    before = now - timedelta(days=days)
    count = 0
    with warehouse.small_transactions():
        while done := _redact(warehouse, before=before, now=now):
            count += done
    with warehouse.transaction() as transaction:
        ((rejected,),) = transaction.execute("delete_old_rejected", before=before)
        if rejected:
            transaction.needs_scrub()
    return count


def _redact(warehouse: Warehouse, *, before: datetime, now: datetime) -> int:
    privacy = warehouse.privacy.without_texts
    with warehouse.transaction() as transaction:
        rows = transaction.execute("old_texts", before=before, most=MESSAGES_AT_ONCE)
        if rows:
            redacted = [
                (chat_id, message_id, store.encode(privacy.mask("message", json.loads(payload))))
                for chat_id, message_id, payload in rows
            ]
            frame = pd.DataFrame(redacted, columns=["chat_id", "message_id", "payload"])
            transaction.execute("redact_texts", {"redacted": frame}, now=now)
            transaction.needs_scrub()
    return len(rows)
