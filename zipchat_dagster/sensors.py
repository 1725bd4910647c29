"""Sensors that report failures. They are off until you switch them on.

Both look at the runs that have ended since their last tick, and report each failure once through
the `Notifier`. Their cursor only moves past reports that were delivered, so a webhook that is down
delays reports but loses none. A `dg.run_failure_sensor` would skip a run whose report fails.

Reports contain no customer data: only ids, and sentences from our own errors and checks. Any other
error is reported by the name of its class, because its text may quote the data it failed on.
"""

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal, get_args

import dagster as dg
from dagster_shared.error import SerializableErrorInfo

from zipchat_dagster.notify import NotDeliveredError, Notifier, Report
from zipchat_dagster.run_storage import is_of

RUNS_PER_TICK: Final = 100
LONGEST_TICK: Final = 15.0  # seconds; Dagster abandons a tick after 60, and its cursor is lost
LONGEST_SENTENCE: Final = 300  # characters
MOST_NAMED: Final = 20  # failed steps, or entries of a list

EndOfRun = Literal[
    dg.DagsterEventType.RUN_FAILURE,
    dg.DagsterEventType.RUN_SUCCESS,
    dg.DagsterEventType.RUN_CANCELED,
]
# (instance, run, names of the checks that were failing before it) → (reports, names after it). It
# must be deterministic, so that a tick can continue where the last one stopped.
ReportsOf = Callable[
    [dg.DagsterInstance, dg.DagsterRun, Sequence[str]], tuple[list[Report], list[str]]
]

_OUR_ERROR = re.compile(
    rf"(?:zipchat_dagster\.(?:\w+\.)*|{re.escape(dg.Failure.__module__)}\.(?=Failure:))(\w+): "
)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s|\n")
_E_MAIL = re.compile(r"[^\s@<>“”\"']+@[^\s@<>“”\"']+")
_PHONE = re.compile(r"\+\d[\d ()/.-]{6,}\d")
_IDS_OR_TIMES = re.compile(
    r"\d{1,18}(, \d{1,18})*( and [\d,]+ more)?|\d{4}-\d\d-\d\d([ T][\d:.]+([+-][\d:]+|Z)?)?"
)


@dg.sensor(
    minimum_interval_seconds=30,
    description=(
        "Reports each failed run of this code location once, with its job, days, failed steps and"
        " the reason: in the log, and to ZIPCHAT_WEBHOOK_URL if it is set."
    ),
)
def failed_runs_sensor(context: dg.SensorEvaluationContext, notifier: Notifier) -> dg.SkipReason:
    """Its description in the UI says what it does."""
    return _report(
        context,
        notifier,
        [dg.DagsterEventType.RUN_FAILURE],
        lambda instance, run, _: ([run_report(instance, run)], []),
    )


@dg.sensor(
    minimum_interval_seconds=30,
    description=(
        "Reports each asset check that fails, once per run, and once when it passes again: in the"
        " log, and to ZIPCHAT_WEBHOOK_URL if it is set. Checks are reported when their run has"
        " ended."
    ),
)
def failing_checks_sensor(context: dg.SensorEvaluationContext, notifier: Notifier) -> dg.SkipReason:
    """Its description in the UI says what it does."""
    return _report(context, notifier, get_args(EndOfRun), check_reports)


SENSORS = [failed_runs_sensor, failing_checks_sensor]


@dataclass
class Position:
    """How far a sensor got: its cursor.

    Attributes:
        after: the storage id of the event that ended the last run that was reported completely.
        delivered: how many reports of the next run were delivered.
        failing: the names of the checks that were last reported as failing.
    """

    after: int
    delivered: int = 0
    failing: list[str] = field(default_factory=list)


