"""The resources: the API in its three variants, the database, and the settings of the metrics."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
from dagster_duckdb import DuckDBResource
from pydantic import Field, PrivateAttr

from zipchat_dagster.client import (
    BudgetDownError,
    ChatNotFoundError,
    MalformedAnswerError,
    NotFoundError,
    SettingError,
    UnauthorizedError,
    UnexpectedStatusError,
    UnprocessableError,
    UnreachableError,
    ZipchatClient,
    ZipchatError,
)
from zipchat_dagster.client.options import check_api_key, check_budget, check_chat_id, checked
from zipchat_dagster.partitions import is_live
from zipchat_dagster.replay import ReplayTransport
from zipchat_dagster.sandbox import DEFAULT_KEY, Sandbox, grow
from zipchat_dagster.settings import check_database_name, like_setting
from zipchat_dagster.sync import ApiDownError
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster.warehouse.business_hours import BusinessHours
from zipchat_dagster.warehouse.derive import Rules
from zipchat_dagster.warehouse.engine import is_shared
from zipchat_dagster.warehouse.privacy import CLASSES, Privacy

Context = dg.AssetExecutionContext | dg.AssetCheckExecutionContext | dg.OpExecutionContext


class ZipchatResource(dg.ConfigurableResource):  # type: ignore[type-arg]  # generic only for I/O managers
    """The Zipchat Backend API of one chat, paced by its rate limit."""

    api_key: str = Field(
        default="",
        repr=False,  # repr() of a resource would print it
        description="Key of the Backend API (zc-…): Settings > Integrations in Zipchat.",
    )
    chat_id: str = like_setting("chat_id", default=...)
    name: str = Field(
        default="", description="The chat's name if there are several, for error messages."
    )
    api_key_env: str = Field(
        default="ZIPCHAT_API_KEY",
        description="The environment variable with the key, for error messages.",
    )
    base_url: str = like_setting("base_url")
    budget_database: str = like_setting("budget_database", default="")  # not shared
    concurrency: int = like_setting("concurrency")
    reserve: float = like_setting("reserve")

    @property
    def source(self) -> str:
        """Where the records come from, for logs and metadata."""
        return self.base_url

    @property
    def banner(self) -> str:
        """The report's banner about the source. Empty for the real API."""
        # Plain http is for this machine only, and replay and the sandbox name themselves.
        return "" if self.source.startswith("https://") else self.source

    @property
    def chat(self) -> int:
        """The chat's number. Fails the step if it is missing or malformed."""
        try:
            return checked(self._names("chat_id"), check_chat_id, self.chat_id)
        except SettingError as error:
            raise _failure(str(error)) from None

    @contextmanager
    def client(self, context: Context) -> Iterator[ZipchatClient]:
        """A client that logs to the run. An error of the API or in a setting fails the step with
        one clear sentence. Dagster retries the step only if that may help."""
        client: ZipchatClient | None = None
        try:
            context.log.info(f"Reading from {self.source}.")
            client = self._new_client(
                context.log,
                # A check sends one request, and somebody is waiting for a write.
                may_use_reserve=not isinstance(context, dg.AssetExecutionContext)
                or is_live(context),
            )
            with client:
                yield client
        except ZipchatError as error:
            has_answered = client is not None and client.has_answered
            raise _failure(
                f"{error}{self._settings_to_check(error, has_answered)}",
                allow_retries=_may_pass(error, has_answered),
            ) from None

    def _new_client(self, log: logging.Logger, *, may_use_reserve: bool) -> ZipchatClient:
        return ZipchatClient(
            api_key=checked(self.api_key_env, check_api_key, self.api_key),
            chat_id=self.chat,
            base_url=self.base_url,
            budget=checked("ZIPCHAT_BUDGET_DATABASE", check_budget, self.budget_database or None),
            concurrency=self.concurrency,
            reserve=0.0 if may_use_reserve else self.reserve,
            logger=log,
        )

    def _settings_to_check(self, error: ZipchatError, has_answered: bool) -> str:
        """The client's errors say what to check. This adds the settings to look at."""
        match error:
            case ChatNotFoundError():
                return f" See {self._names('chat_id', 'base_url')}."
            case UnauthorizedError():
                return f" See {self.api_key_env}."
            case UnexpectedStatusError():
                return f" See {self._names('base_url')}."
            case UnreachableError() | MalformedAnswerError() if not has_answered:
                return f" See {self._names('base_url')}."
            case _:
                return ""

    def _names(self, *settings: str) -> str:
        """Where settings of this chat are, for error messages."""
        if self.name:
            return f"{' and '.join(settings)} of {self.name}"
        return " and ".join(f"ZIPCHAT_{name.upper()}" for name in settings)


