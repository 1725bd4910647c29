"""The asset checks.

Each name is a sentence that is true when the check passes. `ERROR` means that numbers in the tables
are wrong or missing; `WARN` means that someone should look. Findings are named by id, never by a
customer's words or name. `content` checks what is stored, `fields` the shape of what the API sends,
`recency` what Dagster ran and when, and `activity` calls the API.

Only `raw_messages.keys_are_unique` blocks: a duplicate would be counted twice, and the tables that
it blocks (facts, leads, metrics) are derived, so the next run catches up. Nothing blocks the raw
tables: data that does not arrive cannot be checked.
"""

import dagster as dg

from zipchat_dagster.checks import content, erased, fields, recency
from zipchat_dagster.checks.activity import newest_activity_is_stored
from zipchat_dagster.checks.rules import Rule, checks_of
from zipchat_dagster.lanes import Lane

# Table → the rules that run after its asset.
RULES: dict[str, list[Rule]] = {
    "users": [
        content.KEYS_ARE_UNIQUE,
        content.every_record_has_an_id("user"),
        content.personal_data_is_stored_as_set(),
        fields.FIELDS_ARE_THE_KNOWN_ONES,
        fields.EVERY_VALUE_HAS_ITS_TYPE,
    ],
    "raw_conversations": [
        content.KEYS_ARE_UNIQUE,
        content.every_record_has_an_id("conversation"),
        content.TIMES_ARE_IN_ORDER,
        content.EVERY_ROW_IS_IN_THE_PARTITION_OF_ITS_DAY,
        content.LISTING_COUNT_IS_AS_THE_API_STATED,
        content.CONVERSATIONS_DO_NOT_VANISH_IN_MASSES,
        erased.ERASED_PEOPLE_STAY_AWAY,
        erased.ERASURES_ARE_FINISHED,
        content.personal_data_is_stored_as_set("conversation_history"),
        content.NULLS_ARE_AS_RARE_AS_BEFORE,
        fields.FIELDS_ARE_THE_KNOWN_ONES,
        fields.EVERY_VALUE_HAS_ITS_TYPE,
        recency.TODAY_IS_UP_TO_DATE,
    ],
    "raw_messages": [
        content.MESSAGE_KEYS_ARE_UNIQUE,
        content.every_record_has_an_id("message"),
        content.EVERY_MESSAGE_HAS_ITS_CONVERSATION,
        content.NO_CONVERSATION_WAS_SKIPPED,
        content.EVERY_ROW_IS_IN_THE_PARTITION_OF_ITS_DAY,
        content.MESSAGE_COUNTS_ARE_AS_THE_API_STATED,
        erased.OLD_TEXTS_ARE_REMOVED,
        content.personal_data_is_stored_as_set(),
        content.NULLS_ARE_AS_RARE_AS_BEFORE,
        fields.FIELDS_ARE_THE_KNOWN_ONES,
        fields.EVERY_VALUE_HAS_ITS_TYPE,
        recency.TODAY_IS_UP_TO_DATE,
        recency.EVERY_DAY_WAS_MATERIALIZED,
        recency.CLOSED_DAYS_ARE_COMPLETE,
    ],
    "escalations": [
        content.KEYS_ARE_UNIQUE,
        content.ESCALATION_TIMES_ARE_IN_ORDER,
        content.EVERY_ROW_IS_IN_THE_PARTITION_OF_ITS_DAY,
    ],
    "customer_turns": [
        content.KEYS_ARE_UNIQUE,
        content.TURN_TIMES_ARE_IN_ORDER,
    ],
    "sla_events": [
        content.KEYS_ARE_UNIQUE,
        content.EVERY_ESCALATION_HAS_ITS_EVENTS,
    ],
    "conversation_facts": [
        content.KEYS_ARE_UNIQUE,
        content.EVERY_CONVERSATION_HAS_ITS_FACTS,
    ],
    "leads": [content.KEYS_ARE_UNIQUE, content.personal_data_is_stored_as_set()],
    "escalation_metrics": [
        content.KEYS_ARE_UNIQUE,
        recency.TODAY_IS_UP_TO_DATE,
        recency.EVERY_DAY_WAS_MATERIALIZED,
    ],
    "activity_by_hour": [content.KEYS_ARE_UNIQUE, content.HOURS_ADD_UP_TO_THEIR_DAY],
}


def build_checks(lane: Lane) -> list[dg.AssetChecksDefinition]:
    """All checks of one chat. Blocking checks are a step of their own, so the derived tables wait
    for no other check."""
    steps = [
        (table, f"{table}_{kind}", [rule for rule in rules if rule.is_blocking == is_blocking])
        for table, rules in RULES.items()
        for kind, is_blocking in (("keys_check", True), ("checks", False))
    ]
    return [
        *(checks_of(lane, table, rules, name=name) for table, name, rules in steps if rules),
        newest_activity_is_stored(lane),
    ]
