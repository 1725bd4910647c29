"""Records of every oddity, from the answer's bytes to the tables: one of them harms nothing else."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from email.utils import formatdate
from typing import Any, Final

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from zipchat_dagster.client import ZipchatClient
from zipchat_dagster.client.answers import decoded, rows_of
from zipchat_dagster.sandbox import BASE_URL
from zipchat_dagster.sync import sync_conversations, sync_messages, sync_users
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster_tests.client.test_answers import VALUES
from zipchat_dagster_tests.conftest import LOG, NOW, Clock, effort, midnight, thorough

DAY: Final = midnight(NOW)
AT: Final = f"{NOW:%Y-%m-%dT%H:%M:%SZ}"
GOOD: Final = {
    "id": 4_000,
    "created_at": AT,
    "last_message_at": AT,
    "channel": "web",
    "manual_reply_mode": False,
    "last_escalated_at": AT,
    "last_escalation_resolved_at": None,
    "share_url": "https://share.example.com/c/7",
    "assignee": {"id": 1, "full_name": "Ann"},
    "lead": {"id": 3, "full_name": "Ada", "email": "ada@example.com"},
}
MESSAGE: Final = {
    "id": 5_000,
    "role": "user",
    "message": "Hello",
    "manual_reply": False,
    "status": "read",
    "sender_id": None,
    "created_at": AT,
}
USER: Final = {"id": 6_000, "full_name": "Ann", "email": "ann@example.com", "avatar_url": None}

# Literal JSON, including what json.dumps would not write.
ODD: Final = [
    "null",
    "true",
    "0",
    "-0.0",
    "1e999",
    "-1e400",
    "1e-400",
    "123456789012345678901234567890",
    "-9223372036854775809",
    "9" * 5000,
    '""',
    '"7"',
    '" 7"',
    '"9223372036854775808"',
    '"\\u0000"',
    '"a\\u0000b"',
    '"\\ud83d"',
    '"\\udc00\\ud800"',
    '"\\u202Eright-to-left\\u2066"',
    '"\\u05e9\\u05dc\\u05d5\\u05dd"',
    '"<script>alert(1)</script><b>bold"',
    '"line\\nbreak\\r\\u001b[31m\\u2028"',
    '"2026-03-03T10:00:00"',
    '"2026-03-03T10:00:00.123456789+14:00"',
    '"2026-03-03T10:00:00-25:00"',
    '"2026-03-03 10:00"',
    '"2026-02-30T10:00:00Z"',
    '"0001-01-01T00:00:00+14:00"',
    '"9999-12-31T23:59:59-14:00"',
    '"yesterday"',
    '"infinity"',
    '"[{\\"type\\": \\"text\\", \\"text\\": \\"half \\\\ud83d\\"}]"',
    "[]",
    "{}",
    '[{"id": [1]}]',
    '{"id": {"id": null}}',
    '{"id": "x", "full_name": 7, "": null}',
    '{"a": 1, "a": 2}',
    "[" * 200 + "]" * 200,
    '{"a":' * 200 + "1" + "}" * 200,
    "[" * 3_000 + "]" * 3_000,
    '{"a": "}", "b":' * 3_000 + '"\\ud83d ["' + "}" * 3_000,
    '"' + "[{" * 600 + '"',
]
TIMES: Final = ("created_at", "last_message_at", "last_escalated_at")
TEXTS: Final = ("channel", "share_url", "role", "message", "full_name", "email", "surprise", "")
FIELDS: Final = sorted({*GOOD, *MESSAGE, *USER, "lead.id", "lead.email", *TEXTS, "$.a"})
Odd = dict[str, str]  # field → literal JSON, "": no such field; a dot leads into an object
ANY: Final = st.sampled_from([*ODD, ""]) | VALUES.map(json.dumps).filter(
    lambda text: not re.search("NaN|Infinity", text)
)


class Answers(httpx.BaseTransport):
    """An API with a good record of each kind, and one for each of `odds`, all on one page."""

    def __init__(self, odds: list[Odd]) -> None:
        self.records = {
            "conversation": [record(GOOD, odd, id=8 + n) for n, odd in enumerate(odds)],
            "message": [record(MESSAGE, odd, id=80 + n) for n, odd in enumerate(odds)],
            "user": [record(USER, odd, id=2 + n) for n, odd in enumerate(odds)],
        }

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        name = request.url.path.rpartition("/")[2]
        last = '"meta": {"current_page": 1, "total_pages": 1}'
        if name in ("conversations", "users"):
            good = json.dumps(GOOD if name == "conversations" else USER)
            body = f'{{"{name}": [{", ".join([*self.records[name[:-1]], good])}], {last}}}'
        elif name == str(GOOD["id"]):
            rows = ", ".join([*self.records["message"], json.dumps(MESSAGE)])
            shown = f'{json.dumps(GOOD)[:-1]}, "messages": [{rows}]}}'
            body = f'{{"conversation": {shown}, {last}}}'
        else:
            body = f'{{"conversation": {{"id": {name}, "messages": []}}, {last}}}'
        date = {"Date": formatdate(NOW.timestamp(), usegmt=True)}
        return httpx.Response(200, headers=date, content=body.encode())


def record(good: dict[str, Any], odd: Odd, **fields: Any) -> str:
    """A record as JSON, in which the odd fields replace the good ones."""
    values = {name: json.dumps(value) for name, value in {**good, **fields}.items()}
    for name, text in odd.items():
        outer, _, inner = name.partition(".")
        values[outer] = f'{{"{inner}": {text}}}' if inner and text else text
    given = [f"{json.dumps(name)}: {text}" for name, text in values.items() if text]
    return f"{{{', '.join(given)}}}"


def as_read(text: str, kind: str) -> dict[str, Any]:
    """A record as the client returns it, from as deep in an answer as it was."""
    levels = 3 if kind == "message" else 2
    rows = decoded(f"{'[' * levels}{text}{']' * levels}".encode())
    for _ in range(levels - 1):
        (rows,) = rows
    (row,) = rows_of(rows, "", path="")
    return row


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    return Warehouse(tmp_path_factory.mktemp("odd") / "warehouse.duckdb")


@thorough
@settings(max_examples=effort(4, 16), deadline=None)
@example([dict.fromkeys((*TIMES, *TEXTS), odd) for odd in ODD])
@example([dict.fromkeys(("id", "lead.id", "sender_id", "manual_reply_mode"), odd) for odd in ODD])
@example([dict.fromkeys(("lead", "assignee", "lead.email"), odd) for odd in ODD])
@given(st.lists(st.dictionaries(st.sampled_from(FIELDS), ANY, max_size=5), max_size=9))
def test_every_record_is_stored_or_set_apart_whatever_is_in_it(
    tables: Warehouse, odds: list[Odd]
) -> None:
    answers = Answers(odds)
    with ZipchatClient(
        api_key="zc-1", chat_id=1, base_url=BASE_URL, transport=answers, clock=Clock()
    ) as client:
        sync_users(client, tables)
        sync_conversations(client, tables, since=DAY, refresh=True, log=LOG, most_states=5)
        result = sync_messages(
            client,
            tables,
            since=DAY,
            until=DAY + timedelta(days=1),
            days=[],
            refresh=True,
            log=LOG,
        )
    assert not result.failures
    with tables.connection() as connection:
        kept = connection.execute(KEPT).fetchall()
        assert connection.execute(GOOD_ROWS).fetchall() == [
            ("web", NOW.timestamp(), "Hello", "Ann")
        ]
    found = [(kind, decoded(payload.encode())) for kind, payload in kept]  # strict JSON
    for kind, records in answers.records.items():
        for text in records:
            row = as_read(text, kind)
            # Of several records with one id, one is stored.
            assert any(
                kind == other and (row == stored or ("id" in row and row["id"] == stored.get("id")))
                for other, stored in found
            ), text[:500]


KEPT: Final = """
    select 'conversation', payload from zipchat.raw_conversations where payload is not null
    union all select 'message', payload from zipchat.raw_messages
    union all select 'user', payload from zipchat.users
    union all select kind, payload from zipchat.rejected_records
"""
GOOD_ROWS: Final = f"""
    select c.channel, epoch(c.last_escalated_at), message, u.full_name
    from zipchat.raw_conversations as c
    join zipchat.raw_messages as m using (conversation_id)
    cross join zipchat.users as u
    where conversation_id = {GOOD["id"]} and message_id = {MESSAGE["id"]} and user_id = {USER["id"]}
"""
