"""`make estimate`: runs `estimate_job` for a range of days and prints the result."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import dagster as dg
import dotenv

from zipchat_dagster.client import SettingError
from zipchat_dagster.settings import PROJECT


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the estimate, or to stderr one sentence about what is wrong.

    Returns:
        the exit code: 0, or 1 if there is no estimate.
    """
    parser = argparse.ArgumentParser(
        prog="python -m zipchat_dagster.estimate_cli",
        description="Estimate the cost of a backfill in requests and hours. Stores nothing.",
    )
    parser.add_argument("--first", default="", help="first day; default: ZIPCHAT_START_DATE")
    parser.add_argument("--last", default="", help="last day, inclusive; default: today")
    parser.add_argument(
        "--chat", default="", help="the chat's name, if ZIPCHAT_CHATS lists several"
    )
    options = parser.parse_args(arguments)
    dotenv.load_dotenv(PROJECT / ".env")
    try:
        print(_estimate(options))
    except SettingError as error:
        print(error, file=sys.stderr)
        return 1
    except dg.Failure as failure:
        print(failure.description, file=sys.stderr)
        return 1
    return 0


def _estimate(options: argparse.Namespace) -> str:
    # Imported here because the definitions read the environment when they are imported.
    from zipchat_dagster.definitions import chats, defs
    from zipchat_dagster.lanes import Lane

    lane = Lane(options.chat)
    names = [chat.name for chat in chats]
    if options.chat not in names:
        known = f"write one of the names in ZIPCHAT_CHATS: {', '.join(names)}."
        raise SettingError(f"--chat: {known if any(names) else 'ZIPCHAT_CHATS is not set.'}")
    days = {"first": options.first, "last": options.last}
    result = defs.resolve_job_def(lane.named("estimate_job")).execute_in_process(
        run_config={
            "ops": {lane.step("estimate"): {"config": days}},
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
        },
    )
    return str(result.output_for_node(lane.step("estimate")))


if __name__ == "__main__":
    sys.exit(main())
