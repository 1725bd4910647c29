"""The jobs that erase a person's data and verify that it is gone, and that lift an erasure.

`warehouse/erasure.py` defines who is erased and what is deleted from the tables.
"""

import glob
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import dagster as dg
from pydantic import Field

from zipchat_dagster.assets.common import URGENT
from zipchat_dagster.assets.escalation_report import ReportConfig, report_path, write_report
from zipchat_dagster.copies import replace_copies
from zipchat_dagster.jobs import op_job
from zipchat_dagster.lanes import Lane
from zipchat_dagster.run_storage import delete_runs, op_configs, runs_of, storage_with
from zipchat_dagster.warehouse.engine import WarehouseError
from zipchat_dagster.warehouse.erasure import (
    Erasure,
    ErasureError,
    Subject,
    erase,
    find_person,
    left_in_tables,
    lift,
    mentions,
    recognizer,
    settle,
)
from zipchat_dagster.warehouse.search import files_with
from zipchat_dagster.warehouse.suppression import Kind
from zipchat_dagster.write_back_jobs import WRITE_BACK_JOBS

ERASE_JOB: Final = "erase_lead_job"
ASK_ZIPCHAT: Final = (
    "Zipchat still has the data, and its API cannot delete it: ask Zipchat to erase the person too."
)


class PersonConfig(dg.Config):
    """The person: set exactly one of these."""

    lead_id: int | None = Field(default=None, description="The lead: leads.lead_id.")
    conversation_id: int | None = Field(
        default=None,
        description="A single conversation, such as that of an anonymous visitor.",
    )
    email: str = Field(default="", description="An e-mail address of the lead.")
    phone_number: str = Field(default="", description="A phone number of the lead.")

    @property
    def subject(self) -> Subject:
        """The same without Dagster."""
        return Subject(self.lead_id, self.conversation_id, self.email, self.phone_number)


class EraseConfig(PersonConfig):
    """The person, and whether to change anything."""

    dry_run: bool = Field(default=True, description="Only show what would be erased.")


def _preview(context: dg.OpExecutionContext, subject: Subject, lane: Lane) -> None:
    tables, chat_id = lane.warehouse(context), lane.zipchat(context).chat
    with tables.transaction() as transaction:
        person = find_person(transaction, subject, chat_id=chat_id)
        mentioned_in = mentions(transaction, person, chat_id=chat_id)
    traces = person.traces
    runs = _runs(context, person.hashes, lane)
    context.log.info(
        f"Would erase {len(traces.conversation_ids):,} conversations of {len(traces.lead_ids):,}"
        f" leads. Nothing was changed. {ASK_ZIPCHAT}"
    )
    if mentioned_in:
        context.log.warning(
            f"{len(mentioned_in):,} conversations of other people mention this person; see"
            " mentioned_in. Erasing the person will fail until these are erased by their ids too."
        )
    if subject.email or subject.phone_number:
        context.log.warning(
            "Dagster keeps this run's config, and with it the address. Erasing by lead_id deletes"
            " this run. If there is nobody to erase, delete the run on its page."
        )
    context.add_output_metadata(
        {
            "lead_ids": dg.MetadataValue.json(traces.lead_ids),
            "conversation_ids": dg.MetadataValue.json(traces.conversation_ids),
            "mentioned_in": dg.MetadataValue.json(mentioned_in),
            "runs": dg.MetadataValue.json([run.run_id for run in runs]),
            **{f"rows of {table}": count for table, count in person.counts.items()},
        }
    )


def _carry_out(context: dg.OpExecutionContext, subject: Subject, lane: Lane) -> None:
    if subject.email or subject.phone_number:
        raise ErasureError(
            "Dagster keeps this run's config, and with it the address. Look up the lead's id with"
            " dry_run and erase by lead_id, which also deletes the runs with the address. Nothing"
            " was changed."
        )
    tables, chat_id = lane.warehouse(context), lane.zipchat(context).chat
    erasure = erase(tables, subject, chat_id=chat_id, run_id=context.run_id, now=datetime.now(UTC))
    context.log.info(
        f"Deleted {sum(erasure.deleted.values()):,} rows. Removing them from the disk."
    )
    tables.scrub(lambda: replace_copies(lane.warehouse_resource(context)))
    _replace_report(context, lane)
    runs = _runs(context, erasure.hashes, lane)
    places = delete_runs(context.instance, runs)
    left, other_chats, traces = left_in_tables(tables, erasure)
    places += left
    places += tables.places_with(traces.words)
    places += map(str, files_with(traces.words, _beside(context, lane)))
    places += storage_with(context.instance, traces.words)
    verification = _summary(erasure, sorted(set(places)), other_chats)
    finished_at = None if places else datetime.now(UTC)
    settle(tables, erasure, verification, finished_at=finished_at)
    if places:
        raise ErasureError(verification)
    context.log.info(f"{verification} {ASK_ZIPCHAT}")
    context.add_output_metadata(
        {
            "erasure_id": erasure.id,
            "verification": verification,
            "runs_deleted": len(runs),
            **{f"rows of {table}": count for table, count in erasure.deleted.items()},
        }
    )


