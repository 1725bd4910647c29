"""The tables in which something of a customer can be, and how it is found and deleted there.

They are all that have the id of a conversation or a lead. docs/privacy.md lists the places outside
the tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import pandas as pd

from zipchat_dagster.warehouse.search import pattern_of
from zipchat_dagster.warehouse.tables import Table, schema_tables
from zipchat_dagster.warehouse.warehouse import Transaction

_CONVERSATION: Final = "conversation_id in (select conversation_id from erased)"
_LEAD: Final = "lead_id in (select lead_id from erased_leads)"

NAMED_AT_MOST: Final = 20  # ids of rows that are left


def _shows_a_word(text: str) -> str:
    return f"regexp_matches({text}, $pattern)"


def _has_an_id(table: Table) -> str:
    """That a row of the table has the id of one of the person's conversations or leads. Empty if
    the table has neither."""
    columns = {column.name for column in table.columns}
    conditions = {"conversation_id": _CONVERSATION, "lead_id": _LEAD}
    return " or ".join(text for column, text in conditions.items() if column in columns)


# By table, the condition that a row is of the person. It includes rows without texts, since a
# conversation's id leads to them in Zipchat.
PLACES: Final = {
    name: condition for name, table in schema_tables().items() if (condition := _has_an_id(table))
}
# Without an id, a record may be known by what it holds alone.
PLACES["rejected_records"] += (
    " or try_cast(payload ->> '$.lead.id' as bigint) in (select lead_id from erased_leads)"
    f" or {_shows_a_word('payload::varchar')}"
)
# Of the shop's own people, who may share an e-mail address with a customer when they test the chat,
# and of keyed hashes.
NOT_OF_CUSTOMERS: Final = ("users", "erasures", "suppressions")


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
    return _for_each_place(transaction, "delete_rows", traces, chat_id=chat_id)


def _for_each_place(
    transaction: Transaction, statement: str, traces: Traces, *, chat_id: int
) -> dict[str, int]:
    counts = {}
    for table, condition in PLACES.items():
        names = {"table": table, "condition": _of_chat(condition)}
        bound = traces.parameters(condition)
        ((counts[table],),) = transaction.execute(
            statement, traces.frames, names, chat_id=chat_id, **bound
        )
    return counts


def searched_tables() -> list[Table]:
    """The tables in which something of a person could be left, whatever `PLACES` says."""
    return [
        table
        for table in schema_tables().values()
        if table.name not in NOT_OF_CUSTOMERS and "chat_id" in {c.name for c in table.columns}
    ]


def surviving_rows(
    transaction: Transaction, table: Table, traces: Traces, *, chat_id: int
) -> str | None:
    """The table's name, with how many rows still show a trace of the person in any column, and the
    ids of their conversations or leads. None if no row does."""
    ids = {column.name for column in table.columns} & {"conversation_id", "lead_id"}
    named = min(ids, default="null")  # conversation_id, if there are both
    condition = _shows_a_trace(table)
    names = {"table": table.name, "id": named, "condition": _of_chat(condition)}
    bound = {"most": NAMED_AT_MOST, **traces.parameters(condition)}
    ((count, found),) = transaction.execute(
        "person_rows_left", traces.frames, names, chat_id=chat_id, **bound
    )
    known = f": {named} {', '.join(map(str, found))}" if found else ""
    return f"zipchat.{table.name} ({count:,} rows{known})" if count else None


def _shows_a_trace(table: Table) -> str:
    """That a row of the table has an id of the person, or a text with one of their words."""
    texts = [column.name for column in table.columns if column.type in ("varchar", "json")]
    shows_a_word = _shows_a_word(f"concat_ws(' ', {', '.join(texts)})") if texts else ""
    return " or ".join(filter(None, (_has_an_id(table), shows_a_word))) or "false"


def _of_chat(condition: str) -> str:
    return f"chat_id = $chat_id and ({condition})"


def _column(name: str, values: Sequence[int] | Sequence[str], kind: str) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(list(values), dtype=kind)})
