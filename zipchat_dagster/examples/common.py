"""What the examples share: settings from the environment, arguments, and errors in a sentence."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable

from zipchat_dagster.client import BASE_URL, SettingError, ZipchatClient, ZipchatError


def run(example: Callable[..., None], **arguments: Callable[[str], object]) -> None:
    """Call `example` with a client and its command-line `arguments` (name → type).

    Exits with 2 when a setting or an argument is missing or malformed, with 1 when a call failed.
    """
    parser = argparse.ArgumentParser(description=example.__doc__)
    for name, kind in arguments.items():
        parser.add_argument(name, type=kind)
    values = vars(parser.parse_args())
    if isinstance(sys.stdout, io.TextIOWrapper):  # a customer's emoji on a Windows console
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with ZipchatClient(
            api_key=os.environ.get("ZIPCHAT_API_KEY", ""),
            chat_id=os.environ.get("ZIPCHAT_CHAT_ID", ""),
            base_url=os.environ.get("ZIPCHAT_BASE_URL", "").strip() or BASE_URL,
        ) as client:
            example(client, **values)
    except ZipchatError as error:
        print(error, file=sys.stderr)
        sys.exit(2 if isinstance(error, SettingError) else 1)
