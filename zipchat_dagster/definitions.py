"""Everything wired together: the code location that Dagster loads."""

import os

from zipchat_dagster.build import build_definitions
from zipchat_dagster.chats import load_chats
from zipchat_dagster.settings import load_settings

settings = load_settings()
chats = load_chats(settings, os.environ)
defs = build_definitions(settings, chats)
