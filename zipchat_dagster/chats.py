"""The chats of this code location, each with its own settings."""

from __future__ import annotations

from zipchat_dagster.settings import ChatSettings, Settings


class Chat(ChatSettings):
    """One chat.

    Attributes:
        name: what its assets and jobs are called after; empty for the only one.
        api_key_env: the environment variable that holds its key.
    """

    name: str = ""
    api_key_env: str = "ZIPCHAT_API_KEY"


def load_chats(settings: Settings) -> list[Chat]:
    """The only chat is the one in the environment."""
    own = {name: getattr(settings, name) for name in ChatSettings.model_fields}
    return [Chat.model_construct(**own)]
