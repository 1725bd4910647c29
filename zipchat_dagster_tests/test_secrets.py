"""The key is only in the request's header, and customers' words are only in the tables."""

from __future__ import annotations

import logging
import socket
from pathlib import Path

import dagster as dg
import pytest

from zipchat_dagster.notify import NotDeliveredError, Notifier, Report
from zipchat_dagster.resources import WarehouseResource
from zipchat_dagster.sandbox import Request, Sandbox, generate, serve
from zipchat_dagster_tests.conftest import NOW
from zipchat_dagster_tests.single import ASSETS, api_at

KEY = "zc-marked-0123456789"
WORDS = "Please marked-text to Ada"
FORGED = f"oops {KEY}\n2026-01-01 00:00:00 - dagster - INFO - all is well\x1b[2K\r\u2028\u202e"
API_ASSETS = [asset for asset in ASSETS if asset.op.pool == "zipchat_api"]


def test_failed_syncs_leave_the_key_in_no_file_and_no_log(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    chat = generate(seed=1, conversations=3, days=2, now=NOW)
    chat.add_message(chat.add_conversation(at=NOW).id, at=NOW, message=WORDS)
    broken = chat.add_conversation(at=NOW).id
    failing: set[tuple[str | None, int | None]] = {("show", broken)}  # and then the list

    def before_request(_sandbox: Sandbox, request: Request) -> None:
        if (request.endpoint, request.id) in failing:
            raise RuntimeError(FORGED)  # which the server answers with 500 and these words

    sandbox = Sandbox(chat=chat, limit=None, key=KEY, before_request=before_request)
    with (
        serve(sandbox) as url,
        dg.DagsterInstance.ephemeral() as instance,
        pytest.MonkeyPatch.context() as environment,
    ):
        environment.setenv("ZIPCHAT_API_KEY", KEY)
        environment.setattr("zipchat_dagster.client.call.ATTEMPTS", 2)
        zipchat = api_at(url, tmp_path, api_key=dg.EnvVar("ZIPCHAT_API_KEY"))
        database = WarehouseResource(database=str(tmp_path / "warehouse.duckdb"))
        for expected in (True, False):
            result = dg.materialize(
                API_ASSETS,
                partition_key=f"{NOW:%Y-%m-%d}",
                resources={"zipchat": zipchat, "warehouse": database},
                instance=instance,
                raise_on_error=False,
            )
            assert result.success == expected
            failing.add(("list", None))
        runs = instance.get_runs()
        events = "\n".join(str(event) for run in runs for event in instance.all_logs(run.run_id))
    printed = "".join(capfd.readouterr())
    for path in (f"conversations/{broken}", "conversations"):
        assert f"/chats/1/{path}: the API answered 500" in events
        assert f"/chats/1/{path}: the API answered 500" in printed
    assert "httpcore" in caplog.text
    for shown in (events, printed, caplog.text, repr(runs), repr(zipchat)):
        assert KEY not in shown
        assert WORDS not in shown
        assert "\x1b[2K" not in shown
        assert "\n2026-01-01 00:00:00 - dagster" not in shown
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {path.name for path in files} >= {"budget.sqlite", "warehouse.duckdb"}
    assert not [path for path, content in files.items() if KEY.encode() in content]
    with_words = {path.name for path, content in files.items() if WORDS.encode() in content}
    assert with_words == {"warehouse.duckdb"}


def test_a_webhooks_address_is_in_no_log_of_any_level_and_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/marked-webhook"
    notifier = Notifier(webhook_url=url)
    with pytest.MonkeyPatch.context() as quick, pytest.raises(NotDeliveredError) as caught:
        quick.setattr("zipchat_dagster.notify.PAUSES", (0.0,))
        notifier.send(Report("run_failed", "key", "text", {}), logging.getLogger("test"))
    for shown in (caplog.text, repr(notifier), repr(caught.value), repr(caught.value.__cause__)):
        assert "marked-webhook" not in shown
