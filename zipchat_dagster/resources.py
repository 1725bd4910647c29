"""The resources: the API in its three variants, the database, and what the metrics need to know."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import httpx
from dagster_duckdb import DuckDBResource
from pydantic import Field

from zipchat_dagster.client import (
    BASE_URL,
    NotFoundError,
    SettingError,
    UnauthorizedError,
    UnprocessableError,
    ZipchatClient,
    ZipchatError,
    check_chat_id,
)
from zipchat_dagster.partitions import is_live
from zipchat_dagster.replay import ReplayTransport
from zipchat_dagster.sandbox import BASE_URL as SANDBOX_URL
from zipchat_dagster.sandbox import DEFAULT_KEY, Sandbox, grow
from zipchat_dagster.sync import ApiDownError
from zipchat_dagster.warehouse import Warehouse


class ZipchatResource(dg.ConfigurableResource):  # type: ignore[type-arg]  # generic only for I/O managers
    """The Zipchat Backend API of one chat, paced by its rate limit."""

    api_key: str = Field(
        repr=False,  # repr() of a resource would print it
        description="Key of the Backend API (zc-…): Settings > Integrations in Zipchat.",
    )
    chat_id: str = Field(description="The chat's number, as in its address in Zipchat.")
    base_url: str = Field(
        default=BASE_URL, description="Where the API is; plain http for loopback only."
    )
    budget_database: str = Field(
        description="SQLite file through which all programs on this machine share the rate limit."
    )
    concurrency: int = Field(
        default=8,
        description=(
            "Reads in flight (1 to 128); raised by itself where the API's latency is so long that"
            " the window could not be spent otherwise."
        ),
    )
    reserve: float = Field(
        default=0.25,
        description=(
            "Fraction of each rate-limit window (0 to 0.9) that backfills leave to live runs,"
            " until the window's last tenth."
        ),
    )

    @property
    def source(self) -> str:
        """Where the records come from, for logs and metadata."""
        return self.base_url

    def transport(
        self, log: logging.Logger | logging.LoggerAdapter[Any]
    ) -> httpx.BaseTransport | None:
        """What requests go through; None: the network."""
        return None

    @property
    def chat(self) -> int:
        """The chat's number, checked; ends the step where it is none."""
        try:
            return check_chat_id(self.chat_id)
        except SettingError as error:
            raise dg.Failure(description=str(error), allow_retries=False) from None

    @contextmanager
    def client(
        self,
        context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext | dg.OpExecutionContext,
    ) -> Iterator[ZipchatClient]:
        """A client that logs to the run. What the API or a setting makes impossible ends the
        step with one clear sentence; what repeating it cannot mend is not repeated by Dagster."""
        client: ZipchatClient | None = None
        try:
            transport = self.transport(context.log)
            context.log.info(f"Reading from {self.source}.")
            client = ZipchatClient(
                transport=transport,
                api_key=self.api_key,
                chat_id=self.chat_id,
                base_url=self.base_url,
                # Where nothing leaves the process, there is no limit to share.
                budget_path=None if transport else Path(self.budget_database),
                concurrency=self.concurrency,
                # A check asks once, about the newest there is, whatever its run is for; and
                # somebody waits for a write.
                reserve=self.reserve
                if isinstance(context, dg.AssetExecutionContext) and not is_live(context)
                else 0.0,
                logger=context.log,
            )
            with client:
                yield client
        except ZipchatError as error:
            raise dg.Failure(
                description=str(error),
                allow_retries=client is not None and _may_pass(client, error),
            ) from None


def _may_pass(client: ZipchatClient, error: ZipchatError) -> bool:
    """Whether the step may succeed in some minutes: the API has answered, and is down now."""
    match error:
        case ApiDownError():
            return True
        case SettingError() | UnauthorizedError() | NotFoundError() | UnprocessableError():
            return False
        case _:
            return client.has_answered


class OfflineResource(ZipchatResource):
    """What stands in the API's place inside this process: no key, no request, no waiting."""

    api_key: str = Field(default=DEFAULT_KEY, repr=False, description="The sandbox's own key.")
    base_url: str = Field(default=SANDBOX_URL, description="A name: no request leaves the process.")
    budget_database: str = Field(default="", description="Not used: there is no limit to share.")
    concurrency: int = Field(default=64, description="Reads that are stored in one go, about.")
    reserve: float = Field(default=0.0, description="Not used: nobody else spends anything.")


class SandboxResource(OfflineResource):
    """An invented chat.

    It goes on with the clock, and is the same for every process that looks at one time. What is
    written to it is gone with the client.
    """

    start_date: str = Field(description="The chat's first day at the latest, YYYY-MM-DD.")

    @property
    def source(self) -> str:
        return "the sandbox"

    def transport(self, log: logging.Logger | logging.LoggerAdapter[Any]) -> httpx.BaseTransport:
        since = datetime.fromisoformat(self.start_date).replace(tzinfo=UTC)
        chat = grow(seed=1, since=since, now=datetime.now(UTC), chat_id=self.chat)
        return Sandbox(chat=chat, limit=None, pagination="meta").transport()


class ReplayResource(OfflineResource):
    """What an earlier sync stored."""

    replay_database: str = Field(description="The DuckDB file of that sync; it is only read.")

    @property
    def source(self) -> str:
        return f"a replay of {self.replay_database}"

    def transport(self, log: logging.Logger | logging.LoggerAdapter[Any]) -> httpx.BaseTransport:
        return ReplayTransport(Path(self.replay_database), chat_id=self.chat, logger=log)


class MetricSettings(dg.ConfigurableResource):  # type: ignore[type-arg]  # generic only for I/O managers
    """What the metrics need to know of the shop."""

    business_hours: str = Field(
        default="",
        description=(
            "When agents are there, in the chat's time zone, such as mon-fri 09:00-17:00, sat"
            " 10:00-14:00. Without it the columns in business time are NULL."
        ),
    )
    response_target_seconds: float | None = Field(
        default=None,
        description="Seconds within which a first response is in time; None: there is no target.",
    )


class WarehouseResource(DuckDBResource):
    """The DuckDB file. `get_connection` waits for the file's lock first and always closes."""

    timezone: str = Field(default="UTC", description="IANA name of the zone whose days count.")
    published_database: str = Field(
        default="",
        description="Where publish_job puts its read-only copy; beside the database unless set.",
    )

    @property
    def warehouse(self) -> Warehouse:
        """The tables in this file."""
        return Warehouse(Path(self.database), timezone=self.timezone)

    @property
    def published(self) -> Path:
        """Where the read-only copy of this file is."""
        database = Path(self.database)
        # With an underscore: DuckDB names what it opens after the file up to its first dot, and in
        # a catalog named zipchat it refuses `zipchat.users` as ambiguous.
        beside = database.with_name(f"{database.stem}_published{database.suffix}")
        return Path(self.published_database) if self.published_database else beside

    @contextmanager
    def get_connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection for a short piece of work; others wait until it is closed."""
        with self.warehouse.connection() as connection:
            yield connection
