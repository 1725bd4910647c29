"""Every asset check, passing and failing, through Dagster.

One database is built through Dagster from the sandbox. Each test breaks a copy of it with SQL, runs
all checks on the copy, and names exactly those that must fail.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import duckdb
import pytest
from dagster._core.test_utils import freeze_time

from zipchat_dagster.assets.common import API_POOL, FRESHNESS
from zipchat_dagster.checks import RULES, activity, history
from zipchat_dagster.checks.fields import Drift, Seen, drift
from zipchat_dagster.checks.history import History, history_of
from zipchat_dagster.checks.recency import (
    absent_days,
    every_day_was_materialized,
    ranges,
    today_is_up_to_date,
)
from zipchat_dagster.checks.rules import Verdict, judged
from zipchat_dagster.resources import MetricSettings, WarehouseResource, ZipchatResource
from zipchat_dagster.sandbox import DEFAULT_KEY, Request, Sandbox, generate, serve
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster.warehouse.privacy import KEEP, Privacy
from zipchat_dagster.warehouse.rewriting import rewrite_personal_data
from zipchat_dagster.warehouse.suppression import Hasher
from zipchat_dagster_tests.conftest import LOG, NOW, thorough
from zipchat_dagster_tests.single import ASSETS, CHECKS, LANE, SYNC_JOB

DAYS = 21
# Drawing the report takes longer than all the rest, and nothing here looks at it.
TABLES = [asset for asset in ASSETS if asset.op.name != "escalation_report"]
DAILY = [dg.AssetKey(name) for name in ("raw_conversations", "raw_messages", "escalation_metrics")]
RETENTION_DAYS = 3650
PERSONAL = ("full_name", "email", "phone_number")


@dataclass
class Outcome:
    """What the checks of one run said, by `table.check`."""

    result: dg.ExecuteInProcessResult

    @property
    def evaluations(self) -> dict[str, dg.AssetCheckEvaluation]:
        return {
            f"{one.asset_key.path[-1]}.{one.check_name}": one
            for one in self.result.get_asset_check_evaluations()
        }

    @property
    def failed(self) -> dict[str, str]:
        return {
            name: one.severity.value for name, one in self.evaluations.items() if not one.passed
        }

    def metadata(self, check: str) -> dict[str, Any]:
        return {name: one.value for name, one in self.evaluations[check].metadata.items()}

    def sync_metadata(self, asset: str) -> dict[str, Any]:
        (event,) = self.result.asset_materializations_for_node(asset)[-1:]
        return {name: one.value for name, one in event.metadata.items()}

    def text(self) -> str:
        """Everything that the checks put into Dagster."""
        return json.dumps(
            [
                [one.description, {name: str(value) for name, value in one.metadata.items()}]
                for one in self.evaluations.values()
            ]
        )


@dataclass
class Built:
    """A database, Dagster's memory of how it came about, and the API behind it."""

    path: Path
    sandbox: Sandbox
    url: str
    instance: dg.DagsterInstance
    key: str = DEFAULT_KEY
    pii_key: str = ""

    def sql(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements; returns the rows of the last one."""
        rows: list[tuple[Any, ...]] = []
        with duckdb.connect(str(self.path)) as connection:
            connection.execute("set TimeZone = 'UTC'")
            for statement in statements:
                rows = connection.execute(statement).fetchall()
        return rows

    def run(
        self,
        selection: dg.AssetSelection | None = None,
        *,
        days: tuple[datetime, datetime] | None = None,
    ) -> Outcome:
        """All checks, or what is selected, in one run of Dagster."""
        names = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
        tags = dict(zip(names, (f"{day:%Y-%m-%d}" for day in days or ()), strict=False))
        result = dg.materialize(
            [*TABLES, *CHECKS],
            selection=selection or dg.AssetSelection.checks(*CHECKS),
            instance=self.instance,
            resources={
                "zipchat": ZipchatResource(
                    api_key=self.key,
                    chat_id="1",
                    base_url=self.url,
                    budget_database=str(self.path.with_suffix(".sqlite")),
                ),
                "warehouse": WarehouseResource(
                    database=str(self.path), retention_days=RETENTION_DAYS, pii_key=self.pii_key
                ),
                "metric_settings": MetricSettings(),
            },
            tags=tags,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )
        outcome = Outcome(result)
        self.assert_nobody_is_told_of(outcome)
        return outcome

    def assert_nobody_is_told_of(self, outcome: Outcome) -> None:
        """No customer's data and no key is in what the checks said."""
        told = outcome.text()
        chat = self.sandbox.chat
        people = [c.lead for c in chat.conversations.values() if c.lead] + list(chat.users.values())
        said = {getattr(person, name, None) for person in people for name in PERSONAL}
        said |= {m.message for c in chat.conversations.values() for m in c.messages}
        # A lead called Bo is in many a word.
        longer = [text for text in said if text and len(text) > 5]
        assert not [text for text in longer if json.dumps(text)[1:-1] in told]
        assert self.key not in told


@contextmanager
def forgetful(path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance that remembers nothing yet, and nothing afterwards."""
    with dg.DagsterInstance.ephemeral(tempdir=str(path)) as instance:
        yield instance


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with forgetful(tmp_path) as instance:
        yield instance


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """Three weeks of a small chat, materialized through Dagster with all checks passing."""
    chat = generate(seed=5, conversations=120, days=DAYS, now=NOW)
    for hours in (5, 9):  # so that something was active in the last day
        chat.add_conversation(at=NOW - timedelta(hours=hours))
    sandbox = Sandbox(chat=chat, limit=None, pagination="meta")
    path = tmp_path_factory.mktemp("checks")
    with serve(sandbox) as url, forgetful(path) as instance:
        # Not zipchat.duckdb: DuckDB would take the file's name for the schema's.
        built = Built(path / "chat.duckdb", sandbox, url, instance)
        outcome = built.run(
            dg.AssetSelection.assets(*TABLES), days=(NOW - timedelta(days=DAYS), NOW)
        )
        assert outcome.result.success
        assert outcome.failed == {}
        assert len(outcome.evaluations) == len(ALL)
        yield built


@pytest.fixture
def built(original: Built, tmp_path: Path) -> Built:
    """A copy of the database; the API and what Dagster remembers are shared."""
    path = tmp_path / original.path.name
    shutil.copy(original.path, path)
    original.sandbox.clear_faults()
    return replace(original, path=path)


ALL = {f"{key.asset_key.path[-1]}.{key.name}" for check in CHECKS for key in check.check_keys}

TODAY = {f"{asset.path[-1]}.today_is_up_to_date" for asset in DAILY}
EVERY_DAY = {f"{asset.path[-1]}.every_day_was_materialized" for asset in DAILY[1:]}
ACTIVITY = "raw_conversations.newest_activity_is_stored"

# Three conversations, a message and an escalation.
FIRST = "conversation_id = (select min(conversation_id) from zipchat.raw_conversations)"
MIDDLE = (
    "conversation_id ="
    " (select conversation_id from zipchat.raw_conversations order by 1 limit 1 offset 60)"
)
LAST = "conversation_id = (select max(conversation_id) from zipchat.raw_conversations)"
MESSAGE = "message_id = (select min(message_id) from zipchat.raw_messages)"
TIMELY = (
    "(conversation_id, escalated_at) ="
    " (select min((conversation_id, escalated_at)) from zipchat.escalations)"
)
OLD = "observed_at = observed_at - interval 5 day"


def twice(table: str) -> str:
    return f"insert into zipchat.{table} from (from zipchat.{table} limit 1)"


def patch(table: str, change: str, where: str = "true") -> str:
    """Change the payloads as if the API had sent them so."""
    columns = ["payload", "show_payload"] if table == "raw_conversations" else ["payload"]
    changes = ", ".join(f"{column} = json_merge_patch({column}, '{change}')" for column in columns)
    return f"update zipchat.{table} set {changes} where {where}"


# What is broken → which checks fail, and how badly. Nothing else may.
BREAKS: dict[str, tuple[list[str], dict[str, str]]] = {
    "conversations of a day without channels": (
        [
            "update zipchat.raw_conversations set partition_date = date '2025-03-09',"
            " created_at = '2025-03-09 12:00:00+00'",
            patch("raw_conversations", '{"channel": null}', "conversation_id % 2 = 0"),
            "update zipchat.raw_conversations set partition_date = date '2025-03-10',"
            " created_at = '2025-03-10 12:00:00+00', channel = null where conversation_id % 2 = 0",
        ],
        {"raw_conversations.nulls_are_as_rare_as_before": "WARN"},
    ),
    "a user twice": ([twice("users")], {"users.keys_are_unique": "ERROR"}),
    "a lead twice": ([twice("leads")], {"leads.keys_are_unique": "ERROR"}),
    "an escalation twice": ([twice("escalations")], {"escalations.keys_are_unique": "ERROR"}),
    "a turn twice": (
        [twice("customer_turns")],
        {"customer_turns.keys_are_unique": "ERROR"},
    ),
    "a turn twice, at different times": (
        [
            "insert into zipchat.customer_turns select * replace (asked_at - interval 1 second as"
            " asked_at) from zipchat.customer_turns limit 1"
        ],
        {"customer_turns.keys_are_unique": "ERROR"},
    ),
    "an SLA event twice": (
        [twice("sla_events")],
        {
            "sla_events.keys_are_unique": "ERROR",
            "sla_events.every_escalation_has_its_events": "ERROR",
        },
    ),
    "facts of a conversation twice": (
        [twice("conversation_facts")],
        {"conversation_facts.keys_are_unique": "ERROR"},
    ),
    "turns answered before they were asked": (
        ["update zipchat.customer_turns set answered_at = asked_at - interval 1 second"],
        {"customer_turns.times_are_in_order": "ERROR"},
    ),
    "facts lost": (
        [f"delete from zipchat.conversation_facts where {MIDDLE}"],
        {"conversation_facts.every_conversation_has_its_facts": "ERROR"},
    ),
    "SLA events of no escalation": (
        ["update zipchat.sla_events set escalated_at = escalated_at - interval 1 second"],
        {"sla_events.every_escalation_has_its_events": "ERROR"},
    ),
    "a metric twice": (
        [twice("escalation_metrics")],
        {"escalation_metrics.keys_are_unique": "ERROR"},
    ),
    "an hour twice": (
        [
            "insert into zipchat.activity_by_hour from (from zipchat.activity_by_hour"
            " where conversations_started + customer_messages + ai_messages + human_messages"
            " + escalations = 0 limit 1)"
        ],
        {"activity_by_hour.keys_are_unique": "ERROR"},
    ),
    "an hour with a message too many": (
        [
            "update zipchat.activity_by_hour set customer_messages = customer_messages + 1"
            " where hour = 12"
        ],
        {"activity_by_hour.hours_add_up_to_their_day": "ERROR"},
    ),
    "a message twice": ([twice("raw_messages")], {"raw_messages.keys_are_unique": "ERROR"}),
    "a conversation twice": (
        [twice("raw_conversations")],
        {"raw_conversations.keys_are_unique": "ERROR", "raw_messages.keys_are_unique": "ERROR"},
    ),
    "messages without their conversation": (
        [f"delete from zipchat.raw_conversations where {FIRST}"],
        {"raw_messages.every_message_has_its_conversation": "ERROR"},
    ),
    "a message lost": (
        [f"delete from zipchat.raw_messages where {MESSAGE}"],
        {"raw_messages.counts_are_as_the_api_stated": "WARN"},
    ),
    "a listing too short": (
        ["update zipchat.listing_coverage set stated_total = listed_total + 3"],
        {"raw_conversations.counts_are_as_the_api_stated": "WARN"},
    ),
    "a conversation that ends before it begins": (
        [
            "update zipchat.raw_conversations"
            f" set last_message_at = created_at - interval 1 second where {FIRST}"
        ],
        {"raw_conversations.times_are_in_order": "WARN"},
    ),
    "an escalation resolved before it happened": (
        [
            "update zipchat.escalations"
            f" set resolved_at = escalated_at - interval 1 second where {TIMELY}"
        ],
        {"escalations.times_are_in_order": "ERROR"},
    ),
    "an escalation answered before it happened": (
        [
            "update zipchat.escalations"
            f" set first_response_at = escalated_at - interval 1 second where {TIMELY}"
        ],
        {"escalations.times_are_in_order": "ERROR"},
    ),
    "a conversation on another day": (
        [f"update zipchat.raw_conversations set partition_date = partition_date - 1 where {FIRST}"],
        {"raw_conversations.every_row_is_in_the_partition_of_its_day": "ERROR"},
    ),
    "a message on another day": (
        [f"update zipchat.raw_messages set partition_date = partition_date + 1 where {MESSAGE}"],
        {"raw_messages.every_row_is_in_the_partition_of_its_day": "ERROR"},
    ),
    "an escalation without a day": (
        [f"update zipchat.escalations set partition_date = null where {TIMELY}"],
        {"escalations.every_row_is_in_the_partition_of_its_day": "ERROR"},
    ),
    "a conversation that could not be read": (
        [
            "update zipchat.message_coverage"
            f" set failure = 'the API answered 500', failed_at = now() where {LAST}"
        ],
        {"raw_messages.no_conversation_was_skipped": "ERROR"},
    ),
    "a closed day whose last messages were never read": (
        [
            "update zipchat.message_coverage set covered_through = covered_through - interval 1 day"
            f" where {MIDDLE}"
        ],
        {"raw_messages.closed_days_are_complete": "WARN"},
    ),
    "ten of a hundred conversations gone": (
        [
            "update zipchat.raw_conversations set missing_since = observed_at where conversation_id"
            " in (select conversation_id from zipchat.raw_conversations order by 1 desc limit 12)"
        ],
        {"raw_conversations.conversations_do_not_vanish_in_masses": "WARN"},
    ),
    "a new field of messages": (
        [patch("raw_messages", '{"sentiment": 0.5}', MESSAGE)],
        {"raw_messages.fields_are_the_known_ones": "WARN"},
    ),
    "a new field of leads": (
        [patch("raw_conversations", '{"lead": {"vip": true}}', "lead_id is not null")],
        {"raw_conversations.fields_are_the_known_ones": "WARN"},
    ),
    "a new field of users": (
        [patch("users", '{"team": "A"}')],
        {"users.fields_are_the_known_ones": "WARN"},
    ),
    "a documented field that no conversation has": (
        [patch("raw_conversations", '{"share_url": null}')],
        {"raw_conversations.fields_are_the_known_ones": "WARN"},
    ),
    "a field that all earlier messages had": (
        [
            patch("raw_messages", '{"locale": "en"}', "message_id % 2 = 0"),
            f"update zipchat.raw_messages set {OLD} where message_id % 2 = 0",
        ],
        {"raw_messages.fields_are_the_known_ones": "WARN"},
    ),
    "a time that is none": (
        [
            patch("raw_messages", '{"created_at": "tomorrow"}', MESSAGE),
            "update zipchat.raw_messages set created_at = null, partition_date = null"
            f" where {MESSAGE}",
        ],
        {
            "raw_messages.every_value_has_its_type": "WARN",
            "raw_messages.every_row_is_in_the_partition_of_its_day": "ERROR",
        },
    ),
    "a time of a conversation that is none": (
        [
            patch("raw_conversations", '{"last_escalated_at": "tomorrow"}', FIRST),
            f"update zipchat.raw_conversations set last_escalated_at = null where {FIRST}",
        ],
        {"raw_conversations.every_value_has_its_type": "WARN"},
    ),
    "a column that is NULL beside a value": (
        [f"update zipchat.raw_conversations set manual_reply_mode = null where {FIRST}"],
        {"raw_conversations.every_value_has_its_type": "WARN"},
    ),
    "a number where a text belongs": (
        [
            patch("raw_conversations", '{"channel": 7}', FIRST),
            f"update zipchat.raw_conversations set channel = '7' where {FIRST}",
        ],
        {"raw_conversations.every_value_has_its_type": "WARN"},
    ),
    "an assignee that is only a name": (
        [
            patch("raw_conversations", '{"assignee": "Somebody"}', FIRST),
            f"update zipchat.raw_conversations set assignee_id = null where {FIRST}",
        ],
        {"raw_conversations.every_value_has_its_type": "WARN"},
    ),
    "a user whose e-mail is an object": (
        [patch("users", '{"email": {"work": "x"}}')],
        {"users.every_value_has_its_type": "WARN"},
    ),
    "a message without manual_reply where the payload has it": (
        [f"update zipchat.raw_messages set manual_reply = null where {MESSAGE}"],
        {"raw_messages.every_value_has_its_type": "WARN"},
    ),
    "a day of messages without roles": (
        [
            "create temp table newest as select max(day) as day from (select partition_date as day"
            " from zipchat.raw_messages group by day having count(*) >= 20)",
            patch(
                "raw_messages", '{"role": null}', "partition_date = (select day from newest)"
            ).replace("set ", "set role = null, "),
        ],
        {"raw_messages.nulls_are_as_rare_as_before": "WARN"},
    ),
    **{
        f"hashes in {table} that should be kept": (
            [
                f"update zipchat.{table} set {column} = 'h1:0123:' || sha256({column})",
                "delete from zipchat.warehouse_settings where name = 'privacy'",
                "insert into zipchat.warehouse_settings (name, value) values ('privacy',"
                """ '{"identity": "keep", "content": "keep", "attributes": "keep"}')""",
            ],
            {f"{asset}.personal_data_is_stored_as_set": "WARN"},
        )
        for asset, table, column in (
            ("users", "users", "full_name"),
            ("raw_conversations", "raw_conversations", "lead_email"),
            ("raw_conversations", "conversation_history", "assignee_name"),
            ("raw_messages", "raw_messages", "message_text"),
            ("leads", "leads", "phone_number"),
        )
    },
    "people erased with another key": (
        [
            "insert into zipchat.suppressions (chat_id, value_hash, kind, erasure_id, hits)"
            " values (1, 'h1:0000:1', 'email', 'run', 0)"
        ],
        {"raw_conversations.erased_people_stay_away": "ERROR"},
    ),
    "an erasure that was interrupted": (
        [
            "insert into zipchat.erasures (chat_id, erasure_id, begun_at)"
            " values (1, 'run', now() - interval 3 day)"
        ],
        {"raw_conversations.erasures_are_finished": "ERROR"},
    ),
    "a text that is older than texts may be": (
        [
            "update zipchat.raw_messages set partition_date = '2010-01-01',"
            " created_at = '2010-01-01 12:00:00+00'"
            " where message_id = (select max(message_id) from zipchat.raw_messages)"
        ],
        {"raw_messages.old_texts_are_removed": "ERROR"},
    ),
    **{
        f"a {kind} without an id": (
            [
                "insert into zipchat.rejected_records (chat_id, kind, payload, observed_at)"
                f" select 1, '{kind}', '{{\"id\": null}}'::json, now()"
            ],
            {f"{table}.every_record_has_an_id": "ERROR"},
        )
        for kind, table in (
            ("user", "users"),
            ("conversation", "raw_conversations"),
            ("message", "raw_messages"),
        )
    },
}


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
def test_what_is_broken_fails_its_check_and_no_other(built: Built, broken: str) -> None:
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
def test_all_pass_whatever_is_stored_of_people(built: Built, privacy: Privacy) -> None:
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


def test_people_who_were_erased_are_not_missed_and_must_not_come_back(built: Built) -> None:
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
    assert sorted(told(found)) == sorted(i for (i,) in erased)
    built.sql(f"delete from zipchat.raw_conversations where {active}")
    assert "raw_conversations.erased_people_stay_away" not in failing(built, privacy)
    asset, _, name = ACTIVITY.partition(".")
    check = dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey(asset), name))
    assert built.run(check).failed == {}
    assert replace(built, pii_key="").run(check).failed == {ACTIVITY: "WARN"}


def test_through_dagster_all_fail_at_once(built: Built, instance: dg.DagsterInstance) -> None:
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


# What is named


def told(verdict: Verdict, name: str = "examples") -> Any:
    return verdict.metadata[name].value


def test_offenders_are_named_by_id(built: Built) -> None:
    ((conversation_id, stated),) = built.sql(
        f"delete from zipchat.raw_messages where {FIRST}",
        f"select conversation_id, stated_messages from zipchat.message_coverage where {FIRST}",
    )
    verdict = failing(built)["raw_messages.counts_are_as_the_api_stated"]
    assert verdict.metadata["violations"] == 1
    assert told(verdict) == [{"offender": conversation_id, "stated": stated, "stored": 0}]
    assert verdict.description.endswith(f"than stated: 1 ({conversation_id}).")


def test_at_most_twenty_are_named_and_all_are_counted(built: Built) -> None:
    ids = built.sql(
        "update zipchat.message_coverage set failure = 'no answer', failed_at = now()",
        "select conversation_id from zipchat.message_coverage order by 1",
    )
    verdict = failing(built)["raw_messages.no_conversation_was_skipped"]
    assert verdict.metadata["violations"] == len(ids)
    assert told(verdict) == [{"offender": i, "cause": "no answer"} for (i,) in ids[:20]]
    assert verdict.description.endswith(f"and {len(ids) - 20} more).")


def test_a_twin_of_a_conversation_is_named_with_its_table(built: Built) -> None:
    ((conversation_id,),) = built.sql(
        twice("raw_conversations"),
        "select conversation_id from zipchat.raw_conversations group by 1 having count(*) > 1",
    )
    verdict = failing(built)["raw_messages.keys_are_unique"]
    assert told(verdict) == [{"table": "raw_conversations", "offender": str(conversation_id)}]


def test_a_value_of_a_wrong_type_is_named_by_field_and_id(built: Built) -> None:
    built.sql(*BREAKS["a number where a text belongs"][0])
    ((conversation_id,),) = built.sql("select min(conversation_id) from zipchat.raw_conversations")
    verdict = failing(built)["raw_conversations.every_value_has_its_type"]
    assert told(verdict) == [{"field": "channel", "records": 1, "ids": [conversation_id]}]


def test_a_jump_of_nulls_is_told_with_both_shares(built: Built) -> None:
    built.sql(*BREAKS["conversations of a day without channels"][0])
    verdict = failing(built)["raw_conversations.nulls_are_as_rare_as_before"]
    assert "channel was NULL in 100% of" in verdict.description
    assert "on 2025-03-10, 0% before" in verdict.description


# What must not fail


def test_few_conversations_that_go_are_no_alarm(built: Built) -> None:
    built.sql(
        "update zipchat.raw_conversations set missing_since = observed_at where conversation_id"
        " in (select conversation_id from zipchat.raw_conversations order by 1 limit 5)"
    )
    assert failing(built) == {}


def test_conversations_that_went_long_ago_are_no_alarm(built: Built) -> None:
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


def test_an_assignee_who_left_since_the_list_was_read_is_no_wrong_type(built: Built) -> None:
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
    # A transaction would set the day anew and hide that it was missing.
    assert failing(built).keys() == {"raw_messages.every_row_is_in_the_partition_of_its_day"}
    assert built.path.read_bytes() == before


def test_an_empty_chat_passes(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    chat = generate(seed=1, conversations=0, days=1, now=NOW)
    sandbox = Sandbox(chat=chat, limit=None)
    with serve(sandbox) as url:
        built = Built(tmp_path / "empty.duckdb", sandbox, url, instance)
        before = built.run()
        outcome = built.run(dg.AssetSelection.assets(*TABLES), days=(NOW, NOW))
    # Before the first run there are no tables, which is no error of the checks.
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


def materialized(outcome: Outcome) -> set[str]:
    events = outcome.result.get_asset_materialization_events()
    return {event.asset_key.path[-1] for event in events if event.asset_key}


@pytest.mark.parametrize("broken", ["a message twice", "a conversation twice"])
def test_what_is_stored_twice_holds_back_what_is_counted_from_it(built: Built, broken: str) -> None:
    built.sql(*BREAKS[broken][0])
    outcome = built.run(dg.AssetSelection.assets(*TABLES), days=(NOW, NOW))
    assert not outcome.result.success
    # What comes from the API comes.
    assert materialized(outcome) == {"users", "raw_conversations", "raw_messages"}


def test_no_other_failure_holds_anything_back(built: Built) -> None:
    built.sql(
        *BREAKS["a message lost"][0],
        *BREAKS["a user without an id"][0],
        *BREAKS["a listing too short"][0],
    )
    outcome = built.run(dg.AssetSelection.assets(*TABLES), days=(NOW, NOW))
    assert outcome.result.success
    assert materialized(outcome) == {key.path[-1] for asset in TABLES for key in asset.keys}
    assert outcome.failed == {
        "users.every_record_has_an_id": "ERROR",
        "raw_messages.counts_are_as_the_api_stated": "WARN",
    }


def test_a_conversation_that_cannot_be_read_stops_no_metrics_and_is_named(
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
    assert outcome.sync_metadata("raw_messages")["conversations_failed"] == 1
    assert outcome.failed["raw_messages.no_conversation_was_skipped"] == "ERROR"
    named = outcome.metadata("raw_messages.no_conversation_was_skipped")["examples"]
    assert [row["offender"] for row in named] == [bad]
    assert "list" in named[0]["cause"]


# The API


def test_the_check_that_asks_the_api_asks_once(built: Built) -> None:
    before = built.sandbox.stats()["requests"]
    outcome = built.run(dg.AssetSelection.checks(activity.newest_activity_is_stored(LANE)))
    assert built.sandbox.stats()["requests"] == before + 1
    assert outcome.metadata(ACTIVITY)["lag_seconds"] == 0
    assert activity.newest_activity_is_stored(LANE).op.pool == API_POOL


def test_an_api_that_cannot_be_asked_is_a_warning_and_ends_no_run(built: Built) -> None:
    outcome = replace(built, key="zc-another").run(
        dg.AssetSelection.checks(activity.newest_activity_is_stored(LANE))
    )
    assert outcome.result.success
    assert outcome.failed == {ACTIVITY: "WARN"}
    (evaluation,) = (one for one in outcome.evaluations.values() if not one.passed)
    assert "ZIPCHAT_API_KEY" in (evaluation.description or "")


def shown(*hours_ago: float) -> list[dict[str, Any]]:
    return [
        {"id": i, "last_message_at": (NOW - timedelta(hours=hours)).isoformat()}
        for i, hours in enumerate(hours_ago)
    ]


@pytest.mark.parametrize(
    ("rows", "newest_hours_ago", "total", "lag_hours", "newer"),
    [
        # Nothing but what is stored; then what waits since an hour, and since three.
        (shown(30), 30, None, 0, 0),
        (shown(1, 30), 30, None, 1, 1),
        (shown(0, 3, 30), 30, None, 3, 2),
        (shown(30, 3, 0), 30, 3, 3, 2),
        # A full page of a busy chat that shows the newest only: the oldest is not on it.
        (shown(*[n / 1000 for n in range(100)]), 5, None, 5, 100),
        (shown(*[n / 1000 for n in range(50)]), 5, 700, 5, 50),
        # The same, oldest first.
        (shown(*[4.9 - n / 1000 for n in range(100)]), 5, 700, 4.9, 100),
        # Nothing is stored.
        (shown(1, 0), None, None, 1, 2),
        ([], None, None, 0, 0),
        # Fields of the wrong type are another check's business.
        (
            [{"id": 1, "last_message_at": "soon"}, {"id": [], "last_message_at": None}],
            1,
            None,
            0,
            0,
        ),
    ],
)
def test_the_lag_is_how_long_the_oldest_newer_activity_waits(
    rows: list[dict[str, Any]],
    newest_hours_ago: float | None,
    total: int | None,
    lag_hours: float,
    newer: int,
) -> None:
    newest_at = None if newest_hours_ago is None else NOW - timedelta(hours=newest_hours_ago)
    verdict = activity.judge(rows, newest_at=newest_at, observed_at=NOW, total=total)
    assert verdict.metadata["lag_seconds"] == pytest.approx(lag_hours * 3600, abs=1)
    assert verdict.metadata["newer_conversations"] == newer
    assert verdict.passed == (lag_hours <= 2)


# Days


@dataclass
class Days:
    """What Dagster remembers of an asset's days, and what the checks make of it at some time."""

    instance: dg.DagsterInstance
    asset: dg.AssetKey
    monkeypatch: pytest.MonkeyPatch

    def materialized(self, day: str, *, at: str) -> None:
        with freeze_time(moment(at)):
            self.instance.report_runless_asset_event(
                dg.AssetMaterialization(self.asset, partition=day)
            )

    def history(self, *, at: str) -> History:
        self.turn_clock(at)
        return history_of(self.instance, self.asset, LANE.timezone)

    def turn_clock(self, at: str) -> None:
        self.monkeypatch.setattr(history, "current_time", lambda: moment(at))

    def up_to_date(self, *, at: str) -> str:
        """`PASS`, or how badly today is not."""
        verdict = today_is_up_to_date(self.history(at=at))
        return "PASS" if verdict.passed or not verdict.severity else verdict.severity.value


def moment(text: str) -> datetime:
    """A wall-clock time in the zone of the partitions."""
    local = datetime.fromisoformat(text)
    return local.replace(tzinfo=ZoneInfo(LANE.timezone))


@pytest.fixture(params=DAILY, ids=lambda asset: asset.path[-1])
def days(
    instance: dg.DagsterInstance, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Days:
    return Days(instance, request.param, monkeypatch)


def test_a_backfill_of_an_old_day_does_not_make_today_up_to_date(built: Built, days: Days) -> None:
    key = dg.AssetCheckKey(days.asset, "today_is_up_to_date")

    def failed(at: str) -> list[str]:
        days.turn_clock(at)
        outcome = replace(built, instance=days.instance).run(dg.AssetSelection.checks(key))
        assert len(outcome.evaluations) == 1
        return list(outcome.failed.values())

    days.materialized("2026-03-10", at="2026-03-10 06:05")
    assert failed("2026-03-10 09:05") == []
    assert failed("2026-03-10 09:06") == ["WARN"]

    for n in range(1, 10):
        days.materialized(f"2026-03-{n:02}", at="2026-03-10 12:00")
    assert failed("2026-03-10 12:01") == ["WARN"]

    days.materialized("2026-03-10", at="2026-03-10 12:02")
    assert failed("2026-03-10 12:03") == []


def test_until_three_yesterday_counts_as_today(days: Days) -> None:
    days.materialized("2026-03-09", at="2026-03-09 23:50")
    assert days.up_to_date(at="2026-03-10 00:01") == "PASS"
    assert days.up_to_date(at="2026-03-10 02:50") == "PASS"
    assert days.up_to_date(at="2026-03-10 02:51") == "WARN"
    days.materialized("2026-03-09", at="2026-03-10 02:55")
    assert days.up_to_date(at="2026-03-10 02:59") == "PASS"
    assert days.up_to_date(at="2026-03-10 03:00") == "WARN"


def test_what_was_not_materialized_for_a_day_is_an_error(days: Days) -> None:
    assert days.up_to_date(at="2026-03-10 09:05") == "ERROR"
    days.materialized("2026-03-08", at="2026-03-10 09:00")
    assert days.up_to_date(at="2026-03-10 09:05") == "ERROR"
    days.materialized("2026-03-09", at="2026-03-09 09:00")
    assert days.up_to_date(at="2026-03-10 11:00") == "WARN"
    assert days.up_to_date(at="2026-03-10 11:01") == "ERROR"


def test_days_that_were_never_materialized_are_named_by_range(days: Days) -> None:
    assert every_day_was_materialized(days.history(at="2026-03-01 09:00")).passed
    for day in (1, 2, 5, 6, 9):
        days.materialized(f"2026-03-{day:02}", at="2026-03-10 08:00")
    days.materialized("2026-03-11", at="2026-03-11 08:00")
    verdict = every_day_was_materialized(days.history(at="2026-03-11 09:00"))
    assert not verdict.passed
    assert verdict.metadata["violations"] == 5
    missing = ["2026-03-03 to 2026-03-04", "2026-03-07 to 2026-03-08", "2026-03-10"]
    assert told(verdict, "missing") == missing
    assert verdict.description.endswith(f": 5 ({', '.join(missing)}).")
    for day in (3, 4, 7, 8, 10):
        days.materialized(f"2026-03-{day:02}", at="2026-03-11 08:30")
    # Today may still come; whether it does is another check's business.
    assert every_day_was_materialized(days.history(at="2026-03-12 01:00")).passed
    assert not every_day_was_materialized(days.history(at="2026-03-13 01:00")).passed


def test_days_in_a_row_are_one_range() -> None:
    found = [date(2026, 2, 27), date(2026, 2, 28), date(2026, 3, 1), date(2026, 3, 5)]
    assert ranges(found) == ["2026-02-27 to 2026-03-01", "2026-03-05"]
    assert ranges([]) == []
    assert absent_days([], before=date(2026, 3, 1)) == []
    assert absent_days([date(2026, 3, 1)], before=date(2026, 3, 1)) == []


def test_every_asset_has_a_freshness_policy() -> None:
    for asset in ASSETS:
        for spec in asset.specs:
            assert spec.freshness_policy == FRESHNESS, spec.key


# Fields


def test_absence_means_nothing_among_few_records() -> None:
    few = [Seen("message", "", 19, 0), Seen("message", "id", 19, 0)]
    assert drift(few) == Drift([], [], [], [])
    enough = [Seen("message", "", 20, 0), Seen("message", "id", 20, 0)]
    assert "message.created_at" in drift(enough).absent


def test_a_field_that_some_earlier_records_had_may_be_absent() -> None:
    always = [Seen("user", name, 50, 100) for name in ("", "id", "email")]
    assert drift([*always, Seen("user", "role", 0, 90)]).gone == []
    assert drift([*always, Seen("user", "role", 0, 95)]).gone == ["user.role"]
