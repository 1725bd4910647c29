"""dlt: `python -m benchmarks.peer_dlt <base URL> <DuckDB file> <loader file format>`.

Its REST API source as the documentation describes it: messages are a child resource of
conversations, parallelized, and everything is merged by primary key. See peers.py.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import dlt
from dlt.sources.helpers.rest_client.paginators import PageNumberPaginator
from dlt.sources.rest_api import rest_api_source


def main(base_url: str, path: Path, loader_file_format: str) -> None:
    source = rest_api_source(
        {
            "client": {
                "base_url": f"{base_url}/chats/1/",
                "auth": {"type": "bearer", "token": "zc-sandbox"},
            },
            "resource_defaults": {"primary_key": "id", "write_disposition": "merge"},
            "resources": [
                resource("users", "users", {"per_page": 100}, "users", "page"),
                resource(
                    "conversations", "conversations", {"per_page": 100}, "conversations", "page"
                ),
                {
                    **resource(
                        "messages",
                        "conversations/{resources.conversations.id}",
                        {"message_per_page": 200},
                        "conversation.messages",
                        "message_page",
                    ),
                    "include_from_parent": ["id"],
                    "parallelized": True,
                },
            ],
        }
    )
    pipeline = dlt.pipeline(
        "peer",
        destination=dlt.destinations.duckdb(str(path)),
        dataset_name="chat",
        pipelines_dir=str(path.parent / "dlt"),
    )
    pipeline.run(source, loader_file_format=loader_file_format).raise_on_failed_jobs()


def resource(name: str, path: str, params: dict[str, int], rows: str, page: str) -> dict[str, Any]:
    paginator = PageNumberPaginator(base_page=1, page_param=page, total_path="meta.total_pages")
    endpoint = {"path": path, "params": params, "data_selector": rows, "paginator": paginator}
    return {"name": name, "endpoint": endpoint}


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
