"""`escalation_metrics`: one day computed by hand, random ones computed in another way, and which days
a run computes again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from zipchat_dagster.warehouse import schema_tables
from zipchat_dagster.warehouse.business_hours import BusinessHours
from zipchat_dagster.warehouse.derive import Rules, rebuild_metrics
from zipchat_dagster_tests.conftest import Open, opened_on, thorough
from zipchat_dagster_tests.warehouse.facts_by_hand import ByHand
from zipchat_dagster_tests.warehouse.support import (
    ADA,
    BO,
    CY,
    METRICS,
    RandomChat,
    Story,
    days_between,
    moment,
    percentiles,
    quantile,
    ratio,
)

OFFICE = "mon-fri 09:00-17:00"
ATTACHMENT = '[{"type": "image", "source": {"url": "https://files.example.com/1.jpg"}}]'

# Tuesday, 3 March 2026, in UTC, as seen on Friday, 6 March, 12:00. Agents are in the office from
# 9 to 17 on weekdays; an answer is in time within 40 minutes (2400 s).
#
#     conversation       escalated   first response              business   resolved        open at midnight
# A1  web, Ada           08:30:00    09:10:00   2400 s           600 s      10:00:00  5400 s
# A2  the same           15:00:05    00:30:05  34200 s (4 Mar)  7195 s      09:00:05 64800 s (4 Mar)   32395 s
# B   whatsapp, Bo       10:00:00    10:00:00      0 s             0 s      10:00:00 172800 s (5 Mar)  50400 s
# E   web, nobody        13:05:00    none                                   never                      39300 s
# G   web, nobody        26 Feb 09:10:00, none                              never                     485400 s
#
# A1 waits in business time from 09:00 to 09:10; A2 from 15:00:05 to 17:00 (half past midnight is
# before the next opening). Bo left the chat on 4 March. B is resolved without a message.
# Nobody asks again after a first response. E is abandoned: its customer was silent for a day.
# C (email) is one attachment, D (instagram) is the AI's alone, F (messenger) is answered by Cy
# without an escalation. B began on 2 March at 23:50, G on 26 February. So on that day:
#
# all        started A C D E F; active A B C D E F; escalated A B E of 6; contained C D of 6
#            responses 0 2400 34200: p50 2400, p90 2400 + 0.8 * 31800, p95 2400 + 0.9 * 31800
#            business  0 600 7195:   p50 600,  p90 600 + 0.8 * 6595,   p95 600 + 0.9 * 6595
#            resolutions in business time 3600 7200 57600: p90 7200 + 0.8 * 50400
#            in time A1 B of 4; resolutions 5400 64800 172800: p50 64800,
#            p90 64800 + 0.8 * 108000, mean 243000 / 3
#            backlog 32395 39300 50400 485400: p50 (39300 + 50400) / 2
#            customers A 2, B 1, C 1, D 2, E 1, F 1; AI A 2, B 1, D 2; people A 1, B 1, F 1
# web        started A E; active A E, both escalated; responses 2400 34200: p50 18300,
#            p90 2400 + 0.9 * 31800, p95 2400 + 0.95 * 31800; business 600 7195; in time 1 of 3;
#            resolutions 5400 64800; backlog 32395 39300 485400
# Ada        A1 and A2 as on the web, without E: in time 1 of 2; backlog A2
# unassigned E; backlog E and G: p50 (39300 + 485400) / 2
GOLDEN = """
                                     all      web      whatsapp email instagram messenger 1       2      3 unassigned