def _report(
    context: dg.SensorEvaluationContext,
    notifier: Notifier,
    events: Sequence[EndOfRun],
    reports_of: ReportsOf,
) -> dg.SkipReason:
    """Report the runs that ended since the last tick, until a report cannot be delivered."""
    if not context.cursor:
        newest = max((_newest_end(context.instance, event) for event in events), default=0)
        context.update_cursor(json.dumps(asdict(Position(newest))))
        return dg.SkipReason("Just switched on. Failures are reported from now on.")
    position = Position(**json.loads(context.cursor))
    deadline = time.monotonic() + LONGEST_TICK
    count = 0
    try:
        for storage_id, run_id in _ended_runs(context.instance, events, after=position.after):
            run = context.instance.get_run_by_id(run_id)
            if run and is_ours(context, run):
                reports, failing = reports_of(context.instance, run, position.failing)
                for report in reports[position.delivered :]:
                    if time.monotonic() > deadline:
                        return dg.SkipReason(f"{count} reported. The next tick continues.")
                    notifier.send(report, context.log)
                    position.delivered += 1
                    count += 1
                position.failing = failing
            position.after, position.delivered = storage_id, 0
    except NotDeliveredError as error:
        # If the tick failed, Dagster would keep the old cursor and repeat every report.
        context.log.warning(f"{error} The next tick sends the report again.")
        return dg.SkipReason(f"{error} {count} reported before that. The next tick tries again.")
    finally:
        context.update_cursor(json.dumps(asdict(position)))
    return dg.SkipReason(f"{count} reported." if count else "Nothing new to report.")


def _newest_end(instance: dg.DagsterInstance, event: EndOfRun) -> int:
    records = instance.fetch_run_status_changes(event, limit=1).records
    return records[0].storage_id if records else 0


def _ended_runs(
    instance: dg.DagsterInstance, events: Sequence[EndOfRun], *, after: int
) -> list[tuple[int, str]]:
    """(storage id of the event, run id) in the order in which the runs ended."""
    ended = []
    for event in events:
        wanted = dg.RunStatusChangeRecordsFilter(event, after_storage_id=after)
        page = instance.fetch_run_status_changes(wanted, limit=RUNS_PER_TICK, ascending=True)
        ended += [(record.storage_id, record.run_id) for record in page.records]
    return sorted(ended)[:RUNS_PER_TICK]


def is_ours(context: dg.SensorEvaluationContext, run: dg.DagsterRun) -> bool:
    """Whether the run belongs to this code location."""
    origin = context.code_location_origin
    return is_of(run, f"{context.repository_name}@{origin.location_name}" if origin else None)


# Contents of the reports