def _runs(
    context: dg.OpExecutionContext, hashes: Sequence[tuple[Kind, str]], lane: Lane
) -> list[dg.DagsterRun]:
    """The runs with a config that names the person. It may hold texts written to them too."""
    is_about = recognizer(lane.warehouse(context), hashes, chat_id=lane.zipchat(context).chat)
    return [
        run
        for name in (*WRITE_BACK_JOBS, ERASE_JOB)
        for run in runs_of(context, dg.RunsFilter(job_name=lane.named(name)))
        if any(map(is_about, op_configs(run)))
    ]


def _replace_report(context: dg.OpExecutionContext, lane: Lane) -> None:
    """Rewrite the report at its default path, if it exists."""
    if report_path(lane.warehouse(context), lane).exists():
        write_report(context, ReportConfig(), lane)


def _beside(context: dg.OpExecutionContext, lane: Lane) -> list[Path]:
    """The files and folders named after the database, such as copies, exports, reports and backups,
    and the published copy wherever it is."""
    tables, resource = lane.warehouse(context), lane.warehouse_resource(context)
    return [*tables.path.parent.glob(f"{glob.escape(tables.path.stem)}*"), resource.published]


def _summary(erasure: Erasure, places: list[str], other_chats: list[int]) -> str:
    """What was searched and found, without the person's data."""
    texts = (
        "Searched the tables, the database's files, those beside it, and Dagster's storage."
        if erasure.is_known
        else "An earlier run was interrupted after it had deleted the rows, and its notes are not"
        " on this machine. Therefore only the tables were searched, for ids, e-mail addresses and"
        " phone numbers."
    )
    elsewhere = (
        " Other chats have data of the person too. Erase it there as well:"
        f" {', '.join(map(str, other_chats))}."
        if other_chats
        else ""
    )
    if places:
        return f"{texts} Data of the person is left in: {'; '.join(places)}.{elsewhere}"
    return f"{texts} No data of the person is left.{elsewhere}"


def erase_lead_job(lane: Lane) -> dg.JobDefinition:
    """The job that erases a person from one chat."""

    @dg.op(
        name=lane.step("erase_lead"),
        out=dg.Out(dg.Nothing),
        required_resource_keys=lane.resource_keys,
    )
    def erase_lead(context: dg.OpExecutionContext, config: EraseConfig) -> None:
        """Erase a person's data, and search for anything left of it."""
        try:
            if config.dry_run:
                _preview(context, config.subject, lane)
            else:
                _carry_out(context, config.subject, lane)
        except (ErasureError, WarehouseError) as error:
            raise dg.Failure(str(error), allow_retries=False) from None

    return op_job(
        erase_lead,
        name=lane.named(ERASE_JOB),
        tags={"dagster/priority": URGENT},
        description=(
            "Erases a lead, or one conversation: its rows and everything derived from them, also"
            " from the database's files, copies and exports, and the runs that wrote to the lead."
            " Then searches for anything left, and fails if it finds something. From then on,"
            " records of the lead that the API sends are dropped. With dry_run, which is the"
            f" default, it only counts. {ASK_ZIPCHAT}"
        ),
    )


def unsuppress_lead_job(lane: Lane) -> dg.JobDefinition:
    """The job that lifts an erasure."""

    @dg.op(
        name=lane.step("unsuppress_lead"),
        out=dg.Out(dg.Nothing),
        required_resource_keys={lane.zipchat_key, lane.warehouse_key},
    )
    def unsuppress_lead(context: dg.OpExecutionContext, config: PersonConfig) -> None:
        """Stop dropping records of the person that the API sends."""
        try:
            count = lift(
                lane.warehouse(context), config.subject, chat_id=lane.zipchat(context).chat
            )
        except (ErasureError, WarehouseError) as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        context.log.info(
            f"{count:,} values are no longer suppressed."
            + (
                " Materialize raw_conversations and raw_messages for the person's days with"
                " `refresh` to bring the data back."
                if count
                else ""
            )
        )
        context.add_output_metadata({"values": count})

    return op_job(
        unsuppress_lead,
        name=lane.named("unsuppress_lead_job"),
        description=(
            "Lifts an erasure: records of the person that the API sends are stored again. Erased"
            " data does not come back by itself."
        ),
    )
