"""The settings, `ZIPCHAT_…`: read from the environment and checked when the definitions are loaded.

Malformed settings are reported together. A missing key or chat is only reported by the first run,
so you can look around the project without them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from zipchat_dagster.client.errors import SettingError
from zipchat_dagster.client.options import (
    BASE_URL,
    CONCURRENCY,
    check_api_key,
    check_base_url,
    check_budget,
    check_chat_id,
    check_concurrency,
    check_reserve,
    shown,
)
from zipchat_dagster.notify import check_webhook_url
from zipchat_dagster.warehouse.business_hours import BusinessHours
from zipchat_dagster.warehouse.derive import QUIET_HOURS
from zipchat_dagster.warehouse.engine import LAKE, has_password, is_shared
from zipchat_dagster.warehouse.privacy import CLASSES, SHORTEST_KEY, Mode

Api = Literal["real", "sandbox", "replay"]

START_DATE: Final = date(2024, 1, 1)
RELIST_DAYS: Final = 7
TIMEZONE: Final = "UTC"
# Invented or replayed data does not go into the real database by default.
DATABASES: Final[dict[Api, str]] = {
    "real": "data/warehouse.duckdb",
    "sandbox": "data/sandbox.duckdb",
    "replay": "data/replay.duckdb",
}
SCHEMA: Final = "zipchat"
MODE: Final = "one of keep, hash and drop"

_PACKAGE_PARENT = Path(__file__).resolve().parent.parent
# If installed into another project, the package is not inside its own project.
PROJECT: Final = _PACKAGE_PARENT if (_PACKAGE_PARENT / "workspace.yaml").exists() else Path.cwd()


def check_database_name(path: Path) -> Path:
    """Return the path of a database that is queried as `zipchat.<table>`.

    Raises:
        SettingError: DuckDB would give the database the name of its schema, `zipchat`.
    """
    if path.name.split(".")[0].lower() == SCHEMA:
        raise SettingError(
            f"{path.name} would give the database the same name as its schema, {SCHEMA}, and DuckDB"
            " would refuse every query as ambiguous. Use another file name, such as"
            " warehouse.duckdb. An existing file can be renamed."
        )
    return path


def _in_project(path: Path) -> Path:
    try:
        return PROJECT / path.expanduser()
    except RuntimeError:
        raise SettingError(
            f"{shown(str(path))} begins with the name of a user that this machine does not have."
        ) from None


def _budget(value: Path | str) -> Path | str:
    checked = check_budget(value)
    return _in_project(checked) if isinstance(checked, Path) else value


def _day(text: str) -> date:
    day = date.fromisoformat(text)
    if day > datetime.now(UTC).date() + timedelta(days=1):  # tomorrow has begun in some zones
        raise SettingError(f"“{text}” is in the future. Write the first day to sync.")
    return day


def _timezone(text: str) -> str:
    try:
        return ZoneInfo(text).key
    except (KeyError, OSError):
        raise ValueError(text) from None


def _business_hours(text: str) -> str:
    BusinessHours.parse(text, TIMEZONE)
    return text


def _database(name: Path | str) -> Path | str:
    if not is_shared(str(name)):
        return check_database_name(_in_project(Path(name)))
    if has_password(str(name)):
        raise SettingError(
            "it contains a password or a token. Leave it out, and set PGPASSWORD or add a line to"
            " ~/.pgpass (for MotherDuck, set motherduck_token)."
        )
    return str(name)


def _data_path(text: str) -> str:
    return text if "://" in text else str(_in_project(Path(text)))


def check_pii_key(text: str) -> str:
    """Return the key of the hashes. A SettingError about it does not show its value."""
    if len(text) < SHORTEST_KEY:
        raise SettingError(
            f"it is shorter than {SHORTEST_KEY} characters. Use a random one, for example from"
            " openssl rand -hex 32."
        )
    return text


File = Annotated[Path, AfterValidator(_in_project)]
Budget = Annotated[Path | str, AfterValidator(_budget)]
Database = Annotated[File, AfterValidator(check_database_name)]


Seconds = Annotated[
    float | None, Field(gt=0, allow_inf_nan=False, title="a number of seconds such as 3600")
]
OwnMode = Annotated[Mode | None, Field(title=MODE)]


class ChatSettings(BaseModel):
    """The settings of one chat. A field's title completes the error “… is not …”, and resources and
    the component have its description.
    """

    model_config = ConfigDict(
        frozen=True,
        alias_generator=lambda name: f"ZIPCHAT_{name.upper()}",
        populate_by_name=True,
        loc_by_alias=False,
        hide_input_in_errors=True,
    )

    # The key is a secret and stays in the environment, where the resource reads it.
    has_api_key: Annotated[bool, BeforeValidator(lambda text: bool(check_api_key(text)))] = Field(
        default=False, alias="ZIPCHAT_API_KEY"
    )
    chat_id: Annotated[int | None, BeforeValidator(check_chat_id)] = Field(
        default=None, description="The chat's number, as in its address in Zipchat."
    )
    base_url: Annotated[str, AfterValidator(check_base_url)] = Field(
        default=BASE_URL,
        description="Where the API is. Plain HTTP is accepted for this machine only.",
    )
    concurrency: Annotated[int, AfterValidator(check_concurrency)] = Field(
        default=CONCURRENCY,
        title="a whole number",
        description="Reads in flight, 1 to 128. Raised automatically when the API responds so"
        " slowly that the rate limit could not be used up otherwise.",
    )
    reserve: Annotated[float, AfterValidator(check_reserve)] = Field(
        default=0.25,
        title="a fraction such as 0.25",
        description="Fraction of each rate-limit window, 0 to 0.9, that backfills leave to live"
        " runs until the last tenth of the window.",
    )
    start_date: Annotated[date, BeforeValidator(_day)] = Field(
        default=START_DATE,
        title="a day such as 2026-01-31",
        description="First day that exists as a partition, YYYY-MM-DD.",
    )
    relist_days: int = Field(
        default=RELIST_DAYS,
        ge=0,
        le=365,
        title="a whole number of days from 0 to 365",
        description="How many past days the daily schedule lists again, to find escalations that"
        " no newer message follows.",
    )
    business_hours: Annotated[str, AfterValidator(_business_hours)] = Field(
        default="",
        title="a list of hours such as mon-fri 09:00-17:00, sat 10:00-14:00",
        description="When agents are available, in the chat's time zone, such as mon-fri"
        " 09:00-17:00, sat 10:00-14:00. Without it, the metrics in business time are NULL.",
    )
    response_target_seconds: Seconds = Field(
        default=None,
        description="Seconds within which a first response counts as on time. Without it, the"
        " metrics about the target are NULL.",
    )
    next_response_target_seconds: Seconds = Field(
        default=None,
        description="The same for each later answer by a person to an escalated customer.",
    )
    resolution_target_seconds: Seconds = Field(
        default=None,
        description="The same from an escalation to its resolution.",
    )
    quiet_hours: int = Field(
        default=QUIET_HOURS,
        ge=1,
        le=720,
        title="a whole number of hours from 1 to 720",
        description="Hours without a message after which a conversation that the AI handled alone"
        " counts as automated.",
    )


class Settings(ChatSettings):
    """Every setting: those of the chat, and those that all chats share. docs/settings.md explains
    them. A field's variable is its alias, by default `ZIPCHAT_` and the field's name in capitals.
    """

    # The address is a secret, like the key.
    has_webhook_url: Annotated[
        bool, BeforeValidator(lambda text: bool(check_webhook_url(text)))
    ] = Field(default=False, alias="ZIPCHAT_WEBHOOK_URL")

    api: Api = Field(default="real", title="one of real, sandbox and replay")
    timezone: Annotated[str, AfterValidator(_timezone)] = Field(
        default=TIMEZONE,
        title="a time zone's IANA name, such as Europe/Berlin",
        description="IANA name of the time zone whose days are the partitions. The same for a whole"
        " database.",
    )

    pii: Mode = Field(
        default="keep",
        title=MODE,
        description="How personal data is stored: keep, hash or drop. One database has one mode.",
    )
    pii_identity: OwnMode = Field(
        default=None,
        description="How names, e-mail addresses, phone numbers and links to people are stored:"
        " keep, hash or drop.",
    )
    pii_content: OwnMode = Field(
        default=None,
        description="How the texts of messages are stored: keep, hash or drop.",
    )
    pii_attributes: OwnMode = Field(
        default=None,
        description="How the shop's own attributes of a lead are stored: keep, hash or drop.",
    )
    has_pii_key: bool = Field(default=False, alias="ZIPCHAT_PII_KEY", validate_default=True)
    retention_days: int | None = Field(
        default=None,
        ge=1,
        le=36_500,
        title="a whole number of days from 1 to 36500",
        description="Days after which the text of a message is removed. By default, never.",
    )

    chats: File | None = None
    # The default of each depends on those above.
    database: Annotated[Path | str, AfterValidator(_database)] = Field(
        default=None,
        validate_default=True,
        description="The DuckDB file; or ducklake:postgres:… without a password, which PGPASSWORD"
        " or ~/.pgpass holds; or md:….",
    )
    data_path: Annotated[str, AfterValidator(_data_path)] | None = Field(
        default=None,
        validate_default=True,
        description="Where a lake keeps its data: a folder or s3://bucket/prefix.",
    )
    replay_database: File | None = Field(
        default=None,
        validate_default=True,
        description="The DuckDB file of an earlier sync, for a replay. It is only read.",
    )
    budget_database: Budget = Field(
        default=None,
        validate_default=True,
        description="Where programs share the rate limit: a SQLite file for those on this machine,"
        " or an address such as postgresql://user@host:5432/database, without a password.",
    )
    published_database: Database | None = Field(
        default=None,
        description="Where publish_job puts its read-only copy. By default next to the database.",
    )

    @property
    def pii_modes(self) -> dict[str, Mode]:
        """What is done to each class of personal data."""
        return {name: getattr(self, f"pii_{name}") or self.pii for name in CLASSES}

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read and check all settings. Relative paths start from the project's folder.

        Raises:
            SettingError: some are malformed. A line for each names it and says what is expected.
        """
        ours = {name: text for name, text in environment.items() if name.startswith("ZIPCHAT_")}
        values = {name: text.strip() for name, text in ours.items() if text.strip()}
        lines = [
            f"{name}: it is not text in UTF-8."
            for name, text in values.items()
            if re.search("[\ud800-\udfff]", text)
        ]
        if not lines:
            try:
                return cls.model_validate(values)
            except ValidationError as error:
                lines = [_sentence(one) for one in error.errors()]
        if len(lines) > 1:
            lines.insert(0, f"{len(lines)} settings are malformed:")
        raise SettingError("\n".join(lines))

    @field_validator("has_pii_key", mode="before")
    @classmethod
    def _has_pii_key(cls, key: Any, info: ValidationInfo) -> bool:
        if key:
            return bool(check_pii_key(key))
        modes = [info.data.get(f"pii_{name}") or info.data.get("pii") for name in CLASSES]
        if "hash" in modes:
            raise SettingError(
                f"not set. Hashes need it: {SHORTEST_KEY} random characters or more, for example"
                " from openssl rand -hex 32."
            )
        return False

    @field_validator("database", mode="before")
    @classmethod
    def _default_database(cls, value: Any, info: ValidationInfo) -> Any:
        return value or DATABASES[info.data.get("api", "real")]

    @field_validator("database")
    @classmethod
    def _is_not_beside_the_former_default(cls, chosen: Path | str) -> Path | str:
        path = PROJECT / DATABASES["real"]
        former = path.with_name("zipchat.duckdb")
        if chosen == path and former.exists() and not path.exists():
            raise SettingError(
                f"the default is {path} now, but {former} still exists. Rename it to {path.name},"
                " together with its .wal file if there is one, or move it away to start with an"
                " empty database."
            )
        return chosen

    @field_validator("data_path")
    @classmethod
    def _is_where_a_lake_needs_it(cls, place: str | None, info: ValidationInfo) -> str | None:
        if str(info.data.get("database")).startswith(LAKE) and place is None:
            raise SettingError(
                "not set. A lake needs it: a folder, or an object store's address such as"
                " s3://bucket/prefix, for its data. Every machine must be able to reach it."
            )
        return place

    @field_validator("replay_database")
    @classmethod
    def _replay_database(cls, source: Path | None, info: ValidationInfo) -> Path | None:
        if info.data.get("api") != "replay":
            return source
        if source is None:
            raise SettingError(
                "not set. ZIPCHAT_API=replay needs the DuckDB file of an earlier sync."
            )
        if "database" in info.data and source.resolve() == Path(info.data["database"]).resolve():
            raise SettingError(
                f"{source} is also ZIPCHAT_DATABASE. A replay must be written to another file."
            )
        return source

    @field_validator("budget_database", mode="before")
    @classmethod
    def _budget_database(cls, value: Any, info: ValidationInfo) -> Any:
        database = info.data.get("database")
        beside = database if isinstance(database, Path) else PROJECT / DATABASES["real"]
        return value or beside.with_name("budget.sqlite")


def like_setting(name: str, **options: Any) -> Any:
    """A field of another model, with the default and the description of this setting.

    Args:
        options: override those of the setting.
    """
    setting = Settings.model_fields[name]
    return Field(**{"default": setting.default, "description": setting.description, **options})


@cache
def load_settings() -> Settings:
    """The settings of this process, read from its environment at the first call."""
    return Settings.from_environment(os.environ)


def _sentence(error: ErrorDetails) -> str:
    """The error about one setting, starting with the name of its variable."""
    field = Settings.model_fields[str(error["loc"][0])]
    text = explained(error, field)
    return text if text.startswith(str(field.alias)) else f"{field.alias}: {text}"


def explained(error: ErrorDetails, field: FieldInfo) -> str:
    """The error about the value of a field."""
    problem = error.get("ctx", {}).get("error")
    if isinstance(problem, SettingError):
        return str(problem)
    return f"{shown(error['input'])} is not {field.title}."