conversations_started                5        2        0        1     1         1         -       -      - -
conversations_active                 6        2        1        1     1         1         -       -      - -
escalated_conversations              3        2        1        0     0         0         1       1      0 1
escalations                          4        3        1        0     0         0         2       1      0 1
reescalations                        1        1        0        0     0         0         1       0      0 0
resolved                             3        2        1        0     0         0         2       1      0 0
still_open                           1        1        0        0     0         0         0       0      0 1
unanswered                           1        1        0        0     0         0         0       0      0 1
escalation_rate                      3/6      2/2      1/1      0/1   0/1       0/1       -       -      - -
containment_rate                     2/6      0/2      0/1      1/1   1/1       0/1       -       -      - -
resolution_rate                      3/4      2/3      1/1      -     -         -         2/2     1/1    - 0/1
first_response_seconds_p50           2400     18300    0        -     -         -         18300   0      - -
first_response_seconds_p90           27840    31020    0        -     -         -         31020   0      - -
first_response_seconds_p95           31020    32610    0        -     -         -         32610   0      - -
first_response_business_seconds_p50  600      3897.5   0        -     -         -         3897.5  0      - -
first_response_business_seconds_p90  5876     6535.5   0        -     -         -         6535.5  0      - -
first_response_business_seconds_p95  6535.5   6865.25  0        -     -         -         6865.25 0      - -
answered_within_target_rate          2/4      1/3      1/1      -     -         -         1/2     1/1    - 0/1
pending_within_target                0        0        0        0     0         0         0       0      0 0
resolution_seconds_p50               64800    35100    172800   -     -         -         35100   172800 - -
resolution_seconds_p90               151200   58860    172800   -     -         -         58860   172800 - -
resolution_seconds_mean              81000    35100    172800   -     -         -         35100   172800 - -
resolution_business_seconds_p50      7200     5400     57600    -     -         -         5400    57600  - -
resolution_business_seconds_p90      47520    6840     57600    -     -         -         6840    57600  - -
next_response_seconds_p50            -        -        -        -     -         -         -       -      - -
next_response_seconds_p90            -        -        -        -     -         -         -       -      - -
responses_under_1h                   2        1        1        0     0         0         1       1      0 0
responses_1h_to_4h                   0        0        0        0     0         0         0       0      0 0
responses_4h_to_8h                   0        0        0        0     0         0         0       0      0 0
responses_8h_to_24h                  1        1        0        0     0         0         1       0      0 0
responses_over_24h                   0        0        0        0     0         0         0       0      0 0
one_touch                            3        2        1        0     0         0         2       1      0 0
abandoned                            1        1        0        0     0         0         0       0      0 1
backlog_at_day_end                   4        3        1        0     0         0         1       1      0 2
backlog_age_seconds_p50              44850    39300    50400    -     -         -         32395   50400  - 262350
backlog_age_seconds_max              485400   485400   50400    -     -         -         32395   50400  - 485400
customer_messages                    8        3        1        1     2         1         -       -      - -
ai_messages                          5        2        1        0     2         0         -       -      - -
human_messages                       3        1        1        0     0         1         1       1      1 0
"""


@pytest.fixture(scope="module", params=["file", pytest.param("lake", marks=thorough)])
def golden(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Story]:
    """The story above, seen by an hourly run now and then; metrics of 20 February to 6 March."""
    with opened_on(request.param, request, tmp_path_factory.mktemp("golden")) as place:
        yield told(Story(place))


def told(story: Story) -> Story:
    story.at("2026-02-26 09:00")
    g = story.start()
    story.at("2026-02-26 09:10")
    story.escalate(g)
    story.sync()

    story.at("2026-03-02 23:50")
    b = story.start("whatsapp")
    story.at("2026-03-03 08:00")
    a = story.start()
    story.at("2026-03-03 08:00:10")
    story.ai(a)
    story.at("2026-03-03 08:30")
    story.escalate(a)
    story.ai(a)
    story.at("2026-03-03 08:45")
    story.sync()
    story.at("2026-03-03 09:10")
    story.assign(a, ADA)
    story.human(a, ADA)
    story.at("2026-03-03 09:30")
    story.sync()

    story.at("2026-03-03 10:00")
    story.resolve(a)
    story.assign(a, None)
    story.customer(b)
    story.ai(b)
    story.escalate(b)
    story.assign(b, BO)
    story.human(b, BO)
    story.at("2026-03-03 11:00")
    story.start("email", message=ATTACHMENT)
    story.at("2026-03-03 12:00")
    d = story.start("instagram")
    story.at("2026-03-03 12:00:04")
    story.ai(d)
    story.at("2026-03-03 12:01")
    story.customer(d)
    story.at("2026-03-03 12:01:03")
    story.ai(d)
    story.sync()

    story.at("2026-03-03 13:00")
    e = story.start()
    story.at("2026-03-03 13:05")
    story.escalate(e)
    story.at("2026-03-03 14:00")
    f = story.start("messenger")
    story.at("2026-03-03 14:20")
    story.assign(f, CY)
    story.human(f, CY)
    story.at("2026-03-03 15:00")
    story.customer(a)
    story.at("2026-03-03 15:00:05")
    story.escalate(a)
    story.at("2026-03-03 16:00")
    story.sync()

    story.at("2026-03-04 00:30:05")
    story.assign(a, ADA)
    story.human(a, ADA)
    story.at("2026-03-04 06:00")
    story.sync()
    story.chat.remove_user(BO, at=story.now)
    story.at("2026-03-04 09:00:05")
    story.resolve(a)
    story.at("2026-03-04 10:00")
    story.sync()

    story.at("2026-03-05 10:00")
    story.resolve(b)
    story.at("2026-03-06 12:00")
    story.sync()
    golden_derived(story)
    return story


def golden_derived(story: Story) -> None:
    story.derive(
        *days_between("2026-02-20", "2026-03-06"),
        business_hours=BusinessHours.parse(OFFICE, "UTC"),
        response_target_seconds=2400,
    )


def assert_alike(found: dict[str, Any], expected: dict[str, float | None]) -> None:
    """Equal but for what floating-point numbers cannot tell."""
    for column, value in expected.items():
        if value is None:
            assert found[column] is None, column
        else:
            assert found[column] == pytest.approx(value, rel=1e-9), column


def golden_slices() -> dict[str, dict[str, float | None]]:
    head, *lines = GOLDEN.strip("\n").splitlines()
    names = head.split()
    slices: dict[str, dict[str, float | None]] = {name: {} for name in names}
    for line in lines:
        column, *cells = line.split()
        for name, cell in zip(names, cells, strict=True):
            over, _, under = cell.partition("/")
            slices[name][column] = None if cell == "-" else float(over) / float(under or 1)
    return slices


def test_the_golden_day_has_these_slices_and_no_other(golden: Story) -> None:
    found = golden.rows(
        "select dimension, dimension_value from zipchat.escalation_metrics"
        " where partition_date = '2026-03-03'"
    )
    agents = {("agent", name) for name in ("1", "2", "3", "unassigned")}
    channels = {
        ("channel", name) for name in ("web", "whatsapp", "email", "instagram", "messenger")
    }
    assert set(found) == {("all", "all")} | channels | agents
    assert len(found) == len(set(found))


@pytest.mark.parametrize("name", list(golden_slices()))
def test_the_golden_day_is_as_computed_by_hand(golden: Story, name: str) -> None:
    is_agent = name in ("1", "2", "3", "unassigned")
    dimension = "all" if name == "all" else "agent" if is_agent else "channel"
    row = golden.metrics("2026-03-03", dimension, name)
    expected = golden_slices()[name]
    assert list(expected) == METRICS
    assert_alike(row, expected)


def test_an_empty_day_is_one_row_of_zeros_and_nulls(golden: Story) -> None:
    row = golden.metrics("2026-02-21")
    assert golden.rows(
        "select count(*) from zipchat.escalation_metrics where partition_date = '2026-02-21'"
    ) == [(1,)]
    counts = {
        column.name
        for column in schema_tables()["escalation_metrics"].columns
        if column.type == "bigint"
    }
    for column in METRICS:
        assert row[column] == (0 if column in counts else None), column


def test_a_day_without_a_message_still_shows_its_backlog(golden: Story) -> None:
    row = golden.metrics("2026-03-01")
    assert row["conversations_active"] == row["escalations"] == 0
    assert row["backlog_at_day_end"] == 1
    # G, from 26 February 09:10 to 2 March 00:00: 3 days, 14 hours, 50 minutes
    assert row["backlog_age_seconds_max"] == 312_600
    assert row["escalation_rate"] is row["containment_rate"] is row["resolution_rate"] is None


def test_without_business_hours_and_target_their_columns_are_null(golden: Story) -> None:
    with_both = golden.metrics("2026-03-03")
    day = ["2026-03-03"]
    golden.derive(*day)
    row = golden.frame(
        "from zipchat.escalation_metrics where partition_date = '2026-03-03' and dimension = 'all'"
    )
    golden_derived(golden)  # as it was, since the fixture is everybody's
    for column in METRICS:
        if "business" in column or "target" in column or with_both[column] is None:
            assert row[column].isna().all()
        else:
            assert row[column][0] == with_both[column]


# The same in another way: loops over what was seen, one day and one slice at a time.


@dataclass(frozen=True)
class Seen:
    """What the raw tables hold, and what follows for each escalation."""

    zone: str
    now: pd.Timestamp
    target: float | None
    conversations: pd.DataFrame
    messages: pd.DataFrame
    escalations: pd.DataFrame
    next_responses: pd.DataFrame


def seen_by(random_chat: RandomChat) -> Seen:
    story, rules = random_chat.story, random_chat.rules
    conversations = story.frame("from zipchat.raw_conversations")
    conversations["channel"] = conversations["channel"].fillna("unknown")
    messages = story.frame("from zipchat.raw_messages").merge(
        conversations[["conversation_id", "channel"]], on="conversation_id"
    )
    messages["agent"] = agents(messages["sender_id"])
    facts = ByHand(story, rules, random_chat.office).tables
    escalations, events = pd.DataFrame(facts["escalations"]), pd.DataFrame(facts["sla_events"])
    replies = events[(events["metric"] == "next_response") & events["is_kept"]].copy()
    for frame in (escalations, replies):
        frame["channel"] = frame["channel"].fillna("unknown")
    replies["agent"] = agents(replies["agent_id"])
    escalations["agent"] = agents(
        escalations["assignee_id"].combine_first(escalations["first_responder_id"])
    )
    escalations["ended_at"] = pd.to_datetime(escalations["ended_at"], utc=True)
    first = escalations.groupby("conversation_id")["escalated_at"].transform("min")
    escalations["is_further"] = escalations["escalated_at"] > first
    return Seen(
        story.warehouse.timezone,
        pd.Timestamp(story.now),
        rules.response_target_seconds,
        conversations,
        messages,
        escalations,
        replies,
    )


def agents(ids: pd.Series) -> list[str]:
    return ["unassigned" if pd.isna(i) else str(int(i)) for i in ids]


def metrics_of(seen: Seen, day: str) -> Iterator[tuple[tuple[str, str], dict[str, float | None]]]:
    """Each slice of a day with all its columns."""
    starts = pd.Timestamp(day, tz=seen.zone)
    ends = starts + pd.DateOffset(days=1)
    closes = min(ends, seen.now)
    escalations = seen.escalations
    has_come, is_over = (
        (escalations[column] < ends) & (escalations[column] <= seen.now)
        for column in ("escalated_at", "ended_at")
    )
    waiting = escalations[has_come & ~is_over & (starts <= seen.now)]
    waiting = waiting.assign(age=(closes - waiting["escalated_at"]).dt.total_seconds())

    def on_day(frame: pd.DataFrame, column: str) -> pd.DataFrame:
        return frame[(frame[column] >= starts) & (frame[column] < ends)]

    started = on_day(seen.conversations, "created_at")
    written = on_day(seen.messages, "created_at")
    escalated = on_day(escalations, "escalated_at")
    replied = on_day(seen.next_responses, "starts_at")
    by_people = written[written["manual_reply"] == True]  # noqa: E712 - it can be NULL

    slices = {("all", "all")}
    for frame in (started, written, escalated, waiting, replied):
        slices |= {("channel", name) for name in frame["channel"]}
    for frame in (by_people, escalated, waiting, replied):
        slices |= {("agent", name) for name in frame["agent"]}
    for dimension, value in slices:

        def of(frame: pd.DataFrame, dimension: str = dimension, value: str = value) -> pd.DataFrame:
            return frame if dimension == "all" else frame[frame[dimension] == value]

        mine, open_then, people = of(escalated), of(waiting), of(by_people)
        has_talk = dimension != "agent"
        talk = of(written) if has_talk else written[:0]
        active = set(talk["conversation_id"]) | (
            set(mine["conversation_id"]) if has_talk else set()
        )
        not_contained = set(escalated["conversation_id"]) | set(by_people["conversation_id"])
        ai = talk[(talk["role"] == "assistant") & (talk["manual_reply"] != True)]  # noqa: E712
        response = mine["first_response_seconds"]
        buckets = [
            ((response >= low * 3600) & (response < high * 3600)).sum()
            for low, high in ((0, 1), (1, 4), (4, 8), (8, 24), (24, 1e9))
        ]
        is_pending = mine["first_response_at"].isna() & mine["ended_at"].isna()
        in_time = pending = None
        if seen.target is not None:
            is_pending &= (seen.now - mine["escalated_at"]).dt.total_seconds() < seen.target
            in_time, pending = (response <= seen.target).sum(), is_pending.sum()
        yield (
            (dimension, value),
            {
                "conversations_started": len(of(started)) if has_talk else None,
                "conversations_active": len(active) if has_talk else None,
                "escalated_conversations": mine["conversation_id"].nunique(),
                "escalations": len(mine),
                "reescalations": mine["is_further"].sum(),
                "resolved": mine["resolved_at"].notna().sum(),
                "still_open": mine["ended_at"].isna().sum(),
                "unanswered": mine["first_response_at"].isna().sum(),
                "escalation_rate": ratio(mine["conversation_id"].nunique(), len(active)),
                "containment_rate": ratio(len(active - not_contained), len(active)),
                "resolution_rate": ratio(mine["resolved_at"].notna().sum(), len(mine)),
                **percentiles(mine, "first_response_seconds", 50, 90, 95),
                **percentiles(mine, "first_response_business_seconds", 50, 90, 95),
                "answered_within_target_rate": ratio(in_time, len(mine) - (pending or 0)),
                "pending_within_target": pending,
                **percentiles(mine, "resolution_seconds", 50, 90),
                "resolution_seconds_mean": ratio(
                    mine["resolution_seconds"].sum(), mine["resolution_seconds"].count()
                ),
                **percentiles(mine, "resolution_business_seconds", 50, 90),
                "next_response_seconds_p50": quantile(of(replied)["elapsed_seconds"], 0.5),
                "next_response_seconds_p90": quantile(of(replied)["elapsed_seconds"], 0.9),
                "responses_under_1h": buckets[0],
                "responses_1h_to_4h": buckets[1],
                "responses_4h_to_8h": buckets[2],
                "responses_8h_to_24h": buckets[3],
                "responses_over_24h": buckets[4],
                "one_touch": mine["is_one_touch"].sum(),
                "abandoned": mine["is_abandoned"].sum(),
                "backlog_at_day_end": len(open_then),
                "backlog_age_seconds_p50": quantile(open_then["age"], 0.5),
                "backlog_age_seconds_max": quantile(open_then["age"], 1.0),
                "customer_messages": (talk["role"] == "user").sum() if has_talk else None,
                "ai_messages": len(ai) if has_talk else None,
                "human_messages": len(people),
            },
        )


def test_pandas_computes_the_same_for_random_chats(random_chat: RandomChat) -> None:
    """Twelve days of a chat that changes, some of them around a change of the clocks."""
    story, days = random_chat.story, random_chat.days
    seen = seen_by(random_chat)
    computed = story.frame("from zipchat.escalation_metrics").astype(object)
    computed = computed.where(computed.notna(), None)
    for day, rows in computed.groupby(computed["partition_date"].astype("str").str[:10]):
        found = rows.set_index(["dimension", "dimension_value"])
        expected = dict(metrics_of(seen, str(day)))
        assert set(found.index) == set(expected), day
        for key, columns in expected.items():
            assert list(columns) == METRICS
            assert_alike(found.loc[key].to_dict(), columns)
    assert computed["partition_date"].nunique() == len(days)

    # Without these the comparison would prove little.
    derived = seen.escalations
    assert len(derived) >= 8
    assert derived["resolution_seconds"].notna().any()
    assert derived["is_further"].any()
    assert (derived["agent"] == "unassigned").any()
    for table, condition in (
        ("escalations", "superseded_at is not null"),
        ("escalations", "assignee_id is null and first_responder_id is not null"),
        ("raw_conversations", "channel is null"),
        ("raw_messages", "manual_reply and sender_id is null"),
    ):
        assert story.value(f"select count(*) from zipchat.{table} where {condition}"), condition


# Days and their edges


@pytest.mark.parametrize(
    ("zone", "day", "starts", "ends"),
    [
        ("America/New_York", "2026-03-08", "2026-03-08 05:00", "2026-03-09 04:00"),  # 23 hours
        ("America/New_York", "2026-11-01", "2026-11-01 04:00", "2026-11-02 05:00"),  # 25 hours
        ("Europe/Berlin", "2026-10-25", "2026-10-24 22:00", "2026-10-25 23:00"),
        ("Asia/Kolkata", "2026-03-08", "2026-03-07 18:30", "2026-03-08 18:30"),
        # The clocks go back from 01:00 to 00:00: midnight comes twice.
        ("Atlantic/Azores", "2026-10-25", "2026-10-25 00:00", "2026-10-26 01:00"),
        # They go forward from 00:00 to 01:00: there is no midnight.
        ("Africa/Cairo", "2026-04-24", "2026-04-23 22:00", "2026-04-24 21:00"),
    ],
)
def test_a_day_has_the_edges_of_its_time_zone(
    place: Open, zone: str, day: str, starts: str, ends: str
) -> None:
    """Four conversations, each escalated as it begins and open ever since: a second before the
    day, at its first moment, in its last second, at the next day's first moment."""
    second = timedelta(seconds=1)
    edges = [moment(starts) - second, moment(starts), moment(ends) - second, moment(ends)]
    story = Story(place, timezone=zone)
    for edge in edges:
        story.at(edge.isoformat(sep=" ")[:19])
        story.escalate(story.start())
    story.later(days=3)
    story.sync()
    before, after = (f"{pd.Timestamp(day) + timedelta(days=n):%Y-%m-%d}" for n in (-1, 1))
    story.derive(before, day, after)
    for table in ("raw_conversations", "raw_messages", "escalations"):
        assert story.rows(
            f"select strftime(partition_date, '%Y-%m-%d') from zipchat.{table} order by 1"
        ) == [(before,), (day,), (day,), (after,)]
    length = (moment(ends) - moment(starts)).total_seconds()
    for name, started, backlog, oldest in (
        (before, 1, 1, 1),
        (day, 2, 3, length + 1),
    ):
        row = story.metrics(name)
        assert row["conversations_started"] == row["conversations_active"] == started
        assert row["escalations"] == row["customer_messages"] == started
        assert (row["backlog_at_day_end"], row["backlog_age_seconds_max"]) == (backlog, oldest)


