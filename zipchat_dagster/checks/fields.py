"""Checks of the shape of what the API sends: its fields and their types.

A field is known if it is documented or was seen in integrations (docs/api.md). A field that is
neither known nor in older records is new. The payload keeps it either way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import dagster as dg

from zipchat_dagster.checks.rules import NAMED_AT_MOST, WARN, Evidence, Rule, Verdict
from zipchat_dagster.warehouse.privacy import FIELDS, LEAD, PERSON

ENOUGH_RECORDS: Final = 20  # recent records it takes for a missing field to mean anything
NEARLY_ALL: Final = 0.95  # share of earlier records from which a field counts as always present
LONGEST_NAME: Final = 60  # characters of a field's name that are shown

# By kind of record: the fields it may have, and those of them that it may lack. The others are
# always there, perhaps null.
KNOWN: Final[Mapping[str, Collection[str]]] = {
    "conversation": FIELDS["conversation"],
    "message": FIELDS["message"],
    "user": PERSON,
    "lead": LEAD,
    "shown lead": LEAD,
    "assignee": PERSON,
}
OPTIONAL: Final[Mapping[str, Collection[str]]] = {
    "lead": ("first_name", "last_name", "shopify_customer_id", "additional_attributes"),
    "assignee": PERSON.keys() - {"id"},
    # The fields of a user's name are not documented, so none is required.
    "user": PERSON.keys() - {"id", "email"},
}


@dataclass(frozen=True)
class Seen:
    """How many records of a kind have a field. With an empty name, how many records there are."""

    kind: str
    field: str
    recent: int
    earlier: int


@dataclass(frozen=True)
class Drift:
    """How recent records differ from what is known; fields as `kind.field`."""

    new: list[str]
    absent: list[str]  # documented, but in no recent record
    gone: list[str]  # not documented, in nearly all earlier records, but in no recent one
    undocumented: list[str]  # whether new or not


def drift(seen: Iterable[Seen]) -> Drift:
    """Compare recent records with what is known, and with earlier records."""
    by_kind: dict[str, dict[str, Seen]] = {}
    for one in seen:
        by_kind.setdefault(one.kind, {})[one.field] = one
    found = Drift([], [], [], [])
    for kind, fields in by_kind.items():
        always = set(KNOWN[kind]) - set(OPTIONAL.get(kind, ()))
        records = fields.pop("")
        extra = {name: one for name, one in fields.items() if name not in KNOWN[kind]}
        recent = {name for name, one in fields.items() if one.recent}
        found.undocumented.extend(f"{kind}.{name}" for name in extra)
        found.new.extend(
            f"{kind}.{name}" for name, one in extra.items() if one.recent and not one.earlier
        )
        if records.recent >= ENOUGH_RECORDS:
            found.absent.extend(f"{kind}.{name}" for name in sorted(always - recent))
            found.gone.extend(
                f"{kind}.{name}"
                for name, one in fields.items()
                if name not in always
                and not one.recent
                and one.earlier >= max(NEARLY_ALL * records.earlier, ENOUGH_RECORDS)
            )
    return found


def _judge_fields(evidence: Evidence) -> Verdict:
    rows = evidence.rows("check_fields", table=evidence.table)
    found = drift(Seen(**row) for row in rows)
    changes = [
        f"{what}: {_named(names)}"
        for what, names in (
            ("new", found.new),
            ("documented but absent", found.absent),
            ("gone", found.gone),
        )
        if names
    ]
    return Verdict(
        passed=not changes,
        description="; ".join(changes) + "."
        if changes
        else "Recent records have the known fields.",
        metadata={
            "violations": len(found.new) + len(found.absent) + len(found.gone),
            "new_fields": _json(found.new),
            "absent_fields": _json(found.absent),
            "gone_fields": _json(found.gone),
            "undocumented_fields": _json(found.undocumented),
        },
    )


FIELDS_ARE_THE_KNOWN_ONES = Rule(
    "fields_are_the_known_ones",
    WARN,
    "Records read in the last two days have the fields that are documented or that earlier records"
    " had. If it fails because of a new field, nothing is lost, since payload has it: give it a"
    " column if you need one, and add it to FIELDS in warehouse/privacy.py. An absent field leaves"
    " its column NULL: find out whether the API renamed it.",
    _judge_fields,
)


def _judge_types(evidence: Evidence) -> Verdict:
    rows = evidence.rows("check_types", table=evidence.table, most=NAMED_AT_MOST)
    wrong = [f"{row['field']} ({row['records']:,})" for row in rows]
    return Verdict(
        passed=not rows,
        description=f"Values of the wrong type, by field: {', '.join(wrong)}."
        if rows
        else "Every value fits its column.",
        metadata={
            "violations": sum(row["records"] for row in rows),
            "examples": dg.MetadataValue.json(rows),
        },
    )


EVERY_VALUE_HAS_ITS_TYPE = Rule(
    "every_value_has_its_type",
    WARN,
    "The API sent every value in the documented type. A value of another type becomes NULL, or"
    " text in a text column. If it fails, look at the payload of the ids named, which has the"
    " original value. If the API has changed for good, adapt sql/type_conversations.sql or"
    " sql/merge_messages.sql.",
    _judge_types,
)


def _named(names: Sequence[str]) -> str:
    return ", ".join(name[:LONGEST_NAME] for name in names[:NAMED_AT_MOST])


def _json(names: Sequence[str]) -> Any:
    return dg.MetadataValue.json([name[:LONGEST_NAME] for name in names[:NAMED_AT_MOST]])
