"""Rewriting what is stored of people, after the settings of `Privacy` have become stricter.

It goes one way, from keep over hash to drop: what was hashed or dropped cannot be brought back, but
only read from the API again (`refresh`).

Rows are rewritten in short transactions, each of which stores how far it came, so a killed run
loses nothing and the next one goes on. What was replaced before stays as it is, so visiting a row
twice does no harm. At the end, the old values are removed from the database's free space
and from its copies.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pandas as pd

from zipchat_dagster.warehouse import store
from zipchat_dagster.warehouse.derive import replace_leads
from zipchat_dagster.warehouse.plain_text import plain_text
from zipchat_dagster.warehouse.privacy import COLUMNS, CONTENT, WORD, Field, Kind, Mode, Privacy
from zipchat_dagster.warehouse.tables import schema_tables
from zipchat_dagster.warehouse.warehouse import Transaction, Warehouse

Log = logging.Logger | logging.LoggerAdapter[Any]

ROWS_AT_ONCE = 5_000
LEAST: Final = -(2**63)  # of chats and ids
MOST: Final = 2**63 - 1


# The tables with personal columns, in the order of `schema.sql`, in which `leads` follows
# `raw_conversations`, from which it is derived.
TABLES: Final = tuple(
    name
    for name, table in schema_tables().items()
    if any(column.is_personal for column in table.columns)
)
# The whole number in whose order a chat's rows are rewritten, where the key of a table has none.
IDS: Final = {
    "conversation_history": "conversation_id",
    "rejected_records": "epoch_us(observed_at)",
}
# The kind of the records in `payload`. Each rejected record has its own.
KINDS: Final[Mapping[str, Kind]] = {
    "raw_conversations": "conversation",
    "raw_messages": "message",
    "users": "user",
}
# Columns with the text of one field of a record. Those of a message follow from its payload.
TEXTS: Final[Mapping[str, Field]] = {
    **{name: column for name, column in COLUMNS.items() if column is not CONTENT},
    **dict.fromkeys(("channel", "role", "status"), WORD),
}


@dataclass
class Progress:
    """How far a rewriting has come: through the rows of `table` up to the one with the id `after`
    in the chat. `table` is None once only the old values in the free space are left.

    `modes` are those that it began with, and `rows` how many have changed so far, by table.
    """

    modes: dict[str, Mode]
    table: str | None = TABLES[0]
    chat_id: int = LEAST
    after: int = LEAST
    rows: dict[str, int] = field(default_factory=dict)

    def next_table(self) -> None:
        """Go on with the next one."""
        number = TABLES.index(self.table) + 1 if self.table else len(TABLES)
        self.table = TABLES[number] if number < len(TABLES) else None
        self.chat_id = self.after = LEAST


def rewrite_personal_data(
    warehouse: Warehouse, log: Log, replace_copies: Callable[[], None] = lambda: None
) -> dict[str, int]:
    """Bring everything stored in line with `warehouse.privacy`, where that is stricter, or go on
    where a killed run stopped. Returns how many rows have changed, by table, which is empty in
    nearly every run.

    Several programs may do this at the same time.

    Args:
        replace_copies: writes again what else holds the tables. It is called if rows have changed,
            and again by the next run if this one is killed before it has returned.
    """
    if not _begin(warehouse, log):
        return {}
    progress = _rewrite_all(warehouse, log)
    if progress is None:  # another program has finished it
        return {}
    warehouse.scrub(replace_copies)
    if progress.rows:
        counts = ", ".join(f"{table}: {rows:,}" for table, rows in progress.rows.items())
        log.info(
            f"Rewrote rows of {counts}. Backups and files copied elsewhere still have the old"
            " values."
        )
    with warehouse.transaction() as transaction:
        state = store.privacy_state(transaction)
        if "rewriting" in state and state["rewriting"]["table"] is None:  # not begun again since
            del state["rewriting"]
            store.set_privacy_state(transaction, state)
    return progress.rows


def _begin(warehouse: Warehouse, log: Log) -> bool:
    """Whether there is something to rewrite."""
    privacy = warehouse.privacy
    with warehouse.transaction() as transaction:
        state = store.privacy_state(transaction)
        if stricter := privacy.modes_other_than(state, "stricter"):
            progress = Progress(privacy.modes)
            # From now on, a run with looser settings notes that its records are.
            state = {**state, **stricter, "rewriting": vars(progress)}
            store.set_privacy_state(transaction, state)
            return True
    if looser := privacy.modes_other_than(state, "looser"):
        names = ", ".join(f"{name}: {mode}" for name, mode in looser.items())
        log.warning(
            f"The settings of personal data are looser than before ({names}). They apply to records"
            " stored from now on. Earlier values stay hashed or dropped. To read them from the API"
            " again, materialize their days with `refresh`."
        )
    return "rewriting" in state and state["rewriting"]["modes"] == privacy.modes


def _rewrite_all(warehouse: Warehouse, log: Log) -> Progress | None:
    """Rewrite all rows. Returns None if another program did the last part of it."""
    has_begun = False
    with warehouse.small_transactions():
        while True:
            with warehouse.transaction() as transaction:
                progress = _advance(transaction)
            if progress is None or progress.table is None:
                return progress
            if progress.rows and not has_begun:
                has_begun = True
                log.info("ZIPCHAT_PII is stricter than before: rewriting stored values.")


def _advance(transaction: Transaction) -> Progress | None:
    """Rewrite the next rows. Returns how far that came; None if nothing is left."""
    state = store.privacy_state(transaction)
    if "rewriting" not in state:
        return None
    progress = Progress(**state["rewriting"])
    through = _next_rows(transaction, progress)
    if through is not None:
        assert progress.table is not None
        changed = _rewrite(transaction, progress.table, progress.chat_id, progress.after, through)
        if changed:
            progress.rows[progress.table] = progress.rows.get(progress.table, 0) + changed
            transaction.needs_scrub()
        progress.after = through
    store.set_privacy_state(transaction, {**state, "rewriting": vars(progress)})
    return progress


def _next_rows(transaction: Transaction, progress: Progress) -> int | None:
    """Move on to a chat and table with rows left. Returns the id up to which they are the next
    `ROWS_AT_ONCE`, or all leads; None if no table has any."""
    while progress.table is not None:
        names = {"table": progress.table, "id": _id(progress.table)}
        at = {"chat_id": progress.chat_id, "after": progress.after}
        most = MOST if progress.table == "leads" else ROWS_AT_ONCE
        ((through,),) = transaction.execute("rewrite_through", None, names, **at, most=most)
        if through is not None:
            return int(through)
        ((chat_id,),) = transaction.execute(
            "rewrite_next_chat", None, names, after=progress.chat_id
        )
        if chat_id is None:
            progress.next_table()
        else:
            progress.chat_id, progress.after = chat_id, LEAST
    return None


def _rewrite(transaction: Transaction, table: str, chat_id: int, after: int, through: int) -> int:
    """Rewrite the chat's rows with `after` < id <= `through`. Returns how many have changed."""
    if table == "leads":  # those of the whole chat, from its conversations
        _, written = replace_leads(transaction, chat_id=chat_id)
        return written
    columns = _columns(table)
    names = {"table": table, "id": _id(table), "columns": ", ".join(columns)}
    some = {"chat_id": chat_id, "after": after, "through": through}
    rows = [
        dict(zip(("id", "seen", *columns), row, strict=True))
        for row in transaction.execute("rewrite_read", None, names, **some)
    ]
    masked = [_masked(transaction.privacy, table, row) for row in rows]
    changed = [new for old, new in zip(rows, masked, strict=True) if new != old]
    if not changed:
        return 0
    if table == "rejected_records":
        transaction.execute("rewrite_clear", None, names, **some)
        _add_rejected(transaction, masked, chat_id=chat_id)
        return len(changed)
    batch = pd.DataFrame(changed).astype(dict.fromkeys(columns, "str"))
    if table == "raw_conversations":
        transaction.execute("rewrite_channels", {"batch": batch}, chat_id=chat_id)
    changes = ", ".join(f"{name} = batch.{name}" for name in columns)
    transaction.execute(
        "rewrite_update", {"batch": batch}, {**names, "changes": changes}, chat_id=chat_id
    )
    return len(changed)


