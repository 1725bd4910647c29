"""What the examples share: settings from the environment, arguments, errors as one sentence."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable
from typing import TypeVar

from zipchat_dagster.client import SettingError, ZipchatClient, ZipchatError
from zipchat_dagster.client.options import (
    BASE_URL,
    check_api_key,
    check_base_url,
    check_chat_id,
    checked,
)

T = TypeVar("T")


def run(example: Callable[..., None], **arguments: Callable[[str], object]) -> None:
    """Call `example` with a client and its command-line `arguments` (name → type).

    Exits with 2 if a setting or an argument is missing or malformed, and with 1 if a call fails.
    """
    parser = argparse.ArgumentParser(description=example.__doc__)
    for name, kind in arguments.items():
        parser.add_argument(name, type=kind)
    values = vars(parser.parse_args())
    if isinstance(sys.stdout, io.TextIOWrapper):  # a customer's emoji on a Windows console
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with ZipchatClient(
            api_key=_setting("ZIPCHAT_API_KEY", check_api_key),
            chat_id=_setting("ZIPCHAT_CHAT_ID", check_chat_id),
            base_url=_setting("ZIPCHAT_BASE_URL", check_base_url, default=BASE_URL),
        ) as client:
            example(client, **values)
    except ZipchatError as error:
        print(error, file=sys.stderr)
        sys.exit(2 if isinstance(error, SettingError) else 1)


def _setting(name: str, check: Callable[[str], T], default: str = "") -> T:
    return checked(name, check, os.environ.get(name, "").strip() or default)
