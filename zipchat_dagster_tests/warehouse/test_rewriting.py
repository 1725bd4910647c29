"""Derived tables do not depend on the privacy modes, and stricter settings rewrite rows to what a sync
under them would have stored."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from zipchat_dagster.sandbox import generate
from zipchat_dagster.warehouse import Warehouse, rewriting, store
from zipchat_dagster.warehouse.privacy import COLUMNS, KEEP, Privacy
from zipchat_dagster.warehouse.rewriting import rewrite_personal_data
from zipchat_dagster.warehouse.tables import schema_tables
from zipchat_dagster_tests.conftest import LOG, NOW, Open, killed_after, thorough
from zipchat_dagster_tests.warehouse.support import Story, days_between, live, moment
from zipchat_dagster_tests.warehouse.test_derive import derived_rows

KEY: Final = "marked-key-" * 4
HASH: Final = Privacy("hash", "hash", "hash", key=KEY)
DROP: Final = Privacy("drop", "drop", "drop")
MIXED: Final = Privacy("hash", "drop", "keep", key=KEY)
WITHOUT_ID: Final = [{"id": None, "share_url": f"https://share.example.com/{n}"} for n in range(5)]


def lived(place: Open, name: str, privacy: Privacy) -> Story:
    """Some days of a chat, always the same, and everything derived from them."""
    random = Random(7)
    chat = generate(seed=7, conversations=15, days=5, now=moment("2026-03-20 12:00"))
    story = Story(
        lambda **options: place(name, privacy=privacy, **options), chat=chat, begins="2026-03-10"
    )
    story.at("2026-03-20 12:00")
    for _ in range(3):
        live(story, random)
        story.sync(refresh=random.random() < 0.5)
    with story.warehouse.transaction() as transaction:
        for n in range(3):  # more of them than are dropped to the same NULLs
            at = moment(f"2026-03-21 1{n}:00")
            some = WITHOUT_ID[n : n + 3]
            store.store_conversations(transaction, some, [at] * len(some), chat_id=1)
    story.derive(*days_between("2026-03-14", "2026-03-22"))
    return story


def personal_rows(story: Story) -> dict[str, list[Any]]:
    """Everything in tables with personal data."""
    return {
        table: sorted(story.rows(f"select * from zipchat.{table}"), key=str)
        for table in rewriting.TABLES
    }


@thorough
@pytest.mark.parametrize(
    "privacy",
    [
        pytest.param(HASH, id="hash", marks=thorough),
        pytest.param(DROP, id="drop", marks=thorough),
        pytest.param(MIXED, id="mixed"),
    ],
)
def test_stricter_settings_rewrite_rows_to_what_a_sync_under_them_stores_and_change_nothing_derived(
    place: Open, privacy: Privacy, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, fresh = lived(place, "kept", KEEP), lived(place, "fresh", privacy)
    derived = derived_rows(kept)
    assert derived_rows(fresh) == derived
    before, after = personal_rows(kept), personal_rows(fresh)
    assert all(before[table] != after[table] for table in rewriting.TABLES)

    monkeypatch.setattr(rewriting, "ROWS_AT_ONCE", 7)
    for steps in (9, 20):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(rewriting, "_advance", killed_after(steps, rewriting._advance))
            rewrite_personal_data(place("kept", privacy=privacy), LOG)
    rows = rewrite_personal_data(place("kept", privacy=privacy), LOG)
    assert personal_rows(kept) == after
    assert rows == {
        table: len(before[table])
        if table in ("leads", "rejected_records")
        else len([row for row in before[table] if row not in after[table]])
        for table in rewriting.TABLES
    }
    assert rewrite_personal_data(place("kept", privacy=privacy), LOG) == {}
    kept.derive()
    assert derived_rows(kept) == derived


def test_every_column_that_is_marked_as_personal_is_rewritten() -> None:
    marked = {
        (table.name, column.name): column.type
        for table in schema_tables().values()
        for column in table.columns
        if column.is_personal
    }
    assert {column for _, column in marked} == {*COLUMNS, "payload", "show_payload"}
    for table in rewriting.TABLES:
        columns = [column for name, column in marked if name == table]
        if table == "leads":  # derived from raw_conversations
            assert columns
            continue
        assert set(columns) <= set(rewriting._columns(table))
        row: dict[str, Any] = {
            name: json.dumps({"message": "marked", "surprise": "marked"})
            if marked.pop((table, name)) == "json"
            else "marked"
            for name in columns
        }
        if table == "rejected_records":
            row["kind"] = "message"
        assert "marked" not in str(rewriting._masked(DROP, table, row)), table
    assert {table for table, _ in marked} == {"leads"}


def users(*names: str) -> list[dict[str, Any]]:
    return [{"id": number, "full_name": name} for number, name in enumerate(names, 1)]


def test_rows_that_a_run_with_looser_settings_stores_meanwhile_are_rewritten_by_the_next(
    place: Open, caplog: pytest.LogCaptureFixture
) -> None:
    def stored(tables: Warehouse, *names: str) -> None:
        with tables.transaction() as transaction:
            store.store_users(transaction, users(*names), NOW, chat_id=1)

    former = place(privacy=KEEP)
    stored(former, "Ada", "Bo")
    assert rewrite_personal_data(place(privacy=HASH), LOG) == {"users": 2}
    stored(former, "Ada", HASH.hashed("Bo"))
    assert rewrite_personal_data(place(privacy=HASH), LOG) == {"users": 1}

    loosened = place(privacy=KEEP)
    caplog.clear()
    for _ in range(2):
        assert rewrite_personal_data(loosened, LOG) == {}
        stored(loosened, HASH.hashed("Ada"), "Bo")
    assert caplog.text.count("looser than before (identity: keep, content: keep") == 1
    assert rewrite_personal_data(place(privacy=DROP), LOG) == {"users": 2}
    with loosened.connection() as connection:
        assert connection.execute("select distinct full_name from zipchat.users").fetchall() == [
            (None,)
        ]


def test_a_channel_that_is_not_a_word_is_masked_in_everything_derived(place: Open) -> None:
    story = Story(place)
    story.at("2026-03-03 10:00")
    story.escalate(story.start("Ada Quill"))
    story.escalate(story.start("web"))
    story.run()
    rewrite_personal_data(place(privacy=HASH), LOG)
    story.derive()
    for table in ("conversation_facts", "escalations", "escalation_metrics", "activity_by_hour"):
        text = str(story.rows(f"from zipchat.{table}"))
        assert "Ada Quill" not in text
        assert HASH.hashed("Ada Quill") in text


def test_if_a_run_is_killed_before_it_replaces_the_copies_the_next_one_does(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    with Warehouse(path).transaction() as transaction:
        store.store_users(transaction, [{"id": 1, "full_name": "Ada"}], NOW, chat_id=1)
    replaced = []

    def killed() -> None:
        raise KeyboardInterrupt

    def rewrite(replace_copies: Callable[[], None]) -> dict[str, int]:
        return rewrite_personal_data(Warehouse(path, privacy=DROP), LOG, replace_copies)

    with pytest.raises(KeyboardInterrupt):
        rewrite(killed)
    assert rewrite(lambda: replaced.append(path)) == {"users": 1}
    assert replaced == [path]
    assert rewrite(killed) == {}


def test_old_values_are_in_no_file_afterwards(tmp_path: Path) -> None:
    marked = "Please-marked-text to Ada"
    story = Story(tmp_path)
    story.customer(story.start(), message=marked)
    story.sync()
    (path,) = tmp_path.glob("*.duckdb")
    assert marked.encode() in path.read_bytes()
    rewrite_personal_data(Warehouse(path, privacy=DROP), LOG)
    assert not [p for p in tmp_path.iterdir() if p.is_file() and marked.encode() in p.read_bytes()]
    assert story.rows("select count(*) from zipchat.raw_messages where message is null") != [(0,)]
