"""This project: `python peer_this.py <base URL> <DuckDB file>`.

Users, conversations and messages as the assets sync them, with a budget file. See peers.py.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from zipchat_dagster.client import ZipchatClient
from zipchat_dagster.sync import sync_conversations, sync_messages, sync_users
from zipchat_dagster.warehouse import Warehouse

LOG = logging.getLogger("zipchat_dagster")


def main(base_url: str, path: Path) -> None:
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    since, until = midnight - timedelta(days=90), midnight + timedelta(days=1)
    days = [f"{since + timedelta(days=n):%Y-%m-%d}" for n in range((until - since).days)]
    warehouse = Warehouse(path)
    with ZipchatClient(
        api_key="zc-sandbox",
        chat_id=1,
        base_url=base_url,
        budget=path.with_name("budget.sqlite"),
    ) as client:
        sync_users(client, warehouse)
        sync_conversations(client, warehouse, since=since, refresh=False, log=LOG)
        sync_messages(
            client, warehouse, since=since, until=until, days=days, refresh=False, log=LOG
        )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
