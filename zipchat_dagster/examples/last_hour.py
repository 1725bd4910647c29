"""Fetch the conversations updated in the last hour."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from zipchat_dagster.client import ZipchatClient
from zipchat_dagster.examples.common import run


def last_hour(client: ZipchatClient) -> None:
    """Print each conversation with activity in the last hour."""
    since = datetime.now(UTC) - timedelta(hours=1)
    newest = {row["id"]: row for row in client.iter_conversations(since=since)}
    for row in newest.values():
        who = "a human" if row["manual_reply_mode"] else "the AI"
        print(row["id"], row["last_message_at"], f"answered by {who}")


if __name__ == "__main__":
    run(last_hour)
