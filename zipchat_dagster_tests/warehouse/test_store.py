"""Storing records: history, deletions, odd records, days, and transactions."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import product
from typing import Any

import pytest

from zipchat_dagster.client import ConversationRead
from zipchat_dagster.warehouse import Warehouse, store
from zipchat_dagster.warehouse.store import MessageWork
from zipchat_dagster_tests.conftest import Open, create_tables, derive_all
from zipchat_dagster_tests.warehouse.support import moment

CHAT = 1
T0 = moment("2026-03-03 10:00")
MINUTE = timedelta(minutes=1)


def conversation(**fields: Any) -> dict[str, Any]:
    """A record as the list endpoint gives it."""
    return {
        "id": 7,
        "created_at": "2026-03-03T09:00:00Z",
        "last_message_at": "2026-03-03T09:30:00Z",
        "channel": "web",
        "manual_reply_mode": False,
        "last_escalated_at": None,
        "last_escalation_resolved_at": None,
        "share_url": "https://share.example.com/c/7",
        "assignee": None,
        "lead": None,
        **fields,
    }


def message(**fields: Any) -> dict[str, Any]:
    return {
        "id": 70,
        "role": "user",
        "message": "Hello",
        "manual_reply": False,
        "status": "read",
        "sender_id": None,
        "created_at": "2026-03-03T09:30:00Z",
        **fields,
    }


def put(warehouse: Warehouse, *rows: Any, at: datetime = T0, is_show: bool = False) -> None:
    with warehouse.transaction() as transaction:
        store.store_conversations(
            transaction,
            rows,
            [at] * len(rows),
            chat_id=CHAT,
            is_show=is_show,
        )


def miss(warehouse: Warehouse, conversation_id: int, *, at: datetime) -> None:
    """It was not found."""
    with warehouse.transaction() as transaction:
        store.mark_not_found(transaction, [conversation_id], at, chat_id=CHAT)


def put_messages(warehouse: Warehouse, *messages: Any, at: datetime = T0, of: Any = None) -> None:
    read = ConversationRead(of or conversation(), list(messages), at, None)
    work = MessageWork(read.conversation["id"], None, "2026-03-03")
    with warehouse.transaction() as transaction:
        store.store_reads(transaction, [(work, read)], chat_id=CHAT)


def rows(warehouse: Warehouse, query: str) -> list[tuple[Any, ...]]:
    create_tables(warehouse)  # which brings the days in line with the time zone, too
    with warehouse.connection() as connection:
        return connection.execute(query).fetchall()


HISTORY = (
    "select strftime(observed_at, '%H:%M'), strftime(last_escalated_at, '%H:%M'),"
    " missing_since is not null from zipchat.conversation_history order by observed_at"
)


# History


def test_a_state_that_is_seen_again_adds_no_history(warehouse: Warehouse) -> None:
    for n in range(3):
        put(warehouse, conversation(), at=T0 + n * MINUTE)
    put(warehouse, conversation(last_message_at="2026-03-03T10:02:30Z"), at=T0 + 3 * MINUTE)
    assert rows(warehouse, HISTORY) == [("10:00", None, False)]
    assert rows(
        warehouse, "select strftime(observed_at, '%H:%M') from zipchat.raw_conversations"
    ) == [("10:03",)]


@pytest.mark.parametrize(
    "change",
    [
        {"channel": "email"},
        {"channel": None},
        {"manual_reply_mode": True},
        {"last_escalated_at": "2026-03-03T09:31:00Z"},
        {"last_escalation_resolved_at": "2026-03-03T09:31:00Z"},
        {"assignee": {"id": 3, "full_name": "Cy Agent"}},
        {"assignee": {"id": None, "name": "Nobody"}},
    ],
    ids=str,
)
def test_each_change_of_state_adds_a_row_of_history_and_so_does_its_end(
    warehouse: Warehouse, change: Any
) -> None:
    put(warehouse, conversation())
    put(warehouse, conversation(**change), at=T0 + MINUTE)
    put(warehouse, conversation(), at=T0 + 2 * MINUTE, is_show=True)
    assert [at for at, *_ in rows(warehouse, HISTORY)] == ["10:00", "10:01", "10:02"]


def test_an_older_observation_changes_neither_the_row_nor_its_history(
    warehouse: Warehouse,
) -> None:
    put(warehouse, conversation(channel="email"), at=T0)
    put(warehouse, conversation(channel="web"), at=T0 - MINUTE)
    assert rows(
        warehouse,
        "select channel, strftime(observed_at, '%H:%M') from zipchat.raw_conversations",
    ) == [("email", "10:00")]
    assert len(rows(warehouse, HISTORY)) == 1

    put_messages(warehouse, message(message="new", manual_reply=True), at=T0 + MINUTE)
    put_messages(warehouse, message(message="old"), at=T0)
    assert rows(warehouse, "select message, manual_reply from zipchat.raw_messages") == [
        ("new", True)
    ]


def test_a_field_that_only_the_list_gives_stays_when_the_show_endpoint_lacks_it(
    warehouse: Warehouse,
) -> None:
    put(warehouse, conversation(assignee={"id": 3, "full_name": "Cy Agent"}))
    shown = conversation(channel="email")
    del shown["share_url"], shown["assignee"]
    put(warehouse, shown, at=T0 + MINUTE, is_show=True)
    assert rows(
        warehouse,
        "select channel, assignee_id, share_url is not null, payload ->> 'channel',"
        " show_payload ->> 'channel' from zipchat.raw_conversations",
    ) == [("email", 3, True, "web", "email")]


def test_if_a_record_is_in_an_answer_twice_the_last_one_counts(warehouse: Warehouse) -> None:
    put(warehouse, conversation(channel="web"), conversation(channel="email"))
    assert rows(warehouse, "select channel from zipchat.raw_conversations") == [("email",)]
    assert len(rows(warehouse, HISTORY)) == 1
    put_messages(warehouse, message(message="first"), message(message="last"))
    assert rows(warehouse, "select message from zipchat.raw_messages") == [("last",)]
    with warehouse.transaction() as transaction:
        users = [{"id": 1, "name": "Ada"}, {"id": 1, "name": "Ada Agent"}]
        store.store_users(transaction, users, T0, chat_id=CHAT)
    assert rows(warehouse, "select full_name from zipchat.users") == [("Ada Agent",)]


# What is gone


def test_conversations_that_a_listing_should_have_shown_are_found(warehouse: Warehouse) -> None:
    gone, kept, older = 7, 8, 9
    put(
        warehouse,
        conversation(id=gone),
        conversation(id=kept),
        conversation(id=older, last_message_at="2026-03-03T08:00:00Z"),
    )

    def unlisted(as_of: datetime) -> list[int]:
        with warehouse.transaction() as transaction:
            return store.unlisted(
                transaction, [kept], chat_id=CHAT, since=moment("2026-03-03 09:00"), as_of=as_of
            )

    assert unlisted(T0 + MINUTE) == [gone]
    assert unlisted(T0) == []  # seen since the listing began
    miss(warehouse, gone, at=T0 + MINUTE)
    assert unlisted(T0 + 2 * MINUTE) == []


def test_a_conversation_that_comes_back_is_in_the_history(warehouse: Warehouse) -> None:
    escalated = conversation(last_escalated_at="2026-03-03T09:31:00Z")
    put(warehouse, escalated)
    for n in (1, 2):  # by two programs
        miss(warehouse, 7, at=T0 + n * MINUTE)
    put(warehouse, escalated, at=T0 + 3 * MINUTE)
    assert rows(warehouse, f"{HISTORY}, conversation_id") == [
        ("10:00", "09:31", False),
        ("10:01", "09:31", True),
        ("10:03", "09:31", False),
    ]
    assert rows(warehouse, "select count(missing_since) from zipchat.raw_conversations") == [(0,)]


def test_an_observation_from_before_it_went_missing_does_not_bring_it_back(
    warehouse: Warehouse,
) -> None:
    put(warehouse, conversation())
    miss(warehouse, 7, at=T0 + 2 * MINUTE)
    put(warehouse, conversation(), at=T0 + MINUTE)
    assert rows(warehouse, "select missing_since is null from zipchat.raw_conversations") == [
        (False,)
    ]


def test_a_user_who_is_no_longer_listed_is_kept_as_a_former_one(warehouse: Warehouse) -> None:
    ada, bo = {"id": 1, "full_name": "Ada"}, {"id": 2, "first_name": "Bo", "last_name": "Agent"}
    for n, listed in enumerate([[ada, bo], [ada], [ada, bo]]):
        with warehouse.transaction() as transaction:
            store.store_users(transaction, listed, T0 + n * MINUTE, chat_id=CHAT)
        assert rows(
            warehouse,
            "select full_name, is_current, strftime(first_seen_at, '%H:%M') from zipchat.users"
            " order by user_id",
        ) == [("Ada", True, "10:00"), ("Bo Agent", bo in listed, "10:00")]


# Odd records


def test_records_without_a_usable_id_are_set_apart_once_each(warehouse: Warehouse) -> None:
    odd = [{"id": None}, {"name": "no id"}, {"id": "x"}, {"id": [1]}, {"id": 10**30}]
    for n in range(2):
        put(warehouse, *odd, conversation(), at=T0 + n * MINUTE)
    put_messages(warehouse, message(id="seven"), message())
    assert rows(warehouse, "select conversation_id from zipchat.raw_conversations") == [(7,)]
    assert rows(warehouse, "select message_id from zipchat.raw_messages") == [(70,)]
    assert rows(
        warehouse,
        "select kind, count(*) from zipchat.rejected_records group by kind order by kind",
    ) == [("conversation", len(odd)), ("message", 1)]


ODD_VALUES: list[Any] = [
    *("infinity", "99999-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"),
    *("2026-13-45T00:00:00Z", 1_772_500_000, -1.5e300, True, {"at": "2026-03-03"}, "\x00", None),
]


def test_bad_records_stop_no_step(warehouse: Warehouse) -> None:
    """Each field of a record in turn has each of these values; good records are not harmed."""
    escalated = conversation(last_escalated_at="2026-03-03T09:31:00Z")
    bad, texts = (
        [
            {**record, "id": number, field: value}
            for number, (field, value) in enumerate(product(record, ODD_VALUES), start=first)
        ]
        for record, first in ((escalated, 1000), (message(), 2000))
    )
    put(warehouse, *bad, conversation(manual_reply_mode=True))
    for value in ODD_VALUES:  # a conversation whose newest activity is odd has messages, too
        read = next(row for row in bad if row["last_message_at"] is value)
        put_messages(warehouse, *texts, of=read)
    now = T0 + timedelta(days=1)
    with warehouse.transaction() as transaction:
        due = store.due_states(transaction, chat_id=CHAT, now=now)
        work = store.message_work(
            transaction,
            chat_id=CHAT,
            since=moment("2026-03-01 00:00"),
            until=now,
            refresh=True,
        )
    assert 7 in {state.conversation_id for state in due}
    assert 7 in {item.conversation_id for item in work}
    derive_all(warehouse, days=["2026-03-03"], now=now)
    assert rows(
        warehouse,
        "select channel, strftime(created_at, '%H:%M') from zipchat.raw_conversations"
        " where conversation_id = 7",
    ) == [("web", "09:00")]
    stored = rows(
        warehouse,
        "select (select count(*) from zipchat.raw_conversations),"
        " (select count(*) from zipchat.raw_messages), count(*) from zipchat.rejected_records",
    )
    assert sum(stored[0]) == len(bad) + 1 + len(texts)


def test_half_surrogates_and_null_characters_in_texts_are_stored(warehouse: Warehouse) -> None:
    block = r'[{"type": "text", "text": "half \ud83d"}]'
    put_messages(warehouse, message(message=block), message(id=71, message="nul \x00 end"))
    assert rows(
        warehouse, "select message, message_text from zipchat.raw_messages order by message_id"
    ) == [(block, "half ?"), ("nul \x00 end", "nul \x00 end")]


# Days


def test_a_record_without_its_time_has_no_day(place: Open) -> None:
    warehouse = place()
    put(warehouse, conversation(created_at=None))
    stored = "select partition_date, created_at from zipchat.raw_conversations"
    assert rows(warehouse, stored) == [(None, None)]
    assert rows(place(timezone="Asia/Kolkata"), stored) == [(None, None)]


# All or nothing


def test_an_exception_in_a_transaction_rolls_back_all_of_it(warehouse: Warehouse) -> None:
    put(warehouse, conversation())
    read = ConversationRead(conversation(channel="email"), [message()], T0 + MINUTE, None)
    work = MessageWork(7, None, "2026-03-03")
    with pytest.raises(KeyboardInterrupt), warehouse.transaction() as transaction:
        store.store_reads(transaction, [(work, read)], chat_id=CHAT)
        store.store_failures(transaction, [(work, "no")], T0, chat_id=CHAT)
        store.mark_not_found(transaction, [7], T0 + MINUTE, chat_id=CHAT)
        raise KeyboardInterrupt
    for table, expected in (
        ("raw_conversations where channel = 'web' and missing_since is null", 1),
        ("conversation_history", 1),
        ("raw_messages", 0),
        ("message_coverage", 0),
    ):
        assert rows(warehouse, f"select count(*) from zipchat.{table}") == [(expected,)]
    put(warehouse, conversation(channel="email"), at=T0 + 2 * MINUTE)  # and it goes on
    assert len(rows(warehouse, HISTORY)) == 2


def test_a_first_transaction_that_fails_leaves_no_half_schema(warehouse: Warehouse) -> None:
    with pytest.raises(RuntimeError), warehouse.transaction():
        raise RuntimeError
    put(warehouse, conversation())
    assert len(rows(warehouse, HISTORY)) == 1


def test_duckdb_has_one_thread_because_its_window_functions_can_fail_with_more(
    warehouse: Warehouse,
) -> None:
    with warehouse.connection() as connection:
        assert connection.execute("select current_setting('threads')").fetchall() == [(1,)]
