"""What is derived from the raw tables without a request: facts, leads, metrics.

Storing a conversation notes it in `changed_conversations`. Deriving its facts notes the days whose
metrics they and its new messages change in `stale_days`, and computing metrics works these off. So
a run costs what has changed since the last one, whatever is stored, and the rows are those that
deriving everything from scratch would give, except that what is open lasts until `computed_at`.
Both steps commit in pieces short enough that others get at the file in between; what a killed run
leaves undone, the next run does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import pandas as pd

from zipchat_dagster.warehouse.business_hours import BusinessHours
from zipchat_dagster.warehouse.warehouse import Transaction, Warehouse

# Raise it when a definition changes: every database then computes everything again, once.
DEFINITIONS: Final = 3
# What one transaction does at most: about a second with ten million messages.
CONVERSATIONS_AT_ONCE = 10_000
DAYS_AT_ONCE = 7

FACTS: Final = ("escalations", "customer_turns", "sla_events", "conversation_facts")
QUIET_HOURS: Final = 72
MOST_WEEKS: Final = 520  # ahead; a target beyond them has no business_breach_at


@dataclass(frozen=True)
class Rules:
    """What the facts and metrics need to know about the shop.

    Attributes:
        business_hours: when agents work. Without them, columns in business time are NULL.
        response_target_seconds: for a first response. Without it, columns about it are NULL.
        next_response_target_seconds: the same for each later response.
        resolution_target_seconds: the same for a resolution.
        quiet_hours: how long a customer must stay silent before a conversation counts as automated.
    """

    business_hours: BusinessHours | None = None
    response_target_seconds: float | None = None
    next_response_target_seconds: float | None = None
    resolution_target_seconds: float | None = None
    quiet_hours: int = QUIET_HOURS


def rebuild_facts(
    warehouse: Warehouse,
    *,
    chat_id: int,
    now: datetime,
    rules: Rules,
    from_scratch: bool = False,
) -> dict[str, int]:
    """Bring a chat's rows of the tables in `FACTS` in line with what was stored since the last
    time, and with the time. Returns how many it has in each.

    Args:
        now: this machine's time; what is open lasts until then.
        from_scratch: derive all of them again, which repairs rows changed by hand.
    """
    settings = f"{DEFINITIONS} {warehouse.timezone} {rules}"
    most = {"chat_id": chat_id, "most": CONVERSATIONS_AT_ONCE}
    with warehouse.small_transactions():
        with warehouse.transaction() as transaction:
            if _is_new(transaction, f"facts of chat {chat_id}", settings) or from_scratch:
                transaction.execute("add_all_changed", chat_id=chat_id)
            else:
                transaction.execute(
                    "add_waiting", chat_id=chat_id, now=now, quiet_hours=rules.quiet_hours
                )
        while True:
            with warehouse.transaction() as transaction:
                taken = _count(transaction.execute("take_changed", **most))
                if taken:
                    _derive(transaction, now=now, rules=rules)
                if taken < CONVERSATIONS_AT_ONCE:
                    (counts,) = transaction.execute("count_facts", chat_id=chat_id)
                    return dict(zip(FACTS, counts, strict=True))


def _derive(transaction: Transaction, *, now: datetime, rules: Rules) -> None:
    """Replace the facts about the conversations of the temporary table `changed`."""
    transaction.execute("facts_spans")
    transaction.execute("facts_messages")
    transaction.execute("facts_turns")
    ((begin,),) = transaction.execute("facts_begin")
    hours = {"business_hours": _hours(rules, begin or now, now)}
    transaction.execute("facts_clock", hours, now=now)
    transaction.execute(
        "facts_sla_events",
        hours,
        now=now,
        response_target_seconds=rules.response_target_seconds,
        next_response_target_seconds=rules.next_response_target_seconds,
        resolution_target_seconds=rules.resolution_target_seconds,
    )
    transaction.execute("facts_escalations", now=now)
    transaction.execute("facts_customer_turns", now=now)
    transaction.execute("facts_conversations", now=now, quiet_hours=rules.quiet_hours)
    transaction.execute("add_stale_days")
    transaction.execute("replace_facts")


def rebuild_leads(warehouse: Warehouse, *, chat_id: int) -> int:
    """Derive a chat's `leads` from `raw_conversations`. Returns the number of rows."""
    with warehouse.transaction() as transaction:
        count, _ = replace_leads(transaction, chat_id=chat_id)
        return count


