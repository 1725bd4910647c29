"""Fetch the latest conversations: at most 20 of the last seven days, newest activity first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from zipchat_dagster.client import ZipchatClient
from zipchat_dagster.examples.common import run


def latest_conversations(client: ZipchatClient) -> None:
    """Print the 20 conversations with the newest activity."""
    since = datetime.now(UTC) - timedelta(days=7)
    # By id, since a conversation that changes while the list is read appears twice.
    newest = {row["id"]: row for row in client.iter_conversations(since=since)}
    latest = sorted(newest.values(), key=lambda row: str(row["last_message_at"]), reverse=True)
    for row in latest[:20]:
        print(row["id"], row["last_message_at"], row["channel"])


if __name__ == "__main__":
    run(latest_conversations)
