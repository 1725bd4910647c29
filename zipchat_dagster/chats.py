"""The chats of this code location: one from the environment, or several from a file.

The file of `ZIPCHAT_CHATS` lists them under `chats:`, each with `name`, `chat_id`, `api_key_env`
and whatever differs from the settings in the environment. It is checked completely when the
definitions are loaded, and each error names its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import yaml
from pydantic import AfterValidator, ValidationError

from zipchat_dagster.client import SettingError
from zipchat_dagster.client.options import shown
from zipchat_dagster.settings import ChatSettings, Settings, explained


def check_name(text: str) -> str:
    """Return a name that can be part of the names of assets and jobs, or raise a SettingError."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", text) or "__" in text:
        raise SettingError(
            f"{shown(text)} is not a name. Use up to 40 lower-case letters, digits and single"
            " underscores, such as shop_de."
        )
    return text


class Chat(ChatSettings):
    """One chat.

    Attributes:
        name: key prefix of its assets, and part of its jobs' names. Empty for the only chat.
        api_key_env: the environment variable that holds its key.
    """

    name: Annotated[str, AfterValidator(check_name)] = ""
    api_key_env: str = "ZIPCHAT_API_KEY"


FIELDS: Final = set(Chat.model_fields) - {"has_api_key"}  # of an entry
REQUIRED: Final = ("name", "chat_id", "api_key_env")
SHARED: Final = set(Settings.model_fields) - set(Chat.model_fields)


def chat_of(settings: Settings, **own: Any) -> Chat:
    """The chat of these settings, with some values of its own."""
    shared = {name: getattr(settings, name) for name in ChatSettings.model_fields}
    return Chat.model_construct(**{**shared, **own})


def load_chats(settings: Settings, environment: Mapping[str, str]) -> list[Chat]:
    """The chats of the file, or the one in the environment if there is no file.

    Raises:
        SettingError: the file cannot be read, or is malformed. A line for each error.
    """
    if settings.chats is None:
        return [chat_of(settings)]
    if settings.chat_id is not None:
        raise SettingError(
            "ZIPCHAT_CHAT_ID: ZIPCHAT_CHATS is set too. Add the chat to that file, or unset one of"
            " the two."
        )
    reader = _Reader(settings.chats, settings, environment)
    chats = reader.read()
    if reader.errors:
        raise SettingError("\n".join(reader.errors))
    return chats


@dataclass
class _Reader:
    """Reads the file and collects its errors."""

    path: Path
    settings: Settings
    environment: Mapping[str, str]
    errors: list[str] = field(default_factory=list)

    def read(self) -> list[Chat]:
        """The chats without an error."""
        chats: list[Chat] = []
        for node in self._entries():
            chat = self._chat(node)
            if chat is None:
                continue
            for name in ("name", "chat_id"):
                value = getattr(chat, name)
                if value in (getattr(other, name) for other in chats):
                    self._refuse(node, f"{name}: {value} is listed twice.")
            chats.append(chat)
        return chats

    def _entries(self) -> list[yaml.Node]:
        try:
            root = yaml.compose(self.path.read_text("utf-8"), yaml.SafeLoader)
        except OSError as error:
            raise SettingError(
                f"ZIPCHAT_CHATS: {shown(str(self.path))} cannot be read: {error.strerror}."
            ) from None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else 1
            raise SettingError(f"{self.path.name}, line {line}: {error.problem}.") from None
        except (yaml.YAMLError, UnicodeDecodeError):
            raise SettingError(
                f"ZIPCHAT_CHATS: {shown(str(self.path))} is not a YAML file."
            ) from None
        if isinstance(root, yaml.MappingNode) and len(root.value) == 1:
            ((key, listed),) = root.value
            if key.value == "chats" and isinstance(listed, yaml.SequenceNode) and listed.value:
                return list(listed.value)
        raise SettingError(
            f"{self.path.name}, line 1: write chats: and below it a list, each entry with name,"
            " chat_id and api_key_env."
        )

    def _chat(self, node: yaml.Node) -> Chat | None:
        """The chat of an entry, or None if it has an error."""
        before = len(self.errors)
        if not isinstance(node, yaml.MappingNode):
            self._refuse(node, "write an entry such as - name: shop_de.")
            return None
        values = {name: (text, at) for name, text, at in self._fields(node)}
        needs_key = self.settings.api == "real"
        for name in REQUIRED if needs_key else REQUIRED[:2]:
            if name not in values:
                self._refuse(node, f"{name} is missing.")
        if needs_key and "api_key_env" in values:
            variable, at = values["api_key_env"]
            values["has_api_key"] = self.environment.get(variable, "").strip(), at
            if not re.fullmatch(r"[A-Za-z_]\w*", variable, re.ASCII):
                self._refuse(
                    at,
                    f"api_key_env: {shown(variable)} is not the name of an environment variable,"
                    " such as SHOP_DE_KEY.",
                )
            elif not values["has_api_key"][0]:
                self._refuse(at, f"api_key_env: the variable {variable} is not set.")
        if len(self.errors) > before:
            return None
        try:
            own = Chat.model_validate({name: text for name, (text, _) in values.items()})
        except ValidationError as error:
            for one in error.errors():
                name = str(one["loc"][0])
                called = values["api_key_env"][0] if name == "has_api_key" else name
                text = explained(one, Chat.model_fields[name])
                self._refuse(values[name][1], f"{called}: {text}")
            return None
        return chat_of(self.settings, **{name: getattr(own, name) for name in own.model_fields_set})

    def _fields(self, node: yaml.MappingNode) -> Iterator[tuple[str, str, yaml.Node]]:
        """(field, its text, where it is), without those that are empty."""
        seen = set()
        for key, value in node.value:
            name = str(key.value)
            if name == "timezone":
                self._refuse(
                    key,
                    "timezone: all chats of a database share ZIPCHAT_TIMEZONE, since its days are"
                    " the partitions. A chat in another time zone needs a database of its own.",
                )
            elif name in SHARED:
                self._refuse(
                    key, f"{name}: all chats share this setting. Set ZIPCHAT_{name.upper()}."
                )
            elif name not in FIELDS:
                known = ", ".join(sorted(FIELDS))
                self._refuse(
                    key, f"{shown(name)} is not a setting of a chat. The settings are: {known}."
                )
            elif name in seen:
                self._refuse(key, f"{name} is set twice.")
            elif not isinstance(value, yaml.ScalarNode):
                self._refuse(key, f"{name}: write one value, not a list.")
            elif value.value.strip():
                yield name, value.value.strip(), key
            seen.add(name)

    def _refuse(self, node: yaml.Node, text: str) -> None:
        self.errors.append(f"{self.path.name}, line {node.start_mark.line + 1}: {text}")
