"""Every fault at every kind of call. What happens is the table in docs/faults.md, and nowhere does
a fault lead to wrong or incomplete tables that pass for complete ones.

    python -m zipchat_dagster_tests.test_faults     # writes docs/faults.md again
"""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import dagster as dg
import pytest
from pydantic import PrivateAttr

from zipchat_dagster.client import ZipchatClient, ZipchatError
from zipchat_dagster.resources import ZipchatResource
from zipchat_dagster.sandbox import BASE_URL, DEFAULT_KEY, Chat, Sandbox, User, generate
from zipchat_dagster.sync import MessageResult, sync_conversations, sync_messages, sync_users
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster.warehouse.attempts import Attempts
from zipchat_dagster.write_back import Orders, Reply, Writer
from zipchat_dagster_tests.conftest import LOG, NOW, Clock, Project, midnight
from zipchat_dagster_tests.troubles import CALLS, PAGED, TROUBLES, Strike, Trouble, Troubled

PAGE: Final = Path(__file__).resolve().parent.parent / "docs/faults.md"
SINCE: Final = midnight(NOW - timedelta(days=6))
TEXT: Final = "The parcel 4711 is found"
ONE_BY_ONE: Final = ("show", "messages")  # reads of one conversation
HEADINGS: Final = (
    "list of users",
    "list of conversations",
    "a conversation",
    "its further messages",
    "a user",
    "assigning",
    "sending",
)


class Hasty(Clock):
    """Of this clock, much has passed after each sleep, so that long waits take few steps."""

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 10.0)


class Resource(ZipchatResource):
    """The API's resource around a given client."""

    _client: ZipchatClient = PrivateAttr()

    def _new_client(self, *_: Any, **__: Any) -> ZipchatClient:
        return self._client


class Bench:
    """A chat, tables, and a transport between them in which trouble strikes."""

    def __init__(self, folder: Path) -> None:
        self.clock = Hasty()
        self.chat = chat = a_chat()
        self.user_id = next(iter(chat.users))
        self.short = chat.add_conversation(at=NOW - timedelta(hours=1), channel="web").id
        self.long = add_long(chat)
        self.sandbox = Sandbox(
            chat=chat, limit=None, pagination="meta", largest_page=10, clock=self.clock.time
        )
        self.network = Troubled(self.sandbox.transport(), self.clock)
        self.project = Project(self.sandbox, Warehouse(folder / "warehouse.duckdb"))
        self.covered: list[tuple[Any, ...]] = []
        self.context: Any = SimpleNamespace(log=LOG)  # of a step's context, it needs only this

    @contextmanager
    def struck(self, trouble: Trouble, call: str, *, times: int | None = None) -> Iterator[None]:
        """Trouble at one kind of call, and if that is about one conversation, only at that."""
        spared = int(call in PAGED and call != "messages" and not trouble.from_first)
        of = {"show": self.short, "messages": self.long}
        about = of.get(call, self.short if call in ("assignment", "message") else None)
        self.network.strikes = {(call, about): Strike(trouble, times, spared)}
        yield
        self.network.strikes = {}

    def client(self) -> ZipchatClient:
        """A client that has had an answer: a wrong address is another matter."""
        client = ZipchatClient(
            api_key=DEFAULT_KEY,
            chat_id=1,
            base_url=BASE_URL,
            transport=self.network,
            clock=self.clock,
        )
        with suppress(ZipchatError):
            client.get_user(self.user_id)
        return client

    @contextmanager
    def step(self) -> Iterator[ZipchatClient]:
        """The client of a step, whose errors become a dg.Failure."""
        resource = Resource(api_key=DEFAULT_KEY, chat_id="1")
        resource._client = self.client()
        with resource.client(self.context) as client:
            yield client

    def sync_users(self, client: ZipchatClient) -> None:
        sync_users(client, self.project.warehouse)

    def sync_list(self, client: ZipchatClient) -> None:
        tables = self.project.warehouse
        sync_conversations(client, tables, since=SINCE, refresh=True, log=LOG)

    def sync_messages(self, client: ZipchatClient) -> MessageResult:
        tables, until = self.project.warehouse, SINCE + timedelta(days=8)
        return sync_messages(
            client, tables, since=SINCE, until=until, days=[], refresh=True, log=LOG
        )

    def sync(self) -> MessageResult:
        """Everything."""
        with self.step() as client:
            self.sync_users(client)
            self.sync_list(client)
            return self.sync_messages(client)

    def read(self, client: ZipchatClient, call: str) -> Any:
        """The result of one read of this kind, with all of its pages."""
        match call:
            case "users":
                return {user["id"]: user for user in client.iter_users()}
            case "list":
                return {row["id"]: row for row in client.iter_conversations(since=SINCE)}
            case "user":
                return client.get_user(self.user_id)
        return client.get_conversation(self.short if call == "show" else self.long)

    def write(self, call: str, run_id: str) -> str:
        """Take the short conversation over, or answer it. Returns what became of it."""
        orders = Orders(self.short, take_over_by=self.user_id)
        if call == "message":
            orders = Orders(self.short, reply=Reply(self.user_id, f"{TEXT}: {run_id}"))
        tables = self.project.warehouse
        attempts = Attempts(tables, 1, self.short, run_id, run_id, DEFAULT_KEY)
        with self.client() as client:
            try:
                _, (step,) = Writer(client, orders, attempts).plan()
                step.carry_out()
            except ZipchatError as error:
                check_words(str(error))
                return "unknown" if "The outcome is unknown" in str(error) else "not written"
        return "done"

    def coverage(self) -> list[tuple[Any, ...]]:
        return self.project.rows("from zipchat.listing_coverage")


