"""How checks are built: a rule judges the evidence, and the rules of one asset are one step."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import dagster as dg

from zipchat_dagster.checks.history import History, history_of
from zipchat_dagster.lanes import Lane
from zipchat_dagster.warehouse import Transaction, Warehouse

NAMED_AT_MOST: Final = 20  # offenders that a result names; it counts all of them
WARN: Final = dg.AssetCheckSeverity.WARN
ERROR: Final = dg.AssetCheckSeverity.ERROR


@dataclass(frozen=True)
class Evidence:
    """What a rule may look at. The database stays open for it, so rules must not call the API.

    Attributes:
        table: the asset's table.
        chat_id: the chat whose rows are checked.
        transaction: reads any table.
        history: which days of the asset Dagster has materialized.
    """

    table: str
    chat_id: int
    transaction: Transaction
    history: History

    def rows(
        self, sql: str, names: Mapping[str, str] | None = None, /, **parameters: Any
    ) -> list[dict[str, Any]]:
        """The chat's rows of `sql/<sql>.sql`, as values that fit into JSON."""
        frame = self.transaction.query(sql, None, names, chat_id=self.chat_id, **parameters)
        return [
            {str(name): _plain(value) for name, value in row.items()}
            for row in frame.to_dict("records")
        ]


@dataclass(frozen=True)
class Verdict:
    """What a rule found. `severity` overrides that of the rule, if it depends on the finding."""

    passed: bool
    description: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    severity: dg.AssetCheckSeverity | None = None


@dataclass(frozen=True)
class Rule:
    """One check: its name is true when it passes, its description says what to do when it fails."""

    name: str
    severity: dg.AssetCheckSeverity
    description: str
    judge: Callable[[Evidence], Verdict]
    is_blocking: bool = False


def checks_of(
    lane: Lane, table: str, rules: Sequence[Rule], *, name: str
) -> dg.AssetChecksDefinition:
    """The rules of one asset as one step, which opens the database only once."""
    asset = lane.key(table)

    @dg.multi_asset_check(
        name=lane.step(name),
        specs=[
            dg.AssetCheckSpec(
                rule.name, asset=asset, description=rule.description, blocking=rule.is_blocking
            )
            for rule in rules
        ],
        can_subset=True,
        required_resource_keys={lane.zipchat_key, lane.warehouse_key},
    )
    def run(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        chat_id, tables = lane.zipchat(context).chat, lane.warehouse(context)
        history = history_of(context.instance, asset, lane.timezone)
        names = {check.name for check in context.selected_asset_check_keys}
        selected = [rule for rule in rules if rule.name in names]
        verdicts = judged(table, selected, tables, chat_id, history)
        for rule, verdict in zip(selected, verdicts, strict=True):
            yield result(verdict, rule.severity, asset=asset, name=rule.name)

    return run


def judged(
    table: str,
    rules: Sequence[Rule],
    tables: Warehouse,
    chat_id: int,
    history: History,
) -> list[Verdict]:
    """The verdict of each rule on the chat's rows in the table."""
    with looking_at(tables) as transaction:
        evidence = Evidence(table, chat_id, transaction, history)
        return [rule.judge(evidence) for rule in rules]


def result(
    verdict: Verdict, severity: dg.AssetCheckSeverity, *, asset: dg.AssetKey, name: str
) -> dg.AssetCheckResult:
    """A verdict as Dagster expects it."""
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=name,
        passed=verdict.passed,
        severity=verdict.severity or severity,
        description=verdict.description,
        metadata={name: value for name, value in verdict.metadata.items() if not _is_empty(value)},
    )


@contextmanager
def looking_at(tables: Warehouse) -> Iterator[Transaction]:
    """The tables as readers see them: a normal transaction would first correct `partition_date`."""
    if not tables.path.exists():
        with tables.transaction():
            pass  # all tables exist from the first transaction on
    with tables.reading() as transaction:
        yield transaction


def no_rows_of(sql: str, *bound: str, what: str) -> Callable[[Evidence], Verdict]:
    """A rule that passes when `sql/<sql>.sql` finds no rows; see `offenders` for its columns.

    Args:
        bound: attributes of the evidence to bind as parameters, besides $chat_id and $most.
        what: what the offenders are, such as “Messages without a conversation”.
    """

    def judge(evidence: Evidence) -> Verdict:
        parameters = {name: getattr(evidence, name) for name in bound}
        return offenders(evidence.rows(sql, **parameters, most=NAMED_AT_MOST), what=what)

    return judge


def offenders(rows: Sequence[dict[str, Any]], *, what: str) -> Verdict:
    """The verdict on rows that should not exist. Their columns: `offender` (an id), `offenders`
    (how many there are in total), and whatever else helps to fix them."""
    count = rows[0]["offenders"] if rows else 0
    named = [{name: row[name] for name in row if name != "offenders"} for row in rows]
    shown = ", ".join(str(row["offender"]) for row in named)
    more = f" and {count - len(named):,} more" if count > len(named) else ""
    return Verdict(
        passed=not rows,
        # This form suits singular and plural.
        description=f"{what}: {count:,}" + (f" ({shown}{more})." if rows else "."),
        metadata={"violations": count, "examples": dg.MetadataValue.json(named)},
    )


def _is_empty(value: Any) -> bool:
    """Dagster would show an empty list as a link to nothing."""
    return isinstance(value, dg.JsonMetadataValue) and not value.data


def _plain(value: Any) -> Any:
    """A cell of a frame as a plain Python value."""
    if hasattr(value, "tolist"):  # numpy's numbers and arrays
        value = value.tolist()
    return None if isinstance(value, float) and math.isnan(value) else value