def _id(table: str) -> str:
    return IDS.get(table) or schema_tables()[table].key[-1]


def _columns(table: str) -> list[str]:
    """The columns that are read and written, apart from the id."""
    found = [
        column.name
        for column in schema_tables()[table].columns
        if column.is_personal or column.name in TEXTS
    ]
    return [*found, "kind", "conversation_id"] if table == "rejected_records" else found


def _masked(privacy: Privacy, table: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """The row as it may be stored."""
    masked = {**row}
    for name in TEXTS.keys() & row.keys():
        masked[name] = privacy.replaced(TEXTS[name], row[name])
    for name in {"payload", "show_payload"} & row.keys():
        if row[name] is not None:
            record = json.loads(row[name])
            allowed = privacy.mask(row.get("kind") or KINDS[table], record)
            if allowed != record:
                masked[name] = store.encode(allowed)
            if "message_text" in row and privacy.content != "keep":
                masked["message"] = allowed.get("message")
                masked["message_text"] = store.storable(plain_text(allowed.get("message")))
    return masked


def _add_rejected(
    transaction: Transaction, rows: Sequence[Mapping[str, Any]], *, chat_id: int
) -> None:
    """Rejected records have no id, and those that have become alike are stored once."""
    frame = pd.DataFrame(rows).astype({"payload": "str", "conversation_id": "Int64"})
    frame["observed_at"] = pd.to_datetime(frame["seen"], unit="us", utc=True)
    for kind, batch in frame.groupby("kind"):
        transaction.execute("add_rejected_records", {"batch": batch}, chat_id=chat_id, kind=kind)


def personal_values(table: str) -> dict[str, str]:
    """What `check_personal.sql` is filled with: the table's personal columns and their classes."""
    columns = [column for column in schema_tables()[table].columns if column.name in COLUMNS]
    texts = (f"{c.name} ->> '$'" if c.type == "json" else c.name for c in columns)
    return {
        "table": table,
        "classes": ", ".join(f"'{COLUMNS[column.name].of}'" for column in columns),
        "values": ", ".join(texts),
    }