def a_chat() -> Chat:
    """Twelve users, and twelve short conversations."""
    chat = generate(seed=5, conversations=12, days=4, now=NOW - timedelta(hours=2), max_messages=4)
    chat.users |= {i: User(i, "A", f"B{i}", f"{i}@example.com") for i in range(5000, 5009)}
    return chat


def add_long(chat: Chat) -> int:
    """A conversation of more than one page. Returns its id."""
    at = NOW - timedelta(hours=1)
    number = chat.add_conversation(at=at).id
    for second in range(14):
        chat.add_message(number, at=at + timedelta(seconds=second))
    return number


def check_words(words: str) -> None:
    """An error is one line for people, without the key or a customer's text."""
    assert words.isprintable()
    assert len(words) < 900
    assert DEFAULT_KEY not in words
    assert "4711" not in words


# What happens


def read_once(bench: Bench, trouble: Trouble, call: str) -> str:
    """What a single failure does to a read; "" if the same as a lasting one."""
    with bench.client() as client:
        before = client.requests
        expected = bench.read(client, call)
        usual = client.requests - before
        with bench.struck(trouble, call, times=1):
            try:
                assert bench.read(client, call) == expected
            except ZipchatError as error:
                check_words(str(error))
                return ""
        return "retried" if client.requests - before > 2 * usual else "exact"


def step_meanwhile(bench: Bench, trouble: Trouble, call: str) -> str:
    """What a lasting failure of this call does to the step that makes it."""
    step = {"users": bench.sync_users, "list": bench.sync_list}.get(call, bench.sync_messages)
    with bench.struck(trouble, call):
        try:
            with bench.step() as client:
                step(client)
        except dg.Failure as failure:
            check_words(failure.description or "")
            assert call != "list" or bench.coverage() == bench.covered
            return "step retried" if failure.allow_retries else "step fails"
    bench.project.assert_tables_agree()
    bench.covered = bench.coverage()
    return "exact"


def write_meanwhile(bench: Bench, trouble: Trouble, call: str, *, times: int | None) -> str:
    """The outcome of a write. A message is there once or not at all."""
    conversation = bench.chat.conversations[bench.short]
    is_message = call == "message"
    bench.chat.assign(bench.short, bench.user_id if is_message else None, at=NOW)
    with bench.struck(trouble, call, times=times):
        outcome = bench.write(call, run_id=f"{trouble.name} {times}")
    sent = [message for message in conversation.messages if message.message.startswith(TEXT)]
    assert len(sent) == (is_message and outcome == "done")
    assert conversation.manual_reply_mode == (is_message or outcome == "done")
    for message in sent:
        conversation.messages.remove(message)
    return outcome