def test_what_ends_at_midnight_was_open_when_the_day_ended(place: Open) -> None:
    """The day is half-open, as its escalations are: at its end means just before midnight."""
    story = Story(place)
    story.at("2026-03-03 22:00")
    conversation_id = story.start()
    story.escalate(conversation_id)
    story.at("2026-03-04 00:00")
    story.resolve(conversation_id)
    story.later(hours=1)
    story.sync()
    story.derive("2026-03-03", "2026-03-04")
    assert story.metrics("2026-03-03")["backlog_age_seconds_max"] == 7200
    assert story.metrics("2026-03-04")["backlog_at_day_end"] == 0


def test_todays_backlog_is_the_one_of_now_and_a_day_to_come_has_none(place: Open) -> None:
    story = Story(place)
    story.at("2026-03-03 10:00")
    story.escalate(story.start())
    story.later(hours=2)
    story.sync()
    story.derive("2026-03-03", "2026-03-04")
    today, tomorrow = story.metrics("2026-03-03"), story.metrics("2026-03-04")
    assert (today["backlog_at_day_end"], today["backlog_age_seconds_max"]) == (1, 7200)
    assert (tomorrow["backlog_at_day_end"], tomorrow["backlog_age_seconds_max"]) == (0, None)


def test_another_time_zone_moves_what_was_stored_to_other_days(place: Open) -> None:
    story = Story(place)
    story.at("2026-03-03 23:30")  # the 4th in Berlin
    conversation_id = story.start()
    story.escalate(conversation_id)
    story.later(hours=1)
    story.sync()
    assert story.derive("2026-03-03", "2026-03-04") == ["2026-03-03", "2026-03-04"]
    assert story.metrics("2026-03-03")["escalations"] == 1

    story.warehouse = place(timezone="Europe/Berlin")
    assert story.derive() == ["2026-03-03", "2026-03-04"]
    for day, expected in (("2026-03-03", 0), ("2026-03-04", 1)):
        row = story.metrics(day)
        assert row["conversations_started"] == row["escalations"] == expected
        assert row["customer_messages"] == expected