def run_report(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Report:
    """A failed run: which steps failed, and why."""
    events = _events(instance, run, dg.DagsterEventType.STEP_FAILURE)[:MOST_NAMED]
    steps = [_step_facts(event) for event in events]
    reason = _reason(instance, run)
    days = _days(run)
    causes = [f"{s['step']}: {s['error'] or s['error_class']}" for s in steps] or [reason]
    will_retry = run.tags.get("dagster/will_retry") == "true"
    return Report(
        kind="run_failed",
        key=f"run_failed:{run.run_id}",
        text=(
            f"{run.job_name}{f' for {days}' if days else ''} failed (run {run.run_id})."
            f" {' '.join(causes)}{' Dagster will retry it.' if will_retry else ''}"
        ),
        facts={
            "job": run.job_name,
            "run_id": run.run_id,
            "partition": days,
            "reason": reason,
            "steps": steps,
            "will_be_retried": will_retry,
        },
    )


def check_reports(
    instance: dg.DagsterInstance, run: dg.DagsterRun, failing: Sequence[str]
) -> tuple[list[Report], list[str]]:
    """Reports of the checks that failed in a run, or pass again; and the names of all checks that
    fail after it."""
    reports = []
    still_failing = list(failing)
    for event in _events(instance, run, dg.DagsterEventType.ASSET_CHECK_EVALUATION):
        found = event.asset_check_evaluation_data
        name = _check_name(found)
        if not found.passed or name in still_failing:
            reports.append(_check_report(run, found))
        others = [other for other in still_failing if other != name]
        still_failing = others if found.passed else [*others, name]
    return reports, still_failing


def _check_report(run: dg.DagsterRun, found: dg.AssetCheckEvaluation) -> Report:
    name = _check_name(found)
    description = _masked(found.description or "")[:LONGEST_SENTENCE]
    metadata = {key: value.value for key, value in found.metadata.items()}
    verdict = "passes again" if found.passed else "failed"
    return Report(
        kind="check_recovered" if found.passed else "check_failed",
        key=f"check:{name}:{run.run_id}",
        text=f"{found.severity.value}: {name} {verdict} (run {run.run_id}). {description}".rstrip(),
        facts={
            "check": name,
            "severity": found.severity.value,
            "description": description,
            "metadata": _harmless(metadata),
            "partition": found.partition or _days(run),
            "job": run.job_name,
            "run_id": run.run_id,
        },
    )


def _check_name(found: dg.AssetCheckEvaluation) -> str:
    name = f"{found.asset_key.to_user_string()}.{found.check_name}"
    return f"{name} of {found.partition}" if found.partition else name


def _days(run: dg.DagsterRun) -> str | None:
    first = run.tags.get("dagster/asset_partition_range_start")
    last = run.tags.get("dagster/asset_partition_range_end")
    return f"{first} to {last}" if first and last else run.tags.get("dagster/partition")


def _events(
    instance: dg.DagsterInstance, run: dg.DagsterRun, kind: dg.DagsterEventType
) -> list[dg.DagsterEvent]:
    records = instance.get_records_for_run(run.run_id, of_type=kind).records
    events = [record.event_log_entry.dagster_event for record in records]
    return [event for event in events if event is not None]


def _step_facts(event: dg.DagsterEvent) -> dict[str, Any]:
    data = event.step_failure_data
    error_class, sentence = _explained(data.error)
    metadata = data.user_failure_data.metadata if data.user_failure_data else {}
    return {
        "step": event.step_key,
        "error_class": error_class,
        "error": sentence,
        "metadata": _harmless({name: found.value for name, found in metadata.items()}),
    }


def _reason(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """Dagster's reason, such as STEP_FAILURE or RUN_EXCEPTION (RuntimeError)."""
    events = _events(instance, run, dg.DagsterEventType.RUN_FAILURE)
    data = events[-1].job_failure_data if events and events[-1].event_specific_data else None
    if data is None or data.failure_reason is None:
        return "UNKNOWN"
    is_in_step = data.first_step_failure_event is not None
    error_class = None if is_in_step or data.error is None else _explained(data.error)[0]
    return data.failure_reason.value + (f" ({error_class})" if error_class else "")


def _explained(error: SerializableErrorInfo | None) -> tuple[str, str | None]:
    """(class, first sentence) of an error. The sentence is None unless the class is ours."""
    if error is None:
        return "unknown", None
    # Dagster wraps errors that a step raises.
    if error.cls_name == "DagsterExecutionStepExecutionError" and error.cause is not None:
        error = error.cause
    ours = _OUR_ERROR.match(error.message)
    if ours is None:
        return error.cls_name or "unknown", None
    sentence = _SENTENCE_END.split(error.message[ours.end() :].strip(), maxsplit=1)[0]
    return ours[1], _masked(sentence)[:LONGEST_SENTENCE]


def _masked(text: str) -> str:
    """Our sentences contain no addresses or phone numbers, but may quote the API."""
    return _PHONE.sub("(phone number)", _E_MAIL.sub("(e-mail)", text))


def _harmless(value: Any) -> Any:
    """The numbers, ids and times in metadata. All other text is left out."""
    match value:
        case dict():
            kept = {str(name): _harmless(found) for name, found in value.items()}
            return {name: found for name, found in kept.items() if found not in (None, [], {})}
        case list() | tuple():
            kept_items = [_harmless(found) for found in value[:MOST_NAMED]]
            return [found for found in kept_items if found not in (None, [], {})]
        case bool() | int() | float():
            return value
        case datetime():
            return value.astimezone(UTC).isoformat()
        case str() if _IDS_OR_TIMES.fullmatch(value):
            return value
    return None
