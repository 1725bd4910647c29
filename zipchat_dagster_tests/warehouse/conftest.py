"""Each test here runs on a file and on a lake."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster_tests.conftest import THOROUGH, Open, effort, opened_on
from zipchat_dagster_tests.warehouse.support import RandomChat


@pytest.fixture
def warehouse(place: Open) -> Warehouse:
    return place()


@pytest.fixture(scope="module", params=["file", "lake"] if THOROUGH else ["file"])
def shared_place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Open]:
    """Like `place`, for tables that a file's tests only look at."""
    with opened_on(request.param, request, tmp_path_factory.mktemp("shared")) as opened:
        yield opened


@pytest.fixture(
    scope="session",
    params=[
        *(
            pytest.param((case, "file"), id=f"{case[0]}-file")
            for case in RandomChat.CASES[:: effort(2, 1)]
        ),
        *([pytest.param((RandomChat.CASES[-1], "lake"), id="4-lake")] if THOROUGH else []),
    ],
)
def random_chat(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RandomChat]:
    """Each of these in turn; tests only look at it."""
    case, engine = request.param
    with opened_on(engine, request, tmp_path_factory.mktemp("random")) as place:
        yield RandomChat.build(place, *case)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Examples marked `file` do not run on a lake too, which is slower."""
    items[:] = [
        item
        for item in items
        if not (
            item.get_closest_marker("file") and "lake" in item.name.partition("[")[2].split("-")
        )
    ]
