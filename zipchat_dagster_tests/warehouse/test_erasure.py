"""Finding a person, erasing them from the tables, and keeping them away."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from zipchat_dagster.sandbox.chat import Lead
from zipchat_dagster.warehouse import places, schema_tables, store
from zipchat_dagster.warehouse.derive import FACTS
from zipchat_dagster.warehouse.engine import in_memory
from zipchat_dagster.warehouse.erasure import (
    Erasure,
    ErasureError,
    Person,
    Subject,
    erase,
    find_person,
    left_in_tables,
    lift,
    mentions,
    settle,
)
from zipchat_dagster.warehouse.places import PLACES
from zipchat_dagster.warehouse.privacy import Privacy
from zipchat_dagster.warehouse.search import pattern_of
from zipchat_dagster.warehouse.store import MessageWork
from zipchat_dagster.warehouse.suppression import let_in
from zipchat_dagster_tests.conftest import Open
from zipchat_dagster_tests.warehouse.support import ADA, Story, copied

KEY: Final = "0123456789abcdef" * 2
ANNA: Final = Lead(11, "Anna", "Zimt-Marked", "anna.marked@example.org", "+49 170 5550123")
OTHER: Final = Lead(12, "Otto", "Other", "otto@example.org", "+49 170 9990000")


def find(story: Story, **subject: Any) -> Person:
    with story.warehouse.transaction() as transaction:
        return find_person(transaction, Subject(**subject), chat_id=1)


def erased(story: Story, **subject: Any) -> Erasure:
    return erase(story.warehouse, Subject(**subject), chat_id=1, run_id="run", now=story.now)


@pytest.fixture
def story(place: Open) -> Story:
    """Anna has conversations 1 and 3, Otto 2 and 4, and 5 is an anonymous visitor's."""
    return copied(five_days, partial(place, privacy=Privacy(key=KEY)))


def five_days(place: Open) -> Story:
    story = Story(place, begins="2026-03-01")
    for day, lead in enumerate((ANNA, OTHER, ANNA, OTHER, None), start=1):
        story.at(f"2026-03-0{day} 10:00")
        begun = story.start(lead=lead, message=f"Hello, this is message one of {day}")
        story.ai(begun)
        story.escalate(begun)
        story.later(minutes=20)
        story.assign(begun, ADA)
        story.human(begun, ADA)
        story.resolve(begun)
        if day % 2:
            story.customer(begun, message=f'Thanks, "{day}" it is,\nthat was quick')
    story.run()
    story.later(hours=1)
    story.derive(*(f"2026-03-0{day}" for day in range(1, 7)))
    return story


def test_every_table_with_personal_data_is_erased_from_and_searched() -> None:
    searched = {table.name for table in places.searched_tables()}
    for table in schema_tables().values():
        is_personal = any(column.is_personal for column in table.columns)
        if is_personal and table.name != "users":  # of the shop's own people
            assert table.name in PLACES
            assert table.name in searched
    assert set(PLACES) <= searched


def test_after_an_erasure_the_rest_is_as_if_the_person_had_never_been_there(story: Story) -> None:
    person = find(story, lead_id=11)
    assert (person.traces.conversation_ids, person.traces.lead_ids) == ([1, 3], [11])
    assert "ANNA" not in repr(person).upper()
    others = {
        table: story.rows(f"from zipchat.{table} where conversation_id in (2, 4, 5) order by all")
        for table in ("raw_conversations", "raw_messages", *FACTS)
    }
    erasure = erased(story, lead_id=11)
    assert erasure.deleted == person.counts
    assert erasure.deleted["raw_messages"] == 8
    assert left_in_tables(story.warehouse, erasure)[:2] == ([], [])
    for table, rows in others.items():
        assert (
            story.rows(f"from zipchat.{table} where conversation_id in (2, 4, 5) order by all")
            == rows
        )

    story.derive()
    restated = story.derived()
    story.derive_again()
    assert story.derived() == restated
    assert [row[4:8] for row in restated["escalation_metrics"] if row[2] == "all"][:2] == [
        (0, 0, 0, 0),
        (1, 1, 1, 1),
    ]


