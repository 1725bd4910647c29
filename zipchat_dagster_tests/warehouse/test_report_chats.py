"""The figures of the report of all chats, now and as they stood one range before."""

from __future__ import annotations

from typing import Any

import pandas as pd

from zipchat_dagster.report.chats import ListedChat, read_chats
from zipchat_dagster_tests.conftest import Open
from zipchat_dagster_tests.warehouse.support import Story

TARGET = 7200.0


def figures(story: Story, table: str) -> dict[Any, Any]:
    """The chat's row of a table of the page, for the last two days and the two before."""
    chat = ListedChat(story.chat.chat_id, "shop", "shop.html", TARGET)
    found = read_chats(story.warehouse, [chat], days=2, now=story.now)["tables"][table]
    rows = pd.DataFrame(found["rows"], columns=found["columns"]).set_index("chat")
    return rows.loc[chat.chat_id].to_dict()


def test_a_response_is_due_once_the_escalation_has_ended(place: Open) -> None:
    """Two escalations that nobody answers, resolved long before their target; in a range that `now`
    ends, and again in the range before the one that now ends."""
    story = Story(place, begins="2026-03-01")
    story.at("2026-03-02 11:00")
    one, other = story.start(), story.start()
    story.escalate(one)
    story.escalate(other)
    story.at("2026-03-02 11:30")
    story.resolve(one)
    story.run()
    due = ("escalations", "due", "in_time")
    now = figures(story, "now_range")
    assert [now[name] for name in due] == [2, 1, 0]  # the moment that one ends counts

    story.at("2026-03-02 11:40")
    story.resolve(other)
    for at, counted in (
        ("2026-03-04 11:20", 0),
        ("2026-03-04 11:30", 1),
        ("2026-03-04 11:50", 2),
    ):
        story.at(at)
        story.run()
        before = figures(story, "before_range")
        assert [before[name] for name in due] == [2, counted, 0], at


def test_only_customers_who_wait_for_an_answer_count_as_waiting(place: Open) -> None:
    story = Story(place, begins="2026-03-01")
    story.play("""
        03-02 08:00     A start, A escalate, B start, B escalate, C start, C escalate
        03-02 09:00     A human Ada  # it waits for nothing but the resolution
                        B human Ada
        03-02 11:00     B customer, sync
    """)
    story.derive(response_target_seconds=TARGET, next_response_target_seconds=TARGET)
    chat = figures(story, "chats")
    assert [chat[name] for name in ("waiting", "late", "open")] == [2, 1, 3]
    assert chat["since"] == story.now.replace(hour=8).timestamp()