def test_an_empty_chat_has_every_table_and_a_row_of_nothing(place: Open) -> None:
    story = Story(place)
    story.at("2026-03-03 10:00")
    assert story.run() == ["2026-03-03"]
    for table in schema_tables():
        expected = {
            "escalation_metrics": 1,
            "users": 3,
            "listing_coverage": 1,
            "activity_by_hour": 11,  # of today, until 10:00
            "warehouse_settings": 4,
            "stale_days": 1,  # today
        }.get(table, 0)
        assert story.value(f"select count(*) from zipchat.{table}") == expected
    row = story.metrics("2026-03-03")
    assert {row[column] for column in METRICS} == {0, None}
    assert row["escalation_rate"] is row["first_response_seconds_p50"] is None


# Cases at the edge of a definition


def test_a_resolution_in_the_second_of_the_escalation_ends_it(place: Open) -> None:
    story = Story(place)
    story.at("2026-03-03 10:00")
    conversation_id = story.start()
    story.escalate(conversation_id)
    story.resolve(conversation_id)
    story.later(hours=1)
    story.run()
    row = story.metrics("2026-03-03")
    assert (row["resolved"], row["still_open"], row["backlog_at_day_end"]) == (1, 0, 0)
    assert row["resolution_seconds_p50"] == row["resolution_seconds_mean"] == 0