def cells(bench: Bench, trouble: Trouble, broken: dict[tuple[str, str], str]) -> list[str]:
    """The fault's row of the table: with one failure / as long as it lasts."""
    row = []
    for call in CALLS:
        if call not in trouble.calls:
            outcomes = ["", ""]
        elif call in ("assignment", "message"):
            outcomes = [write_meanwhile(bench, trouble, call, times=times) for times in (1, None)]
        else:
            outcomes = [read_once(bench, trouble, call)]
            if call == "user":  # a write-back reads the user before it writes
                outcomes.append(write_meanwhile(bench, trouble, call, times=None))
            elif call in ONE_BY_ONE and not trouble.ends_run:
                outcomes.append(broken[trouble.name, call])
            else:
                outcomes.append(step_meanwhile(bench, trouble, call))
        row.append(" / ".join(filter(None, dict.fromkeys(outcomes))))
    assert bench.network.hosts == {"127.0.0.1"}
    return row


def broken_conversations(folder: Path) -> dict[tuple[str, str], str]:
    """What a sync does with conversations each of which has a different lasting trouble."""
    plagued = [
        (trouble, call)
        for trouble in TROUBLES
        for call in ONE_BY_ONE
        if call in trouble.calls and not trouble.ends_run
    ]
    bench = Bench(folder)
    bench.sync()  # so that it knows of readable ones, or the API would seem to be down
    strikes = {add_long(bench.chat): trouble for trouble in plagued}
    bench.network.strikes = {
        (call, number): Strike(trouble) for number, (trouble, call) in strikes.items()
    }
    result = bench.sync()
    outcomes = dict.fromkeys(bench.chat.conversations, "exact")
    outcomes |= dict.fromkeys(result.failures, "skipped") | dict.fromkeys(result.missing, "missing")
    for reason in result.failures.values():
        check_words(reason)
    check_coverage(bench, {number for number, found in outcomes.items() if found == "exact"})
    bench.network.strikes = {}
    bench.sync()
    bench.project.assert_tables_agree()
    return {(trouble.name, call): outcomes[i] for i, (trouble, call) in strikes.items()}


def check_coverage(bench: Bench, expected: set[int]) -> None:
    """Exactly these conversations pass for complete, and they are."""
    counts = "select conversation_id, count(*) from zipchat.raw_messages group by all"
    stored = dict(bench.project.rows(counts))
    covered = bench.project.rows(
        "select conversation_id from zipchat.message_coverage where covered_through is not null"
    )
    assert {number for (number,) in covered} == expected
    for number in expected:
        assert stored[number] == len(bench.chat.conversations[number].messages)


# The page


def page(rows: dict[str, list[str]]) -> str:
    """docs/faults.md with this table."""
    before, _, rest = PAGE.read_text("utf-8").partition("| fault |")
    after = rest.partition("\n\n")[2]
    lines = [["fault", *HEADINGS], ["---"] * (1 + len(HEADINGS))]
    lines += [[name, *row] for name, row in rows.items()]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{before}{table}\n\n{after}"


def documented() -> dict[str, list[str]]:
    """The table as it is on the page."""
    lines = re.findall(r"^\| (.*) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    rows = [[cell.strip() for cell in re.split(r" ?\| ?", line)] for line in lines]
    return {name: row for name, *row in rows if len(row) == len(CALLS)}


def usual_bench(folder: Path) -> Bench:
    bench = Bench(folder)
    bench.sync()
    bench.covered = bench.coverage()
    return bench


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return usual_bench(tmp_path_factory.mktemp("faults"))


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], str]:
    return broken_conversations(tmp_path_factory.mktemp("broken"))


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.name)
def test_every_call_handles_a_fault_as_the_page_says(
    bench: Bench, broken: dict[tuple[str, str], str], trouble: Trouble
) -> None:
    found = dict(zip(HEADINGS, cells(bench, trouble, broken), strict=True))
    assert found == dict(zip(HEADINGS, documented()[trouble.name], strict=True))


def test_the_page_has_no_other_faults_and_after_all_of_them_a_sync_is_exact(bench: Bench) -> None:
    assert [*documented()] == ["fault", "---", *(trouble.name for trouble in TROUBLES)]
    bench.sync()
    bench.project.assert_tables_agree()


if __name__ == "__main__":
    logging.disable()
    with tempfile.TemporaryDirectory() as place:
        of_broken = broken_conversations(Path(place))
        usual = usual_bench(Path(place) / "usual")
        PAGE.write_text(page({t.name: cells(usual, t, of_broken) for t in TROUBLES}), "utf-8")
