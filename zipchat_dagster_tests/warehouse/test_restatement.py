"""Restatement: a run for today alone also stores the days that changed, and no others."""

from __future__ import annotations

import pytest

from zipchat_dagster.warehouse.business_hours import BusinessHours
from zipchat_dagster_tests.conftest import Open
from zipchat_dagster_tests.warehouse.support import ADA, BO, Story, copied, days_between, moment


@pytest.fixture
def week(place: Open) -> Story:
    """Monday 2 to Thursday 5 March; each day a conversation that is escalated at 10:00 and waits.
    Everything is computed as of Thursday, 12:00."""
    return copied(four_days, place)


def four_days(place: Open) -> Story:
    story = Story(place)
    for day in days_between("2026-03-02", "2026-03-05"):
        story.at(f"{day} 10:00")
        story.escalate(story.start())
    story.at("2026-03-05 12:00")
    story.sync()
    story.derive(*days_between("2026-03-02", "2026-03-05"))
    return story


def assert_only_restated(story: Story, *days: str) -> None:
    """A run for today writes today and these days; the rows of the others are left alone."""
    before = story.computed_at()
    story.later(minutes=1)
    assert story.run() == [*days, "2026-03-05"]
    after = story.computed_at()
    assert {day for day in after if after[day] != before[day]} == {*days, "2026-03-05"}
    story.later(minutes=1)
    assert story.run() == ["2026-03-05"]


def test_when_nothing_changed_only_today_is_written(week: Story) -> None:
    assert_only_restated(week)


def test_a_late_resolution_restates_the_day_of_the_escalation(week: Story) -> None:
    tuesday = list(week.chat.conversations)[1]
    week.resolve(tuesday)
    assert_only_restated(week, "2026-03-03")
    row = week.metrics("2026-03-03")
    assert (row["resolved"], row["still_open"]) == (1, 0)
    assert row["resolution_seconds_p50"] == 2 * 86_400 + 2 * 3600


def test_a_resolution_that_was_seen_late_also_restates_the_backlog_of_the_days_between(
    week: Story,
) -> None:
    tuesday = list(week.chat.conversations)[1]
    week.chat.resolve(tuesday, at=moment("2026-03-04 15:00"))
    assert_only_restated(week, "2026-03-03", "2026-03-04")
    backlogs = [week.metrics(day)["backlog_at_day_end"] for day in sorted(week.computed_at())]
    assert backlogs == [1, 2, 2, 3]


def test_a_first_response_on_a_later_day_restates_the_day_of_the_escalation(week: Story) -> None:
    wednesday = list(week.chat.conversations)[2]
    week.assign(wednesday, ADA)
    week.human(wednesday, ADA)
    assert_only_restated(week, "2026-03-04")
    row = week.metrics("2026-03-04")
    assert (row["unanswered"], row["first_response_seconds_p50"]) == (0, 86_400 + 2 * 3600)
    assert week.metrics("2026-03-05")["human_messages"] == 1


def test_a_next_response_on_a_later_day_restates_the_day_of_the_question(place: Open) -> None:
    story = Story(place)
    ids = story.play("""
        03-02 10:00     A start, A escalate
        03-02 11:00     A human Ada
        03-03 10:00     A customer
        03-04 00:05     A ai  # the newest message is read again, and this one answers nothing
        03-04 00:06     sync
    """)
    story.derive(*days_between("2026-03-02", "2026-03-04"))
    assert story.metrics("2026-03-03")["next_response_seconds_p50"] is None
    story.at("2026-03-04 09:00")
    story.human(ids["A"], BO)
    story.later(minutes=1)
    assert story.run() == ["2026-03-03", "2026-03-04"]
    for slice_ in (("all", "all"), ("agent", f"{BO}")):
        assert story.metrics("2026-03-03", *slice_)["next_response_seconds_p90"] == 23 * 3600


def test_messages_of_an_old_day_that_come_late_restate_that_day(week: Story) -> None:
    monday = next(iter(week.chat.conversations))
    late = week.chat.add_message(monday, at=moment("2026-03-02 23:59:59"), role="assistant")
    assert late.created_at == moment("2026-03-02 23:59:59")
    week.sync(refresh=True)  # nothing else lists so far back
    assert_only_restated(week, "2026-03-02")
    assert week.metrics("2026-03-02")["ai_messages"] == 1


def test_a_new_channel_for_an_old_conversation_leaves_no_row_of_the_old_one(week: Story) -> None:
    monday = next(iter(week.chat.conversations))
    week.chat.conversations[monday].channel = "email"
    week.customer(monday)
    week.later(minutes=1)
    week.run()
    assert week.rows(
        "select dimension_value from zipchat.escalation_metrics"
        " where partition_date = '2026-03-02' and dimension = 'channel'"
    ) == [("email",)]


def test_a_new_channel_restates_every_day_on_which_the_conversation_was_active(
    place: Open,
) -> None:
    story = Story(place)
    days = days_between("2026-03-02", "2026-03-04")
    story.at(f"{days[0]} 10:00")
    conversation_id = story.start()
    for day in days[1:]:
        story.at(f"{day} 10:00")
        story.customer(conversation_id)
    story.sync()
    story.derive(*days)
    story.chat.conversations[conversation_id].channel = "email"
    story.at("2026-03-05 10:00")
    story.customer(conversation_id)
    assert story.run() == [*days, "2026-03-05"]
    for day in days:
        assert story.metrics(day, "channel", "email")["customer_messages"] == 1


def test_other_business_hours_or_another_target_restate_every_day(week: Story) -> None:
    for conversation_id in week.chat.conversations:
        week.human(conversation_id, ADA)
    week.run()
    days = days_between("2026-03-02", "2026-03-05")
    assert week.derive(response_target_seconds=60) == days
    hours = BusinessHours.parse("mon-fri 11:00-12:00", "UTC")
    assert week.derive(response_target_seconds=60, business_hours=hours) == days
    # An hour on each day from the escalation's to Thursday
    found = [week.metrics(day)["first_response_business_seconds_p50"] for day in days]
    assert found == [4 * 3600, 3 * 3600, 2 * 3600, 3600]


def test_days_that_were_never_computed_are_not_computed_unless_requested(week: Story) -> None:
    week.at("2026-03-09 10:00")
    week.resolve(next(iter(week.chat.conversations)))
    assert week.run() == ["2026-03-02", "2026-03-05", "2026-03-09"]  # the 5th had not ended yet