def test_what_the_api_leaves_out_counts_as_unknown(place: Open) -> None:
    """No channel, a manual reply without a sender, a message without role, a conversation without
    any message."""
    story = Story(place)
    story.at("2026-03-03 10:00")
    silent, odd = story.start(), story.start()
    story.escalate(silent)
    story.chat.conversations[silent].messages.clear()
    story.chat.conversations[odd].channel = None  # type: ignore[assignment]
    story.customer(odd, role=None)
    story.escalate(odd)
    story.later(minutes=5)
    story.human(odd, None)
    story.later(minutes=1)
    story.human(odd, ADA)  # the first responder is unknown, not Ada
    story.later(hours=1)
    story.run()
    row = story.metrics("2026-03-03")
    assert (row["conversations_started"], row["conversations_active"]) == (2, 2)
    assert (row["escalated_conversations"], row["escalation_rate"]) == (2, 1.0)
    assert (row["customer_messages"], row["ai_messages"], row["human_messages"]) == (1, 0, 2)
    assert story.metrics("2026-03-03", "channel", "unknown")["human_messages"] == 2
    nobody = story.metrics("2026-03-03", "agent", "unassigned")
    assert (nobody["escalations"], nobody["unanswered"], nobody["human_messages"]) == (2, 1, 1)
    assert nobody["first_response_seconds_p50"] == 300
    ada = story.metrics("2026-03-03", "agent", f"{ADA}")
    assert (ada["escalations"], ada["human_messages"]) == (0, 1)


