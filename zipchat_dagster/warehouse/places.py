"""The tables in which something of a customer can be, and how it is found and deleted there.

docs/privacy.md lists the places outside the tables. A test compares this list with `schema.sql`, so
that no table and no column marked as personal is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final

import pandas as pd

from zipchat_dagster.warehouse.search import pattern_of
from zipchat_dagster.warehouse.tables import Table, schema_tables

if TYPE_CHECKING:
    from zipchat_dagster.warehouse.warehouse import Transaction

# Deleted rows are still in the file until it is scrubbed. This setting says that it has to be.
SCRUB_DUE: Final = "scrub_due"

_CONVERSATION: Final = "conversation_id in (select conversation_id from erased)"
_LEAD: Final = "lead_id in (select lead_id from erased_leads)"

NAMED_AT_MOST: Final = 20  # ids of rows that are left


def _shows_a_word(text: str) -> str:
    return f"regexp_matches({text}, $pattern)"


@dataclass(frozen=True)
class Place:
    """A table, its personal columns, and the condition that a row is of the person."""

    table: str
    personal: tuple[str, ...] = ()
    condition: str = _CONVERSATION


PLACES: Final = (
    Place(
        "raw_conversations",
        (
            "assignee_name",
            "lead_full_name",
            "lead_email",
            "lead_phone_number",
            "share_url",
            "payload",
            "show_payload",
        ),
    ),
    Place("conversation_history", ("assignee_name",)),
    Place("raw_messages", ("message", "message_text", "payload")),
    Place(
        "leads",
        (
            "full_name",
            "first_name",
            "last_name",
            "email",
            "phone_number",
            "shopify_customer_id",
            "additional_attributes",
        ),
        _LEAD,
    ),
    # Without the texts, but a conversation's id leads to them in Zipchat.
    Place("escalations"),
    Place("customer_turns"),
    Place("sla_events"),
    Place("conversation_facts", condition=f"{_CONVERSATION} or {_LEAD}"),
    Place("changed_conversations"),
    Place("message_coverage"),
    Place("write_back_attempts"),
    # Without an id, a record may be known by what it holds alone.
    Place(
        "rejected_records",
        ("payload",),
        f"{_CONVERSATION} or try_cast(payload ->> '$.lead.id' as bigint) in (select lead_id from"
        f" erased_leads) or {_shows_a_word('payload::varchar')}",
    ),
)
# Of the shop's own people, who may share an e-mail address with a customer when they test the chat.
NOT_OF_CUSTOMERS: Final = {"users": ("full_name", "email", "avatar_url", "payload")}
# Only keyed hashes of customers.
HASHED: Final = ("erasures", "suppressions")


@dataclass(frozen=True)
class Traces:
    """What shows that something is of a person.

    Attributes:
        words: their e-mail addresses, phone numbers, links, names and some of their messages, as
            they are written.
    """

    conversation_ids: Sequence[int] = ()
    lead_ids: Sequence[int] = ()
    words: Sequence[str] = field(default=(), repr=False)

    @cached_property
    def frames(self) -> Mapping[str, pd.DataFrame]:
        """The tables that statements name."""
        return {
            "erased": _column("conversation_id", self.conversation_ids, "int64"),
            "erased_leads": _column("lead_id", self.lead_ids, "int64"),
            "words": _column("word", self.words, "str"),
        }

    def parameters(self, condition: str) -> dict[str, str]:
        """What a condition has to be bound to."""
        return {"pattern": pattern_of(self.words)} if "$pattern" in condition else {}


def count_rows(transaction: Transaction, traces: Traces, *, chat_id: int) -> dict[str, int]:
    """How many rows of each place are of the person."""
    return _for_each_place(transaction, "person_rows_count", traces, chat_id=chat_id)


def delete_rows(transaction: Transaction, traces: Traces, *, chat_id: int) -> dict[str, int]:
    """Delete the person's rows, and note the days whose metrics counted them. Returns how many
    there were in each place."""
    transaction.execute("person_stale_days", traces.frames, chat_id=chat_id)
    transaction.execute("person_others_changed", traces.frames, chat_id=chat_id)
    return _for_each_place(transaction, "person_rows_delete", traces, chat_id=chat_id)


def _for_each_place(
    transaction: Transaction, statement: str, traces: Traces, *, chat_id: int
) -> dict[str, int]:
    counts = {}
    for place in PLACES:
        names = {"table": place.table, "condition": _of_chat(place.condition)}
        bound = traces.parameters(place.condition)
        ((counts[place.table],),) = transaction.execute(
            statement, traces.frames, names, chat_id=chat_id, **bound
        )
    return counts


def searched_tables() -> list[Table]:
    """The tables in which something of a person could be left, whatever `PLACES` says: all but
    those of the shop's own people and of hashes."""
    return [
        table
        for table in schema_tables().values()
        if table.name not in {*NOT_OF_CUSTOMERS, *HASHED} and _conditions(table)
    ]


def surviving_rows(
    transaction: Transaction, table: Table, traces: Traces, *, chat_id: int
) -> str | None:
    """The table's name, with how many rows still show a trace of the person in any column, and the
    ids of their conversations or leads. None if no row does."""
    ids = {column.name for column in table.columns} & {"conversation_id", "lead_id"}
    named = min(ids, default="null")  # conversation_id, if there are both
    condition = _conditions(table)
    names = {"table": table.name, "id": named, "condition": _of_chat(condition)}
    bound = {"most": NAMED_AT_MOST, **traces.parameters(condition)}
    ((count, found),) = transaction.execute(
        "person_rows_left", traces.frames, names, chat_id=chat_id, **bound
    )
    known = f": {named} {', '.join(map(str, found))}" if found else ""
    return f"zipchat.{table.name} ({count:,} rows{known})" if count else None


def _conditions(table: Table) -> str:
    """That a row of the table shows a trace of the person. Empty if none can."""
    columns = {column.name for column in table.columns}
    texts = [column.name for column in table.columns if column.type in ("varchar", "json")]
    return " or ".join(
        condition
        for condition, is_possible in (
            (_CONVERSATION, "conversation_id" in columns),
            (_LEAD, "lead_id" in columns),
            (_shows_a_word(f"concat_ws(' ', {', '.join(texts)})"), texts),
        )
        if is_possible and "chat_id" in columns
    )


def _of_chat(condition: str) -> str:
    return f"chat_id = $chat_id and ({condition})"


def _column(name: str, values: Sequence[int] | Sequence[str], kind: str) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(list(values), dtype=kind)})
