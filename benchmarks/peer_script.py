"""What one writes in an afternoon: `python -m benchmarks.peer_script <base URL> <DuckDB file>`.

One loop over pages and conversations, all rows in memory, frames into DuckDB at the end. Runs in an
environment of its own; see peers.py.
"""

from __future__ import annotations

import sys
from typing import Any

import duckdb
import httpx
import pandas as pd


def main(base_url: str, path: str) -> None:
    headers = {"Authorization": "Bearer zc-sandbox"}
    with httpx.Client(base_url=f"{base_url}/chats/1", headers=headers, timeout=30) as client:
        users = pages(client, "users")
        conversations = pages(client, "conversations")
        messages = []
        for conversation in conversations:
            number = 1
            while True:
                params = {"message_page": number, "message_per_page": 200}
                answer = client.get(f"conversations/{conversation['id']}", params=params)
                answer.raise_for_status()
                rows = answer.json()["conversation"]["messages"]
                messages += [{**row, "conversation_id": conversation["id"]} for row in rows]
                if len(rows) < 200:
                    break
                number += 1
    with duckdb.connect(path) as connection:
        tables = {"users": users, "conversations": conversations, "messages": messages}
        for name, records in tables.items():
            connection.register("frame", pd.json_normalize(records))
            connection.execute(f"create or replace table {name} as from frame")


def pages(client: httpx.Client, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    while True:
        params = {"page": len(rows) // 100 + 1, "per_page": 100}
        answer = client.get(name, params=params)
        answer.raise_for_status()
        page = answer.json()[name]
        rows += page
        if len(page) < 100:
            return rows


if __name__ == "__main__":
    main(*sys.argv[1:])