def test_the_pattern_matches_each_word_and_nothing_else() -> None:
    words = [
        "a.b+c@example.org",
        'two\nlines "quoted" (x|y)*',
        "Größe 😀 [x]",
        "back\\slash^$ #-",
        "".join(map(chr, range(1, 128))),
    ]
    with in_memory("") as connection:

        def matches(text: str, *words: str) -> bool:
            found = connection.execute("select regexp_matches(?, ?)", [text, pattern_of(words)])
            return bool(found.fetchall()[0][0])

        for word in words:
            assert matches(f"before {word} after", *words)
            assert not matches(f"before {word[:-1]}", *words)
            assert not matches(word.replace(".", "-").replace("x", "z").upper(), *words)
        assert not matches("anything")


@pytest.mark.file
def test_a_table_that_the_erasure_leaves_out_is_found(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    with story.warehouse.connection() as connection:
        for statement in (
            "insert into zipchat.write_back_attempts (chat_id, conversation_id) values (1, 3)",
            "insert into zipchat.changed_conversations (chat_id, conversation_id) values (1, 3)",
            "insert into zipchat.rejected_records (chat_id, kind, payload) values"
            f""" (1, 'conversation', '{{"lead": {{"email": "{ANNA.email}"}}}}')""",
        ):
            connection.execute(statement)
    traces = find(story, lead_id=11).traces
    for left_out in PLACES:
        rest = {table: condition for table, condition in PLACES.items() if table != left_out}
        monkeypatch.setattr(places, "PLACES", rest)
        with pytest.raises(ZeroDivisionError), story.warehouse.transaction() as transaction:
            places.delete_rows(transaction, traces, chat_id=1)
            searched = {
                table.name: places.surviving_rows(transaction, table, traces, chat_id=1)
                for table in places.searched_tables()
            }
            found = {name: text for name, text in searched.items() if text}
            assert list(found) == [left_out]
            assert found[left_out].startswith(f"zipchat.{left_out} (")
            assert "nna" not in repr(found)
            raise ZeroDivisionError  # rolls back


def test_an_erased_person_stays_away_and_costs_no_requests(story: Story) -> None:
    usual, _ = story.sync()
    erased(story, lead_id=11)
    assert story.warehouse.scrub()
    for refresh in (True, False):
        requests, result = story.sync(refresh=refresh)
        assert result.missing == []
        assert result.failures == {}
    assert result.conversations == 0
    assert requests <= usual
    story.at("2026-03-06 12:00")
    again = story.start(lead=replace(ANNA, id=77, phone_number=None), message="It is me again")
    unknown = story.start()  # who it is shows later
    story.sync()
    count = "select count(*) from zipchat.raw_messages where conversation_id = "
    assert story.value(f"{count} {again}") == 0
    assert story.value(f"{count} {unknown}") == 1
    assert not story.warehouse.scrub()

    story.chat.conversations[unknown].lead = replace(ANNA, id=78, email=None)
    story.later(minutes=5)
    story.customer(unknown)
    story.sync()
    assert story.value(f"{count} {unknown}") == 0
    assert story.value("select count(*) from zipchat.raw_conversations") == 3
    with story.warehouse.transaction() as transaction:
        assert let_in(transaction, chat_id=1, days=1000) == []
    # Known by the conversation itself from now on.
    story.chat.conversations[unknown].lead = None
    story.sync(refresh=True)
    assert story.value(f"{count} {unknown}") == 0
    assert story.value("select min(hits) from zipchat.suppressions where kind = 'email'") >= 5

    assert story.warehouse.scrub()
    assert not story.warehouse.scrub()
    assert lift(story.warehouse, Subject(email=" ANNA.marked@example.org"), chat_id=1) > 4
    story.sync(refresh=True)
    story.assert_tables_agree()


@pytest.mark.file
def test_a_sync_that_was_under_way_brings_nothing_back(story: Story) -> None:
    work = [MessageWork(number, None, "2026-03-01") for number in (1, 3)]
    with story.client() as client:
        reads = [(item, client.read_conversation(item.conversation_id)) for item in work]
    erasure = erased(story, lead_id=11)
    with story.warehouse.transaction() as transaction:
        assert store.store_reads(transaction, reads, chat_id=1) == 0
        failures = [(item, "time-out") for item in work]
        store.store_failures(transaction, failures, story.now, chat_id=1)
        store.mark_not_found(transaction, [1, 3], story.now, chat_id=1)
    assert left_in_tables(story.warehouse, erasure)[0] == []


@pytest.mark.file
def test_leads_with_the_same_address_are_one_person(story: Story) -> None:
    story.at("2026-03-06 12:00")
    second = story.start(lead=Lead(13, "A.", "Z", "Anna.Marked@Example.org ", "+49 (171) 555-9999"))
    third = story.start(lead=Lead(14, None, None, "-", "+491715559999"))
    story.start(lead=Lead(15, None, None, "-", "0"))  # placeholders link nobody
    story.sync()
    for subject in (
        {"lead_id": 14},
        {"email": "ANNA.MARKED@example.org"},
        {"phone_number": "+49 170 555 0123"},
    ):
        person = find(story, **subject)
        assert person.traces.lead_ids == [11, 13, 14]
        assert person.traces.conversation_ids == [1, 3, second, third]
    for number in range(20, 30):
        story.start(lead=Lead(number, email=ANNA.email))
    story.sync()
    with pytest.raises(ErasureError, match=r"13 leads share .* Nothing was erased"):
        erased(story, lead_id=11)
    with pytest.raises(ErasureError, match="identifies nobody"):
        find(story, email="-")
    with pytest.raises(ErasureError, match="Give one of lead_id, conversation_id"):
        find(story, lead_id=1, email="a@b")


@pytest.mark.file
def test_a_conversation_that_changed_its_lead_belongs_to_both(story: Story) -> None:
    story.chat.conversations[4].lead = ANNA
    story.later(minutes=1)
    story.customer(4)
    story.sync()  # its facts still show Otto, and so would its other payload
    assert find(story, lead_id=12).traces.conversation_ids == [2, 4]
    erasure = erased(story, lead_id=12)
    assert left_in_tables(story.warehouse, erasure)[0] == []
    assert find(story, lead_id=11).traces.conversation_ids == [1, 3]


@pytest.mark.file
def test_an_anonymous_visitor_is_erased_by_their_conversation(story: Story) -> None:
    erasure = erased(story, conversation_id=5)
    assert left_in_tables(story.warehouse, erasure)[0] == []
    story.sync(refresh=True)
    assert story.rows("select conversation_id from zipchat.raw_conversations order by 1") == [
        (1,),
        (2,),
        (3,),
        (4,),
    ]


@pytest.mark.file
def test_other_chats_that_know_the_person_are_named_and_left_alone(story: Story) -> None:
    with story.warehouse.connection() as connection:
        connection.execute(
            "insert into zipchat.raw_conversations (chat_id, conversation_id, payload)"
            f" select 2, 1, json_object('email', '{ANNA.email}')"
        )
    erasure = erased(story, lead_id=11)
    places, other_chats, traces = left_in_tables(story.warehouse, erasure)
    assert (places, other_chats) == ([], [2])
    # The file still holds it, rightly, so it is not searched for.
    assert set(erasure.traces.words) - set(traces.words) == {ANNA.email}


@pytest.mark.file
def test_conversations_that_mention_the_person_are_named(story: Story) -> None:
    story.at("2026-03-06 12:00")
    story.customer(2, message=f"Please write to {ANNA.email}, too")
    story.sync()
    with story.warehouse.transaction() as transaction:
        person = find_person(transaction, Subject(lead_id=11), chat_id=1)
        assert mentions(transaction, person, chat_id=1) == [2]
    erasure = erased(story, lead_id=11)
    assert left_in_tables(story.warehouse, erasure)[0] == [
        "zipchat.raw_messages (1 rows: conversation_id 2)"
    ]
    erased(story, conversation_id=2)
    assert left_in_tables(story.warehouse, erasure)[0] == []


def test_an_interrupted_erasure_goes_on(story: Story) -> None:
    first = erased(story, lead_id=11)
    assert first.notes.stat().st_mode & 0o077 == 0
    again = erase(story.warehouse, Subject(lead_id=11), chat_id=1, run_id="2", now=story.now)
    assert (again.id, again.traces, again.deleted, again.is_known) == (
        "run",
        first.traces,
        first.deleted,
        True,
    )
    first.notes.unlink()  # another machine
    again = erase(story.warehouse, Subject(lead_id=11), chat_id=1, run_id="2", now=story.now)
    assert (again.id, again.deleted, again.is_known) == ("run", first.deleted, False)
    with story.warehouse.connection() as connection:  # as if a row had come back
        connection.execute(
            "insert into zipchat.raw_conversations (chat_id, conversation_id, lead_email, observed_at)"
            f" values (1, 99, '{ANNA.email}', now())"
        )
    assert left_in_tables(story.warehouse, again)[0] == [
        "zipchat.raw_conversations (1 rows of suppressed people)"
    ]
    settle(story.warehouse, again, "done", finished_at=story.now)
    assert not again.notes.exists()
    third = erase(story.warehouse, Subject(lead_id=11), chat_id=1, run_id="3", now=story.now)
    assert (third.id, third.is_known) == ("3", True)
    receipts = story.rows("select * exclude (begun_at) from zipchat.erasures order by erasure_id")
    assert [row[1] for row in receipts] == ["3", "run"]
    assert "nna" not in repr(receipts)


def test_what_an_erasure_that_failed_has_noted_is_removed_by_the_next(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_: object) -> None:
        raise KeyboardInterrupt

    def noted() -> list[Path]:
        return sorted(story.warehouse.path.parent.glob(".*erasing*"))

    before = noted()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(story.warehouse._engine, "commit", killed)
        erase(story.warehouse, Subject(lead_id=11), chat_id=1, run_id="failed", now=story.now)
    assert find(story, lead_id=11).traces.conversation_ids == [1, 3]
    erasure = erased(story, lead_id=11)
    assert erasure.is_known
    settle(story.warehouse, erasure, "done", finished_at=story.now)
    assert noted() == before


@pytest.mark.file
def test_without_the_key_nothing_is_erased(place: Open) -> None:
    story = Story(place)
    story.start(lead=ANNA)
    story.sync()
    with pytest.raises(ErasureError, match="Set ZIPCHAT_PII_KEY"):
        erased(story, lead_id=11)
    assert story.value("select count(*) from zipchat.raw_messages") == 1


@pytest.mark.file
@pytest.mark.parametrize("mode", ["hash", "drop"])
def test_masked_records_are_erased_too(place: Open, mode: Any) -> None:
    privacy = Privacy(mode, mode, mode, key=KEY)
    story = Story(lambda **options: place(privacy=privacy, **options))
    first = story.start(lead=ANNA)
    second = story.start(lead=replace(ANNA, id=13))
    story.start(lead=OTHER)
    story.run()
    subject = {"email": ANNA.email} if mode == "hash" else {"lead_id": 11}
    person = find(story, **subject)
    assert person.traces.conversation_ids == ([first, second] if mode == "hash" else [first])
    erasure = erased(story, **subject)
    assert left_in_tables(story.warehouse, erasure)[0] == []
    story.sync(refresh=True)
    assert story.value("select count(*) from zipchat.raw_conversations") == (
        1 if mode == "hash" else 2
    )