def test_an_escalation_makes_its_conversation_active(place: Open) -> None:
    """Just after midnight, a day after the conversation's last message."""
    story = Story(place)
    story.at("2026-03-03 23:50")
    conversation_id = story.start()
    story.at("2026-03-04 00:01")
    story.escalate(conversation_id)
    story.start("email")
    story.later(hours=1)
    story.sync()
    story.derive("2026-03-03", "2026-03-04")
    row = story.metrics("2026-03-04")
    assert (row["conversations_active"], row["escalated_conversations"]) == (2, 1)
    assert (row["escalation_rate"], row["containment_rate"]) == (0.5, 0.5)
    assert story.metrics("2026-03-04", "channel", "web")["escalation_rate"] == 1


def test_only_what_is_due_can_miss_the_target(place: Open) -> None:
    story = Story(place)
    story.at("2026-03-03 10:00")
    answered, late, ended, gone, waiting, young = (story.start() for _ in range(6))
    for conversation_id in (answered, late, ended, gone, waiting):
        story.escalate(conversation_id)
    story.at("2026-03-03 10:30")
    story.human(answered, ADA)
    story.resolve(ended)
    story.sync()
    story.chat.delete_conversation(gone, at=story.now)
    story.escalate(young)

    def within_target() -> tuple[float, int]:
        story.sync(refresh=True)
        story.derive(response_target_seconds=3600)
        row = story.metrics("2026-03-03")
        return row["answered_within_target_rate"], row["pending_within_target"]

    story.at("2026-03-03 10:59:59")
    assert within_target() == (1 / 3, 3)  # answered; ended and gone are due
    story.at("2026-03-03 11:00")
    assert within_target() == (1 / 5, 1)  # late and waiting are due too
    story.at("2026-03-03 11:10")
    story.human(late, ADA)
    story.human(young, ADA)
    assert within_target() == (2 / 6, 0)


