"""The views: compared with pandas on the facts, the records of each metric, and who is waiting."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pandas as pd
import pytest

from zipchat_dagster.warehouse import schema_tables
from zipchat_dagster.warehouse.tables import sql
from zipchat_dagster_tests.conftest import Open
from zipchat_dagster_tests.warehouse.metrics_by_hand import (
    Figures,
    percentile,
    percentiles,
    ratio,
)
from zipchat_dagster_tests.warehouse.support import ADA, BO, METRICS, RandomChat, Story

KEYS = ["partition_date", "dimension", "dimension_value"]


def assert_rows_agree(found: pd.DataFrame, keys: list[str], wanted: dict[Any, dict]) -> None:
    """The frame has exactly the rows of `wanted`, by its keys, and their values."""
    rows = found.astype(object).where(found.notna(), None).set_index(keys).to_dict("index")
    assert set(rows) == set(wanted)
    for key, columns in wanted.items():
        found_columns = {name: rows[key][name] for name in rows[key] if name != "chat_id"}
        assert found_columns == pytest.approx(columns, abs=1e-8), key


def slices(frame: pd.DataFrame, *columns: str) -> Iterator[tuple[tuple[Any, ...], pd.DataFrame]]:
    """Each combination of values that occurs, with `all` in the place of any of them."""
    for mask in range(2 ** len(columns)):
        kept = [name for bit, name in enumerate(columns) if mask & 1 << bit]
        groups = frame.groupby(kept) if kept else [((), frame)]
        for values, rows in groups:
            chosen = dict(
                zip(kept, values if isinstance(values, tuple) else (values,), strict=True)
            )
            yield tuple(chosen.get(name, "all") for name in columns), rows


# Each number names its records


def amount_of(metric: str, counted: dict[Any, pd.Series], rates: dict[str, list[str]]) -> Any:
    """What the records of one slice amount to: their seconds by metric."""
    seconds = counted.get(metric, pd.Series([], dtype=float))
    if metric in rates:
        over, under = (len(counted.get(name, ())) for name in rates[metric])
        return ratio(over, under)
    if metric.endswith("_mean"):
        return ratio(seconds.sum(), len(seconds))
    if metric.endswith("_max"):
        return percentile(seconds, 100)
    if "_seconds_p" in metric:
        return percentile(seconds, int(metric[-2:]))
    return len(seconds)


def test_every_metric_equals_what_its_records_add_up_to(random_chat: RandomChat) -> None:
    story = random_chat.story
    records = story.frame("from zipchat.metric_records")
    rates = {rate: parts for rate, *parts in story.rows("from zipchat.metric_rates")}
    parts = {part for both in rates.values() for part in both}
    assert set(records["metric"]) <= {*METRICS, *parts}
    assert all(f"'{metric}'" in sql("views") for metric in METRICS)
    by_slice: dict[Any, dict[Any, pd.Series]] = {}
    for (*key, metric), rows in records.groupby([*KEYS, "metric"]):
        by_slice.setdefault(tuple(key), {})[metric] = rows["seconds"]
    metrics = story.frame("from zipchat.escalation_metrics").astype(object)
    seen = set()
    for row in metrics.where(metrics.notna(), None).to_dict("records"):
        counted = by_slice.get(tuple(row[key] for key in KEYS), {})
        for metric in METRICS:
            amount = amount_of(metric, counted, rates)
            if row[metric] is None:  # no denominator, or without meaning for an agent or target
                assert not amount or metric in rates, (row, metric)
            else:
                assert amount == pytest.approx(row[metric], rel=1e-9), (row, metric)
                seen |= {metric} if amount else set()
    rare = {name for name in METRICS if name.startswith(("responses_", "pending_", "one_touch"))}
    if not random_chat.office:
        rare |= {name for name in METRICS if "business" in name or "target" in name}
    assert set(METRICS) - seen <= rare


def test_one_metric_does_not_read_the_records_of_others(place: Open) -> None:
    story = Story(place)
    story.at("2026-03-03 10:00")
    conversation_id = story.start()
    story.escalate(conversation_id)
    for _ in range(2):
        story.later(minutes=1)
        story.human(conversation_id, ADA)
        story.later(minutes=1)
        story.customer(conversation_id)
    story.run()
    for metric, tables in (
        ("escalations", {"escalations"}),
        ("customer_messages", {"raw_messages", "raw_conversations"}),
        ("next_response_seconds_p90", {"sla_events"}),
    ):
        plan = story.rows(f"explain from zipchat.metric_records where metric = '{metric}'")[0][1]
        assert {table for table in schema_tables() if table in plan} == tables


# Any grain


def waits(story: Story) -> pd.DataFrame:
    """Escalations, first and next responses and resolutions, one row each, with their agents."""
    escalations = story.frame("from zipchat.escalations")
    agents = escalations["assignee_id"].fillna(escalations["first_responder_id"])
    escalations["agent"] = agents
    events = story.frame("from zipchat.sla_events").merge(
        escalations[["conversation_id", "escalated_at", "agent"]],
        on=["conversation_id", "escalated_at"],
    )
    events["agent"] = events["agent"].where(events["metric"] != "next_response", events["agent_id"])
    both = pd.concat([escalations.assign(metric="escalation"), events])
    both["agent"] = ["unassigned" if pd.isna(i) else str(int(i)) for i in both["agent"]]
    both["channel"] = both["channel"].fillna("unknown")
    return both


def summary(rows: pd.DataFrame) -> dict[str, float | None]:
    escalations = rows[rows["metric"] == "escalation"]
    due, in_time = {}, {}
    for metric in ("first_response", "next_response", "resolution"):
        events = rows[(rows["metric"] == metric) & rows["target_seconds"].notna()]
        is_kept = events["is_kept"] == True  # noqa: E712 - of dtype object
        is_late = events["elapsed_seconds"] > events["target_seconds"]
        due[metric] = (events["ended_at"].notna() | is_late).sum()
        in_time[metric] = (is_kept & ~is_late).sum()
    next_seconds = rows[(rows["metric"] == "next_response") & (rows["is_kept"] == True)][  # noqa: E712
        "elapsed_seconds"
    ]
    return {
        "escalations": len(escalations),
        "answered": escalations["first_response_at"].notna().sum(),
        "unanswered": escalations["first_response_at"].isna().sum(),
        "still_open": escalations["ended_at"].isna().sum(),
        "resolved": escalations["resolved_at"].notna().sum(),
        "one_touch": (escalations["is_one_touch"] == True).sum(),  # noqa: E712
        "abandoned": (escalations["is_abandoned"] == True).sum(),  # noqa: E712
        "next_responses": len(next_seconds),
        **percentiles("next_response_seconds", next_seconds, 50, 90),
        **_percentiles_of(escalations, "first_response", 50, 90, 95),
        **_percentiles_of(escalations, "resolution", 50, 90),
        **{f"{metric}s_due": count for metric, count in due.items()},
        **{f"{metric}s_within_target": count for metric, count in in_time.items()},
    }


def _percentiles_of(escalations: pd.DataFrame, what: str, *shares: int) -> Figures:
    names = (f"{what}_seconds", f"{what}_business_seconds")
    found = [percentiles(name, escalations[name], *shares) for name in names]
    return found[0] | found[1]


@pytest.mark.parametrize(("view", "period"), [("metrics_weekly", "W"), ("metrics_monthly", "M")])
def test_pandas_computes_the_same_for_weeks_and_months(
    random_chat: RandomChat, view: str, period: str
) -> None:
    rows = waits(random_chat.story)
    days = pd.to_datetime(rows["partition_date"])
    rows["period_start"] = days.dt.to_period(period).dt.start_time
    wanted = {
        (start, *names): summary(some)
        for start, found in rows.groupby("period_start")
        for names, some in slices(found, "channel", "agent")
    }
    found = random_chat.story.frame(f"from zipchat.{view}")
    assert_rows_agree(found, ["period_start", "channel", "agent"], wanted)


def test_a_day_is_the_same_in_metrics_by_and_in_escalation_metrics(random_chat: RandomChat) -> None:
    shared = [*KEYS[:1], "escalations", "unanswered", "still_open", "resolved", "one_touch"]
    shared += ["abandoned", *(name for name in METRICS if "_seconds_p" in name)]
    columns = ", ".join(name for name in shared if not name.startswith("backlog"))
    by_day = columns.replace("partition_date", "period_start as partition_date")
    for dimension in ("channel", "agent"):
        other = "agent" if dimension == "channel" else "channel"
        assert not random_chat.story.rows(
            f"select {columns}, dimension_value from zipchat.escalation_metrics"
            f" where dimension = '{dimension}' and (escalations > 0 or next_response_seconds_p50 > 0)"
            f" except select {by_day}, {dimension} from zipchat.metrics_by('day')"
            f" where {other} = 'all'"
        )


def test_pandas_computes_the_same_for_hours_of_the_week(random_chat: RandomChat) -> None:
    story = random_chat.story
    zone = story.warehouse.timezone
    hours = story.frame("from zipchat.activity_by_hour")
    hours = hours[hours["computed_at"] - hours["hour_start"] >= pd.Timedelta(hours=1)]
    escalations = story.frame("from zipchat.escalations")
    local = escalations["escalated_at"].dt.tz_convert(zone)
    escalations = escalations.assign(
        weekday=local.dt.day_of_week + 1,
        hour=local.dt.hour,
        channel=escalations["channel"].fillna("unknown"),
    )
    wanted = {}
    for (weekday, hour, channel), rows in hours.groupby(["weekday", "hour", "dimension_value"]):
        whole = hours[(hours["weekday"] == weekday) & (hours["hour"] == hour)]
        count = len(set(whole["hour_start"]))
        mine = escalations[(escalations["weekday"] == weekday) & (escalations["hour"] == hour)]
        if channel != "all":
            mine = mine[mine["channel"] == channel]
        totals = ["conversations_started", "customer_messages", "human_messages", "escalations"]
        wanted[weekday, hour, channel] = {
            "occurrences": count,
            **{name: rows[name].sum() for name in totals},
            **{f"{name}_mean": rows[name].sum() / count for name in (*totals, "active_agents")},
            "first_response_seconds_p50": percentile(mine["first_response_seconds"], 50),
        }
    found = story.frame("from zipchat.metrics_by_hour_of_week")
    assert_rows_agree(found, ["weekday", "hour", "channel"], wanted)


# The AI


def ai_summary(
    facts: pd.DataFrame, turns: pd.DataFrame, abandoned: set[int], as_of: pd.Timestamp
) -> dict[str, float | None]:
    automated = facts[facts["is_automated"]]
    known = automated[
        automated["lead_id"].notna() & (automated["last_message_at"] + timedelta(days=7) <= as_of)
    ]
    mine = turns[turns["conversation_id"].isin(facts["conversation_id"])]
    seconds = mine[mine["answered_by"] == "ai"]["answer_seconds"]
    pending = facts["is_automation_pending"].sum()
    resolved = facts["last_resolved_at"].notna().sum()
    reopened = facts["reopened_at"].notna().sum()
    return {
        "conversations_started": len(facts),
        "incomplete": (~facts["is_complete"]).sum(),
        "ai_involved": facts["is_ai_involved"].sum(),
        "ai_answer_seconds_p50": percentile(seconds, 50),
        "ai_answer_seconds_p90": percentile(seconds, 90),
        "automated": len(automated),
        "automation_pending": pending,
        "repeat_contacts": automated["repeat_contact_at"].notna().sum(),
        "repeat_contacts_known": len(known),
        "escalated": (facts["escalations"] > 0).sum(),
        "resolved": resolved,
        "reopened": reopened,
        "abandoned": facts["conversation_id"].isin(abandoned).sum(),
        "new_leads": (facts["is_first_of_lead"] == True).sum(),  # noqa: E712 - it can be NULL
        "returning_leads": facts[facts["is_first_of_lead"] == False]["lead_id"].nunique(),  # noqa: E712
        "ai_involvement_rate": ratio(facts["is_ai_involved"].sum(), len(facts)),
        "automation_rate": ratio(len(automated), len(facts) - pending),
        "repeat_contact_rate": ratio(known["repeat_contact_at"].notna().sum(), len(known)),
        "reopened_rate": ratio(reopened, resolved),
    }


@pytest.mark.parametrize(("view", "period"), [("ai_metrics", "D"), ("ai_metrics_by('week')", "W")])
def test_pandas_computes_the_same_about_the_ai(
    random_chat: RandomChat, view: str, period: str
) -> None:
    story = random_chat.story
    facts = story.frame("from zipchat.conversation_facts")
    facts["channel"] = facts["channel"].fillna("unknown")
    turns = story.frame("from zipchat.customer_turns")
    (as_of,) = story.frame("select max(as_of) as as_of from zipchat.listing_coverage")["as_of"]
    abandoned = {
        i
        for (i,) in story.rows("select conversation_id from zipchat.escalations where is_abandoned")
    }
    days = pd.to_datetime(facts["partition_date"])
    wanted = {
        (start, *names): ai_summary(some, turns, abandoned, as_of)
        for start, found in facts.groupby(days.dt.to_period(period).dt.start_time)
        for names, some in slices(found, "channel")
    }
    assert_rows_agree(story.frame(f"from zipchat.{view}"), ["period_start", "channel"], wanted)
    assert any(row["automated"] for row in wanted.values())
    assert any(row["automation_pending"] for row in wanted.values())


# Who waits now


def test_waiting_customers_are_listed_by_how_long_and_for_what(place: Open) -> None:
    story = Story(place)
    story.at("2026-03-03 09:00")
    unanswered, asked_again, answered, resolved, gone = (story.start() for _ in range(5))
    for minutes, conversation_id in enumerate((answered, asked_again, unanswered, resolved, gone)):
        story.at(f"2026-03-03 10:0{minutes}")
        story.escalate(conversation_id)
        story.assign(conversation_id, ADA)
    story.at("2026-03-03 10:30")
    for conversation_id in (asked_again, answered, resolved):
        story.human(conversation_id, BO)
    story.at("2026-03-03 10:40")
    story.customer(asked_again)
    story.at("2026-03-03 10:45")
    story.customer(asked_again)
    story.resolve(resolved)
    story.sync()
    story.chat.delete_conversation(gone, at=story.now)
    story.later(minutes=1)
    story.sync(refresh=True)
    story.derive(response_target_seconds=600, next_response_target_seconds=1e11)
    rows = story.rows(
        "select conversation_id, waiting_for, strftime(waiting_since, '%H:%M'), agent_id,"
        " strftime(breach_at, '%H:%M'), is_breached, seconds_waiting = epoch(now()) - epoch(waiting_since)"
        " from zipchat.escalations_waiting"
    )
    assert [row[:4] for row in rows] == [
        (answered, "resolution", "10:00", ADA),
        (unanswered, "first_response", "10:02", ADA),
        (asked_again, "next_response", "10:40", ADA),
    ]
    links = dict(story.rows("select conversation_id, share_url from zipchat.raw_conversations"))
    assert dict(
        story.rows("select conversation_id, share_url from zipchat.escalations_waiting")
    ) == {i: links[i] for i in (answered, unanswered, asked_again)}
    assert all(is_so for *_, is_so in rows)
    assert [row[4] for row in rows[:2]] == [None, "10:12"]
    now = pd.Timestamp.now("UTC")
    assert [row[5] for row in rows] == [
        None,
        bool(now > pd.Timestamp("2026-03-03 10:12", tz="UTC")),
        False,
    ]
