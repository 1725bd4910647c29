"""Write-back: what each job does and refuses, and that no message is sent twice by mistake."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from copy import copy
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from zipchat_dagster import write_back
from zipchat_dagster.client import Clock as MachineClock
from zipchat_dagster.client import UnprocessableError, ZipchatClient
from zipchat_dagster.resources import WarehouseResource
from zipchat_dagster.sandbox import DEFAULT_KEY, Chat, Fault, Lead, Request, Sandbox, User, serve
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster.warehouse.attempts import Attempts
from zipchat_dagster.write_back import Reply
from zipchat_dagster.write_back_jobs import write_back_jobs
from zipchat_dagster_tests.conftest import Clock, Project, create_tables
from zipchat_dagster_tests.single import LANE, api_at

TEXT = "Hello <Ada> & friends,\n\nyour parcel 4711 is found."
E_MAIL = "ada.sample@example.com"
ANN, BOB = 11, 12


class Desk:
    """A sandbox over HTTP, a warehouse, and runs of the jobs, on a clock that only sleep moves."""

    def __init__(
        self, path: Path, sandbox: Sandbox, base_url: str, instance: dg.DagsterInstance
    ) -> None:
        self.sandbox = sandbox
        self.instance = instance
        self.warehouse = Warehouse(path / "warehouse.duckdb")
        self.project = Project(sandbox, self.warehouse)
        self.clock = self.project.clock
        self.place = str(path), base_url

    def converse(self, channel: str = "web", *, hours_ago: float = 1, taken_by: int = 0) -> int:
        """A conversation whose customer wrote that long ago."""
        at = self.sandbox.now() - timedelta(hours=hours_ago)
        lead = Lead(1, "Ada", "Sample", E_MAIL)
        found = self.sandbox.chat.add_conversation(at=at, channel=channel, lead=lead)
        if taken_by:
            self.sandbox.chat.assign(found.id, taken_by, at=at)
        return found.id

    def run(self, name: str, **config: Any) -> Run:
        job = job_of(f"{name}_job", *self.place)
        run_config = {"ops": {name: {"config": config}}}
        result = job.execute_in_process(run_config, instance=self.instance, raise_on_error=False)
        return Run(self.instance, result.run_id)

    def reply(self, number: int, **config: Any) -> Run:
        """Ann's answer with TEXT; `config` has what differs."""
        usual = {"conversation_id": number, "sender_id": ANN, "message": TEXT}
        return self.run("send_reply", **usual | config)

    def help(self, number: int) -> Run:
        """Take the conversation over, answer it with TEXT, and hand it back."""
        usual = {"conversation_id": number, "sender_id": ANN, "message": TEXT}
        return self.run("take_over_reply_hand_back", **usual)

    def again(self, run: Run) -> Run:
        """Re-execute a run, as the button in the UI does."""
        parent = self.instance.get_run_by_id(run.run_id)
        assert parent is not None
        result = dg.execute_job(
            dg.build_reconstructable_job(
                __name__,
                "job_of",
                (parent.job_name, *self.place),  # type: ignore[arg-type]  # any tuple will do
            ),
            self.instance,
            run_config=parent.run_config,
            reexecution_options=dg.ReexecutionOptions(parent_run_id=run.run_id),
        )
        return Run(self.instance, result.run_id)

    def lose_message(self, *, arrives_after: float) -> None:
        """Answer the next message with 503, and show it to readers after that many seconds."""
        self.sandbox.add_fault(Fault("503", endpoint="message"))
        sent: list[tuple[float, Request]] = []

        def on_request(sandbox: Sandbox, request: Request) -> None:
            if request.endpoint == "message" and not sent:
                sent.append((self.clock.now, request))
            elif request.endpoint == "show" and sent:
                at, message = sent[0]
                if self.clock.now >= at + arrives_after:
                    self.arrive(message.id or 0)
                    sandbox.before_request = None

        self.sandbox.before_request = on_request

    def arrive(self, conversation_id: int) -> None:
        self.sandbox.chat.add_message(
            conversation_id,
            at=self.sandbox.now(),
            role="assistant",
            manual_reply=True,
            sender_id=ANN,
            message=TEXT,
        )

    def attempts(self, conversation_id: int, **changes: str) -> Attempts:
        """Of a run somewhere else."""
        about = {"run_id": "other", "root_run_id": "other", "key": DEFAULT_KEY, **changes}
        return Attempts(self.warehouse, 1, conversation_id, **about)

    def requests(self) -> tuple[int, int]:
        """(assignments, messages) that the API was asked for."""
        asked = self.sandbox.stats()["by_endpoint"]
        return asked["assignment"], asked["message"]

    def replies(self, conversation_id: int) -> list[str]:
        found = self.sandbox.chat.conversations[conversation_id].messages
        return [message.message for message in found if message.manual_reply]

    def stored(self, conversation_id: int) -> list[tuple[Any, ...]]:
        """(manual_reply_mode, assignee_id, replies) in the tables."""
        return self.project.rows(
            "select manual_reply_mode, assignee_id, (select count(*) from zipchat.raw_messages as m"
            " where m.conversation_id = c.conversation_id and m.manual_reply)"
            " from zipchat.raw_conversations as c where conversation_id = $id",
            id=conversation_id,
        )


