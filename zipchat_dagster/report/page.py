"""The page: sentences, tiles and tables around the charts, and the `Report` that it all makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from zipchat_dagster.report import charts, formats
from zipchat_dagster.report.numbers import Number, Numbers, number, read_numbers
from zipchat_dagster.warehouse import Warehouse

_TEMPLATES: Final = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
SAME: Final = 0.5  # per cent or points of change that are not worth a judgement
_SUMMARY: Final = (
    "conversations_active",
    "escalations",
    "escalation_rate",
    "containment_rate",
    "resolution_rate",
    "first_response_seconds_p50",
    "first_response_seconds_p90",
    "resolution_seconds_p50",
    "unanswered",
    "open_now",
)


@dataclass(frozen=True)
class Report:
    """A finished report.

    Attributes:
        html: the page, as one self-contained file.
        png: a small chart of the range, for places that cannot show the page.
        summary: the headline numbers; a rate without a denominator is None.
    """

    html: str
    png: bytes
    summary: dict[str, Number]


def build_report(
    warehouse: Warehouse,
    *,
    chat_id: int,
    first: date,
    last: date,
    now: datetime,
    target_seconds: float | None = None,
    business_hours: str = "",
    source: str = "",
) -> Report:
    """The report of one chat for the days `first` to `last`, both included.

    Args:
        first, last: days in the warehouse's time zone. Those without `escalation_metrics` leave
            gaps in the charts, and the page says so.
        now: an aware datetime: the moment of "open now" and of ages.
        target_seconds: within which a first response is in time.
        business_hours: the setting, which the page shows.
        source: where the records come from if not from Zipchat, such as "the sandbox"; a banner
            says so.

    Raises:
        ValueError: `last` is before `first`, or `now` has no time zone.
    """
    numbers = read_numbers(
        warehouse, chat_id=chat_id, first=first, last=last, now=now, target_seconds=target_seconds
    )
    return Report(
        html=_page(numbers, warehouse.timezone, business_hours, source),
        png=charts.summary_png(numbers),
        summary={name: numbers.totals[name] for name in _SUMMARY},
    )


@dataclass(frozen=True)
class _Tile:
    """A headline number with its change against the preceding range."""

    label: str
    value: str
    change: str  # such as "+12%", empty where there is nothing to compare
    before: str
    judgement: str  # better, worse, or empty where it is neither


@dataclass(frozen=True)
class _Table:
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class _Card:
    """One chart with what it shows in words, a key of its colours and its exact numbers."""

    title: str
    lead: str
    chart: Markup | None
    table: _Table
    nothing: str  # shown instead of a chart without data
    key: Sequence[tuple[str, str]] = field(default=())  # (colour, meaning)


def _page(numbers: Numbers, timezone: str, business_hours: str, source: str) -> str:
    return _TEMPLATES.get_template("page.html").render(
        palette=charts.PALETTE,
        chat_id=numbers.chat_id,
        span=formats.days(numbers.first, numbers.last),
        days=numbers.days,
        source=source,
        timezone=timezone,
        business_hours=business_hours,
        target=formats.duration(numbers.target_seconds) if numbers.target_seconds else "",
        now=f"{formats.day_and_year(numbers.now.date())}, {numbers.now:%H:%M %Z}",
        last_is_running=numbers.last >= numbers.now.date(),
        days_missing=_days_missing(numbers),
        is_empty=numbers.is_empty,
        has_preceding=numbers.preceding is not None,
        tiles=_tiles(numbers),
        columns=[] if numbers.is_empty else _columns(numbers),
    )


def _days_missing(numbers: Numbers) -> int:
    measured = numbers.totals["days_measured"] or 0
    return numbers.days - int(measured)


def _tiles(numbers: Numbers) -> list[_Tile]:
    def tile(
        label: str, name: str, words: Callable[[Number], str], good: int, *, in_points: bool = False
    ) -> _Tile:
        value = numbers.totals[name]
        before = numbers.preceding[name] if numbers.preceding else None
        change, sign = _change(value, before, in_points=in_points)
        judgement = {0: "", 1: "better", -1: "worse"}[sign * good]
        return _Tile(label, words(value), change, words(before), judgement)

    return [
        tile("Escalations", "escalations", formats.count, 0),
        tile("Escalation rate", "escalation_rate", formats.percent, -1, in_points=True),
        tile("Contained by AI", "containment_rate", formats.percent, 1, in_points=True),
        tile("Median response", "first_response_seconds_p50", formats.duration, -1),
        tile("Resolved", "resolution_rate", formats.percent, 1, in_points=True),
        tile("Open now", "open_now", formats.count, -1),
    ]


def _change(value: Number, before: Number, *, in_points: bool) -> tuple[str, int]:
    """The change in words and its sign; points for rates, per cent for the rest."""
    if value is None or before is None or not (before or in_points):
        return "", 0
    change = (value - before) * 100 if in_points else (value / before - 1) * 100
    text = f"{change:+.1f} points" if in_points else f"{change:+.0f}%"
    if abs(change) < SAME:
        return "about the same", 0
    return text.replace("-", "−"), 1 if change > 0 else -1


def _columns(numbers: Numbers) -> list[list[_Card]]:
    """The cards, in two columns on a wide screen and under one another on a phone."""
    return [
        [
            _volume(numbers),
            _times(numbers, "first_response", "First response", "answered"),
            _times(numbers, "resolution", "Time to resolution", "resolved"),
        ],
        [
            _backlog(numbers),
            _backlog_over_time(numbers),
            _channels(numbers),
            _agents(numbers),
        ],
    ]


def _volume(numbers: Numbers) -> _Card:
    totals, steps = numbers.totals, numbers.steps
    each = "" if numbers.step_days == 1 else ", a day"
    return _Card(
        title="Conversations and escalations",
        lead=f"{_some(totals['conversations_active'], 'conversation')} had a message or an"
        f" escalation; {formats.count(totals['escalated_conversations'])} of them"
        f" ({formats.percent(totals['escalation_rate'])}) went to a person.",
        key=(("blue-soft", f"active conversations{each}"), ("orange", "of these, escalated")),
        chart=charts.volume_chart(numbers),
        nothing="No conversation was active on the days computed so far.",
        table=_table(
            steps,
            ("first_day", _step_head(numbers), _day),
            ("conversations_active", f"Active{each}", formats.count),
            ("escalated_conversations", f"Escalated{each}", formats.count),
            ("escalations", "Escalations", formats.count),
            ("escalation_rate", "Rate", formats.percent),
        ),
    )


def _times(numbers: Numbers, kind: str, title: str, done: str) -> _Card:
    totals = numbers.totals
    p50, p90 = (totals[f"{kind}_seconds_{p}"] for p in ("p50", "p90"))
    total, reached = int(totals["escalations"] or 0), int(totals[done] or 0)
    has_target = kind == "first_response" and totals["answered_within_target_rate"] is not None
    waiting = total - reached
    lead = (
        f"Of those {done}, half were within {formats.duration(p50)} and 9 in 10 within"
        f" {formats.duration(p90)}."
    )
    if waiting:
        lead += (
            f" {formats.count(waiting)} of {formats.count(total)}"
            f" {'is' if waiting == 1 else 'are'} not {done} so far."
        )
    if has_target:
        lead += (
            f" Of those due, {formats.percent(totals['answered_within_target_rate'])} were answered"
            f" within the target of {formats.duration(numbers.target_seconds)};"
            f" {formats.count(totals['pending_within_target'])} can still make it."
        )
    return _Card(
        title=title,
        lead=lead if reached else "",
        key=(
            ("dot blue", f"half {done} within"),
            ("blue-soft", "9 in 10 within"),
            ("dash orange", "median of all"),
        ),
        chart=charts.times_chart(numbers, kind, title),
        nothing=f"Nothing was {done} in these days, so there is no time to show.",
        table=_table(
            numbers.steps,
            ("first_day", _step_head(numbers), _day),
            (done, done.capitalize(), formats.count),
            (f"{kind}_seconds_p50", "Median", formats.duration),
            (f"{kind}_seconds_p90", "90th percentile", formats.duration),
        ),
    )


def _backlog(numbers: Numbers) -> _Card:
    totals = numbers.totals
    return _Card(
        title="Open now, by age",
        lead=f"{_some(totals['open_now'], 'escalation')} open;"
        f" {formats.count(totals['open_unanswered'])} without an answer in Zipchat.",
        key=(("orange", "unanswered"), ("blue", "answered, not resolved")),
        chart=charts.backlog_chart(numbers),
        nothing="Nothing is open. Well done!",
        table=_table(
            numbers.backlog,
            ("age", "Age", str),
            ("open_now", "Open", formats.count),
            ("unanswered", "Unanswered", formats.count),
        ),
    )


def _backlog_over_time(numbers: Numbers) -> _Card:
    return _Card(
        title="Open over time",
        lead="Escalations open at the end of the day, whenever they began.",
        chart=charts.backlog_line(numbers),
        nothing="Nothing was open at the end of any day computed so far.",
        table=_table(
            numbers.steps,
            ("last_day", "End of", _day),
            ("backlog_at_end", "Open", formats.count),
        ),
    )


def _channels(numbers: Numbers) -> _Card:
    return _Card(
        title="Channels",
        lead="Where escalations come from, and how large a part of each channel's conversations.",
        chart=charts.channels_chart(numbers),
        nothing="No channel had a conversation in these days.",
        table=_table(
            numbers.channels,
            ("channel", "Channel", str),
            ("conversations_active", "Active", formats.count),
            ("escalated_conversations", "Escalated", formats.count),
            ("escalations", "Escalations", formats.count),
            ("escalation_rate", "Rate", formats.percent),
        ),
    )


def _agents(numbers: Numbers) -> _Card:
    agents = numbers.agents
    hidden = int(agents["agent_id"].notna().sum()) - charts.AGENTS_SHOWN
    more = f" The chart shows the first {charts.AGENTS_SHOWN}; {hidden} more are in the table."
    return _Card(
        title="Agents",
        lead="An escalation counts for its assignee or, without one, for who answered first."
        + (more if hidden > 0 else ""),
        chart=charts.agents_chart(numbers),
        nothing="Nobody was assigned or wrote in these days.",
        table=_table(
            agents,
            ("name", "Agent", str),
            ("escalations", "Escalations", formats.count),
            ("answered", "Answered", formats.count),
            ("resolved", "Resolved", formats.count),
            ("human_messages", "Messages", formats.count),
            ("first_response_seconds_p50", "Median response", formats.duration),
        ),
    )


def _table(frame: pd.DataFrame, *columns: tuple[str, str, Callable[[Any], str]]) -> _Table:
    """A frame's columns (name, heading, how to word a cell) as text."""
    cells = [
        [words(value if words in (str, _day) else number(value)) for value in frame[name]]
        for name, _, words in columns
    ]
    return _Table([head for _, head, _ in columns], list(zip(*cells, strict=True)))


def _day(value: pd.Timestamp) -> str:
    return formats.day_and_year(value.date())


def _step_head(numbers: Numbers) -> str:
    return "Day" if numbers.step_days == 1 else f"{charts.step(numbers).capitalize()} from"


def _some(value: Number, noun: str) -> str:
    return f"{formats.count(value)} {noun}{'' if value == 1 else 's'}"