def replace_leads(transaction: Transaction, *, chat_id: int) -> tuple[int, int]:
    """The same within a transaction. Returns how many rows there are, and how many were written."""
    count = _count(transaction.execute("new_leads", chat_id=chat_id))
    transaction.execute("clear_leads", chat_id=chat_id)
    return count, _count(transaction.execute("add_leads", chat_id=chat_id))


def rebuild_metrics(
    warehouse: Warehouse,
    *,
    chat_id: int,
    days: Sequence[str],
    now: datetime,
    rules: Rules,
    from_scratch: bool = False,
) -> list[str]:
    """Compute `escalation_metrics` and `activity_by_hour` for `days` (ISO dates), and again for the
    days stored before that have changed since; for all of them if a setting has, or `from_scratch`.

    Returns the days that were written: those asked for, and those whose numbers differ from what
    was stored.
    """
    settings = f"{DEFINITIONS} {warehouse.timezone} {rules}"
    with warehouse.small_transactions():
        with warehouse.transaction() as transaction:
            if _is_new(transaction, f"metrics of chat {chat_id}", settings) or from_scratch:
                transaction.execute("add_all_stale", chat_id=chat_id)
            stale = [day for (day,) in transaction.execute("stale_days", chat_id=chat_id)]
        written = []
        for some in _pieces(sorted({*days, *stale}), DAYS_AT_ONCE):
            with warehouse.transaction() as transaction:
                transaction.execute("metrics_days", {"wanted": _days(some)}, chat_id=chat_id)
                _compute(transaction, chat_id=chat_id, now=now, rules=rules)
                asked = {"asked": _days(days)}
                transaction.execute("metrics_restated", asked, chat_id=chat_id, now=now)
                transaction.execute("replace_metrics")
                transaction.execute("add_unfinished_days", now=now)
                written += [day for (day,) in transaction.execute("restated_days")]
    return written


def _compute(transaction: Transaction, *, chat_id: int, now: datetime, rules: Rules) -> None:
    """Fill the temporary tables `computed` and `computed_hours` for the days of `days`."""
    target = {"target_seconds": rules.response_target_seconds}
    transaction.execute("metrics_messages", chat_id=chat_id)
    transaction.execute("metrics_escalations", chat_id=chat_id, now=now, **target)
    transaction.execute("metrics_backlog", chat_id=chat_id, now=now)
    transaction.execute("metrics_computed")
    transaction.execute("metrics", chat_id=chat_id, **target)
    transaction.execute("metrics_hours", chat_id=chat_id, now=now)


def _is_new(transaction: Transaction, name: str, settings: str) -> bool:
    """Whether rows were last computed with other settings; these are remembered from now on."""
    if transaction.execute("stored_setting", name=name) == [(settings,)]:
        return False
    transaction.execute("store_setting", name=name, value=settings)
    return True


def _pieces(days: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(days), size):
        yield days[start : start + size]


def _days(days: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame({"day": pd.Series(list(days), dtype="str")})


def _hours(rules: Rules, begin: datetime, now: datetime) -> pd.DataFrame:
    """The opening times from before `begin` until after every target that begins by `now` has
    passed: opens_at, closes_at, and seconds_before, the business time before opens_at."""
    if rules.business_hours is None:
        hours = pd.DataFrame({"opens_at": [], "closes_at": []}, dtype="datetime64[us, UTC]")
    else:
        targets = (
            rules.response_target_seconds,
            rules.next_response_target_seconds,
            rules.resolution_target_seconds,
        )
        longest = timedelta(seconds=max(target or 0 for target in targets))
        weeks = min(longest / rules.business_hours.week, MOST_WEEKS)
        last = now + timedelta(weeks=weeks + 2)
        hours = rules.business_hours.between(begin.date() - timedelta(days=2), last.date())
    hours = hours[hours["opens_at"] < hours["closes_at"]]  # clocks may skip a span
    seconds = (hours["closes_at"] - hours["opens_at"]).dt.total_seconds()
    return hours.assign(seconds_before=seconds.cumsum() - seconds)


def _count(answer: list[tuple[int]]) -> int:
    """DuckDB answers an insert with the number of its rows."""
    return answer[0][0]
