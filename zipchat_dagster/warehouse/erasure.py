"""Erasing a person's data from the tables: who that is, what is stored of them, and what is left.

A person is a lead, and with it every lead that was ever seen with one of its e-mail addresses or
phone numbers. All conversations in which one of these leads was ever seen are deleted, with
everything derived from them. An anonymous visitor is known only by a conversation, which is then
deleted alone.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final, get_args

import pandas as pd

from zipchat_dagster.warehouse.file import OWNER_ONLY
from zipchat_dagster.warehouse.places import (
    Traces,
    count_rows,
    delete_rows,
    searched_tables,
    surviving_rows,
)
from zipchat_dagster.warehouse.privacy import EMAIL, PHONE_NUMBER, is_hash
from zipchat_dagster.warehouse.search import pattern_of
from zipchat_dagster.warehouse.suppression import Hasher, Kind, let_in, suppress
from zipchat_dagster.warehouse.warehouse import Transaction, Warehouse

MOST_TEXTS: Final = 20  # of the person's messages that are searched for, the longest ones
SHORTEST: Final = 8  # characters of what is searched for: less is found by chance
LONGEST: Final = 200  # characters of a message
MOST_LEADS: Final = 10  # more leads with one e-mail address or phone number are not one person
ALL_DAYS: Final = 100_000


class ErasureError(Exception):
    """Nothing was erased. The message says why and what to do."""


@dataclass(frozen=True)
class Subject:
    """Who is to be erased, by one of these."""

    lead_id: int | None = None
    conversation_id: int | None = None
    email: str = field(default="", repr=False)
    phone_number: str = field(default="", repr=False)

    @property
    def given(self) -> tuple[Kind, int | str]:
        """The one that is given.

        Raises:
            ErasureError: none is, or several are.
        """
        values: dict[Kind, int | str | None] = {
            "lead_id": self.lead_id,
            "conversation_id": self.conversation_id,
            "email": self.email.strip() or None,
            "phone_number": self.phone_number.strip() or None,
        }
        found = [(kind, value) for kind, value in values.items() if value is not None]
        if len(found) != 1:
            raise ErasureError(f"Give one of {', '.join(values)}, and only one.")
        return found[0]


@dataclass(frozen=True)
class Person:
    """What is stored of somebody.

    Attributes:
        traces: what shows that something is theirs.
        counts: how many rows of each table are theirs.
        hashes: by which their records are recognized in future. The first is of the subject.
    """

    traces: Traces
    counts: Mapping[str, int]
    hashes: Sequence[tuple[Kind, str]] = field(repr=False)


@dataclass(frozen=True)
class Erasure:
    """An erasure whose rows are deleted.

    Attributes:
        traces: what must not be found any more.
        deleted: how many there were of each table.
        notes: the file that keeps the traces until nothing is left of them, so that a run after one
            that failed or was killed can search for them. Each subject has its own.
        is_known: whether the traces are complete. They are not if an earlier run deleted rows, and
            its notes are not here, such as on another machine.
    """

    id: str
    chat_id: int
    traces: Traces
    hashes: Sequence[tuple[Kind, str]] = field(repr=False)
    deleted: Mapping[str, int]
    notes: Path
    is_known: bool


def find_person(transaction: Transaction, subject: Subject, *, chat_id: int) -> Person:
    """What is stored of the subject in this chat.

    Raises:
        ErasureError: the subject names nobody or several people, or there is no key.
    """
    hashes = _hasher(transaction)
    kind, value = subject.given
    given = hashes(kind, value)
    if given is None:
        raise ErasureError(f"This {kind} identifies nobody: too short, or not of its form.")
    if kind == "conversation_id":
        known: dict[Kind, set[str]] = {"conversation_id": {str(value)}}
    else:
        known = _closure(transaction, hashes, kind, str(value), chat_id=chat_id)
    emails, numbers = known.get("email", set()), known.get("phone_number", set())
    contacts = {*emails, *numbers, *map(EMAIL.normalised, emails)}
    contacts |= set(map(PHONE_NUMBER.normalised, numbers))
    traces = Traces(
        sorted(map(int, known["conversation_id"])), sorted(map(int, known.get("lead_id", ())))
    )
    limits = {"most_texts": MOST_TEXTS, "shortest": SHORTEST, "longest": LONGEST}
    found = transaction.execute("person_words", traces.frames, chat_id=chat_id, **limits)
    words = {word for word in contacts if not is_hash(word)} | {word for (word,) in found}
    # In JSON, a text is written with escapes.
    words |= {json.dumps(word, ensure_ascii=False)[1:-1] for word in words}
    # PostgreSQL knows no NUL.
    usable = sorted(word for word in words if len(word) >= SHORTEST and "\0" not in word)
    traces = replace(traces, words=usable)
    recognized = {
        (kind, value_hash)
        for kind, values in known.items()
        for value in values
        if (value_hash := hashes(kind, value))
    }
    return Person(
        traces,
        count_rows(transaction, traces, chat_id=chat_id),
        [(kind, given), *sorted(recognized - {(kind, given)})],
    )


def mentions(transaction: Transaction, person: Person, *, chat_id: int) -> list[int]:
    """The conversations of others that hold one of the traces, such as the person's e-mail address.
    They are not erased with the person, and have to be looked at."""
    of_others = "chat_id = $chat_id and conversation_id not in (select conversation_id from erased)"
    found = _mentions(transaction, person.traces, of_others, chat_id=chat_id)
    return sorted({conversation_id for _, conversation_id, _ in found})


def _mentions(
    transaction: Transaction, traces: Traces, is_other: str, *, chat_id: int
) -> list[tuple[int, int, str]]:
    """The conversations under the condition `is_other` that hold one of the words: chat,
    conversation and word."""
    bound = {"chat_id": chat_id, "pattern": pattern_of(traces.words)}
    return transaction.execute("person_mentions", traces.frames, {"is_other": is_other}, **bound)


def _closure(
    transaction: Transaction, hashes: Hasher, kind: Kind, value: str, *, chat_id: int
) -> dict[Kind, set[str]]:
    """The conversations and leads of a person, and the e-mail addresses and phone numbers that the
    leads were seen with, as they are written."""
    transaction.execute("person_sightings", chat_id=chat_id)
    contacts: list[tuple[Kind, str]] = []
    for email, phone_number in transaction.execute("person_contacts"):
        contacts += [("email", email), ("phone_number", phone_number)]
    hashed = {contact: hashes(*contact) for contact in contacts}
    leads = {value} if kind == "lead_id" else set()
    wanted = {hashes(kind, value)}
    while True:
        own = {contact for contact, value_hash in hashed.items() if value_hash in wanted}
        frame = pd.DataFrame(
            [*own, *(("lead_id", lead) for lead in leads)], columns=["kind", "value"], dtype="str"
        )
        rows = transaction.execute("person_matches", {"known": frame})
        found = {str(lead_id) for _, lead_id, _, _ in rows if lead_id is not None}
        seen = {hashed.get(("email", email)) for _, _, email, _ in rows}
        seen |= {hashed.get(("phone_number", number)) for _, _, _, number in rows}
        seen.discard(None)  # what identifies nobody
        if found <= leads and seen <= wanted:
            break
        leads |= found
        wanted |= seen
    if len(leads) > MOST_LEADS:
        raise ErasureError(
            f"{len(leads):,} leads share e-mail addresses or phone numbers, so they are unlikely to"
            " be one person. Nothing was erased. Correct them in Zipchat, or erase conversations by"
            " their ids."
        )
    return {
        "conversation_id": {str(row[0]) for row in rows if row[0] is not None},
        "lead_id": leads,
        "email": {text for kind, text in own if kind == "email"},
        "phone_number": {text for kind, text in own if kind == "phone_number"},
    }


def erase(
    warehouse: Warehouse, subject: Subject, *, chat_id: int, run_id: str, now: datetime
) -> Erasure:
    """Delete the person's rows and suppress what the API will send of them, in one transaction. The
    deleted rows are still in the files then: see `Warehouse.scrub`.

    Goes on with an earlier erasure of the subject that was not finished.

    Raises:
        ErasureError: see `find_person`.
    """
    with warehouse.transaction() as transaction:
        person = find_person(transaction, subject, chat_id=chat_id)
        _, subject_hash = person.hashes[0]
        own = {"chat_id": chat_id, "subject_hash": subject_hash}
        begun = transaction.execute("unfinished_erasure", **own)
        erasure_id, earlier = begun[0] if begun else (run_id, None)
        if not begun:
            transaction.execute("add_erasure", **own, erasure_id=erasure_id, now=now)
        suppress(transaction, person.hashes, chat_id=chat_id, erasure_id=erasure_id, now=now)
        deleted = Counter(json.loads(earlier or "{}"))
        deleted.update(delete_rows(transaction, person.traces, chat_id=chat_id))
        name = f".{warehouse.path.stem}.erasing.{chat_id}.{subject_hash[-16:]}"
        notes = warehouse.path.with_name(name)
        erasure = Erasure(
            erasure_id,
            chat_id,
            _noted(notes, person.traces),
            person.hashes,
            deleted,
            notes,
            is_known=not begun or notes.exists(),
        )
        _settle(transaction, erasure, "not verified yet", finished_at=None)
        transaction.needs_scrub()
        # Before the rows are gone; and if they stay, it does no harm.
        _write(notes, erasure.traces)
    return erasure


def _write(notes: Path, traces: Traces) -> None:
    """As a whole or not at all."""
    unfinished = notes.with_name(f"{notes.name}.unfinished")
    notes.parent.mkdir(parents=True, exist_ok=True)
    unfinished.touch(OWNER_ONLY)
    unfinished.write_text(json.dumps(asdict(traces)), "utf-8")
    unfinished.replace(notes)


def _noted(notes: Path, traces: Traces) -> Traces:
    """The traces, and those that an earlier run has noted."""
    if not notes.exists():
        return traces
    earlier = json.loads(notes.read_text("utf-8"))
    return Traces(*(sorted({*earlier[name], *found}) for name, found in asdict(traces).items()))


def left_in_tables(warehouse: Warehouse, erasure: Erasure) -> tuple[list[str], list[int], Traces]:
    """What the tables still hold of an erased person. Returns the tables; the other chats that hold
    something, for which the same erasure has to run; and the traces that no other chat shows."""
    traces, own = erasure.traces, {"chat_id": erasure.chat_id}
    found = []
    for table in searched_tables():
        # One at a time, so that others get at a file in between.
        with warehouse.reading(purpose="erase_lead_job") as transaction:
            found.append(surviving_rows(transaction, table, traces, **own))
    places = [place for place in found if place]
    with warehouse.reading(purpose="erase_lead_job") as transaction:
        if back := let_in(transaction, **own, days=ALL_DAYS):
            places.append(f"zipchat.raw_conversations ({len(back):,} rows of suppressed people)")
    with warehouse.reading(purpose="erase_lead_job") as transaction:
        elsewhere = _mentions(transaction, traces, "chat_id <> $chat_id", **own)
    shared = {word for _, _, word in elsewhere}
    words = [word for word in traces.words if word not in shared]
    return places, sorted({chat_id for chat_id, _, _ in elsewhere}), replace(traces, words=words)


def recognizer(
    warehouse: Warehouse, of_person: Sequence[tuple[Kind, str]], *, chat_id: int
) -> Callable[[Mapping[str, Any]], bool]:
    """A function that tells of a run's config whether it names the person: by the id of a lead or
    of a conversation, an e-mail address or a phone number.

    Args:
        of_person: `Person.hashes`.
    """
    with warehouse.transaction() as transaction:
        hashes = _hasher(transaction)
        listed = transaction.execute("suppressions", chat_id=chat_id)
    known = {value_hash for _, value_hash in of_person}
    erasures = {erasure_id for value_hash, erasure_id in listed if value_hash in known}
    known |= {value_hash for value_hash, erasure_id in listed if erasure_id in erasures}

    def names_the_person(config: Mapping[str, Any]) -> bool:
        return any(hashes(kind, config.get(kind)) in known for kind in get_args(Kind))

    return names_the_person


def settle(
    warehouse: Warehouse, erasure: Erasure, verification: str, *, finished_at: datetime | None
) -> None:
    """Record in the receipt what was searched and found, and if that is all, forget the traces."""
    with warehouse.transaction() as transaction:
        _settle(transaction, erasure, verification, finished_at=finished_at)
    if finished_at:
        erasure.notes.unlink(missing_ok=True)


def lift(warehouse: Warehouse, subject: Subject, *, chat_id: int) -> int:
    """Suppress no longer what the API sends of this person: of all erasures that the subject
    belongs to. Returns how many values were suppressed because of them.

    Raises:
        ErasureError: the subject names nobody, or there is no key.
    """
    with warehouse.transaction() as transaction:
        value_hash = _hasher(transaction)(*subject.given)
        ((count,),) = transaction.execute(
            "lift_suppressions", chat_id=chat_id, value_hash=value_hash
        )
    return int(count)


def _settle(
    transaction: Transaction, erasure: Erasure, verification: str, *, finished_at: datetime | None
) -> None:
    transaction.execute(
        "settle_erasure",
        chat_id=erasure.chat_id,
        erasure_id=erasure.id,
        deleted=json.dumps(erasure.deleted),
        verification=verification,
        finished_at=finished_at,
    )


def _hasher(transaction: Transaction) -> Hasher:
    try:
        return Hasher(transaction.privacy)
    except ValueError:
        raise ErasureError(
            "Set ZIPCHAT_PII_KEY to a secret of at least 32 characters, and keep it: its hashes"
            " identify records of erased people that the API keeps sending. Nothing was changed."
        ) from None
