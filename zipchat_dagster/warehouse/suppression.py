"""Keeps erased people away: their records are recognized by keyed hashes and dropped at the door.

Erasing a person stores the hashes of their leads' ids, e-mail addresses and phone numbers, and of
their conversations' ids. The API cannot delete anything and goes on sending all of it. The hashes
are keyed with ZIPCHAT_PII_KEY, so that nobody who has only the tables can find a number by trying.
After a change of the key, nothing is recognized any more, which a check reports.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

import pandas as pd

from zipchat_dagster.warehouse.places import Traces, delete_rows
from zipchat_dagster.warehouse.privacy import EMAIL, PHONE_NUMBER, Privacy
from zipchat_dagster.warehouse.warehouse import Transaction

Kind: TypeAlias = Literal["lead_id", "conversation_id", "email", "phone_number"]

# Others are fillers, such as “-” or “none”, which many leads can share.
_USABLE: Final = {
    "email": re.compile(r".+@.+|h\d+:.+"),
    "phone_number": re.compile(r"(\D*\d){7}|h\d+:.+"),
}


class Hasher:
    """Keyed hashes of what identifies a person. Equal ones are the same person.

    Raises:
        ValueError: there is no key.
    """

    def __init__(self, privacy: Privacy) -> None:
        self._hashing = replace(privacy, identity="hash")

    def __call__(self, kind: Kind, value: object) -> str | None:
        """The hash of a value, normalised; None of one that identifies nobody. What is stored as a
        hash is taken as it is."""
        if value is None or value == "":
            return None
        text = str(value)
        if kind in _USABLE:
            field = EMAIL if kind == "email" else PHONE_NUMBER
            return self._hashing.replaced(field, text) if _USABLE[kind].match(text) else None
        return self._hashing.hashed(f"{kind} {text}")

    def of(self, conversation: Mapping[str, Any]) -> list[str]:
        """The hashes by which a conversation's record is recognized."""
        lead = conversation.get("lead")
        values: list[tuple[Kind, object]] = [("conversation_id", conversation.get("id"))]
        if isinstance(lead, Mapping):
            values += [
                ("lead_id", lead.get("id")),
                ("email", lead.get("email")),
                ("phone_number", lead.get("phone_number")),
            ]
        return [found for kind, value in values if (found := self(kind, value))]


class Suppressions:
    """The list of one chat, as it is now. Recognizes nobody without the key."""

    def __init__(self, transaction: Transaction, *, chat_id: int) -> None:
        self.erasures = dict(transaction.execute("suppressions", chat_id=chat_id))
        can_recognize = self.erasures and transaction.privacy.has_key
        self.hashes = Hasher(transaction.privacy) if can_recognize else None

    def found_in(self, conversation: Mapping[str, Any]) -> list[str]:
        """The hashes by which the record is recognized; empty if it may be stored."""
        if self.hashes is None:
            return []
        return [one for one in self.hashes.of(conversation) if one in self.erasures]


def suppress(
    transaction: Transaction,
    hashes: Iterable[tuple[Kind, str]],
    *,
    chat_id: int,
    erasure_id: str,
    now: datetime,
) -> None:
    """Add to the list."""
    frame = pd.DataFrame(list(hashes), columns=["kind", "value_hash"], dtype="str")
    transaction.execute(
        "add_suppressions", {"suppressed": frame}, chat_id=chat_id, erasure_id=erasure_id, now=now
    )


def admitted(
    transaction: Transaction,
    conversations: Sequence[Mapping[str, Any]],
    observed_at: Sequence[datetime],
    *,
    chat_id: int,
) -> list[bool]:
    """Which of these records are not of an erased person. The others are counted in the list.

    What is already stored of such a conversation, because the person was not recognized in it
    before, is deleted.
    """
    listed = Suppressions(transaction, chat_id=chat_id)
    is_admitted: list[bool] = []
    hits: list[tuple[str, datetime]] = []
    for record, at in zip(conversations, observed_at, strict=True):
        found = listed.found_in(record)
        is_admitted.append(not found)
        hits += [(value_hash, at) for value_hash in found]
        if not found or listed.hashes is None:
            continue
        name = listed.hashes("conversation_id", record.get("id"))
        if name and name not in listed.erasures:
            erasure_id = listed.erasures[name] = listed.erasures[found[0]]
            new: list[tuple[Kind, str]] = [("conversation_id", name)]
            suppress(transaction, new, chat_id=chat_id, erasure_id=erasure_id, now=at)
            hits.append((name, at))
            _delete(transaction, record["id"], chat_id=chat_id)
    if hits:
        counted = pd.DataFrame(hits, columns=["value_hash", "read_at"])
        transaction.execute("count_hits", {"found": counted}, chat_id=chat_id)
    return is_admitted


def let_in(transaction: Transaction, *, chat_id: int, days: int) -> list[int]:
    """The stored conversations that `admitted` would keep out, of those that were read in so many
    days before the newest one. Normally none."""
    listed = Suppressions(transaction, chat_id=chat_id)
    rows = transaction.execute("seen_conversations", chat_id=chat_id, days=days)
    return [
        conversation_id
        for conversation_id, lead_id, email, phone_number in rows
        if listed.found_in(
            {
                "id": conversation_id,
                "lead": {"id": lead_id, "email": email, "phone_number": phone_number},
            }
        )
    ]


def _delete(transaction: Transaction, conversation_id: Any, *, chat_id: int) -> None:
    if isinstance(conversation_id, int):
        traces = Traces(conversation_ids=[conversation_id])
        if any(delete_rows(transaction, traces, chat_id=chat_id).values()):
            transaction.needs_scrub()
