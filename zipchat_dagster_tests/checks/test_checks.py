"""Every asset check, passing and failing.

Each test breaks a copy of a synced database with SQL, runs all checks on it, and names exactly the
ones that must fail.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from zipchat_dagster.assets.common import API_POOL, FRESHNESS
from zipchat_dagster.checks import RULES, activity
from zipchat_dagster.checks.history import History
from zipchat_dagster.checks.rules import Verdict, judged
from zipchat_dagster.sandbox import Request, Sandbox, generate, serve
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster.warehouse.privacy import KEEP, Privacy
from zipchat_dagster.warehouse.rewriting import rewrite_personal_data
from zipchat_dagster.warehouse.suppression import Hasher
from zipchat_dagster_tests.checks.breaks import BREAKS, FIRST, MESSAGE, OLD, patch, twice
from zipchat_dagster_tests.checks.conftest import (
    ALL,
    DAILY,
    DAYS,
    RETENTION_DAYS,
    TABLES,
    Built,
)
from zipchat_dagster_tests.conftest import LOG, NOW, thorough
from zipchat_dagster_tests.single import ASSETS, CHECKS, LANE, SYNC_JOB, metadata_of

TODAY = {f"{asset.path[-1]}.today_is_up_to_date" for asset in DAILY}
EVERY_DAY = {f"{asset.path[-1]}.every_day_was_materialized" for asset in DAILY[1:]}
ACTIVITY = "raw_conversations.newest_activity_is_stored"


def failing(built: Built, privacy: Privacy = KEEP) -> dict[str, Verdict]:
    """The rules that fail, by `table.check`, without Dagster, as if all days were materialized."""
    privacy = replace(privacy, retention_days=RETENTION_DAYS)
    today = NOW.date()
    span = frozenset(today - timedelta(days=n) for n in range(DAYS + 1))
    history = History(NOW, span, {today: NOW})
    tables = Warehouse(built.path, privacy=privacy)
    found = {}
    for table, rules in RULES.items():
        for rule, verdict in zip(rules, judged(table, rules, tables, 1, history), strict=True):
            if not verdict.passed:
                severity = verdict.severity or rule.severity
                found[f"{table}.{rule.name}"] = replace(verdict, severity=severity)
    return found


def one_for_each_check() -> Iterator[Any]:
    """All that can be broken; what an earlier one shows of a check already is thorough."""
    shown = set[str]()
    for broken, (_, checks) in BREAKS.items():
        yield pytest.param(broken, marks=[] if checks.keys() - shown else [thorough])
        shown |= checks.keys()


@pytest.mark.parametrize("broken", list(one_for_each_check()))
def test_each_break_fails_its_own_checks_and_no_others(built: Built, broken: str) -> None:
    statements, expected = BREAKS[broken]
    built.sql(*statements)
    found = failing(built)
    severities = {
        name: verdict.severity.value for name, verdict in found.items() if verdict.severity
    }
    assert severities == expected
    assert all(verdict.metadata["violations"] >= 1 for verdict in found.values())


@pytest.mark.parametrize(
    "privacy",
    [Privacy("hash", "hash", "hash", key="x" * 32), Privacy("drop", "drop", "drop")],
    ids=["hash", "drop"],
)
def test_all_checks_pass_whatever_is_stored_of_people(built: Built, privacy: Privacy) -> None:
    looser = {name: one.metadata["violations"] for name, one in failing(built, privacy).items()}
    assert {name.partition(".")[2] for name in looser} == {"personal_data_is_stored_as_set"}
    assert len(looser) == 4
    assert min(looser.values()) > 0
    rewrite_personal_data(Warehouse(built.path, privacy=privacy), LOG)
    assert failing(built, privacy) == {}
    with_another_key = replace(privacy, key="y" * 32)
    found = failing(built, with_another_key)
    assert found.keys() == (looser.keys() if privacy.content == "hash" else set())
    assert all("hashed with another key" in verdict.description for verdict in found.values())


def test_erased_people_are_not_missed_and_must_not_come_back(built: Built) -> None:
    key = "k" * 32
    privacy, built = Privacy(key=key), replace(built, pii_key=key)
    active = "last_message_at >= now() - interval 1 day"
    erased = built.sql(f"select conversation_id from zipchat.raw_conversations where {active}")
    hashes = Hasher(privacy)
    values = [f"(1, '{hashes('conversation_id', i)}', 'run', 0)" for (i,) in erased]
    built.sql(
        "insert into zipchat.suppressions (chat_id, value_hash, erasure_id, hits) values "
        + ", ".join(values)
    )
    found = failing(built, privacy)["raw_conversations.erased_people_stay_away"]
    assert sorted(named_in(found)) == sorted(i for (i,) in erased)
    built.sql(f"delete from zipchat.raw_conversations where {active}")
    assert "raw_conversations.erased_people_stay_away" not in failing(built, privacy)
    asset, _, name = ACTIVITY.partition(".")
    check = dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey(asset), name))
    assert built.run(check).failed == {}
    assert replace(built, pii_key="").run(check).failed == {ACTIVITY: "WARN"}


def test_through_dagster_all_checks_fail_at_once(
    built: Built, instance: dg.DagsterInstance
) -> None:
    expected = dict.fromkeys({*EVERY_DAY, ACTIVITY}, "WARN") | dict.fromkeys(TODAY, "ERROR")
    for asset in DAILY[1:]:
        for days_ago in (DAYS, 5):
            day = f"{NOW - timedelta(days=days_ago):%Y-%m-%d}"
            instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=day))
    active = "last_message_at >= now() - interval 1 day"
    built.sql(
        "delete from zipchat.raw_messages where conversation_id in"
        f" (select conversation_id from zipchat.raw_conversations where {active})",
        f"delete from zipchat.raw_conversations where {active}",
    )
    for statements, failed in BREAKS.values():
        built.sql(*statements)
        expected |= failed
    outcome = replace(built, instance=instance).run()
    assert outcome.failed == expected
    assert outcome.failed.keys() == ALL
    assert not outcome.result.success  # one of them blocks


def test_every_check_is_seen_failing() -> None:
    of_rules = {check for _, failed in BREAKS.values() for check in failed}
    assert of_rules | TODAY | EVERY_DAY | {ACTIVITY} == ALL


def test_every_check_says_what_to_do_when_it_fails() -> None:
    specs = [spec for check in CHECKS for spec in check.check_specs]
    assert len({spec.key for spec in specs}) == len(specs)
    for spec in specs:
        assert "If it fails" in (spec.description or ""), spec.key


# Which offenders are named


def named_in(verdict: Verdict) -> Any:
    return verdict.metadata["examples"].value


def test_offenders_are_named_by_id(built: Built) -> None:
    ((conversation_id, stated),) = built.sql(
        f"delete from zipchat.raw_messages where {FIRST}",
        f"select conversation_id, stated_messages from zipchat.message_coverage where {FIRST}",
    )
    verdict = failing(built)["raw_messages.counts_are_as_the_api_stated"]
    assert verdict.metadata["violations"] == 1
    assert named_in(verdict) == [{"offender": conversation_id, "stated": stated, "stored": 0}]
    assert verdict.description.endswith(f"than stated: 1 ({conversation_id}).")


def test_at_most_twenty_are_named_and_all_are_counted(built: Built) -> None:
    ids = built.sql(
        "update zipchat.message_coverage set failure = 'no answer', failed_at = now()",
        "select conversation_id from zipchat.message_coverage order by 1",
    )
    verdict = failing(built)["raw_messages.no_conversation_was_skipped"]
    assert verdict.metadata["violations"] == len(ids)
    assert named_in(verdict) == [{"offender": i, "cause": "no answer"} for (i,) in ids[:20]]
    assert verdict.description.endswith(f"and {len(ids) - 20} more).")


def test_a_conversation_that_is_stored_twice_is_named_with_its_table(built: Built) -> None:
    ((conversation_id,),) = built.sql(
        twice("raw_conversations"),
        "select conversation_id from zipchat.raw_conversations group by 1 having count(*) > 1",
    )
    verdict = failing(built)["raw_messages.keys_are_unique"]
    assert named_in(verdict) == [{"table": "raw_conversations", "offender": str(conversation_id)}]


def test_a_value_of_a_wrong_type_is_named_by_field_and_id(built: Built) -> None:
    built.sql(*BREAKS["a number where a text belongs"][0])
    ((conversation_id,),) = built.sql("select min(conversation_id) from zipchat.raw_conversations")
    verdict = failing(built)["raw_conversations.every_value_has_its_type"]
    assert named_in(verdict) == [{"field": "channel", "records": 1, "ids": [conversation_id]}]


def test_a_jump_of_nulls_is_described_with_both_shares(built: Built) -> None:
    built.sql(*BREAKS["conversations of a day without channels"][0])
    verdict = failing(built)["raw_conversations.nulls_are_as_rare_as_before"]
    assert "channel was NULL in 100% of" in verdict.description
    assert "on 2025-03-10, 0% before" in verdict.description


# What is not a failure


def test_a_few_deleted_conversations_raise_no_alarm(built: Built) -> None:
    built.sql(
        "update zipchat.raw_conversations set missing_since = observed_at where conversation_id"
        " in (select conversation_id from zipchat.raw_conversations order by 1 limit 5)"
    )
    assert failing(built) == {}


def test_conversations_deleted_long_ago_raise_no_alarm(built: Built) -> None:
    built.sql(
        "update zipchat.raw_conversations set missing_since = observed_at - interval 3 day,"
        f" {OLD} where conversation_id % 3 = 0"
    )
    assert failing(built) == {}


def test_a_field_that_earlier_records_had_is_known(built: Built) -> None:
    built.sql(
        patch("raw_messages", '{"sentiment": 0.5}', "message_id % 4 < 2"),
        f"update zipchat.raw_messages set {OLD} where message_id % 2 = 0",
    )
    assert failing(built) == {}


def test_an_assignee_who_has_left_since_the_listing_is_not_a_wrong_type(built: Built) -> None:
    built.sql(
        "update zipchat.raw_conversations set assignee_id = null, assignee_name = null,"
        """ payload = json_merge_patch(payload, '{"assignee": {"id": 5}}'),"""
        """ show_payload = '{"id": 1, "assignee": null}', shown_at = observed_at"""
        f" where {FIRST}",
    )
    assert failing(built) == {}


def test_checks_change_nothing_in_the_database(built: Built) -> None:
    built.sql(f"update zipchat.raw_messages set partition_date = null where {MESSAGE}")
    before = built.path.read_bytes()
    # A transaction would set the day again and hide that it was missing.
    assert failing(built).keys() == {"raw_messages.every_row_is_in_the_partition_of_its_day"}
    assert built.path.read_bytes() == before


def test_all_checks_pass_on_an_empty_chat(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    chat = generate(seed=1, conversations=0, days=1, now=NOW)
    sandbox = Sandbox(chat=chat, limit=None)
    with serve(sandbox) as url:
        built = Built(tmp_path / "empty.duckdb", sandbox, url, instance)
        before = built.run()
        outcome = built.run(dg.AssetSelection.assets(*TABLES), days=(NOW, NOW))
    # Before the first run there are no tables. The checks must cope with that.
    assert before.result.success
    assert before.failed == {f"{asset.path[-1]}.today_is_up_to_date": "ERROR" for asset in DAILY}
    assert outcome.result.success
    assert outcome.failed == {}


# Checks and runs


def test_jobs_of_the_assets_run_the_checks() -> None:
    defs = dg.Definitions(
        assets=ASSETS,
        asset_checks=CHECKS,
        jobs=[SYNC_JOB],
        resources={
            name: dg.ResourceDefinition.none_resource()
            for name in ("zipchat", "warehouse", "metric_settings")
        },
    )
    keys = defs.resolve_job_def("sync_job").asset_layer.asset_graph.asset_check_keys
    assert {f"{key.asset_key.path[-1]}.{key.name}" for key in keys} == ALL


@pytest.mark.parametrize("broken", ["a row of raw_messages twice", "a conversation twice"])
def test_duplicates_hold_back_what_is_counted_from_them(built: Built, broken: str) -> None:
    built.sql(*BREAKS[broken][0])
    outcome = built.run(dg.AssetSelection.assets(*TABLES), days=(NOW, NOW))
    assert not outcome.result.success
    # The raw tables are synced nevertheless.
    assert outcome.materialized == {"users", "raw_conversations", "raw_messages"}


def test_no_other_failure_holds_anything_back(built: Built) -> None:
    built.sql(
        *BREAKS["a message lost"][0],
        *BREAKS["a user without an id"][0],
        *BREAKS["a listing too short"][0],
    )
    outcome = built.run(dg.AssetSelection.assets(*TABLES), days=(NOW, NOW))
    assert outcome.result.success
    assert outcome.materialized == {key.path[-1] for asset in TABLES for key in asset.keys}
    assert outcome.failed == {
        "users.every_record_has_an_id": "ERROR",
        "raw_messages.counts_are_as_the_api_stated": "WARN",
    }


def test_an_unreadable_conversation_is_named_and_stops_no_metrics(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zipchat_dagster.client.call.FIRST_PAUSE", 0.0)
    chat = generate(seed=3, conversations=5, days=2, now=NOW)
    sandbox = Sandbox(chat=chat, limit=None)
    bad = max(chat.conversations)

    def without_messages(request: Request, payload: dict[str, Any]) -> dict[str, Any]:
        is_bad = request.conversation_id == bad
        return {"conversation": {"id": bad, "messages": "none"}} if is_bad else payload

    sandbox.alter = without_messages
    with serve(sandbox) as url:
        built = Built(tmp_path / "chat.duckdb", sandbox, url, instance)
        outcome = built.run(dg.AssetSelection.assets(*TABLES), days=(NOW - timedelta(days=2), NOW))
        metrics = built.sql("select count(*) from zipchat.escalation_metrics")
    assert metrics > [(0,)]
    assert outcome.result.success
    assert metadata_of(outcome.result, "raw_messages")["conversations_failed"] == 1
    assert outcome.failed["raw_messages.no_conversation_was_skipped"] == "ERROR"
    named = outcome.metadata("raw_messages.no_conversation_was_skipped")["examples"]
    assert [row["offender"] for row in named] == [bad]
    assert "list" in named[0]["cause"]


# The API


def test_the_check_that_calls_the_api_calls_it_once(built: Built) -> None:
    before = built.sandbox.stats()["requests"]
    outcome = built.run(dg.AssetSelection.checks(activity.newest_activity_is_stored(LANE)))
    assert built.sandbox.stats()["requests"] == before + 1
    assert outcome.metadata(ACTIVITY)["lag_seconds"] == 0
    assert activity.newest_activity_is_stored(LANE).op.pool == API_POOL


def test_an_api_that_refuses_the_check_is_a_warning_and_ends_no_run(built: Built) -> None:
    outcome = replace(built, key="zc-another").run(
        dg.AssetSelection.checks(activity.newest_activity_is_stored(LANE))
    )
    assert outcome.result.success
    assert outcome.failed == {ACTIVITY: "WARN"}
    (evaluation,) = (one for one in outcome.evaluations.values() if not one.passed)
    assert "ZIPCHAT_API_KEY" in (evaluation.description or "")


def test_every_asset_has_a_freshness_policy() -> None:
    for asset in ASSETS:
        for spec in asset.specs:
            assert spec.freshness_policy == FRESHNESS, spec.key