def test_time_alone_makes_a_response_due_on_a_day_that_is_over(place: Open) -> None:
    story = Story(place)
    story.at("2026-03-03 23:00")
    story.escalate(story.start())
    story.later(minutes=5)
    story.sync()
    two_hours = {"response_target_seconds": 7200}
    story.derive(**two_hours)
    for clock, restated in (
        ("00:30", ["2026-03-03"]),  # the day is over
        ("00:50", []),
        ("01:00", ["2026-03-03"]),  # the response is due
        ("02:00", []),
    ):
        story.at(f"2026-03-04 {clock}")
        assert story.derive(**two_hours) == [*restated, "2026-03-04"], clock
    row = story.metrics("2026-03-03")
    assert (row["answered_within_target_rate"], row["pending_within_target"]) == (0, 0)


def test_a_missing_conversation_is_open_until_it_was_missed_and_not_after(place: Open) -> None:
    story = Story(place)
    story.at("2026-03-03 10:00")
    conversation_id = story.start()
    story.escalate(conversation_id)
    story.run()
    assert story.metrics("2026-03-03")["still_open"] == 1
    story.at("2026-03-05 10:00")
    story.chat.delete_conversation(conversation_id, at=story.now)
    story.sync(refresh=True)
    assert story.derive(*days_between("2026-03-04", "2026-03-05")) == [
        "2026-03-03",
        "2026-03-04",
        "2026-03-05",
    ]
    assert [
        (row["still_open"], row["escalations"], row["backlog_at_day_end"])
        for row in map(story.metrics, days_between("2026-03-03", "2026-03-05"))
    ] == [(0, 1, 1), (0, 0, 1), (0, 0, 0)]


