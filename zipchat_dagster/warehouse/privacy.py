"""What the tables may hold of people: which fields are personal, and how their values are replaced.

`Transaction.privacy` is applied to every record before it is written, so nothing that the settings
exclude touches the disk.

Only what is listed here as not personal is kept: a field that nobody has listed may hold anything,
and so may a listed one with a value of another form than expected. Both are replaced as a whole, by
the strictest of the modes.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final, Literal, TypeAlias, Union, get_args

Mode = Literal["keep", "hash", "drop"]
Class = Literal["identity", "content", "attributes"]
Kind = Literal["conversation", "message", "user"]

MODES: Final[tuple[Mode, ...]] = get_args(Mode)  # from the loosest to the strictest
CLASSES: Final[tuple[Class, ...]] = get_args(Class)
SHORTEST_KEY: Final = 32  # characters
VERSION: Final = "h1"

_HASH: Final = re.compile(r"h\d+:[0-9a-f]{4}:[0-9a-f]{64}")
# The name of a field. JSON allows any text there, such as somebody's e-mail address.
_NAME: Final = re.compile(r"[A-Za-z_]\w{0,59}", re.ASCII)
_canonical = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode


def _email(text: str) -> str:
    return text.strip().lower()


def _phone_number(text: str) -> str:
    """The digits, after a `+` if it begins with one. A text without any stays as it is."""
    digits = re.sub(r"\D", "", text)
    return f"+{digits}" if digits and text.strip().startswith("+") else digits or text.strip()


@dataclass(frozen=True)
class Personal:
    """A personal field: its class, and how its values are normalised before they are hashed."""

    of: Class
    normalised: Callable[[str], str] = str.strip


NAME: Final = Personal("identity")
EMAIL: Final = Personal("identity", _email)
PHONE_NUMBER: Final = Personal("identity", _phone_number)
CONTENT: Final = Personal("content")
ATTRIBUTES: Final = Personal("attributes")
# What is not personal, if it is a number, a truth value, or a text of this form.
ID: Final = re.compile(r"-?[0-9]{1,19}")
TIME: Final = re.compile(
    r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?)?", re.ASCII
)
WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,29}")

Field: TypeAlias = Union[Personal, "re.Pattern[str]", Mapping[str, "Field"]]
Level: TypeAlias = Mapping[str, Field]

PERSON: Final[Level] = {
    "id": ID,
    "full_name": NAME,
    "name": NAME,
    "first_name": NAME,
    "last_name": NAME,
    "email": EMAIL,
    "avatar_url": NAME,
    "role": WORD,
}
LEAD: Final[Level] = {
    "id": ID,
    "full_name": NAME,
    "first_name": NAME,
    "last_name": NAME,
    "email": EMAIL,
    "phone_number": PHONE_NUMBER,
    "email_marketing_consent": WORD,
    "shopify_customer_id": NAME,
    "additional_attributes": ATTRIBUTES,
}
FIELDS: Final[Mapping[Kind, Level]] = {
    "conversation": {
        "id": ID,
        "chat_id": ID,
        "created_at": TIME,
        "last_message_at": TIME,
        "channel": WORD,
        "manual_reply_mode": WORD,
        "last_escalated_at": TIME,
        "last_escalation_resolved_at": TIME,
        "share_url": NAME,
        "assignee": PERSON,
        "lead": LEAD,
    },
    "message": {
        "id": ID,
        "role": WORD,
        "message": CONTENT,
        "manual_reply": WORD,
        "status": WORD,
        "sender_id": ID,
        "created_at": TIME,
    },
    "user": PERSON,
}
# The field that a personal column of the tables holds. The other personal ones hold whole records.
COLUMNS: Final[Mapping[str, Personal]] = {
    "additional_attributes": ATTRIBUTES,
    "assignee_name": NAME,
    "avatar_url": NAME,
    "email": EMAIL,
    "first_name": NAME,
    "full_name": NAME,
    "last_name": NAME,
    "lead_email": EMAIL,
    "lead_full_name": NAME,
    "lead_phone_number": PHONE_NUMBER,
    "message": CONTENT,
    "message_text": CONTENT,
    "phone_number": PHONE_NUMBER,
    "share_url": NAME,
    "shopify_customer_id": NAME,
}


@dataclass(frozen=True)
class Privacy:
    """The settings of a database, the same for all its chats.

    Attributes:
        identity: for names, e-mail addresses, phone numbers, share links, avatars, shop ids.
        content: for the texts of messages.
        attributes: for what the shop attached to a lead.
        key: for the hashes. Needed if a mode is `hash`, and for erasing a lead.
        retention_days: for how long the text of a message is kept. None: for ever.

    Raises:
        ValueError: a mode is not one, or is `hash` without a key of `SHORTEST_KEY` characters.
    """

    identity: Mode = "keep"
    content: Mode = "keep"
    attributes: Mode = "keep"
    key: str = field(default="", repr=False)
    retention_days: int | None = None

    def __post_init__(self) -> None:
        for mode in self.modes.values():
            if mode not in MODES:
                raise ValueError(f"{mode} is not one of {', '.join(MODES)}")
        if "hash" in self.modes.values() and not self.has_key:
            raise ValueError(f"hashes need a key of at least {SHORTEST_KEY} characters")

    @property
    def has_key(self) -> bool:
        """Whether there is a key, and it is long enough."""
        return len(self.key) >= SHORTEST_KEY

    @cached_property
    def without_texts(self) -> Privacy:
        """For messages that are older than `retention_days`: the text and what may hold it go."""
        return replace(self, content="drop")

    def is_too_old(self, written_at: datetime, now: datetime) -> bool:
        """Whether the text of a message is no longer kept."""
        days = self.retention_days
        return days is not None and now - written_at > timedelta(days=days)

    @cached_property
    def strictest(self) -> Mode:
        """The mode for what may hold anything."""
        return max(self.modes.values(), key=MODES.index)

    @cached_property
    def fingerprint(self) -> str:
        """Four hexadecimal digits that differ between keys and do not reveal them."""
        return self._digest("fingerprint")[:4]

    def mask(self, kind: Kind, record: Mapping[str, Any]) -> Mapping[str, Any]:
        """The record as it may be stored. What was masked before is left as it is, or dropped.

        NULLs and the names of fields stay, so that new and missing fields show. Inside a field that
        is not listed, and in a lead's attributes, nothing does.
        """
        return record if self.strictest == "keep" else self._masked(FIELDS[kind], record)

    def replaced(self, field: Field, text: str | None) -> str | None:
        """The text of one field as it may be stored."""
        masked: str | None = self._value(field, text)
        return masked

    @cached_property
    def modes(self) -> dict[str, Mode]:
        """The mode of each class."""
        return {name: getattr(self, name) for name in CLASSES}

    def modes_other_than(
        self, stored: Mapping[str, Any], how: Literal["looser", "stricter"]
    ) -> dict[str, Mode]:
        """Those of its modes that are looser, or stricter, than the stored one of their class."""
        sign = -1 if how == "looser" else 1
        return {
            name: mode
            for name, mode in self.modes.items()
            if sign * (MODES.index(mode) - MODES.index(stored[name])) > 0
        }

    def hashed(self, value: str) -> str:
        """`h1:<fingerprint of the key>:<HMAC-SHA-256 in hexadecimal digits>` of a value that was
        normalised before. The same value has the same hash in every column."""
        return f"{VERSION}:{self.fingerprint}:{self._digest(value)}"

    def _masked(self, fields: Level, record: Mapping[str, Any]) -> dict[str, Any]:
        if fields is PERSON and self.identity == "hash":
            record = _with_one_name(record)
        masked = {}
        for name, value in record.items():
            shown = name
            if name not in fields and not _NAME.fullmatch(name):
                shown = self._replacement(name, self.strictest)
            if shown is not None:
                masked[shown] = None if value is None else self._value(fields.get(name), value)
        return masked

    def _value(self, field: Field | None, value: Any) -> Any:
        match field:
            case re.Pattern():
                is_text = isinstance(value, str)
                if isinstance(value, int | float) or (is_text and field.fullmatch(value)):
                    return value
            case Personal():
                if field is ATTRIBUTES or not isinstance(value, dict | list):
                    return self._replacement(value, getattr(self, field.of), field.normalised)
            case dict() if isinstance(value, dict):
                return self._masked(field, value)
        return self._replacement(value, self.strictest)

    def _replacement(
        self, value: Any, mode: Mode, normalised: Callable[[str], str] = str.strip
    ) -> Any:
        if mode == "keep" or value is None:
            return value
        if mode == "drop":
            return None
        text = value if isinstance(value, str) else _canonical(value)
        if is_hash(text):
            return text
        text = normalised(text)
        return self.hashed(text) if text else text  # a blank is the same for everybody

    def _digest(self, value: str) -> str:
        # Not every string is valid Unicode: JSON can hold half of a surrogate pair.
        text = value.encode("utf-8", "surrogatepass")
        return hmac.digest(self.key.encode(), text, "sha256").hex()


KEEP: Final = Privacy()


def is_hash(text: str) -> bool:
    """Whether this is a hash that `Privacy` put in a value's place."""
    return bool(_HASH.fullmatch(text))


def _with_one_name(person: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where a name is only given in two parts, both as the first, since their hashes would not be
    that of the whole, by which `users` and `assignee_name` agree."""
    if person.get("full_name") is not None or person.get("name") is not None:
        return person
    first, last = person.get("first_name"), person.get("last_name")
    if not isinstance(first, str) or not isinstance(last, str) or is_hash(first) or is_hash(last):
        return person
    return {**person, "first_name": f"{first} {last}", "last_name": None}
