"""Facts and metrics over a year with ten million messages: what the first run and the hourly
ones cost, and how long they keep others from the file."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.common import (
    NOW,
    Tables,
    file_tables,
    lake_tables,
    measure,
    measure_maintenance,
    megabytes,
)
from zipchat_dagster.client import ConversationRead
from zipchat_dagster.warehouse import store
from zipchat_dagster.warehouse.business_hours import BusinessHours
from zipchat_dagster.warehouse.derive import Rules, rebuild_facts, rebuild_leads, rebuild_metrics
from zipchat_dagster.warehouse.store import MessageWork

CONVERSATIONS = 1_000_000
DAYS = 365
BEGIN = (NOW - timedelta(days=DAYS - 1)).replace(hour=0, minute=0, second=0)
TODAY = f"{NOW:%Y-%m-%d}"
RULES = Rules(
    business_hours=BusinessHours.parse("mon-fri 09:00-17:00", "UTC"),
    response_target_seconds=3600,
    next_response_target_seconds=3600,
    resolution_target_seconds=86_400,
)

# Ten messages in each conversation, one a minute. One conversation in four is escalated after three
# of them, and half of those are answered; in the end 15,000 are open.
_CONVERSATIONS = """
insert into zipchat.raw_conversations by name
select
    1 as chat_id,
    i as conversation_id,
    $begin::timestamptz + to_microseconds((i * $seconds * 1e6 / $count)::bigint) as created_at,
    created_at::date as partition_date,
    created_at + interval 9 minute as last_message_at,
    ['web', 'email', 'whatsapp'][1 + i % 3] as channel,
    case when i % 4 = 0 then created_at + interval 3 minute end as last_escalated_at,
    case
        when i % 4 = 0 and i % 64 <> 4 then created_at + interval 2 hour
    end as last_escalation_resolved_at,
    case when i % 8 = 0 then 1 + i % 20 end as assignee_id,
    i // 2 as lead_id,
    'Somebody ' || i as lead_full_name,
    json_object('lead', json_object('id', i // 2, 'full_name', 'Somebody ' || i)) as payload,
    payload as show_payload,
    last_message_at as shown_at,
    last_message_at as observed_at
from range($count) as series (i)
"""
_HISTORY = """
insert into zipchat.conversation_history by name
select
    chat_id, conversation_id, channel, last_escalated_at, last_escalation_resolved_at,
    assignee_id, observed_at
from zipchat.raw_conversations
"""
_MESSAGES = """
insert into zipchat.raw_messages by name
select
    chat_id,
    conversation_id * 10 + n as message_id,
    conversation_id,
    if(n % 2 = 0, 'user', 'assistant') as role,
    'Where is my order?' as message,
    n = 5 and conversation_id % 8 = 0 as manual_reply,
    if(manual_reply, assignee_id, null) as sender_id,
    conversation.created_at + to_minutes(n) as created_at,
    created_at::date as partition_date,
    observed_at
from zipchat.raw_conversations as conversation, range(10) as series (n)
where conversation_id between $first and $last
"""
_CHANGED = """
insert into zipchat.changed_conversations by name
select chat_id, conversation_id, observed_at from zipchat.raw_conversations
"""


def metrics() -> None:
    """Facts and metrics: a year with 10 million messages, then hourly runs"""
    with file_tables() as tables:
        _year(tables)


def metrics_lake() -> None:
    """The same on a lake (PostgreSQL on this machine)"""
    with lake_tables() as tables:
        _year(tables)


def _year(tables: Tables) -> None:
    _fill(tables)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here on
    days = [f"{BEGIN + timedelta(days=n):%Y-%m-%d}" for n in range(DAYS)]
    measure(tables, "facts from scratch", lambda: _facts(tables))
    measure(tables, f"metrics of {DAYS} days", lambda: _metrics(tables, days))
    measure(tables, "leads", lambda: rebuild_leads(tables, chat_id=1))
    for hour in range(3):
        _sync_an_hour(tables, hour)
        measure(tables, "an hourly run: facts", lambda: _facts(tables))
        measure(tables, "an hourly run: metrics", lambda: _metrics(tables, [TODAY]))
    measure_maintenance(tables)


def _facts(tables: Tables) -> int:
    return sum(rebuild_facts(tables, chat_id=1, now=datetime.now(UTC), rules=RULES).values())


def _metrics(tables: Tables, days: list[str]) -> int:
    return len(rebuild_metrics(tables, chat_id=1, days=days, now=datetime.now(UTC), rules=RULES))


def _fill(tables: Tables) -> None:
    started = time.monotonic()
    span = {"begin": BEGIN, "seconds": (NOW - BEGIN).total_seconds(), "count": CONVERSATIONS}
    with tables.transaction():
        pass  # the tables
    with tables.connection() as connection:
        connection.execute(_CONVERSATIONS, span)
        connection.execute(_HISTORY)
        connection.execute(_CHANGED)
        for first in range(0, CONVERSATIONS, 100_000):
            connection.execute(_MESSAGES, {"first": first, "last": first + 99_999})
    seconds = time.monotonic() - started
    print(f"filled within {seconds:.0f} s: {megabytes(tables):,.0f} MB", flush=True)


def _sync_an_hour(tables: Tables, hour: int) -> None:
    """Store 100 new conversations and 20 late answers to escalations of the last 200 days."""
    at = NOW + timedelta(minutes=hour)
    old = [CONVERSATIONS - 60 - 64 * (425 * n + hour) for n in range(1, 21)]  # open ones
    new = [CONVERSATIONS + 100 * hour + n for n in range(100)]
    reads = []
    for conversation_id in old + new:
        began_at = escalated_at = at
        if conversation_id in old:
            began_at = BEGIN + conversation_id * (NOW - BEGIN) / CONVERSATIONS
            escalated_at = began_at + timedelta(minutes=3)
        conversation = {
            "id": conversation_id,
            "created_at": began_at.isoformat(),
            "last_message_at": at.isoformat(),
            "channel": ["web", "email", "whatsapp"][conversation_id % 3],
            "last_escalated_at": escalated_at.isoformat() if conversation_id % 4 == 0 else None,
        }
        message = {
            "id": conversation_id * 10 + 10 + hour,
            "role": "assistant" if conversation_id in old else "user",
            "manual_reply": conversation_id in old,
            "message": "Hello!",
            "created_at": at.isoformat(),
        }
        work = MessageWork(conversation_id, None, TODAY)
        reads.append((work, ConversationRead(conversation, [message], at, 11)))
    with tables.transaction() as transaction:
        store.store_reads(transaction, reads, chat_id=1)
