"""The sensors report each failure once, lose none, and include no customer data."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)

from zipchat_dagster import notify, sensors
from zipchat_dagster.checks.content import NO_CONVERSATION_WAS_SKIPPED
from zipchat_dagster.checks.rules import checks_of
from zipchat_dagster.client import NotFoundError, SettingError
from zipchat_dagster.notify import Notifier, Report, check_webhook_url
from zipchat_dagster.resources import WarehouseResource, ZipchatResource
from zipchat_dagster.sandbox import Fault, Sandbox, generate
from zipchat_dagster.sensors import failed_runs_sensor, failing_checks_sensor
from zipchat_dagster.sync import ApiDownError
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster.warehouse.engine import WarehouseError
from zipchat_dagster_tests.conftest import NOW, Project
from zipchat_dagster_tests.single import LANE

E_MAIL = "ada.sample@example.com"
TEXT = "The zip of the jacket broke."
PERSONAL = (E_MAIL, TEXT, "jacket", "Ada", "+49 151 2345678")


class Outcome:
    """What the asset and the check below do in their next run."""

    error: Exception | None = None
    passed = True
    severity = dg.AssetCheckSeverity.ERROR
    description = "Conversations that were skipped: 0."
    metadata: dict[str, Any]


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["2026-01-31"]))
def some_messages() -> None:
    if Outcome.error:
        raise Outcome.error


@dg.asset_check(asset=some_messages)
def no_conversation_was_skipped() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=Outcome.passed,
        severity=Outcome.severity,
        description=Outcome.description,
        metadata=Outcome.metadata,
    )


DEFINITIONS = dg.Definitions(
    assets=[some_messages],
    asset_checks=[no_conversation_was_skipped],
    jobs=[
        dg.define_asset_job("some_job", [some_messages]),
        dg.define_asset_job("check_job", dg.AssetSelection.checks(no_conversation_was_skipped)),
    ],
)


class Hook:
    """A webhook on this machine that answers with the given statuses."""

    def __init__(self) -> None:
        self.accepted: list[dict[str, Any]] = []
        self.requests = 0
        self.statuses: list[int] = []  # of the next answers, then 200
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.requests += 1
                status = hook.statuses.pop(0) if hook.statuses else 200
                if status == 200:
                    hook.accepted.append(json.loads(body))
                self.send_response(status)
                self.send_header("Location", "https://example.com/")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/services/hook-secret"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


LOCATION, REPOSITORY = "our_location", "__repository__"


def sensor_context(
    instance: dg.DagsterInstance, cursor: str | None = None, **resources: Any
) -> dg.SensorEvaluationContext:
    """As the daemon makes it for a sensor of LOCATION."""
    return dg.SensorEvaluationContext(
        instance_ref=None,
        instance=instance,
        cursor=cursor,
        repository_name=REPOSITORY,
        code_location_origin=RegisteredCodeLocationOrigin(LOCATION),
        resources=resources,
        definitions=DEFINITIONS,
    )


def ended_run(
    instance: dg.DagsterInstance,
    job: str,
    event: dg.DagsterEventType,
    *,
    location: str,
    repository: str = REPOSITORY,
) -> str:
    """A run that the daemon launched for this code location, and that ended so."""
    origin = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(location), repository)
    run = dg.DagsterRun(
        job_name=job,
        status=dg.DagsterRunStatus.STARTED,
        remote_job_origin=RemoteJobOrigin(origin, job),
    )
    instance.add_run(run)
    instance.report_dagster_event(dg.DagsterEvent(event.value, job), run.run_id)
    return run.run_id


class Daemon:
    """Runs jobs, and ticks a sensor as Dagster's daemon does, keeping its cursor."""

    def __init__(self, sensor: dg.SensorDefinition, hook: Hook, instance: dg.DagsterInstance):
        self.sensor, self.hook, self.instance = sensor, hook, instance
        self.cursor: str | None = None
        self.log = ""
        self.tick()  # switched on

    def run(self, job: str = "some_job", error: Exception | None = None) -> str:
        Outcome.error = error
        result = DEFINITIONS.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            partition_key="2026-01-31" if job == "some_job" else None,
            raise_on_error=False,
        )
        return result.run_id

    def check(self, *, passed: bool = False, **outcome: Any) -> str:
        Outcome.passed = passed
        for name, value in outcome.items():
            setattr(Outcome, name, value)
        return self.run("check_job")

    def tick(self) -> list[dict[str, Any]]:
        """What the webhook accepted in this tick."""
        before = len(self.hook.accepted)
        notifier = Notifier(webhook_url=self.hook.url)
        with sensor_context(self.instance, self.cursor, notifier=notifier) as context:
            tick = self.sensor.evaluate_tick(context)
        assert not tick.run_requests
        self.cursor = tick.cursor
        self.log += f"{tick.skip_message}\n"
        return self.hook.accepted[before:]


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Hook]:
    monkeypatch.setattr(notify, "PAUSES", (0.0, 0.0))
    Outcome.error, Outcome.passed, Outcome.metadata = None, True, {}
    Outcome.severity = dg.AssetCheckSeverity.ERROR
    Outcome.description = "Conversations that were skipped: 0."
    hook = Hook()
    yield hook
    hook.close()
    assert "hook-secret" not in caplog.text
    for report in hook.accepted:
        assert not [word for word in PERSONAL if word in json.dumps(report, ensure_ascii=False)]


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """With the default storage, which keeps the events of each run in a file of its own, so their
    ids are not those of the instance's events."""
    with dg.DagsterInstance.local_temp(
        str(tmp_path_factory.mktemp("home")), overrides={"telemetry": {"enabled": False}}
    ) as instance:
        yield instance