class Run:
    """What a run left behind. That no log holds the text is checked for every run."""

    def __init__(self, instance: dg.DagsterInstance, run_id: str) -> None:
        self.run_id = run_id
        run = instance.get_run_by_id(run_id)
        assert run is not None
        self.success = run.status == dg.DagsterRunStatus.SUCCESS
        self.log = "\n".join(map(str, instance.all_logs(run_id)))
        assert "parcel 4711" not in self.log
        assert E_MAIL not in self.log
        events = [entry.dagster_event for entry in instance.all_logs(run_id)]
        failures = [e.step_failure_data for e in events if e and e.is_step_failure]
        assert not any(e and e.is_step_up_for_retry for e in events)
        data = [failure.user_failure_data for failure in failures if failure.user_failure_data]
        self.failure = data[0].description or "" if data else ""
        outputs = [e.step_output_data for e in events if e and e.is_successful_output]
        self.metadata: dict[str, Any] = {
            name: found.value for output in outputs for name, found in output.metadata.items()
        }


def job_of(name: str, path: str, base_url: str) -> dg.JobDefinition:
    resources = {
        "zipchat": api_at(base_url, path),
        "warehouse": WarehouseResource(database=f"{path}/warehouse.duckdb"),
    }
    return dg.Definitions(jobs=write_back_jobs(LANE), resources=resources).resolve_job_def(name)


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Sandbox, str, dg.DagsterInstance]]:
    """What takes long to start, started once."""
    sandbox = Sandbox(chat=Chat(), limit=None)
    with serve(sandbox) as base_url, dg.DagsterInstance.ephemeral() as instance:
        yield sandbox, base_url, instance


@pytest.fixture
def desk(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    served: tuple[Sandbox, str, dg.DagsterInstance],
) -> Desk:
    sandbox, base_url, instance = served
    clock = Clock()
    monkeypatch.setattr(MachineClock, "time", lambda self: clock.time())
    monkeypatch.setattr(MachineClock, "sleep", lambda self, seconds: clock.sleep(seconds))
    monkeypatch.setattr(sandbox, "clock", clock.time)
    agents = {i: User(i, name, "Agent", f"{name}@example.com") for i, name in enumerate("ab", ANN)}
    # The version goes on counting: the sandbox caches its order by version.
    sandbox.chat = Chat(users=agents, version=sandbox.chat.version + 1)
    sandbox.before_request, sandbox.clock_offset = None, 0
    sandbox.clear_faults()
    sandbox.reset_stats()
    desk = Desk(tmp_path, sandbox, base_url, instance)
    desk.clock = desk.project.clock = clock
    return desk


# What each job does


def test_a_conversation_is_taken_over_and_handed_back(desk: Desk) -> None:
    number = desk.converse()
    run = desk.run("take_over", conversation_id=number, assignee_id=ANN)
    assert run.success
    assert run.metadata["done"] == [f"Conversation {number} was taken over for user {ANN}."]
    assert desk.stored(number) == [(True, ANN, 0)]
    assert desk.run("hand_back", conversation_id=number).success
    assert desk.stored(number) == [(False, None, 0)]
    assert desk.requests() == (2, 0)


def test_an_assignment_that_is_already_in_place_is_not_requested(desk: Desk) -> None:
    number = desk.converse(taken_by=ANN)
    run = desk.run("take_over", conversation_id=number, assignee_id=ANN)
    assert run.metadata["done"] == [f"User {ANN} already has conversation {number}."]
    number = desk.converse()
    run = desk.run("hand_back", conversation_id=number)
    assert run.metadata["done"] == [f"The AI already has conversation {number}."]
    assert desk.requests() == (0, 0)
    assert desk.stored(number) == [(False, None, 0)]


