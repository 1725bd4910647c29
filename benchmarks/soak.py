"""Section of `make bench`: hundreds of syncs while calls fail and processes are killed."""

from __future__ import annotations

import tempfile
from pathlib import Path

from zipchat_dagster_tests.soak import Soak, derive
from zipchat_dagster_tests.warehouse.test_derive import derived_rows

RUNS = 300


def soak() -> None:
    """300 syncs of a changing chat: one call in five fails, one process in seven is killed"""
    with tempfile.TemporaryDirectory() as folder, Soak(Path(folder), conversations=300) as one:
        one.run(RUNS)
        one.finish()
        found, project = one.figures, one.project
        project.assert_tables_agree()
        now = project.sandbox.now()
        derive(project.warehouse, now)
        derived = derived_rows(project)
        derive(project.warehouse, now, from_scratch=True)
        assert derived == derived_rows(project)
        messages = project.rows("select count(*) from zipchat.raw_messages")[0][0]
        maintained = project.warehouse.maintain()
    print(
        f"{found.runs} runs in {found.seconds:.0f} s: {found.killed} were killed, {found.failed}"
        f" failed\n{found.requests:,} requests, {found.faults:,} of them failed, {found.refused}"
        f" refused\n{found.changes:,} changes between runs and one every third request;"
        f" {messages:,} messages in the end, every table exact"
    )
    for runs, size, memory in found.sizes:
        print(f"after {runs:3} runs: database {size / 1e6:.1f} MB, memory {memory / 1e6:.0f} MB")
    print(f"compacted: {maintained['bytes_after'] / 1e6:.1f} MB")
