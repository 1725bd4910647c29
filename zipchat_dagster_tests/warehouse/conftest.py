"""Each test here runs on a file and on a lake."""

from __future__ import annotations

import pytest

from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster_tests.conftest import Open


@pytest.fixture
def warehouse(place: Open) -> Warehouse:
    return place()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Examples marked `file` do not run on a lake too, which is slower."""
    items[:] = [
        item
        for item in items
        if not (
            item.get_closest_marker("file") and "lake" in item.name.partition("[")[2].split("-")
        )
    ]