def test_another_user_can_take_it_over(desk: Desk) -> None:
    number = desk.converse(taken_by=ANN)
    assert desk.run("take_over", conversation_id=number, assignee_id=BOB).success
    assert desk.stored(number) == [(True, BOB, 0)]


@pytest.mark.parametrize("channel", ["web", "email", "whatsapp"])
def test_a_reply_is_sent_and_stored(desk: Desk, channel: str) -> None:
    number = desk.converse(channel, taken_by=BOB)
    run = desk.reply(number)
    assert run.success
    assert run.metadata["message_length"] == len(TEXT)
    assert desk.replies(number) == [TEXT]
    stored = desk.project.rows(
        "select message_id, message, sender_id from zipchat.raw_messages where manual_reply"
    )
    assert stored == [(run.metadata["message_id"], TEXT, ANN)]
    assert desk.requests() == (0, 1)


def test_a_reply_takes_the_conversation_over_if_asked(desk: Desk) -> None:
    number = desk.converse()
    assert desk.reply(number, take_over=True).success
    assert desk.stored(number) == [(True, ANN, 1)]


@pytest.mark.parametrize("taken_by", [0, ANN, BOB])
def test_all_three_steps_happen_in_order(desk: Desk, taken_by: int) -> None:
    number = desk.converse(taken_by=taken_by)
    run = desk.help(number)
    assert run.success
    assert len(run.metadata["done"]) == 3
    assert desk.replies(number) == [TEXT]
    assert desk.stored(number) == [(False, None, 1)]
    assert desk.requests() == (1 if taken_by == ANN else 2, 1)


def test_a_sync_after_a_write_back_finds_everything_in_place(desk: Desk) -> None:
    first, second = desk.converse(), desk.converse()
    desk.project.sync()
    assert desk.help(first).success
    new = desk.converse(hours_ago=0)
    assert desk.help(new).success
    desk.sandbox.chat.add_message(second, at=desk.sandbox.now())
    desk.project.clock.sleep(60)
    desk.project.sync()
    desk.project.assert_tables_agree()


# What they refuse


@pytest.mark.parametrize(
    ("name", "config", "made", "reason"),  # made: the conversation
    [
        ("take_over", {"assignee_id": 99}, {}, "User 99 cannot be assigned"),
        (
            "take_over",
            {"assignee_id": ANN, "conversation_id": 77},
            {},
            "There is no conversation 77",
        ),
        ("hand_back", {"conversation_id": 77}, {}, "There is no conversation 77"),
        ("send_reply", {"sender_id": 99}, {"taken_by": ANN}, "User 99 cannot be assigned"),
        ("send_reply", {"sender_id": ANN}, {}, "only write in a conversation that was taken over"),
        ("send_reply", {"message": " \n"}, {"taken_by": ANN}, "The message is empty"),
        (
            "send_reply",
            {},
            {"channel": "whatsapp", "hours_ago": 24.01, "taken_by": ANN},
            "can only be sent within 24 hours",
        ),
        (
            "take_over_reply_hand_back",
            {},
            {"channel": "instagram", "hours_ago": 30},
            "can only be sent within 24 hours",
        ),
        ("take_over_reply_hand_back", {"sender_id": 99}, {}, "User 99 cannot be assigned"),
    ],
)
def test_impossible_orders_are_refused_before_anything_is_written(
    desk: Desk, *, name: str, config: Any, made: Any, reason: str
) -> None:
    number = desk.converse(**made)
    defaults: dict[str, Any] = {"conversation_id": number}
    if "reply" in name:
        defaults |= {"sender_id": ANN, "message": TEXT}
    for dry_run in (True, False):
        run = desk.run(name, **{**defaults, "dry_run": dry_run, **config})
        assert not run.success
        assert reason in run.failure
        assert run.failure.endswith("Nothing was written.")
    assert desk.requests() == (0, 0)


def test_the_24_hours_count_by_the_server_s_clock(desk: Desk) -> None:
    number = desk.converse("messenger", hours_ago=23.9, taken_by=ANN)
    desk.sandbox.clock_offset = 3600
    assert "can only be sent within 24 hours" in desk.reply(number).failure
    desk.sandbox.clock_offset = 0
    assert desk.reply(number).success


