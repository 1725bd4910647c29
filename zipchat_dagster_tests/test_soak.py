"""A short soak; `python -m benchmarks soak` runs a long one."""

from __future__ import annotations

from pathlib import Path

from zipchat_dagster_tests.conftest import thorough
from zipchat_dagster_tests.soak import Soak, derive
from zipchat_dagster_tests.warehouse.test_derive import DERIVED, derived_rows


@thorough
def test_after_faults_changes_and_kills_a_last_run_leaves_exact_tables(tmp_path: Path) -> None:
    with Soak(tmp_path, conversations=60) as soak:
        soak.run(25)
        soak.finish()
    figures, project = soak.figures, soak.project
    assert figures.killed
    assert figures.faults > figures.requests / 10
    assert figures.refused == 0
    project.assert_tables_agree()
    now = project.sandbox.now()
    derive(project.warehouse, now)
    found = derived_rows(project)
    derive(project.warehouse, now, from_scratch=True)
    again = derived_rows(project)
    for table in DERIVED:
        assert found[table] == again[table], table