def test_two_chats_in_one_file_are_kept_apart(place: Open) -> None:
    one = Story(place)
    two = Story(place)
    two.chat.chat_id = 2
    for story, count in ((one, 1), (two, 2)):
        story.at("2026-03-03 10:00")
        for _ in range(count):
            story.escalate(story.start())
        story.later(hours=1)
        story.run()
    rebuild_metrics(one.warehouse, chat_id=1, days=["2026-03-03"], now=one.now, rules=Rules())
    assert one.rows(
        "select chat_id, escalations, backlog_at_day_end from zipchat.escalation_metrics"
        " where dimension = 'all' order by 1"
    ) == [(1, 1, 1), (2, 2, 2)]


# Restatement: a run for today alone also stores the days that changed, and no other.


@pytest.fixture
def week(place: Open) -> Story:
    """Monday 2 to Thursday 5 March; each day a conversation that is escalated at 10:00 and waits.
    Everything is computed as of Thursday, 12:00."""
    story = Story(place)
    for day in days_between("2026-03-02", "2026-03-05"):
        story.at(f"{day} 10:00")
        story.escalate(story.start())
    story.at("2026-03-05 12:00")
    story.sync()
    story.derive(*days_between("2026-03-02", "2026-03-05"))
    return story


def computed_at(story: Story) -> dict[str, datetime]:
    return dict(
        story.rows(
            "select strftime(partition_date, '%Y-%m-%d'), any_value(computed_at)"
            " from zipchat.escalation_metrics group by 1"
        )
    )


def assert_only_restated(story: Story, *days: str) -> None:
    """A run for today writes today and these days; the rows of the others are left alone."""
    before = computed_at(story)
    story.later(minutes=1)
    assert story.run() == [*days, "2026-03-05"]
    after = computed_at(story)
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
    backlogs = [week.metrics(day)["backlog_at_day_end"] for day in sorted(computed_at(week))]
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
    story.at("2026-03-02 10:00")
    conversation_id = story.start()
    story.escalate(conversation_id)
    story.later(hours=1)
    story.human(conversation_id, ADA)
    story.at("2026-03-03 10:00")
    story.customer(conversation_id)
    story.at("2026-03-04 00:05")
    story.ai(conversation_id)  # the newest message is read again, and this one answers nothing
    story.later(minutes=1)
    story.sync()
    story.derive(*days_between("2026-03-02", "2026-03-04"))
    assert story.metrics("2026-03-03")["next_response_seconds_p50"] is None
    story.at("2026-03-04 09:00")
    story.human(conversation_id, BO)
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


def test_days_that_were_never_computed_are_not_computed_unasked(week: Story) -> None:
    week.at("2026-03-09 10:00")
    week.resolve(next(iter(week.chat.conversations)))
    assert week.run() == ["2026-03-02", "2026-03-05", "2026-03-09"]  # the 5th had not ended yet