@pytest.mark.parametrize(
    ("name", "config", "steps"),
    [
        ("take_over", {"assignee_id": ANN}, ["take"]),
        ("hand_back", {}, []),
        ("send_reply", {"sender_id": ANN, "message": TEXT, "take_over": True}, ["take", "send"]),
        (
            "take_over_reply_hand_back",
            {"sender_id": ANN, "message": TEXT},
            ["take", "send", "hand"],
        ),
    ],
)
def test_a_dry_run_reports_what_it_would_do_and_writes_nothing(
    desk: Desk, name: str, config: Any, steps: list[str]
) -> None:
    number = desk.converse()
    run = desk.run(name, conversation_id=number, dry_run=True, **config)
    assert run.success
    would = [line for line in run.metadata["done"] if line.startswith("Would ")]
    assert [line.split()[1] for line in would] == steps
    assert desk.requests() == (0, 0)
    create_tables(desk.warehouse)
    assert desk.stored(number) == []
    assert desk.project.rows("from zipchat.write_back_attempts") == []


# Whether a message was sent


@pytest.mark.parametrize("kind", ["lost_write", "truncated"])
def test_a_message_that_arrived_is_not_sent_again_because_its_answer_was_lost(
    desk: Desk, kind: Any
) -> None:
    number = desk.converse(taken_by=ANN)
    desk.sandbox.add_fault(Fault(kind, endpoint="message"))
    run = desk.reply(number)
    assert run.success
    assert "The response was lost, but reading the conversation showed" in run.metadata["done"][0]
    assert desk.replies(number) == [TEXT]
    assert desk.requests() == (0, 1)
    assert desk.stored(number) == [(True, ANN, 1)]