class SandboxResource(ZipchatResource):
    """An invented chat inside this process. Of the API's settings, it only uses `chat_id`.

    It moves with the clock, and is the same for every process at the same time. Anything written to
    it is gone when the client is closed.
    """

    start_date: str = like_setting("start_date", default=...)

    @property
    def source(self) -> str:
        return "the sandbox"

    def _new_client(self, log: logging.Logger, *, may_use_reserve: bool) -> ZipchatClient:
        since = datetime.fromisoformat(self.start_date).replace(tzinfo=UTC)
        chat = grow(chat_id=self.chat, since=since, now=datetime.now(UTC))
        transport = Sandbox(chat=chat, limit=None, pagination="meta").transport()
        return ZipchatClient(
            api_key=DEFAULT_KEY, chat_id=self.chat, transport=transport, logger=log
        )


class ReplayResource(ZipchatResource):
    """The records of an earlier sync. Of the API's settings, it only uses `chat_id`."""

    replay_database: str = like_setting("replay_database", default=...)

    @property
    def source(self) -> str:
        return f"a replay of {self.replay_database}"

    def _new_client(self, log: logging.Logger, *, may_use_reserve: bool) -> ZipchatClient:
        transport = ReplayTransport(Path(self.replay_database), chat_id=self.chat, logger=log)
        return ZipchatClient(
            api_key="zc-replay", chat_id=self.chat, transport=transport, logger=log
        )


def _failure(description: str, *, allow_retries: bool = False) -> dg.Failure:
    return dg.Failure(description=description, allow_retries=allow_retries)


def _may_pass(error: ZipchatError, has_answered: bool) -> bool:
    """Whether the step may succeed some minutes later, because something that worked is down."""
    match error:
        case ApiDownError() | BudgetDownError():
            return True
        case SettingError() | UnauthorizedError() | NotFoundError() | UnprocessableError():
            return False
        case _:
            return has_answered


class MetricSettings(dg.ConfigurableResource):  # type: ignore[type-arg]  # generic only for I/O managers
    """The settings of the metrics."""

    business_hours: str = like_setting("business_hours")
    response_target_seconds: float | None = like_setting("response_target_seconds")
    next_response_target_seconds: float | None = like_setting("next_response_target_seconds")
    resolution_target_seconds: float | None = like_setting("resolution_target_seconds")
    quiet_hours: int = like_setting("quiet_hours")

    def rules(self, timezone: str) -> Rules:
        """The same as rules for deriving tables; business hours are in `timezone`."""
        hours = self.business_hours
        return Rules(
            business_hours=BusinessHours.parse(hours, timezone) if hours else None,
            response_target_seconds=self.response_target_seconds,
            next_response_target_seconds=self.next_response_target_seconds,
            resolution_target_seconds=self.resolution_target_seconds,
            quiet_hours=self.quiet_hours,
        )


class WarehouseResource(DuckDBResource):
    """The database. `get_connection` first waits for its turn."""

    database: str = like_setting("database", default=...)
    data_path: str = like_setting("data_path", default="")
    timezone: str = like_setting("timezone")
    published_database: str = like_setting("published_database", default="")
    pii_identity: str = like_setting("pii_identity", default="keep")
    pii_content: str = like_setting("pii_content", default="keep")
    pii_attributes: str = like_setting("pii_attributes", default="keep")
    pii_key: str = Field(
        default="",
        repr=False,  # repr() of a resource would print it
        description="Key of the hashes, at least 32 characters.",
    )
    retention_days: int | None = like_setting("retention_days")
    _warehouse: Warehouse | None = PrivateAttr(default=None)

    @property
    def warehouse(self) -> Warehouse:
        """The tables; the same object each time. It needs no teardown: between transactions, a
        file is closed, and the connection to a lake is idle."""
        if self._warehouse is None:
            modes: dict[str, Any] = {name: getattr(self, f"pii_{name}") for name in CLASSES}
            key, days = self.pii_key.strip(), self.retention_days
            try:
                privacy = Privacy(**modes, key=key, retention_days=days)
            except ValueError as error:
                raise _failure(f"ZIPCHAT_PII: {error}.") from None
            self._warehouse = Warehouse(
                self.database if is_shared(self.database) else _database(self.database),
                data_path=self.data_path,
                timezone=self.timezone,
                privacy=privacy,
            )
        return self._warehouse

    @property
    def published(self) -> Path:
        """Where the read-only copy of a file is."""
        database = self.warehouse.path
        beside = database.with_name(f"{database.stem}_published{database.suffix}")
        return _database(self.published_database) if self.published_database else beside

    @contextmanager
    def get_connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection for a short piece of work. Other programs wait until it is closed."""
        with self.warehouse.connection() as connection:
            yield connection


def _database(path: str) -> Path:
    try:
        return check_database_name(Path(path))
    except SettingError as error:
        raise _failure(str(error)) from None
