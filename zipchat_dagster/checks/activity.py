"""The check that calls the API, to see whether its newest activity is stored."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import dagster as dg

from zipchat_dagster.assets.common import API_POOL
from zipchat_dagster.checks.rules import NAMED_AT_MOST, WARN, Verdict, looking_at, result
from zipchat_dagster.client.answers import time_of
from zipchat_dagster.client.client import LARGEST_PAGE
from zipchat_dagster.lanes import Lane
from zipchat_dagster.warehouse.suppression import Suppressions

LONGEST_LAG: Final = timedelta(hours=2)


def newest_activity_is_stored(lane: Lane) -> dg.AssetChecksDefinition:
    """The check of one chat."""

    asset = lane.key("raw_conversations")

    @dg.asset_check(
        asset=asset,
        pool=lane.own(API_POOL),
        required_resource_keys={lane.zipchat_key, lane.warehouse_key},
        description=(
            "All activity that the API shows was stored within 2 hours. Costs one request. If it"
            " fails, either no sync runs or the syncs miss something. Materialize raw_conversations"
            " for today, with `refresh` if it still fails."
        ),
    )
    def newest_activity_is_stored(
        context: dg.AssetCheckExecutionContext,
    ) -> dg.AssetCheckResult:
        """Compare the newest stored activity with one page of what the API shows since then."""
        zipchat, tables = lane.zipchat(context), lane.warehouse(context)
        with looking_at(tables) as transaction:
            ((newest_at, listed_since),) = transaction.execute("check_newest", chat_id=zipchat.chat)
            suppressed = Suppressions(transaction, chat_id=zipchat.chat)
        since = newest_at or listed_since
        try:
            with zipchat.client(context) as client:
                page = client.get_conversations_page(since=since)
                verdict = judge(
                    page.rows,
                    newest_at=since,
                    observed_at=page.observed_at,
                    total=page.total,
                    is_dropped=lambda row: bool(suppressed.found_in(row)),
                )
        except dg.Failure as failure:
            # The run itself brought data and should not fail.
            verdict = Verdict(False, f"The API could not be reached: {failure.description}")
        return result(verdict, WARN, asset=asset, name="newest_activity_is_stored")

    return newest_activity_is_stored


def judge(
    rows: list[dict[str, Any]],
    *,
    newest_at: datetime | None,
    observed_at: datetime,
    total: int | None,
    is_dropped: Callable[[dict[str, Any]], bool] = lambda row: False,
) -> Verdict:
    """What one page, in any order, shows of the activity after `newest_at`, except for what is not
    stored on purpose.

    The lag is how long the oldest of it has been waiting. The newest alone would look like hours of
    delay after a quiet night. If the page does not hold all of it, the oldest may be on another
    page; but that much activity has no pauses, so the distance to the newest is good enough.
    """
    newer: dict[int, datetime] = {}
    for row in rows:
        at = time_of(row.get("last_message_at"))
        if (
            isinstance(row.get("id"), int)
            and at is not None
            and (newest_at is None or at > newest_at)
            and not is_dropped(row)
        ):
            newer[row["id"]] = at
    is_whole = len(rows) < LARGEST_PAGE if total is None else len(rows) >= total
    lag = timedelta(0)
    if newer:
        lag = max(lag, observed_at - min(newer.values()))
        if not is_whole and newest_at is not None:
            lag = max(lag, max(newer.values()) - newest_at)
    seconds = round(lag.total_seconds())
    count = f"{len(newer):,}" + ("" if is_whole else " or more")
    metadata: dict[str, Any] = {
        "lag_seconds": seconds,
        "newer_conversations": len(newer),
        "is_whole": is_whole,
        "examples": dg.MetadataValue.json(list(newer)[:NAMED_AT_MOST]),
    }
    if newest_at is not None:
        metadata["newest_stored_at"] = dg.MetadataValue.timestamp(newest_at.astimezone(UTC))
    if newer:
        metadata["newest_shown_at"] = dg.MetadataValue.timestamp(max(newer.values()))
    return Verdict(
        passed=lag <= LONGEST_LAG,
        description=f"Conversations newer than what is stored: {count}. Lag: {seconds:,} s.",
        metadata=metadata,
    )