def test_an_answer_without_the_message_s_id_makes_up_none(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = desk.converse(taken_by=ANN)
    send = ZipchatClient.send_message

    def answer(client: ZipchatClient, conversation_id: int, **what: Any) -> dict[str, Any]:
        send(client, conversation_id, **what)
        return {"success": True}

    monkeypatch.setattr(ZipchatClient, "send_message", answer)
    run = desk.reply(number)
    assert run.success
    assert run.metadata["done"][0].endswith(f"as user {ANN}.")
    again = desk.again(run)
    assert again.success
    assert again.metadata["done"][0] == "The message was already sent. It is not sent again."
    assert desk.replies(number) == [TEXT]


def test_a_message_that_arrives_after_25_seconds_is_waited_for(desk: Desk) -> None:
    number = desk.converse(taken_by=ANN)
    desk.lose_message(arrives_after=25)
    assert desk.reply(number).success
    assert desk.replies(number) == [TEXT]
    assert desk.requests() == (0, 1)


def test_an_unknown_outcome_is_reported_as_such_and_nothing_sends_a_second_copy(desk: Desk) -> None:
    number = desk.converse()
    desk.lose_message(arrives_after=300)
    run = desk.help(number)
    assert run.failure.startswith("The outcome is unknown: the message may have been sent or not.")
    assert "the API answered 503" in run.failure
    assert f"Conversation {number} was read 5 times over 30 seconds" in run.failure
    assert "Look at the conversation in Zipchat first." in run.failure
    assert "launch a new run with send_again: true" in run.failure
    assert f"Before that: Conversation {number} was taken over for user {ANN}." in run.failure
    assert desk.stored(number) == [(True, ANN, 0)]
    # Without any wait, while the message has not arrived yet.
    elsewhere = copy(desk)
    with dg.DagsterInstance.ephemeral() as elsewhere.instance:
        for other in (desk.again(run), elsewhere.reply(number)):
            assert re.match(
                rf"Run {run.run_id} tried to send this text to conversation {number}"
                r" at [\d-]{10} [\d:]{8} UTC, and the outcome is unknown",
                other.failure,
            )
    desk.clock.sleep(300)
    again = desk.again(run)
    assert again.success
    assert "The message was already sent" in again.metadata["done"][0]
    assert "is not sent again" in desk.reply(number).failure
    assert desk.replies(number) == [TEXT]
    assert desk.requests()[1] == 1
    assert desk.stored(number) == [(False, None, 1)]


@pytest.mark.parametrize("kind", ["disconnect", "not_json"])
def test_a_message_that_never_arrives_can_be_sent_again_on_request(desk: Desk, kind: Any) -> None:
    number = desk.converse(taken_by=ANN)
    desk.sandbox.add_fault(Fault(kind, endpoint="message"))
    assert "outcome is unknown" in desk.reply(number).failure
    assert desk.replies(number) == []
    assert desk.reply(number, send_again=True).success
    assert desk.replies(number) == [TEXT]


def test_send_again_does_not_let_the_same_run_send_twice_however_late(desk: Desk) -> None:
    number = desk.converse(taken_by=ANN)
    desk.sandbox.add_fault(Fault("503", endpoint="message"))
    run = desk.reply(number, send_again=True)
    desk.clock.sleep(2 * 24 * 3600)
    assert f"Run {run.run_id} tried to send this text" in desk.again(run).failure
    assert desk.requests() == (0, 1)


def test_reads_that_fail_are_reported_with_an_unknown_outcome(desk: Desk) -> None:
    number = desk.converse(taken_by=ANN)
    desk.sandbox.add_fault(Fault("lost_write", endpoint="message"))

    def fail_from_then_on(sandbox: Sandbox, request: Request) -> None:
        if request.endpoint == "message":
            sandbox.add_fault(Fault("503", endpoint="show", times=None))

    desk.sandbox.before_request = fail_from_then_on
    run = desk.reply(number)
    assert "The outcome is unknown" in run.failure
    assert "5 of these reads failed, the last one with: GET" in run.failure
    assert "The tables will show this after the next sync." in run.failure
    desk.sandbox.clear_faults()
    assert desk.again(run).success
    assert desk.requests() == (0, 1)


def test_a_text_that_was_sent_is_sent_again_only_on_request_or_a_day_later(desk: Desk) -> None:
    number = desk.converse(taken_by=ANN)
    first = desk.reply(number)
    assert first.success
    colleague = {"sender_id": BOB, "message": f"{TEXT}\n"}
    for dry_run in (True, False):
        refused = desk.reply(number, **colleague, dry_run=dry_run).failure
        assert refused.startswith(f"Run {first.run_id} sent this text to conversation {number} at")
        assert "send_again: true. Nothing was written." in refused
    # What differs is another message.
    assert desk.reply(number, message=f"PS {TEXT}").success
    other = desk.converse(taken_by=ANN)
    assert desk.reply(other).success
    assert desk.reply(number, send_again=True).success
    desk.clock.sleep(24 * 3600 + 1)
    assert desk.reply(number).success
    assert desk.replies(number) == [TEXT, f"PS {TEXT}", TEXT, TEXT]


def test_a_message_that_the_api_refuses_may_be_tried_again(desk: Desk) -> None:
    number = desk.converse(taken_by=ANN)

    def hand_back_meanwhile(sandbox: Sandbox, request: Request) -> None:
        if request.endpoint == "message":
            sandbox.chat.assign(number, None, at=sandbox.now())

    desk.sandbox.before_request = hand_back_meanwhile
    run = desk.reply(number)
    assert "The message was not sent." in run.failure
    assert "Conversation is in AI mode" in run.failure
    assert desk.requests() == (0, 1)
    assert desk.stored(number) == [(False, None, 0)]
    desk.sandbox.before_request = None
    desk.sandbox.chat.assign(number, ANN, at=desk.sandbox.now())
    assert desk.again(run).success
    assert desk.replies(number) == [TEXT]


def test_a_step_that_fails_after_sending_is_completed_without_sending_again(desk: Desk) -> None:
    number = desk.converse(taken_by=ANN)
    desk.sandbox.add_fault(Fault("500", endpoint="assignment", times=None))
    run = desk.help(number)
    assert "5 attempts failed" in run.failure
    assert f"A {len(TEXT)}-character message was sent" in run.failure
    desk.sandbox.clear_faults()
    # Even if Zipchat no longer shows it.
    desk.sandbox.chat.delete_newest_message(number, at=desk.sandbox.now())
    assert desk.again(run).success
    assert desk.requests()[1] == 1
    assert desk.stored(number)[0][:2] == (False, None)


def test_two_runs_at_once_do_not_both_send(desk: Desk) -> None:
    number = desk.converse()

    def be_overtaken(sandbox: Sandbox, request: Request) -> None:
        if request.endpoint == "assignment":
            desk.attempts(number).begin(
                Reply(BOB, TEXT).letters,
                sandbox.now(),
                newest_message_id=0,
                check=lambda earlier: None,
            )

    desk.sandbox.before_request = be_overtaken
    run = desk.reply(number, take_over=True)
    assert "Run other tried to send this text" in run.failure
    assert desk.requests() == (1, 0)


def test_an_attempt_that_cannot_be_recorded_is_not_made(desk: Desk) -> None:
    number = desk.converse()

    def spoil_the_file(sandbox: Sandbox, request: Request) -> None:
        if request.endpoint == "assignment":
            desk.warehouse.path.write_bytes(b"not a database" * 1000)

    desk.sandbox.before_request = spoil_the_file
    run = desk.reply(number, take_over=True)
    assert "not sent, because the attempt could not be recorded first" in run.failure
    assert desk.requests() == (1, 0)


def test_an_attempt_is_remembered_without_its_text(desk: Desk) -> None:
    number = desk.converse(taken_by=ANN)
    run = desk.reply(number, message="Yes")
    ((*_, text_hash, run_id, root, newest, at, outcome, message_id),) = desk.project.rows(
        "select * replace (epoch(attempted_at) as attempted_at) from zipchat.write_back_attempts"
    )
    assert (run_id, root, outcome) == (run.run_id, run.run_id, "sent")
    assert newest < message_id == run.metadata["message_id"]
    assert abs(at - desk.clock.now) <= 1  # the server's clock is known to the second
    # Only with the key can texts be tried until one fits.
    now = desk.sandbox.now()
    assert [a.message_id for a in desk.attempts(number).earlier("Yes", now)] == [message_id]
    assert desk.attempts(number, key="zc-another").earlier("Yes", now) == []
    assert text_hash != hashlib.sha256(f"1 {number} Yes".encode()).hexdigest()


# Assignments


@pytest.mark.parametrize(("kind", "requests"), [("lost_write", 1), ("truncated", 1), ("500", 2)])
def test_an_assignment_is_repeated_only_when_it_is_not_in_place(
    desk: Desk, kind: Any, requests: int
) -> None:
    number = desk.converse()
    desk.sandbox.add_fault(Fault(kind, endpoint="assignment"))
    assert desk.run("take_over", conversation_id=number, assignee_id=ANN).success
    assert desk.requests() == (requests, 0)
    assert desk.stored(number) == [(True, ANN, 0)]


def test_an_assignment_that_keeps_failing_ends_the_run(desk: Desk) -> None:
    number = desk.converse()
    desk.sandbox.add_fault(Fault("500", endpoint="assignment", times=None))
    run = desk.run("take_over", conversation_id=number, assignee_id=ANN)
    assert "the API answered 500" in run.failure
    assert desk.requests() == (len(write_back.PAUSES), 0)


def test_nothing_repeats_these_jobs_automatically() -> None:
    for job in write_back_jobs(LANE):
        assert job.tags["dagster/max_retries"] == "0"
        (node,) = job.nodes
        assert node.definition.retry_policy.max_retries == 0  # type: ignore[attr-defined]
        assert node.definition.pool is None  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("shown", "is_same"),
    [
        (TEXT, True),
        ("<p>Hello &lt;Ada&gt; &amp; friends,</p><p>your parcel 4711 is found.</p>", True),
        ("Hello <Ada> & friends,<br><br>your parcel 4711 is found.", True),
        ('[{"type": "text", "text": "Hello <Ada> & friends, your parcel 4711 is found."}]', True),
        ("Hello <Ada> & friends,\n\nyour parcel 4712 is found.", False),
        (None, False),
    ],
)
def test_a_message_is_recognized_however_the_api_marks_it_up(
    shown: str | None, is_same: bool
) -> None:
    message = {"role": "assistant", "manual_reply": True, "sender_id": ANN, "message": shown}
    assert Reply(ANN, TEXT).is_shown_by(message) == is_same
    assert not Reply(BOB, TEXT).is_shown_by(message)
    assert not Reply(ANN, TEXT).is_shown_by({**message, "role": "user"})
    assert not Reply(ANN, TEXT).is_shown_by({**message, "manual_reply": False})


def test_no_text_is_shown() -> None:
    assert "parcel" not in repr(Reply(ANN, TEXT))
    error = UnprocessableError(422, f"“{TEXT}” is too long", method="POST", path="/messages")
    assert "parcel" not in write_back.sentence(error, hiding=TEXT)
