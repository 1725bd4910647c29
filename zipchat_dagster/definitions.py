"""Everything wired together: the code location that Dagster loads."""

from zipchat_dagster.build import build_definitions
from zipchat_dagster.chats import load_chats
from zipchat_dagster.settings import load_settings

settings = load_settings()
defs = build_definitions(settings, load_chats(settings))
