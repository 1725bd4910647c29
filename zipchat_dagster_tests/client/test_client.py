"""Reading: every method against the sandbox, and answers of every possible shape."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest

from zipchat_dagster.client import (
    ChatNotFoundError,
    ConversationRead,
    MalformedAnswerError,
    NotFoundError,
    PageLoopError,
    ServerError,
    ZipchatClient,
    gather,
)
from zipchat_dagster.client.call import ATTEMPTS
from zipchat_dagster.client.gather import BATCH_SECONDS, BATCH_SIZE, FAILURE_SIZE
from zipchat_dagster.sandbox import (
    Fault,
    MessageOrder,
    Order,
    Pagination,
    Request,
    Sandbox,
    generate,
)
from zipchat_dagster_tests.client.support import (
    KEY,
    NOW,
    Api,
    Clock,
    Script,
    a_chat,
    a_client,
    long_conversation,
)

ORDERS = get_args(Order)
PAGINATIONS = get_args(Pagination)
MESSAGE_ORDERS = get_args(MessageOrder)


# -- the list of conversations -------------------------------------------------------------------


@pytest.mark.parametrize("pagination", PAGINATIONS)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("count", [0, 230])
def test_every_conversation_is_listed_as_the_api_shows_it(
    count: int, order: str, pagination: str
) -> None:
    api = Api(a_chat(count), order=order, pagination=pagination)
    listed = {row["id"]: row for row in api.client.iter_conversations()}
    assert (
        sorted(listed.values(), key=lambda row: row["id"]) == (api.sandbox.truth()["conversations"])
    )


@pytest.mark.parametrize("order", ORDERS)
def test_since_includes_the_second_that_it_names(order: str) -> None:
    api = Api(order=order)
    moments = sorted({c.last_message_at for c in api.chat.conversations.values()})
    since = moments[len(moments) // 2]
    expected = {c.id for c in api.chat.conversations.values() if c.last_message_at >= since}
    assert {row["id"] for row in api.client.iter_conversations(since=since)} == expected
    later = since + timedelta(seconds=1)
    assert {row["id"] for row in api.client.iter_conversations(since=later)} < expected


def test_a_since_within_a_second_or_in_another_time_zone_means_the_same_moment() -> None:
    api = Api()
    newest = max(c.last_message_at for c in api.chat.conversations.values())
    since = datetime.fromisoformat(newest.isoformat()).replace(microsecond=900_000)
    rows = list(api.client.iter_conversations(since=since.astimezone()))
    assert [row["last_message_at"] for row in rows] == [f"{newest:%Y-%m-%dT%H:%M:%SZ}"]


def test_a_since_without_a_time_zone_is_refused_before_anything_is_sent() -> None:
    api = Api()
    with pytest.raises(ValueError, match="time zone"):
        list(api.client.iter_conversations(since=datetime(2026, 1, 1)))
    assert api.requests == 0


def test_undocumented_fields_are_kept() -> None:
    row = {"id": 7, "last_message_at": "2026-01-01T00:00:00Z", "mood": {"today": ["fine"]}}
    client = a_client(Script({"conversations": [row], "weather": "sunny"}))
    assert list(client.iter_conversations()) == [row]


def test_the_server_s_clock_is_taken_from_its_answers() -> None:
    api = Api(clock_offset=3600)
    list(api.client.iter_conversations())
    ahead = api.client.server_time() - datetime.fromtimestamp(api.clock.now, UTC)
    assert abs(ahead - timedelta(hours=1)) <= timedelta(seconds=1)


@pytest.mark.parametrize("body", [{}, {"conversations": None}, {"conversations": [1]}, 7, None])
def test_a_page_of_another_shape_is_malformed_and_read_again(body: object) -> None:
    script = Script(body)
    client = a_client(script)
    with pytest.raises(MalformedAnswerError, match=r"GET /chats/1/conversations: .* list “conv"):
        list(client.iter_conversations())
    assert len(script.requests) == ATTEMPTS
    assert not client.has_answered  # it may be another API, under a wrong address


@pytest.mark.parametrize(
    "call",
    [
        lambda client: list(client.iter_conversations()),
        lambda client: client.get_conversation(5),
        lambda client: client.get_user(5),
        lambda client: client.hand_back(5),
        lambda client: client.send_message(5, message="Hi", sender_id=5),
    ],
    ids=["list", "conversation", "user", "assignment", "message"],
)
def test_a_wrong_chat_id_is_named_by_every_call(call: Callable[[ZipchatClient], object]) -> None:
    api = Api()
    client = a_client(api.sandbox.transport(), chat_id=99)
    with pytest.raises(ChatNotFoundError, match=r"Check the chat id \(99\)") as caught:
        call(client)
    assert caught.value.api_message == "Chat not found"
    assert api.requests <= 2


def test_a_deleted_conversation_is_not_mistaken_for_a_wrong_chat() -> None:
    api = Api()
    with pytest.raises(NotFoundError, match="“Conversation not found”"):
        api.client.get_conversation(4)
    assert api.requests == 2  # the users show that there is such a chat
    with pytest.raises(NotFoundError):
        api.client.get_conversation(4)
    assert api.requests == 3


# -- one conversation ----------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [True, False])
@pytest.mark.parametrize("pagination", PAGINATIONS)
def test_a_conversation_comes_with_its_messages_wrapped_or_bare(
    pagination: str, wrap: bool
) -> None:
    api = Api(pagination=pagination, wrap=wrap)
    for conversation_id in list(api.chat.conversations)[:10]:
        shown = api.client.get_conversation(conversation_id)
        assert shown["messages"] == api.messages(conversation_id)
        expected = api.conversation(conversation_id)
        assert {name: shown[name] for name in expected if name != "lead"} == {
            name: value for name, value in expected.items() if name != "lead"
        }
        assert (shown["lead"] or {}).items() >= (expected["lead"] or {}).items()


@pytest.mark.parametrize("message_order", MESSAGE_ORDERS)
@pytest.mark.parametrize("pagination", PAGINATIONS)
@pytest.mark.parametrize(("count", "pages"), [(199, 1), (201, 2), (389, 2), (400, 3), (450, 3)])
def test_all_message_pages_are_read_and_none_too_many(
    count: int, pages: int, pagination: str, message_order: str
) -> None:
    with long_conversation(count, pagination=pagination, message_order=message_order) as (api, i):
        messages = api.client.get_conversation(i)["messages"]
        expected = api.messages(i)
        assert messages == (expected if message_order == "asc" else expected[::-1])
        # Unless the API states that there is no more, the first page needs another one.
        assert api.requests == pages + (pagination == "none" and count < 200)


@pytest.mark.parametrize("wrap", [True, False])
@pytest.mark.parametrize("message_order", MESSAGE_ORDERS)
@pytest.mark.parametrize("pagination", PAGINATIONS)
def test_messages_since_a_second_include_that_second(
    pagination: str, message_order: str, wrap: bool
) -> None:
    options = {"pagination": pagination, "message_order": message_order, "wrap": wrap}
    with long_conversation(450, **options) as (api, i):
        since = NOW - timedelta(hours=2) + timedelta(seconds=100)
        messages = api.client.get_conversation(i, since=since)["messages"]
        expected = [m for m in api.messages(i) if m["created_at"] >= "2026-03-04T13:31:52Z"]
        assert sorted(messages, key=lambda m: m["id"]) == expected
        assert len(expected) == 250


@pytest.mark.parametrize("message_order", MESSAGE_ORDERS)
@pytest.mark.parametrize("pagination", PAGINATIONS)
@pytest.mark.parametrize("count", [200, 399, 400, 401])
def test_a_message_that_arrives_between_two_pages_hides_no_other(
    count: int, pagination: str, message_order: str
) -> None:
    def arrive(sandbox: Sandbox, request: Request) -> None:
        if request.query.get("message_page") == "2":
            sandbox.chat.add_message(request.id or 0, at=sandbox.now())

    options = {"pagination": pagination, "message_order": message_order}
    with long_conversation(count, **options, before_request=arrive) as (api, i):
        before = [m["id"] for m in api.messages(i)]
        shown = [m["id"] for m in api.client.get_conversation(i)["messages"]]
        assert set(before) <= set(shown)
        assert len(shown) == len(set(shown))


def test_a_read_has_the_server_s_time_and_the_stated_count() -> None:
    with long_conversation(3, pagination="meta", clock_offset=-50) as (api, i):
        read = api.client.read_conversation(i)
        assert read.observed_at == NOW - timedelta(seconds=50)
        assert (read.stated_messages, len(read.messages)) == (3, 3)
        assert "messages" not in read.conversation


def test_without_a_date_header_our_own_clock_is_taken() -> None:
    client = a_client(Script({"id": 1, "messages": []}, date=None))
    assert client.read_conversation(1).observed_at == NOW


@pytest.mark.parametrize("message_order", MESSAGE_ORDERS)
@pytest.mark.parametrize("pagination", PAGINATIONS)
def test_messages_that_are_deleted_between_two_pages_hide_no_others(
    pagination: str, message_order: str
) -> None:
    def delete(sandbox: Sandbox, request: Request) -> None:
        if request.query["message_page"] == "2":
            sandbox.before_request = None
            messages = sandbox.chat.conversations[request.id or 0].messages
            del messages[: 8 if message_order == "asc" else 0]
            del messages[len(messages) - (8 if message_order == "desc" else 0) :]

    options = {"pagination": pagination, "message_order": message_order}
    with long_conversation(450, **options, before_request=delete) as (api, i):
        shown = [m["id"] for m in api.client.get_conversation(i)["messages"]]
        assert {m["id"] for m in api.messages(i)} <= set(shown)
        assert len(shown) == len(set(shown))


@pytest.mark.parametrize("pagination", PAGINATIONS)
@pytest.mark.parametrize("largest", [10, 50, 199])
def test_message_pages_that_are_smaller_than_requested_are_all_read(
    largest: int, pagination: str
) -> None:
    with long_conversation(250, pagination=pagination, largest_page=largest) as (api, i):
        assert api.client.get_conversation(i)["messages"] == api.messages(i)


def test_a_total_of_something_else_does_not_end_the_reading() -> None:
    with long_conversation(401) as (api, i):
        order = {"metadata": {"total": 2}}  # not a count of messages
        api.sandbox.alter = lambda _, answer: {"conversation": answer["conversation"] | order}
        assert api.client.get_conversation(i)["messages"] == api.messages(i)


@pytest.mark.parametrize("ids", [range(200), [None] * 200])
def test_a_server_that_ignores_the_message_page_is_found_out(ids: Any) -> None:
    script = Script({"conversation": {"id": 5, "messages": [{"id": i} for i in ids]}})
    with pytest.raises(PageLoopError, match="messages of conversation 5 shows what page 1 showed"):
        a_client(script).get_conversation(5)
    assert len(script.requests) == 2


# -- totals --------------------------------------------------------------------------------------


def read_all(api: Api, *, since: datetime | None) -> dict[int, ConversationRead]:
    """Read every conversation, several at once. Checks that all messages since then are there."""
    reads = {}
    for batch in api.client.gather(
        lambda i: api.client.read_conversation(i, since=since), api.chat.conversations
    ):
        for i, read in batch:
            assert isinstance(read, ConversationRead)
            reads[i] = read
            expected = [
                m
                for m in api.messages(i)
                if since is None or datetime.fromisoformat(m["created_at"]) >= since
            ]
            assert read.messages == expected
    return reads


@pytest.mark.parametrize(
    "options", [{"total_error": 1}, {"totals_ignore_since": True}, {"total_error": -1}], ids=str
)
@pytest.mark.parametrize("days", [None, 10])
def test_totals_that_count_something_else_are_learned_once(
    days: int | None, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    chat = generate(seed=1, conversations=80, days=20, now=NOW, max_messages=30)
    api = Api(chat, pagination="meta", **options)
    read_all(api, since=None if days is None else NOW - timedelta(days=days))
    # Those in flight together learn it together: one more page each, two more readings in all.
    assert api.requests <= 80 + 8 + 4
    assert caplog.text.count("so there are no others") <= 2


def test_a_total_that_is_never_reached_is_passed_on_as_stated() -> None:
    api = Api(pagination="meta", total_error=1)
    for read in read_all(api, since=None).values():
        assert read.stated_messages == len(read.messages) + 1


@pytest.mark.parametrize("total_error", [0, 1])
def test_an_answer_that_is_cut_once_is_read_again(total_error: int) -> None:
    api = Api(pagination="meta", total_error=total_error)
    first, *others = [i for i, found in api.chat.conversations.items() if len(found.messages) > 1]
    api.client.read_conversation(first)  # which shows what the totals are worth
    original = api.sandbox._show
    is_cut: set[int | None] = set()

    def show(request: Request, conversation: Any) -> dict[str, Any]:
        payload = original(request, conversation)
        if request.id not in is_cut:
            is_cut.add(request.id)
            payload["conversation"]["messages"].pop()
        return payload

    api.sandbox._show = show  # type: ignore[method-assign]  # a server with a hiccup
    for i in others:
        assert api.client.read_conversation(i).messages == api.messages(i)


# -- ids -----------------------------------------------------------------------------------------


def test_ids_that_are_strings_of_digits_become_numbers() -> None:
    api = Api(id_type="str")
    user_id = api.user_id
    i = api.chat.add_conversation(at=NOW).id
    taken = api.client.assign(i, user_id)
    assert (taken["id"], taken["assignee"]["id"]) == (i, user_id)
    listing = api.client.list_conversations()
    listed = {row["id"]: row for rows, _ in listing for row in rows}
    assert listed.keys() == listing.seen.keys() == api.chat.conversations.keys()
    leads = {c.lead.id for c in api.chat.conversations.values() if c.lead}
    assert {row["lead"]["id"] for row in listed.values() if row["lead"]} == leads
    assert api.client.get_user(user_id)["id"] == user_id
    assert [user["id"] for user in api.client.iter_users()] == list(api.chat.users)
    shown = api.client.get_conversation(i)
    assert (shown["id"], shown["assignee"]["id"]) == (i, user_id)
    assert [m["id"] for m in shown["messages"]] == [m["id"] for m in api.messages(i)]


def test_a_sender_s_id_becomes_a_number() -> None:
    client = a_client(Script({"id": "5", "messages": [{"id": "-7", "sender_id": "8"}]}))
    assert client.get_conversation(5)["messages"] == [{"id": -7, "sender_id": 8}]


UNUSABLE: list[Any] = [
    None,
    "",
    "12a",
    "٣",
    "1.5",
    1.5,
    True,
    [3],
    {},
    "9223372036854775808",
    2**63,
    -(2**64),
]


def test_unusable_ids_are_left_as_they_are_and_stop_nothing() -> None:
    rows = [{"id": value, "n": n} for n, value in enumerate([*UNUSABLE, "7", None])]
    client = a_client(Script({"conversations": rows, "users": rows, "id": 5, "messages": rows}))
    expected = [{**row, "id": 7} if row["id"] == "7" else row for row in rows]
    listing = client.list_conversations()
    assert {row["n"]: row for page, _ in listing for row in page} == dict(enumerate(expected))
    assert [key for key in listing.seen if isinstance(key, int)] == [7]
    assert len(listing.seen) == len(rows)
    assert list(client.iter_users()) == expected
    assert client.get_conversation(5)["messages"] == expected


@pytest.mark.parametrize(
    "body", [[], 7, None, {"conversation": None}, {"conversation": {"id": 5}}, {"messages": [1]}]
)
def test_a_conversation_of_another_shape_is_malformed(body: object) -> None:
    with pytest.raises(MalformedAnswerError, match="conversations/5: the answer contains no"):
        a_client(Script(body)).get_conversation(5)


def test_half_of_a_surrogate_pair_becomes_the_replacement_character() -> None:
    escaped = rb'"ok \ud83d\ude00, lone \ud83d, low \uDE00, backslash \\ud83d"'
    raw = b'"\xed\xa0\x80 \xed\x95\x9c"'
    body = b'{"id": 1, "messages": [], "a": %b, "b": %b}' % (escaped, raw)
    shown = a_client(Script(body)).get_conversation(1)
    assert shown["a"] == "ok 😀, lone �, low �, backslash \\ud83d"
    assert shown["b"] == "� 한"
    str(shown).encode()  # raises where a surrogate is left


# -- users ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("pagination", PAGINATIONS)
@pytest.mark.parametrize("user_name", ["full_name", "name", "first_last"])
def test_every_user_is_listed_once(user_name: str, pagination: str) -> None:
    api = Api(user_name=user_name, pagination=pagination)
    assert list(api.client.iter_users()) == api.sandbox.truth()["users"]


@pytest.mark.parametrize("pagination", PAGINATIONS)
def test_more_users_than_a_page_holds_are_listed_once_each(pagination: str) -> None:
    chat = generate(seed=1, conversations=0, days=1, now=NOW)
    user = next(iter(chat.users.values()))
    chat.users.update({i: type(user)(i, "A", "B", f"{i}@example.org") for i in range(5000, 5250)})
    api = Api(chat, pagination=pagination)
    assert list(api.client.iter_users()) == api.sandbox.truth()["users"]
    assert len(chat.users) > 250


@pytest.mark.parametrize("wrap", [True, False])
def test_one_user_comes_wrapped_or_bare(wrap: bool) -> None:
    api = Api(wrap=wrap)
    for user in api.sandbox.truth()["users"]:
        assert api.client.get_user(user["id"]) == user


def test_a_user_of_another_chat_is_not_found() -> None:
    api = Api()
    with pytest.raises(NotFoundError, match=r"GET /chats/1/users/999999: .*“User not found”"):
        api.client.get_user(999_999)


# -- many at once --------------------------------------------------------------------------------


def test_gather_gives_each_item_with_its_result_or_its_exception() -> None:
    api = Api()
    ids = list(api.chat.conversations)
    api.sandbox.add_fault(Fault("500", conversation_id=ids[3], times=None))
    outcomes = {
        item: outcome
        for batch in api.client.gather(api.client.get_conversation, [*ids, 4])
        for item, outcome in batch
    }
    assert isinstance(outcomes.pop(ids[3]), ServerError)
    assert isinstance(outcomes.pop(4), NotFoundError)
    expected = {i: api.messages(i) for i in ids if i != ids[3]}
    assert {i: read["messages"] for i, read in outcomes.items()} == expected  # type: ignore[index]


def test_gather_of_nothing_gives_nothing() -> None:
    api = Api()
    assert list(api.client.gather(api.client.get_user, [])) == []
    assert api.requests == 0


def test_gather_goes_on_with_calls_while_a_batch_is_stored() -> None:
    items = range(20)
    all_called = threading.Event()
    called = itertools.count(1)

    def call(item: int) -> ConversationRead:
        if next(called) == len(items):
            all_called.set()
        return ConversationRead({}, [{}] * (BATCH_SIZE // 10), NOW, None)

    batches = a_client(Script({})).gather(call, items)
    first = next(batches)
    assert len(first) >= 10
    assert all_called.wait(10)  # nobody has asked for the next batch yet
    assert sorted(item for batch in [first, *batches] for item, _ in batch) == list(items)


def test_gather_hands_out_what_is_done_before_slow_calls_end() -> None:
    class Running(Clock):
        def time(self) -> float:
            self.now += BATCH_SECONDS / 2
            return self.now

    slow = threading.Event()
    calls = a_client(Script({}), clock=Running()).gather(
        lambda item: item == "quick" or slow.wait(10), ["slow", "quick"]
    )
    assert next(calls) == [("quick", True)]
    slow.set()
    assert list(calls) == [[("slow", True)]]


def test_an_interrupt_ends_gathering() -> None:
    def call(item: int) -> int:
        if item == 3:
            raise KeyboardInterrupt
        return item

    client = a_client(Script({}), concurrency=1)
    with pytest.raises(KeyboardInterrupt):
        list(client.gather(call, range(10_000)))
    with pytest.raises(RuntimeError, match="closed"):
        client.get_user(1)


def test_gathering_ends_if_no_more_threads_can_be_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Thread(threading.Thread):
        left = 3

        def start(self) -> None:
            Thread.left -= 1
            if Thread.left < 0:
                raise RuntimeError("can't start new thread")
            super().start()

    client = a_client(Script({}), concurrency=2)
    monkeypatch.setattr(gather.threading, "Thread", Thread)  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="can't start new thread"):
        list(client.gather(lambda item: item, range(10)))


def test_an_api_that_is_down_is_noticed_after_few_calls() -> None:
    def call(item: int) -> None:
        raise ZeroDivisionError(item)

    first = next(a_client(Script({}), concurrency=1).gather(call, range(10_000)))
    assert len(first) <= BATCH_SIZE // FAILURE_SIZE + 1


def in_flight_at(api: Api, expected: int) -> None:
    """Assert that exactly this many calls of gather are under way together."""
    together = threading.Barrier(expected)
    under_way = 0
    lock = threading.Lock()

    def call(item: int) -> None:
        nonlocal under_way
        with lock:
            under_way += 1
            assert under_way <= expected
        together.wait(10)
        with lock:
            under_way -= 1
        together.wait(10)

    for batch in api.client.gather(call, range(3 * expected)):
        assert [outcome for _, outcome in batch] == [None] * len(batch)


def test_gather_keeps_more_calls_in_flight_when_answers_take_long() -> None:
    api = Api(limit=120)
    api.client.get_user(api.user_id)
    in_flight_at(api, 8)
    api.sandbox.latency = 6.0
    for _ in range(60):
        api.client.get_user(api.user_id)
    # Half a window's requests in half a window: 2 * 120 / 60 a second, for 6 seconds each.
    in_flight_at(api, 24)


def test_abandoning_gather_does_not_wait_for_calls_under_way() -> None:
    client = a_client(Script({}))
    never = threading.Event()
    calls = client.gather(lambda item: item < BATCH_SIZE or never.wait(60), range(2 * BATCH_SIZE))
    assert len(next(calls)) == BATCH_SIZE
    calls.close()  # type: ignore[attr-defined]  # a generator
    with pytest.raises(RuntimeError, match="closed"):
        client.get_user(1)
    never.set()


def test_requests_and_waits_are_counted() -> None:
    api = Api(limit=2)
    with api.client as client:
        for _ in range(3):
            client.get_user(api.user_id)
        assert (client.requests, client.refused) == (3, 0)
        assert client.waited_seconds >= 47  # to the end of the minute
    assert KEY not in repr(client)


def test_a_call_under_way_does_not_keep_a_process_that_ends() -> None:
    program = """
import threading, time
from zipchat_dagster.client.gather import Gathering
gathering = Gathering(
    lambda item: item and threading.Event().wait(),
    range(2), in_flight=lambda: 2, size=lambda _: 1, time=time.monotonic,
)
print(next(iter(gathering)))
"""
    command = [sys.executable, "-c", program]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert answer.stdout == "[(0, 0)]\n"
