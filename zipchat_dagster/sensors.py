"""Sensors that tell what failed; off until they are switched on, as is the convention.

Both look at the runs that ended since they last looked, tell each failure once through the
`Notifier`, and go on only as far as it was taken: a webhook that is down delays reports and loses
none. That is why they are no `dg.run_failure_sensor`, which goes on to the next run when telling of
one fails.

What is told holds nothing of a customer's: ids, and sentences of our own errors and checks. Any
other error is told by the name of its class, since its text may quote what it failed on.
"""

import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeVar, get_args

import dagster as dg
from dagster_shared.error import SerializableErrorInfo

from zipchat_dagster.client import ZipchatError
from zipchat_dagster.notify import NotDeliveredError, Notifier, Report
from zipchat_dagster.warehouse.warehouse import WarehouseError

T = TypeVar("T")

RUNS_PER_TICK: Final = 100
LONGEST_TICK: Final = 15.0  # seconds; after 60 Dagster gives a tick up and forgets how far it came
LONGEST_SENTENCE: Final = 300  # characters
NAMED_AT_MOST: Final = 20  # failed steps, or entries of a list

EndOfRun = Literal[
    dg.DagsterEventType.RUN_FAILURE,
    dg.DagsterEventType.RUN_SUCCESS,
    dg.DagsterEventType.RUN_CANCELED,
]

_SENTENCE_END = re.compile(r"(?<=[.!?])\s|\n")
_E_MAIL = re.compile(r"[^\s@<>“”\"']+@[^\s@<>“”\"']+")
_PHONE = re.compile(r"\+\d[\d ()/.-]{6,}\d")
_IDS_OR_TIMES = re.compile(
    r"\d{1,18}(, \d{1,18})*( and [\d,]+ more)?|\d{4}-\d\d-\d\d([ T][\d:.]+([+-][\d:]+|Z)?)?"
)


@dg.sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description=(
        "Tells each failed run of this code location once: job, run, days, failed steps and why;"
        " in the log, and to ZIPCHAT_WEBHOOK_URL where it is set."
    ),
)
def failed_runs_sensor(context: dg.SensorEvaluationContext, notifier: Notifier) -> dg.SkipReason:
    """What it does stands in its description, for the UI."""

    def the_run(run: dg.DagsterRun) -> list[dg.DagsterRun]:
        return [run]

    def report(run: dg.DagsterRun, failed: dg.DagsterRun, position: Position) -> Report:
        return run_report(context.instance, failed)

    return _tell(context, notifier, [dg.DagsterEventType.RUN_FAILURE], the_run, report)


@dg.sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description=(
        "Tells each asset check that did not pass, once for each time that it was run, and once"
        " that it passes again; in the log, and to ZIPCHAT_WEBHOOK_URL where it is set. What a run"
        " checked is told when the run has ended."
    ),
)
def failing_checks_sensor(context: dg.SensorEvaluationContext, notifier: Notifier) -> dg.SkipReason:
    """What it does stands in its description, for the UI."""

    def evaluations(run: dg.DagsterRun) -> list[dg.AssetCheckEvaluation]:
        records = context.instance.get_records_for_run(
            run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
        ).records
        events = [record.event_log_entry.dagster_event for record in records]
        return [event.asset_check_evaluation_data for event in events if event is not None]

    def report(
        run: dg.DagsterRun, found: dg.AssetCheckEvaluation, position: Position
    ) -> Report | None:
        is_news = not found.passed or _check_name(found) in position.failing
        return check_report(run, found) if is_news else None

    return _tell(context, notifier, get_args(EndOfRun), evaluations, report)


SENSORS = [failed_runs_sensor, failing_checks_sensor]


@dataclass
class Position:
    """How far a sensor came; its cursor.

    Attributes:
        after: the storage id of the event that ended the last run of which all is told.
        told: how much of the run after it is told, where that was interrupted.
        failing: the checks that were told as failing, and not yet as passing again.
    """

    after: int
    told: int = 0
    failing: list[str] = field(default_factory=list)

    def note(self, report: Report | None) -> None:
        """One more is told, or was not worth it."""
        self.told += 1
        if report and report.kind != "run_failed":
            name = report.facts["check"]
            others = [other for other in self.failing if other != name]
            self.failing = [*others, name] if report.kind == "check_failed" else others


def _tell(
    context: dg.SensorEvaluationContext,
    notifier: Notifier,
    events: Sequence[EndOfRun],
    items_of: Callable[[dg.DagsterRun], Sequence[T]],
    report_of: Callable[[dg.DagsterRun, T, Position], Report | None],
) -> dg.SkipReason:
    """Tell what the runs that ended since the last tick give to report, as far as it is taken."""
    if not context.cursor:
        newest = max((_newest_end(context.instance, event) for event in events), default=0)
        context.update_cursor(json.dumps(asdict(Position(newest))))
        return dg.SkipReason("Switched on: what fails from now on is told.")
    position = Position(**json.loads(context.cursor))
    deadline = time.monotonic() + LONGEST_TICK
    count = 0
    try:
        for storage_id, run in _ended_runs(context, events, after=position.after):
            for item in (items_of(run) if run else [])[position.told :]:
                if time.monotonic() > deadline:
                    return dg.SkipReason(f"{count} told; the rest at the next tick.")
                assert run is not None
                report = report_of(run, item, position)
                if report:
                    notifier.send(report, context.log)
                    count += 1
                position.note(report)
            position.after, position.told = storage_id, 0
    except NotDeliveredError as error:
        # Raised further, it would make Dagster forget what was told, and tell it again.
        context.log.warning(f"{error} The report is kept for the next tick.")
        return dg.SkipReason(f"{error} It is tried again at the next tick; {count} told before.")
    finally:
        context.update_cursor(json.dumps(asdict(position)))
    return dg.SkipReason(f"{count} told." if count else "Nothing new to tell.")


