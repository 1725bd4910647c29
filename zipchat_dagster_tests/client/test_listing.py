"""A list that changes while it is read loses no row, or the listing raises."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import timedelta
from email.utils import formatdate
from random import Random
from typing import Any, get_args

import httpx
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from zipchat_dagster.client import ListingUnsettledError, PageLoopError, requests_to_list
from zipchat_dagster.client.listing import (
    LEAST_PAGE,
    MAX_PASSES,
    MAX_ROUNDS,
    Habits,
    Listing,
    next_page,
)
from zipchat_dagster.sandbox import BASE_URL, Order, Pagination, Request, Sandbox
from zipchat_dagster_tests.client.support import KEY, NOW, Api, Clock, a_chat, a_client
from zipchat_dagster_tests.conftest import effort

ORDERS = get_args(Order)
PAGINATIONS = get_args(Pagination)
COUNTS = [0, 1, 50, 51, 99, 100, 101, 200]


class MovingApi(Api):
    """Makes up to `most` random changes before each request, `pace` seconds after the last.

    `is_felt`: the time passes on the client's clock too, as if answers took that long.
    """

    def __init__(
        self,
        count: int,
        *,
        seed: int = 1,
        most: int = 0,
        pace: float = 0.0,
        is_felt: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(a_chat(count, seed=seed), seed=seed, **options)
        self.random = Random(seed)
        self.most = most
        self.pace = pace
        self.is_felt = is_felt
        self.there_all_along = set(self.chat.conversations)
        self.sandbox.before_request = self.move

    def move(self, sandbox: Sandbox, _: Request) -> None:
        if self.is_felt:
            self.clock.sleep(self.pace)
        else:
            sandbox.clock_offset += self.pace
        for _number in range(self.random.randint(0, self.most)):
            sandbox.change()
            # Nor any that was deleted for a while: it may return behind us.
            self.there_all_along -= set(self.chat.deleted)


def ids_of(listing: Listing) -> set[int]:
    return {row["id"] for rows, _ in listing for row in rows}


# -- no row is lost ------------------------------------------------------------------------------


@given(
    count=st.one_of(st.sampled_from(COUNTS), st.integers(0, 800)),
    seed=st.integers(0, 10**6),
    most=st.integers(0, 6),
    pace=st.sampled_from([0.0, 0.3, 1.5, 20.0]),
    order=st.sampled_from(ORDERS),
    pagination=st.sampled_from(PAGINATIONS),
    shuffle_ties=st.booleans(),
    largest_page=st.sampled_from([None, None, 10, 50]),
    days_back=st.sampled_from([None, 0, 3, 30]),
    total_error=st.sampled_from([0, 0, 1, -1]),
    totals_ignore_since=st.booleans(),
)
@example(  # what was listed again moved by as many rows as its first page had
    count=200,
    seed=404,
    most=3,
    pace=20.0,
    order="desc",
    pagination="meta",
    shuffle_ties=False,
    largest_page=10,
    days_back=None,
    total_error=1,
    totals_ignore_since=False,
)
@settings(max_examples=effort(100, 1000), deadline=None)
def test_a_listing_has_every_conversation_that_was_there_all_along_or_raises(
    count: int,
    seed: int,
    most: int,
    pace: float,
    largest_page: int | None,
    days_back: int | None,
    **options: Any,
) -> None:
    # A total that is too low may be just what a page that was cut shows: nothing tells then.
    assume(not largest_page or options["total_error"] >= 0)
    api = MovingApi(count, seed=seed, most=most, pace=pace, largest_page=largest_page, **options)
    since = None if days_back is None else NOW - timedelta(days=days_back)
    expected = {
        i for i, c in api.chat.conversations.items() if since is None or c.last_message_at >= since
    }
    listing = api.client.list_conversations(since=since)
    try:
        found = ids_of(listing)
    except ListingUnsettledError:
        assert listing.as_of is None
    else:
        assert listing.as_of is not None
        assert found == set(listing.seen)
        # What left its place below a page that the server cut is active after as_of.
        assert largest_page or not (expected & api.there_all_along) - found
        active = {
            i
            for i in api.there_all_along
            if (since is None or api.chat.conversations[i].last_message_at >= since)
            and api.chat.conversations[i].last_message_at < listing.as_of
        }
        assert not active - found
    pages = math.ceil(len(api.chat.conversations | api.chat.deleted) / (largest_page or 100))
    assert api.requests <= MAX_PASSES * (1 + MAX_ROUNDS) * (42 + 5 * pages)


@pytest.mark.parametrize("count", [60, 400])
@pytest.mark.parametrize(
    "options",
    [{"total_error": 1}, {"totals_ignore_since": True}, {"total_error": -1}],
    ids=["too high", "ignoring since", "too low"],
)
def test_totals_that_are_wrong_settle_although_the_list_changes_before_each_request(
    count: int, options: dict[str, Any]
) -> None:
    since = NOW - timedelta(days=10)
    for seed in range(effort(12, 60)):
        api = MovingApi(count, seed=seed, most=4, pace=0.3, pagination="meta", **options)
        listing = api.client.list_conversations(since=since)
        found = ids_of(listing)
        assert listing.as_of is not None
        active = {
            i
            for i in api.there_all_along
            if since <= api.chat.conversations[i].last_message_at < listing.as_of
        }
        assert not active - found
        api.client.close()


@given(
    count=st.one_of(st.sampled_from(COUNTS), st.integers(0, 1500)),
    order=st.sampled_from(ORDERS),
    pagination=st.sampled_from(PAGINATIONS),
)
@settings(max_examples=effort(30, 200), deadline=None)
def test_a_list_at_rest_costs_about_a_quarter_more_than_its_pages(
    count: int, **options: Any
) -> None:
    api = MovingApi(count, **options)
    listing = api.client.list_conversations()
    assert ids_of(listing) == set(api.chat.conversations)
    assert listing.as_of == NOW
    pages = max(1, math.ceil(count / 100))
    if count < LEAST_PAGE or (count < 100 and options["pagination"] != "none"):
        assert api.requests == 1
    assert api.requests <= math.ceil(1.25 * pages) + 1
    if options["pagination"] != "none":
        assert api.requests == requests_to_list(count, largest=100)


@pytest.mark.parametrize("order", ORDERS)
def test_a_plain_page_loop_loses_rows_under_the_same_changes(order: str) -> None:
    for seed in range(30):
        api = MovingApi(500, seed=seed, most=6, order=order, pagination="meta")
        found: set[int] = set()
        number, pages = 1, 1
        with httpx.Client(transport=api.sandbox.transport()) as http:
            while number <= pages:
                answer = http.get(
                    f"{BASE_URL}/chats/1/conversations",
                    params={"page": number, "per_page": 100},
                    headers={"Authorization": f"Bearer {KEY}"},
                ).json()
                found.update(row["id"] for row in answer["conversations"])
                number, pages = number + 1, answer["meta"]["total_pages"]
        if api.there_all_along - found:
            break
    else:
        pytest.fail("a plain loop loses nothing")
    api = MovingApi(500, seed=seed, most=6, order=order, pagination="meta")
    assert not api.there_all_along - ids_of(api.client.list_conversations())


@pytest.mark.parametrize("options", [{}, {"pagination": "none", "largest_page": 50}])
def test_a_deletion_and_a_jump_that_cancel_out_hide_nothing(options: dict[str, Any]) -> None:
    api = Api(a_chat(500), **options)
    ranked = sorted(api.chat.conversations.values(), key=lambda c: c.last_message_at)
    lowest, highest = ranked[0].id, ranked[-1].id

    def move(sandbox: Sandbox, request: Request) -> None:
        if request.query["page"] == "3":
            sandbox.before_request = None
            sandbox.chat.delete_conversation(highest, at=sandbox.now())
            sandbox.chat.add_message(lowest, at=sandbox.now())

    api.sandbox.before_request = move
    assert lowest in ids_of(api.client.list_conversations())


def test_a_conversation_that_becomes_active_meanwhile_is_yielded_again() -> None:
    api = Api(a_chat(300))
    moved = next(iter(api.chat.conversations))
    shown: list[str] = []

    def move(sandbox: Sandbox, request: Request) -> None:
        if request.query["page"] != "1":
            sandbox.chat.add_message(moved, at=sandbox.now())

    api.sandbox.before_request = move
    listing = api.client.list_conversations()
    for rows, observed_at in listing:
        shown += [row["last_message_at"] for row in rows if row["id"] == moved]
        assert observed_at == NOW
    assert shown[-1] == f"{NOW:%Y-%m-%dT%H:%M:%SZ}" == listing.seen[moved]


# -- ties ----------------------------------------------------------------------------------------


def imported(*, seconds_ago: float, count: int = 350, **options: Any) -> MovingApi:
    """A chat of 600 conversations, most of which share one second, as after a bulk import."""
    api = MovingApi(600, **options)
    at = NOW - timedelta(seconds=seconds_ago)
    for conversation in list(api.chat.conversations.values())[100 : 100 + count]:
        conversation.last_message_at = at
    api.chat.version += 1
    return api


@pytest.mark.parametrize("most", [0, 3])
@pytest.mark.parametrize("seconds_ago", [5, 100_000])
@pytest.mark.parametrize("pagination", PAGINATIONS)
@pytest.mark.parametrize("order", ORDERS)
def test_hundreds_of_conversations_active_in_the_same_second_are_all_found(
    order: str, pagination: str, seconds_ago: float, most: int
) -> None:
    api = imported(
        seconds_ago=seconds_ago,
        order=order,
        pagination=pagination,
        most=most,
        pace=10.0 if most else 0.0,
        is_felt=False,
    )
    assert not api.there_all_along - ids_of(api.client.list_conversations())
    assert api.requests < 25


@given(
    seed=st.integers(0, 10**6),
    count=st.integers(2, 350),
    order=st.sampled_from(["desc", "asc"]),
    pagination=st.sampled_from(PAGINATIONS),
    most=st.integers(0, 2),
)
@settings(max_examples=effort(15, 100), deadline=None)
def test_ties_in_another_order_on_each_page_are_all_found_or_the_listing_raises(
    count: int, **options: Any
) -> None:
    api = imported(seconds_ago=100_000, count=count, shuffle_ties=True, pace=1.0, **options)
    try:
        found = ids_of(api.client.list_conversations())
    except ListingUnsettledError:
        assert count > 20
    else:
        assert not api.there_all_along - found


# -- servers with odd metadata ---------------------------------------------------------------------


class ListServer(httpx.BaseTransport):
    """Pages through `rows`, which `change` may change before each request.

    `states` makes the metadata of an answer from (page, per_page, total), `largest` is the most
    rows it gives at once, `hides` says which rows it drops from a page that it has cut.
    """

    def __init__(
        self,
        rows: list[dict[str, Any]],
        *,
        states: Callable[[int, int, int], dict[str, Any]] = lambda page, size, total: {},
        largest: int = 100,
        hides: Callable[[int], bool] = lambda row_id: False,
        ignores_page: bool = False,
    ) -> None:
        self.rows = rows
        self.states = states
        self.largest = largest
        self.hides = hides
        self.ignores_page = ignores_page
        self.requests = 0
        self.clock = Clock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        query = request.url.params
        size = min(int(query["per_page"]), self.largest)
        page = 1 if self.ignores_page else int(query["page"])
        since = query.get("last_message_at_since", "")
        found = [row for row in self.rows if (row["last_message_at"] or "") >= since]
        rows = [row for row in found[(page - 1) * size : page * size] if not self.hides(row["id"])]
        stated = self.states(page, size, len(found))
        body = {"conversations": rows, "users": rows, **({"meta": stated} if stated else {})}
        headers = {"Date": formatdate(self.clock.now, usegmt=True)}
        return httpx.Response(200, headers=headers, content=json.dumps(body).encode())

    def listing(self, **options: Any) -> Listing:
        return a_client(self, clock=self.clock).list_conversations(**options)


def rows(count: int, *, activity: str | None = "") -> list[dict[str, Any]]:
    """Newest first, a minute apart, unless all share one `activity`."""
    return [
        {
            "id": i,
            "last_message_at": f"{NOW - timedelta(minutes=i + 5):%Y-%m-%dT%H:%M:%SZ}"
            if activity == ""
            else activity,
        }
        for i in range(count)
    ]


@pytest.mark.parametrize("count", [99, 250, 1000])
def test_a_list_without_any_activity_is_read_by_the_order_of_its_rows(count: int) -> None:
    server = ListServer(rows(count, activity=None))
    assert ids_of(server.listing()) == set(range(count))
    assert server.requests <= 1.5 * math.ceil(count / 100) + 1


def test_a_list_without_any_activity_that_shrinks_above_us_is_read_again_from_further_up() -> None:
    server = ListServer(rows(500, activity=None))
    found: set[int] = set()
    for page, _ in server.listing():
        found.update(row["id"] for row in page)
        del server.rows[:3]
    assert {row["id"] for row in server.rows} <= found


@pytest.mark.parametrize(
    "states",
    [
        lambda page, size, total: {},
        lambda page, size, total: {"total": total},
        lambda page, size, total: {"next_page": page + 1 if page * size < total else None},
        lambda page, size, total: {"current_page": page, "total_pages": math.ceil(total / size)},
    ],
    ids=["none", "total", "next_page", "total_pages"],
)
@pytest.mark.parametrize("largest", [10, 25, 50, 99])
def test_a_largest_page_that_is_smaller_than_requested_is_learned(
    largest: int, states: Callable[[int, int, int], dict[str, Any]]
) -> None:
    server = ListServer(rows(330), largest=largest, states=states)
    client = a_client(server, clock=server.clock)
    assert ids_of(client.list_conversations()) == set(range(330))
    assert server.requests <= 2 * math.ceil(330 / largest)
    assert len(list(client.iter_users())) == 330


def test_pages_too_small_for_an_overlap_raise_if_a_total_reveals_them() -> None:
    server = ListServer(rows(330), largest=5, states=lambda page, size, total: {"total": total})
    with pytest.raises(ListingUnsettledError):
        ids_of(server.listing())


@pytest.mark.parametrize("count", [101, 201, 330])
def test_a_total_that_is_too_low_does_not_end_a_list(count: int) -> None:
    def states(page: int, size: int, total: int) -> dict[str, Any]:
        pages = math.ceil((total - 1) / size)
        following = page + 1 if page < pages else None
        counts = {"total": total - 1, "total_pages": pages}
        return {**counts, "current_page": page, "next_page": following}

    server = ListServer(rows(count), states=states)
    assert ids_of(server.listing()) == set(range(count))


def test_a_short_page_needs_another_one_only_until_a_longer_one_was_seen() -> None:
    server = ListServer(rows(40))
    client = a_client(server, clock=server.clock)
    assert ids_of(client.list_conversations()) == set(range(40))
    assert server.requests == 2
    del server.rows[30:]
    assert ids_of(client.list_conversations()) == set(range(30))
    assert server.requests == 3


def test_a_server_that_shows_everything_on_every_page_is_read_once() -> None:
    server = ListServer(rows(40), ignores_page=True, largest=40)
    assert ids_of(server.listing()) == set(range(40))


@pytest.mark.parametrize("count", [1, 4, 5, 50, 100, 250])
@pytest.mark.parametrize(
    "states",
    [
        lambda page, size, total: {"next_page": page + 1},
        lambda page, size, total: {"next_page": None, "total": total},
        lambda page, size, total: {"total": min(size, total)},
        lambda page, size, total: {"total": 0},
        lambda page, size, total: {"per_page": 1},
        lambda page, size, total: {"per_page": 25},
        lambda page, size, total: {"per_page": 1000, "total": "many", "next_page": "?page=2"},
        lambda page, size, total: {"current_page": page, "total_pages": 2 * -(-total // size)},
        lambda page, size, total: {"total": total + 1000},
    ],
    ids=range(9),
)
def test_metadata_that_is_wrong_costs_requests_and_no_rows(
    states: Callable[[int, int, int], dict[str, Any]], count: int
) -> None:
    server = ListServer(rows(count), states=states)
    listing = server.listing()
    assert ids_of(listing) == set(range(count))
    assert listing.as_of == NOW
    assert server.requests <= 4 + 5 * math.ceil(count / 100)


def test_a_total_that_ignores_since_is_logged_and_does_not_count(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = ListServer(rows(300))
    server.states = lambda page, size, total: {"total_count": 300}
    listing = server.listing(since=NOW - timedelta(minutes=34))
    assert ids_of(listing) == set(range(30))
    assert listing.as_of == NOW
    assert "states 300 conversations and returned 30, the same ones twice" in caplog.text


def test_a_short_list_that_moves_down_while_its_total_is_too_high_is_not_taken_for_a_loop() -> None:
    server = ListServer(rows(40))

    def states(page: int, size: int, total: int) -> dict[str, Any]:
        if server.requests == 1:  # before the second page, another one appears at the top
            server.rows.insert(0, {"id": 99, "last_message_at": f"{NOW:%Y-%m-%dT%H:%M:%SZ}"})
        return {"total": 40}

    server.states = states
    listing = server.listing(since=NOW - timedelta(minutes=5))
    assert ids_of(listing) == {0, 99}
    assert listing.as_of == NOW


def test_totals_are_corrected_by_a_first_difference_and_ignored_after_another() -> None:
    habits = Habits()
    assert (habits.expected(10, NOW), habits.expected(None, NOW)) == (10, None)
    habits.learn(2, NOW)
    habits.learn(2, NOW)
    assert (habits.expected(10, NOW), habits.expected(10, None)) == (8, 10)
    habits.learn(3, NOW)
    assert (habits.expected(10, NOW), habits.expected(10, None)) == (None, 10)


@pytest.mark.parametrize(
    "states",
    [
        lambda page, size, total: {"next_page": page + 1 if page * size < total else None},
        lambda page, size, total: {"total": total},
    ],
    ids=["next_page", "total"],
)
def test_rows_hidden_after_the_page_was_cut_do_not_end_a_list(
    states: Callable[[int, int, int], dict[str, Any]],
) -> None:
    server = ListServer(rows(400), states=states)
    client = a_client(server, clock=server.clock)
    for every in (10, 5):  # the second list's first page is shorter than pages were before
        hidden = set(range(0, 400, every))
        server.hides = hidden.__contains__
        assert ids_of(client.list_conversations()) == set(range(400)) - hidden


def test_a_stated_total_that_is_not_reached_means_another_pass() -> None:
    server = ListServer(rows(250), states=lambda page, size, total: {"total": total})
    server.hides = lambda row_id: row_id == 77 and server.requests < 4
    assert ids_of(server.listing()) == set(range(250))


def test_a_total_that_is_never_reached_with_other_rows_each_time_raises() -> None:
    server = ListServer(rows(1000), states=lambda page, size, total: {"total": total})
    server.hides = lambda row_id: row_id % 10 != server.requests % 10
    listing = server.listing()
    with pytest.raises(ListingUnsettledError, match=r"states 1000 conv.* different ones each time"):
        ids_of(listing)
    assert listing.as_of is None


@pytest.mark.parametrize("count", [101, 250, 1000])
def test_a_server_that_ignores_the_page_is_found_out(count: int) -> None:
    server = ListServer(rows(count), ignores_page=True)
    with pytest.raises(PageLoopError, match="Does the server read the page number"):
        ids_of(server.listing())
    assert server.requests == 2


def test_a_list_that_keeps_growing_under_us_raises_in_the_end() -> None:
    class Growing(ListServer):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            at = f"{NOW + timedelta(seconds=self.requests):%Y-%m-%dT%H:%M:%SZ}"
            self.rows += [{"id": i, "last_message_at": at} for i in range(100)]
            return super().handle_request(request)

    listing = Growing(rows(150)).listing()
    with pytest.raises(ListingUnsettledError, match="grew as fast as it was read"):
        ids_of(listing)
    assert listing.as_of is None


@pytest.mark.parametrize("tied", [40, 70])
def test_rows_of_one_second_that_change_places_are_named_as_a_cause(tied: int) -> None:
    class Shuffling(ListServer):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            order = Random(self.requests)
            self.rows.sort(key=lambda row: (row["last_message_at"], order.random()))
            return super().handle_request(request)

    listed = [
        {"id": i, "last_message_at": f"{NOW - timedelta(minutes=i // tied):%Y-%m-%dT%H:%M:%SZ}"}
        for i in range(450)
    ]
    listing = Shuffling(listed, largest=50).listing()
    with pytest.raises(ListingUnsettledError, match="rows of one second change places"):
        ids_of(listing)
    assert listing.as_of is None


def test_a_list_in_which_more_than_a_page_moves_each_time_raises_in_the_end() -> None:
    api = Api(a_chat(300))

    def move(sandbox: Sandbox, _: Request) -> None:
        api.clock.sleep(1)
        for conversation_id in api.sandbox._random.sample(list(api.chat.conversations), 150):
            sandbox.chat.add_message(conversation_id, at=sandbox.now())

    api.sandbox.before_request = move
    listing = api.client.list_conversations()
    with pytest.raises(ListingUnsettledError):
        ids_of(listing)
    assert listing.as_of is None


def test_users_are_listed_without_a_second_reading() -> None:
    server = ListServer(rows(250))
    listing = a_client(server).list_users()
    assert ids_of(listing) == set(range(250))
    assert server.requests == 3


# -- where the next page begins ------------------------------------------------------------------


@given(data=st.data(), read=st.integers(0, 300_000), largest=st.integers(16, 100))
def test_the_next_page_overlaps_what_was_read_and_goes_beyond_it(
    data: st.DataObject, read: int, largest: int
) -> None:
    overlap = data.draw(st.integers(0, largest // 4))
    number, size = next_page(read, largest=largest, overlap=overlap)
    assert (number - 1) * size <= max(0, read - overlap)
    assert number * size > read
    assert largest // 2 <= size <= largest


def test_the_first_page_is_the_largest() -> None:
    assert next_page(0, largest=100, overlap=5) == (1, 100)