# Failed runs


def test_a_failed_run_is_reported_once(hook: Hook, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(failed_runs_sensor, hook, instance)
    daemon.run()
    assert daemon.tick() == []
    failure = dg.Failure(
        "Conversations that could not be read: 12. Try later.", {"examples": [4, 5]}
    )
    run_id = daemon.run(error=failure)
    (report,) = daemon.tick()
    assert report["kind"] == "run_failed"
    assert report["key"] == f"run_failed:{run_id}"
    assert (report["job"], report["run_id"], report["partition"]) == (
        "some_job",
        run_id,
        "2026-01-31",
    )
    assert report["steps"] == [
        {
            "step": "some_messages",
            "error_class": "Failure",
            "error": "Conversations that could not be read: 12.",
            "metadata": {"examples": [4, 5]},
        }
    ]
    assert report["text"] == (
        f"some_job for 2026-01-31 failed (run {run_id})."
        " some_messages: Conversations that could not be read: 12."
    )
    assert daemon.tick() == []
    runs = [daemon.run(error=ValueError()), daemon.run(), daemon.run(error=ValueError())]
    assert [report["run_id"] for report in daemon.tick()] == [runs[0], runs[2]]


@pytest.fixture(scope="module")
def shared() -> Iterator[dg.DagsterInstance]:
    """An instance in memory, with the runs of earlier tests. Each daemon starts after them."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def failed_runs(hook: Hook, shared: dg.DagsterInstance) -> Daemon:
    return Daemon(failed_runs_sensor, hook, shared)


def test_runs_that_failed_before_the_sensor_was_switched_on_are_not_reported(
    failed_runs: Daemon, hook: Hook
) -> None:
    failed_runs.run(error=ValueError())
    daemon = Daemon(failed_runs_sensor, hook, failed_runs.instance)
    assert daemon.tick() == []
    daemon.run(error=ValueError())
    assert len(daemon.tick()) == 1


@pytest.mark.parametrize(
    ("location", "repository", "is_ours"),
    [
        (LOCATION, REPOSITORY, True),
        ("their_location", REPOSITORY, False),
        (LOCATION, "their_repository", False),
    ],
)
def test_only_runs_of_this_code_location_are_reported(
    failed_runs: Daemon, location: str, repository: str, is_ours: bool
) -> None:
    """Runs from the command line, as all others here are, belong to no location and are reported."""
    run_id = ended_run(
        failed_runs.instance,
        "some_job",
        dg.DagsterEventType.RUN_FAILURE,
        location=location,
        repository=repository,
    )
    reported = [report["run_id"] for report in failed_runs.tick()]
    assert reported == ([run_id] if is_ours else [])


@pytest.mark.parametrize(
    ("error", "error_class", "sentence"),
    [
        (ValueError(f"{TEXT} {E_MAIL}"), "ValueError", None),
        (KeyError(E_MAIL), "KeyError", None),
        (
            NotFoundError(404, "Conversation not found", method="GET", path="/chats/1/x/5"),
            "NotFoundError",
            "GET /chats/1/x/5: the API answered 404 “Conversation not found”",
        ),
        (
            ApiDownError(f"2 failed (4, 5).\n- {TEXT}"),
            "ApiDownError",
            "2 failed (4, 5).",
        ),
        (WarehouseError("The file is locked. By whom?"), "WarehouseError", "The file is locked."),
        (
            dg.Failure(f"Of {E_MAIL} and +49 151 2345678.", {"text": TEXT, "of": E_MAIL}),
            "Failure",
            "Of (e-mail) and (phone number).",
        ),
    ],
)
def test_only_our_own_sentences_are_reported(
    failed_runs: Daemon, error: Exception, error_class: str, sentence: str | None
) -> None:
    failed_runs.run(error=error)
    (report,) = failed_runs.tick()
    (step,) = report["steps"]
    assert (step["error_class"], step["error"], step["metadata"]) == (error_class, sentence, {})


def test_a_class_that_only_shares_a_name_with_ours_is_not_ours(failed_runs: Daemon) -> None:
    theirs = type("NotFoundError", (Exception,), {"__module__": "elsewhere"})
    failed_runs.run(error=theirs(TEXT))
    (report,) = failed_runs.tick()
    assert report["steps"][0]["error"] is None


def test_a_run_that_fails_outside_its_steps_is_reported(failed_runs: Daemon) -> None:
    @dg.resource
    def broken(context: dg.InitResourceContext) -> None:
        raise ValueError(TEXT)

    @dg.op(required_resource_keys={"broken"})
    def needs_it() -> None:
        pass

    @dg.job(resource_defs={"broken": broken})
    def broken_job() -> None:
        needs_it()

    broken_job.execute_in_process(instance=failed_runs.instance, raise_on_error=False)
    (report,) = failed_runs.tick()
    assert report["job"] == "broken_job"
    assert report["steps"] == []
    assert report["reason"].startswith("RUN_EXCEPTION (Dagster")


# The webhook


@pytest.mark.parametrize("status", [500, 404, 302])
def test_reports_wait_for_a_webhook_that_is_down(failed_runs: Daemon, status: int) -> None:
    runs = [failed_runs.run(error=ValueError()) for _ in range(3)]
    failed_runs.hook.statuses = [200, status, status]
    assert [report["run_id"] for report in failed_runs.tick()] == runs[:1]
    assert f"it answered {status}" in failed_runs.log
    assert "hook-secret" not in failed_runs.log
    assert [report["run_id"] for report in failed_runs.tick()] == runs[1:]
    assert failed_runs.tick() == []


def test_a_webhook_that_fails_once_is_retried_at_once(failed_runs: Daemon) -> None:
    failed_runs.run(error=ValueError())
    failed_runs.hook.statuses = [503]
    assert len(failed_runs.tick()) == 1
    assert failed_runs.hook.requests == 2


def test_nothing_is_lost_while_there_is_no_webhook(failed_runs: Daemon) -> None:
    failed_runs.run(error=ValueError())
    there, failed_runs.hook.url = failed_runs.hook.url, "http://127.0.0.1:9/hook-secret"
    assert failed_runs.tick() == []
    assert "The webhook at 127.0.0.1 did not accept a report (ConnectError)" in failed_runs.log
    failed_runs.hook.url = there
    assert len(failed_runs.tick()) == 1


def test_a_tick_ends_in_time_and_the_next_one_continues(
    failed_runs: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed_runs.run(error=ValueError())
    monkeypatch.setattr(sensors, "LONGEST_TICK", -1.0)
    assert failed_runs.tick() == []
    monkeypatch.setattr(sensors, "LONGEST_TICK", 15.0)
    assert len(failed_runs.tick()) == 1


@pytest.mark.parametrize(
    "value", ["http://example.com/hook", "ftp://example.com/", "hook", "https://", "http://[::1"]
)
def test_an_address_that_is_not_safe_is_refused(value: str) -> None:
    with pytest.raises(SettingError, match="ZIPCHAT_WEBHOOK_URL") as refused:
        check_webhook_url(value)
    assert "example.com" not in str(refused.value)


def test_safe_addresses_are_accepted_and_not_shown() -> None:
    for value in ("https://example.com/x", "http://localhost:80/x", "http://[::1]/x"):
        check_webhook_url(value)
    assert "hook-secret" not in repr(Notifier(webhook_url="https://example.com/hook-secret"))


def test_without_a_webhook_reports_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("zipchat_dagster")
    Notifier().send(Report("run_failed", "key", "some_job failed.", {}), log)
    assert "some_job failed." in caplog.text


# Failing checks


def test_a_failing_check_is_reported_each_time_it_runs_and_once_when_it_passes_again(
    hook: Hook, instance: dg.DagsterInstance
) -> None:
    daemon = Daemon(failing_checks_sensor, hook, instance)
    daemon.run()
    daemon.check(passed=True)
    assert daemon.tick() == []
    run_id = daemon.check(
        description=f"Conversations that were skipped: 2 (7, 8). {E_MAIL}",
        metadata={
            "violations": 2,
            "examples": dg.MetadataValue.json([7, 8]),
            "rows": dg.MetadataValue.json([{"offender": 7, "field": "Ada", "text": TEXT}]),
            "text": TEXT,
            "day": "2026-01-31",
        },
    )
    (report,) = daemon.tick()
    assert report["kind"] == "check_failed"
    assert report["check"] == "some_messages.no_conversation_was_skipped"
    assert report["severity"] == "ERROR"
    assert report["description"] == "Conversations that were skipped: 2 (7, 8). (e-mail)"
    assert report["metadata"] == {
        "violations": 2,
        "examples": [7, 8],
        "rows": [{"offender": 7}],
        "day": "2026-01-31",
    }
    assert report["run_id"] == run_id
    assert daemon.tick() == []
    runs = [daemon.check(), daemon.check()]
    assert [report["run_id"] for report in daemon.tick()] == runs
    daemon.check(passed=True)
    daemon.check(passed=True)
    assert [report["kind"] for report in daemon.tick()] == ["check_recovered"]
    assert daemon.tick() == []


@pytest.fixture
def checks(hook: Hook, shared: dg.DagsterInstance) -> Daemon:
    return Daemon(failing_checks_sensor, hook, shared)


def test_a_warning_is_reported_too(checks: Daemon) -> None:
    checks.check(severity=dg.AssetCheckSeverity.WARN)
    (report,) = checks.tick()
    assert report["severity"] == "WARN"


def test_a_recovery_that_was_not_delivered_is_reported_later(checks: Daemon) -> None:
    checks.check()
    checks.hook.statuses = [500, 500]
    assert checks.tick() == []
    assert len(checks.tick()) == 1
    checks.check(passed=True)
    checks.hook.statuses = [500, 500]
    assert checks.tick() == []
    assert [report["kind"] for report in checks.tick()] == ["check_recovered"]


def test_a_run_that_was_reported_in_part_continues_where_it_was(checks: Daemon) -> None:
    passing: set[int] = set()

    @dg.multi_asset_check(
        specs=[dg.AssetCheckSpec(f"rule_{n}", asset=some_messages) for n in range(4)]
    )
    def rules() -> Iterator[dg.AssetCheckResult]:
        for n in range(4):
            yield dg.AssetCheckResult(
                passed=n in passing, check_name=f"rule_{n}", asset_key=some_messages.key
            )

    everything = dg.Definitions(
        assets=[some_messages],
        asset_checks=[rules],
        jobs=[dg.define_asset_job("rules_job", dg.AssetSelection.checks(rules))],
    )
    job = everything.resolve_job_def("rules_job")
    job.execute_in_process(instance=checks.instance)
    assert len(checks.tick()) == 4
    passing.add(0)
    job.execute_in_process(instance=checks.instance)
    checks.hook.statuses = [200, 500, 500]
    (first,) = checks.tick()
    assert [report["check"][-6:] for report in [first, *checks.tick()]] == [
        "rule_0",
        "rule_1",
        "rule_2",
        "rule_3",
    ]


def test_a_conversation_that_cannot_be_read_is_reported(
    checks: Daemon, warehouse: Warehouse
) -> None:
    sandbox = Sandbox(chat=generate(seed=5, conversations=3, days=1, now=NOW), limit=None)
    broken = max(sandbox.chat.conversations)
    sandbox.add_fault(Fault("500", endpoint="show", conversation_id=broken, times=None))
    Project(sandbox, warehouse).sync()
    check = checks_of(
        LANE, "raw_messages", [NO_CONVERSATION_WAS_SKIPPED], name="raw_messages_checks"
    )
    definitions = dg.Definitions(
        asset_checks=[check],
        jobs=[dg.define_asset_job("skipped_job", dg.AssetSelection.checks(check))],
        resources={
            "warehouse": WarehouseResource(database=str(warehouse.path)),
            "zipchat": ZipchatResource(chat_id="1"),
        },
    )
    definitions.resolve_job_def("skipped_job").execute_in_process(instance=checks.instance)
    (report,) = checks.tick()
    assert report["check"] == "raw_messages.no_conversation_was_skipped"
    assert report["severity"] == "ERROR"
    assert report["description"] == f"Conversations that could not be read: 1 ({broken})."


def test_the_sensors_are_off_until_they_are_switched_on() -> None:
    for sensor in sensors.SENSORS:
        assert sensor.default_status == dg.DefaultSensorStatus.STOPPED
        assert sensor.description
    definitions = dg.Definitions(sensors=sensors.SENSORS, resources={"notifier": Notifier()})
    dg.Definitions.validate_loadable(definitions)


def test_the_personal_words_above_are_those_of_the_sandbox() -> None:
    """So these tests look for what the sandbox's customers write and are called."""
    chat = generate(seed=1, conversations=50, days=5, now=datetime.now(UTC))
    shown = repr(chat)
    assert "jacket broke" in shown
    assert "Ada" in shown
