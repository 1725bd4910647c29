"""Servers that differ from the documentation, synced from start to finish."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from zipchat_dagster.sandbox import Sandbox, generate
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster_tests.conftest import NOW, Project


@pytest.mark.parametrize(
    ("options", "costs"),
    [
        ({"id_type": "str"}, 3),
        ({"largest_page": 50}, 3),
        # A total that cannot be right is checked once per run.
        ({"pagination": "meta", "total_error": 1}, 10),
        ({"pagination": "meta", "totals_ignore_since": True}, 10),
    ],
    ids=str,
)
def test_an_odd_server_is_synced_completely_and_a_second_run_is_cheap(
    tmp_path: Path, options: dict[str, Any], costs: int
) -> None:
    chat = generate(seed=2, conversations=300, days=30, now=NOW, max_messages=20)
    sandbox = Sandbox(chat=chat, limit=None, **options)
    project = Project(sandbox, Warehouse(tmp_path / "warehouse.duckdb"))
    first, result = project.sync()
    assert (result.conversations, result.failures, result.missing) == (300, {}, [])
    project.assert_tables_agree()
    assert first <= 300 + 30

    project.clock.sleep(3600)
    second, result = project.sync()
    assert (second <= costs, result.conversations) == (True, 0)

    changed = list(chat.conversations)[::4]
    for conversation_id in changed:
        chat.add_message(conversation_id, at=sandbox.now() - timedelta(seconds=1))
    project.clock.sleep(3600)
    third, _ = project.sync()
    project.assert_tables_agree()
    assert third <= len(changed) + costs + 20
