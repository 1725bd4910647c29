"""Checks that what was erased is gone, and stays away."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import dagster as dg

from zipchat_dagster.checks.rules import ERROR, NAMED_AT_MOST, Evidence, Rule, Verdict, offenders
from zipchat_dagster.warehouse.suppression import let_in

RECENT_DAYS: Final = 2
GRACE: Final = timedelta(days=1)  # retention_job runs every night


def _away(evidence: Evidence) -> Verdict:
    privacy = evidence.transaction.privacy
    fingerprint = privacy.fingerprint if privacy.has_key else ""
    (row,) = evidence.rows("check_suppressions", fingerprint=fingerprint)
    back = let_in(evidence.transaction, chat_id=evidence.chat_id, days=RECENT_DAYS)
    unusable = row["unusable"]
    problems = [
        *([f"Suppressed values hashed with another key: {unusable:,}"] if unusable else []),
        *([f"Stored conversations of erased people: {len(back):,}"] if back else []),
    ]
    summary = f"Erased people: {row['erasures']:,}. Their records dropped: {row['dropped']:,}"
    return Verdict(
        passed=not problems,
        description=". ".join(problems or [summary]) + ".",
        metadata={
            "violations": unusable + len(back),
            "examples": dg.MetadataValue.json(back[:NAMED_AT_MOST]),
            "people": row["erasures"],
            "records_dropped": row["dropped"],
            **({"last_dropped_at": row["last_dropped_at"]} if row["last_dropped_at"] else {}),
        },
    )


ERASED_PEOPLE_STAY_AWAY = Rule(
    "erased_people_stay_away",
    ERROR,
    "Records of erased people that the API sends are recognized by the hashes in"
    " zipchat.suppressions, and dropped. If it fails because of another key, ZIPCHAT_PII_KEY was"
    " changed or removed, and the data of those people comes back with the next sync: set the"
    " former key again. If that is lost, erase these people again once they are stored, and"
    " delete the old rows of zipchat.suppressions. If it names conversations, run erase_lead_job"
    " for their leads.",
    _away,
)


def _finished(evidence: Evidence) -> Verdict:
    rows = evidence.rows("check_erasures", now=evidence.history.at, most=NAMED_AT_MOST)
    return offenders(rows, what="Unfinished erasures")


ERASURES_ARE_FINISHED = Rule(
    "erasures_are_finished",
    ERROR,
    "Every erasure that began more than two days ago was verified, and the deleted data is gone"
    " from the files. If it fails with the id of an erasure, see zipchat.erasures.verification"
    " for what was left, and run erase_lead_job for the same person to complete it. If it names"
    " the files, switch on maintain_schedule, or run maintain_job.",
    _finished,
)


def _removed(evidence: Evidence) -> Verdict:
    days = evidence.transaction.privacy.retention_days
    if days is None:
        return Verdict(True, "Texts are kept forever: ZIPCHAT_RETENTION_DAYS is not set.")
    before = evidence.history.at - timedelta(days=days) - GRACE
    rows = evidence.rows("check_old_texts", before=before, most=NAMED_AT_MOST)
    return offenders(rows, what=f"Messages older than {days:,} days that still have their text")


OLD_TEXTS_ARE_REMOVED = Rule(
    "old_texts_are_removed",
    ERROR,
    "No text of a message is kept for more than a day longer than ZIPCHAT_RETENTION_DAYS. If it"
    " fails, switch on retention_schedule, or run retention_job.",
    _removed,
)
