"""Closes the clients that the tests of this folder make."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from zipchat_dagster_tests.client import support


@pytest.fixture(autouse=True)
def _clients_are_closed() -> Iterator[None]:
    yield
    while support.CLIENTS:
        support.CLIENTS.pop().close()