def _newest_end(instance: dg.DagsterInstance, event: EndOfRun) -> int:
    records = instance.fetch_run_status_changes(event, limit=1).records
    return records[0].storage_id if records else 0


def _ended_runs(
    context: dg.SensorEvaluationContext, events: Sequence[EndOfRun], *, after: int
) -> Iterator[tuple[int, dg.DagsterRun | None]]:
    """(storage id, run) in the order in which they ended; None for a run that is not ours."""
    instance = context.instance
    ended = []
    for event in events:
        wanted = dg.RunStatusChangeRecordsFilter(event, after_storage_id=after)
        page = instance.fetch_run_status_changes(wanted, limit=RUNS_PER_TICK, ascending=True)
        ended += [(record.storage_id, record.run_id) for record in page.records]
    for storage_id, run_id in sorted(ended)[:RUNS_PER_TICK]:
        run = instance.get_run_by_id(run_id)
        yield storage_id, run if run and _is_ours(context, run) else None


def _is_ours(context: dg.SensorEvaluationContext, run: dg.DagsterRun) -> bool:
    """Whether the run is of this code location; one from the command line does not say."""
    if run.remote_job_origin is None or context.code_location_origin is None:
        return True
    repository = run.remote_job_origin.repository_origin
    return (
        repository.code_location_origin.location_name == context.code_location_origin.location_name
        and repository.repository_name == context.repository_name
    )


# What is told


def run_report(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Report:
    """A failed run: which steps, and why as far as that is ours to say."""
    records = instance.get_records_for_run(
        run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE
    ).records
    steps = []
    for record in records[:NAMED_AT_MOST]:
        event = record.event_log_entry.dagster_event
        assert event is not None
        data = event.step_failure_data
        error_class, sentence = _explained(data.error)
        metadata = data.user_failure_data.metadata if data.user_failure_data else {}
        steps.append(
            {
                "step": event.step_key,
                "error_class": error_class,
                "error": sentence,
                "metadata": _harmless({name: found.value for name, found in metadata.items()}),
            }
        )
    reason = _reason(instance, run)
    days = _days(run)
    causes = [f"{s['step']}: {s['error'] or s['error_class']}" for s in steps] or [reason]
    will_retry = run.tags.get("dagster/will_retry") == "true"
    return Report(
        kind="run_failed",
        key=f"run_failed:{run.run_id}",
        text=(
            f"{run.job_name}{f' for {days}' if days else ''} failed (run {run.run_id})."
            f" {' '.join(causes)}{' Dagster tries it again.' if will_retry else ''}"
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


def check_report(run: dg.DagsterRun, found: dg.AssetCheckEvaluation) -> Report:
    """An evaluation of an asset check, failed or passed."""
    name = _check_name(found)
    description = _masked(found.description or "")[:LONGEST_SENTENCE]
    metadata = {key: value.value for key, value in found.metadata.items()}
    verdict = "passes again" if found.passed else "does not pass"
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


def _reason(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """Dagster's word for it, such as STEP_FAILURE, RUN_EXCEPTION (RuntimeError)."""
    records = instance.get_records_for_run(
        run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE
    ).records
    event = records[-1].event_log_entry.dagster_event if records else None
    data = event.job_failure_data if event and event.event_specific_data else None
    if data is None or data.failure_reason is None:
        return "UNKNOWN"
    is_in_step = data.first_step_failure_event is not None
    error_class = None if is_in_step or data.error is None else _explained(data.error)[0]
    return data.failure_reason.value + (f" ({error_class})" if error_class else "")


def _explained(error: SerializableErrorInfo | None) -> tuple[str, str | None]:
    """(class, first sentence) of an error; the sentence only where its class is ours."""
    if error is None:
        return "unknown", None
    # Dagster wraps what is raised in a step.
    if error.cls_name == "DagsterExecutionStepExecutionError" and error.cause is not None:
        error = error.cause
    for ours in _own_errors():
        qualified = f"{ours.__module__}.{ours.__qualname__}: "
        if error.message.startswith(qualified):
            text = error.message.removeprefix(qualified).strip()
            sentence = _SENTENCE_END.split(text, maxsplit=1)[0]
            return ours.__name__, _masked(sentence)[:LONGEST_SENTENCE]
    return error.cls_name or "unknown", None


def _own_errors() -> Iterator[type[Exception]]:
    pending: list[type[Exception]] = [dg.Failure, WarehouseError, ZipchatError]
    while pending:
        found = pending.pop()
        yield found
        if found is not dg.Failure:
            pending += found.__subclasses__()


def _masked(text: str) -> str:
    """Ours hold none of these; the API's own words, quoted in them, might."""
    return _PHONE.sub("(phone number)", _E_MAIL.sub("(e-mail)", text))


def _harmless(value: Any) -> Any:
    """Numbers, ids and times of some metadata; every other text is left out."""
    match value:
        case dict():
            kept = {str(name): _harmless(found) for name, found in value.items()}
            return {name: found for name, found in kept.items() if found not in (None, [], {})}
        case list() | tuple():
            kept_items = [_harmless(found) for found in value[:NAMED_AT_MOST]]
            return [found for found in kept_items if found not in (None, [], {})]
        case bool() | int() | float():
            return value
        case datetime():
            return value.astimezone(UTC).isoformat()
        case str() if _IDS_OR_TIMES.fullmatch(value):
            return value
    return None
