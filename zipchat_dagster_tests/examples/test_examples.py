"""Each example as a user runs it: as a program, against the sandbox over HTTP."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from zipchat_dagster import examples
from zipchat_dagster.sandbox import Sandbox, generate, serve
from zipchat_dagster_tests.conftest import without_settings

KEY = "zc-0123456789abcdef-never-shown"
PROJECT = Path(examples.__file__).parents[2]
ARGUMENTS = {
    "latest_conversations": [],
    "last_hour": [],
    "one_conversation": ["CONVERSATION_ID"],
    "paging_through_messages": ["CONVERSATION_ID"],
    "take_over_reply_hand_back": ["CONVERSATION_ID", "USER_ID", "MESSAGE"],
}


class Service:
    """A sandbox over HTTP, and runs of the examples against it."""

    def __init__(self, sandbox: Sandbox, base_url: str) -> None:
        self.sandbox = sandbox
        self.chat = sandbox.chat
        self.environment = {
            "ZIPCHAT_API_KEY": KEY,
            "ZIPCHAT_CHAT_ID": str(self.chat.chat_id),
            "ZIPCHAT_BASE_URL": base_url,
        }

    def run(self, name: str, *arguments: object, **settings: str) -> tuple[int, list[str], str]:
        """(exit code, lines of output, errors). Neither ever holds the key or a traceback."""
        done = subprocess.run(
            [sys.executable, "-m", f"zipchat_dagster.examples.{name}", *map(str, arguments)],
            env={**without_settings(), **self.environment, **settings, "PYTHONPATH": str(PROJECT)},
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )
        assert "Traceback" not in done.stderr
        assert KEY not in done.stdout + done.stderr
        return done.returncode, done.stdout.splitlines(), done.stderr

    def private(self) -> set[str]:
        """Names, addresses and numbers of customers."""
        leads = [c.lead for c in self.chat.conversations.values() if c.lead]
        found = {text for lead in leads for text in (lead.full_name, lead.email, lead.phone_number)}
        return {text for text in found if text}


@pytest.fixture
def service() -> Iterator[Service]:
    chat = generate(seed=3, conversations=150, days=3, now=datetime.now(UTC), max_messages=6)
    sandbox = Sandbox(chat=chat, key=KEY)
    with serve(sandbox) as base_url:
        yield Service(sandbox, base_url)


def test_the_package_s_docstring_lists_every_example() -> None:
    assert examples.__doc__
    documented = {
        line.split("examples.")[1]
        for line in examples.__doc__.splitlines()
        if line.strip().startswith("python -m")
    }
    assert documented == {" ".join([name, *arguments]) for name, arguments in ARGUMENTS.items()}
    there = {path.stem for path in Path(examples.__file__).parent.glob("*.py")}
    assert there == {"__init__", "common", *ARGUMENTS}


def test_latest_conversations_come_newest_first(service: Service) -> None:
    code, lines, _ = service.run("latest_conversations")
    ranked = sorted(service.chat.conversations.values(), key=lambda c: c.last_message_at)
    times = [f"{c.last_message_at:%Y-%m-%dT%H:%M:%SZ}" for c in ranked[:-21:-1]]
    assert code == 0
    assert [line.split()[1] for line in lines] == times
    assert not [text for text in service.private() if text in "\n".join(lines)]


def test_last_hour_shows_what_was_active_in_it(service: Service) -> None:
    expected = {
        str(c.id)
        for c in service.chat.conversations.values()
        if c.last_message_at >= datetime.now(UTC) - timedelta(minutes=55)
    }
    code, lines, _ = service.run("last_hour")
    assert code == 0
    assert expected <= {line.split()[0] for line in lines}
    assert len(lines) < 30
    assert not [text for text in service.private() if text in "\n".join(lines)]


def test_one_conversation_shows_each_message_on_a_line(service: Service) -> None:
    conversation = service.chat.add_conversation(
        at=datetime.now(UTC), message="Line\nbreak \x1b[2J 😀"
    )
    code, lines, _ = service.run("one_conversation", conversation.id)
    assert code == 0
    assert lines[0] == f"Conversation {conversation.id}, web"
    assert lines[1].endswith(r' user "Line\nbreak \u001b[2J 😀"')
    assert len(lines) == 2


def test_paging_through_messages_shows_all_pages(service: Service) -> None:
    conversation = service.chat.add_conversation(at=datetime.now(UTC))
    for _ in range(449):
        service.chat.add_message(conversation.id, at=datetime.now(UTC))
    code, lines, _ = service.run("paging_through_messages", conversation.id)
    assert code == 0
    assert [line.split()[0] for line in lines[:-1]] == [str(n) for n in range(1, 451)]
    assert lines[-1] == "Messages: 450. Requests: 3."


def test_a_conversation_is_taken_over_answered_and_handed_back(service: Service) -> None:
    conversation = service.chat.add_conversation(at=datetime.now(UTC))
    user_id = next(iter(service.chat.users))
    code, lines, _ = service.run("take_over_reply_hand_back", conversation.id, user_id, "Hello 👋")
    assert code == 0
    sent = conversation.messages[-1]
    assert lines == [
        f"Sent as message {sent.id}.",
        f"As before, the AI has conversation {conversation.id}.",
    ]
    assert (sent.message, sent.sender_id, sent.manual_reply) == ("Hello 👋", user_id, True)
    assert (conversation.assignee_id, conversation.manual_reply_mode) == (None, False)


@pytest.mark.parametrize(
    ("channel", "is_with_person", "code"),
    [("web", True, 0), ("whatsapp", True, 1), ("whatsapp", False, 1)],
)
def test_a_conversation_goes_back_to_its_agent_even_if_the_reply_is_refused(
    service: Service, channel: str, code: int, *, is_with_person: bool
) -> None:
    at = datetime.now(UTC) - timedelta(hours=30)
    conversation = service.chat.add_conversation(at=at, channel=channel)
    colleague, user_id = list(service.chat.users)[:2]
    if is_with_person:
        service.chat.assign(conversation.id, colleague, at=at)
    answer = service.run("take_over_reply_hand_back", conversation.id, user_id, "Hello")
    assert answer[0] == code
    assert ("customer last messaged more than 24 hours ago" in answer[2]) == (code == 1)
    assert conversation.messages[-1].sender_id == (None if code else user_id)
    expected = (colleague, True) if is_with_person else (None, False)
    assert (conversation.assignee_id, conversation.manual_reply_mode) == expected


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"ZIPCHAT_API_KEY": ""}, "ZIPCHAT_API_KEY: not set. "),
        ({"ZIPCHAT_CHAT_ID": ""}, "ZIPCHAT_CHAT_ID: not set. "),
        ({"ZIPCHAT_BASE_URL": "http://app.zipchat.ai"}, "ZIPCHAT_BASE_URL: "),
    ],
)
def test_a_missing_or_malformed_setting_is_named_in_one_sentence(
    service: Service, settings: dict[str, str], sentence: str
) -> None:
    code, lines, errors = service.run("last_hour", **settings)
    assert (code, lines) == (2, [])
    assert errors.startswith(sentence)
    assert errors.count("\n") == 1


@pytest.mark.parametrize("name", [name for name, arguments in ARGUMENTS.items() if arguments])
def test_a_missing_argument_is_named(service: Service, name: str) -> None:
    code, lines, errors = service.run(name)
    assert (code, lines) == (2, [])
    wanted = ", ".join(argument.lower() for argument in ARGUMENTS[name])
    assert f"the following arguments are required: {wanted}" in errors


def test_an_argument_that_is_not_a_number_is_named(service: Service) -> None:
    code, _, errors = service.run("one_conversation", "x")
    assert code == 2
    assert "conversation_id: invalid int value: 'x'" in errors


def test_a_refusal_by_the_api_is_reported_in_one_sentence(service: Service) -> None:
    code, lines, errors = service.run("one_conversation", 4)
    assert (code, lines) == (1, [])
    assert "“Conversation not found”" in errors
    assert errors.count("\n") == 1
