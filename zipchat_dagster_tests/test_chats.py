"""Several chats from one file: how the file is checked, and that each chat has its own lane."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from zipchat_dagster.build import build_definitions
from zipchat_dagster.chats import Chat, load_chats
from zipchat_dagster.client import SettingError
from zipchat_dagster.sandbox import Sandbox, generate, serve
from zipchat_dagster.settings import Settings
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster_tests.conftest import NOW, thorough
from zipchat_dagster_tests.single import QUIET, metadata_of

SECRET = "zc-never-shown"
KEYS = {"DE_KEY": "zc-de", "FR_KEY": "zc-fr", "ODD_KEY": f"{SECRET} 2"}
ENTRY = "- name: shop_de\n  chat_id: 1\n  api_key_env: DE_KEY\n"
FIRST, LAST = (f"{NOW - timedelta(days=n):%Y-%m-%d}" for n in (6, 0))


def chats_of(folder: Path, text: str, **settings: str) -> list[Chat]:
    path = folder / "chats.yaml"
    path.write_text(text, "utf-8")
    environment = {"ZIPCHAT_CHATS": str(path), **settings}
    return load_chats(Settings.from_environment(environment), environment | KEYS)


def test_a_chat_has_the_settings_of_the_environment_and_its_own(tmp_path: Path) -> None:
    text = f"chats:\n{ENTRY}  reserve: 0.5\n  start_date: 2026-01-31\n{other()}"
    first, second = chats_of(tmp_path, text, ZIPCHAT_RESERVE="0.1", ZIPCHAT_QUIET_HOURS="5")
    assert (first.name, first.chat_id, first.api_key_env) == ("shop_de", 1, "DE_KEY")
    assert (first.reserve, first.quiet_hours, f"{first.start_date}") == (0.5, 5, "2026-01-31")
    assert (second.name, second.reserve) == ("shop_fr", 0.1)
    assert first.has_api_key


def with_(old: str, new: str) -> str:
    """A file of one chat that has something else instead."""
    return "chats:\n" + ENTRY.replace(old, new)


def other(name: str = "shop_fr", chat_id: int = 2) -> str:
    return f"- name: {name}\n  chat_id: {chat_id}\n  api_key_env: FR_KEY\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "line 1: write chats: and below it a list"),
        ("chats: []", "line 1: write chats: and below it a list"),
        ("chats:\n- name: 'x", "line 2: found unexpected end of stream."),
        ("chats:\n- shop_de", "line 2: write an entry such as - name: shop_de."),
        (f"chats:\n{ENTRY}{other(chat_id=1)}", "line 5: chat_id: 1 is listed twice."),
        (f"chats:\n{ENTRY}{other('shop_de')}", "line 5: name: shop_de is listed twice."),
        (
            f"chats:\n{ENTRY}  colour: red",
            "line 5: “colour” is not a setting of a chat. The settings are:",
        ),
        (f"chats:\n{ENTRY}  reserve: 5", "line 5: reserve: 5 is not between 0 and 0.9."),
        (f"chats:\n{ENTRY}  reserve: [1]", "line 5: reserve: write one value, not a list."),
        (f"chats:\n{ENTRY}  name: again", "line 5: name is set twice."),
        (
            f"chats:\n{ENTRY}  timezone: UTC",
            "line 5: timezone: all chats of a database share ZIPCHAT",
        ),
        (f"chats:\n{ENTRY}  database: x", "line 5: database: all chats share this setting. Set"),
        ("chats:\n- name: shop_de\n  chat_id: 1", "line 2: api_key_env is missing."),
        (with_("DE_KEY", "NO_KEY"), "variable NO_KEY is not"),
        (with_("DE_KEY", "ODD_KEY"), "line 4: ODD_KEY: it contains a"),
        (with_("DE_KEY", SECRET), "line 4: api_key_env: the value (not"),
        (with_("shop_de", "Shop"), "line 2: name: “Shop” is not"),
        (
            ENTRY.replace("- ", "chats:\n- ").replace(": 1", ": one"),
            "line 3: chat_id: “one” is not a",
        ),
    ],
)
def test_a_mistake_in_the_file_is_reported_in_one_sentence_with_its_line(
    tmp_path: Path, text: str, sentence: str
) -> None:
    with pytest.raises(SettingError) as caught:
        chats_of(tmp_path, text)
    (line,) = str(caught.value).splitlines()
    assert line.startswith("chats.yaml, line ")
    assert sentence in line
    assert SECRET not in line


def test_a_missing_file_or_another_chat_in_the_environment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"^ZIPCHAT_CHAT_ID: ZIPCHAT_CHATS is set too"):
        chats_of(tmp_path, f"chats:\n{ENTRY}", ZIPCHAT_CHAT_ID="3")
    environment = {"ZIPCHAT_CHATS": str(tmp_path / "none.yaml")}
    with pytest.raises(
        SettingError, match=r"^ZIPCHAT_CHATS: “.*none\.yaml” cannot be read: No such file"
    ):
        load_chats(Settings.from_environment(environment), environment)


# Lanes


class Shops:
    """Sandboxes of several chats over HTTP, and a code location with all of them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.instance = stack.enter_context(dg.instance_for_test(temp_dir=str(folder)))
        self.warehouse = Warehouse(folder / "warehouse.duckdb")
        self.sandboxes: dict[str, Sandbox] = {}
        self.urls: dict[str, str] = {}
        for number, name in enumerate(("shop_de", "shop_fr"), 1):
            chat = generate(
                seed=number, conversations=25, days=6, now=NOW, chat_id=number, max_messages=8
            )
            sandbox = Sandbox(chat=chat, limit=None, key=f"zc-{name[-2:]}")
            self.sandboxes[name] = sandbox
            self.urls[name] = stack.enter_context(serve(sandbox))

    def definitions(self, *names: str, **changes: str) -> dg.Definitions:
        entries = [
            f"- name: {name}\n  chat_id: {self.sandboxes[name].chat.chat_id}\n"
            f"  api_key_env: {name[-2:].upper()}_KEY\n  base_url: {self.urls[name]}\n"
            + changes.get(name, "")
            for name in names
        ]
        settings = {
            "ZIPCHAT_DATABASE": str(self.warehouse.path),
            "ZIPCHAT_START_DATE": f"{NOW - timedelta(days=20):%Y-%m-%d}",
        }
        chats = chats_of(self.folder, f"chats:\n{''.join(entries)}", **settings)
        path = {"ZIPCHAT_CHATS": str(self.folder / "chats.yaml")}
        return build_definitions(Settings.from_environment(settings | path), chats)

    def sync(self, defs: dg.Definitions, name: str, *tables: str) -> dg.ExecuteInProcessResult:
        """The chat's sync of the last days; of these tables only, and without checks, if given."""
        return defs.resolve_job_def(f"{name}_sync_job").execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey([name, table]) for table in tables] or None,
            run_config=QUIET,
            tags={
                "dagster/asset_partition_range_start": FIRST,
                "dagster/asset_partition_range_end": LAST,
            },
            raise_on_error=False,
        )

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with self.warehouse.connection() as connection:
            return connection.execute(statement).fetchall()


@pytest.fixture
def shops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shops]:
    for name, key in KEYS.items():
        monkeypatch.setenv(name, key)
    with ExitStack() as stack:
        yield Shops(tmp_path, stack)


def test_several_chats_have_a_report_of_all_of_them(shops: Shops) -> None:
    defs = shops.definitions("shop_de", "shop_fr")
    result = defs.resolve_job_def("chats_report_job").execute_in_process(
        instance=shops.instance, run_config=QUIET
    )
    metadata = metadata_of(result, "chats_report")
    assert (metadata["chats"], metadata["waiting_now"]) == (2, 0)
    page = shops.folder / "warehouse_report.html"  # where that of a single chat would be
    assert metadata["report"] == str(page)
    assert "never synced" in page.read_text("utf-8")
    key = dg.AssetKey("chats_report")
    parents = defs.resolve_asset_graph().get(key).parent_keys
    assert parents == {dg.AssetKey([name, "escalation_report"]) for name in ("shop_de", "shop_fr")}
    alone = shops.definitions("shop_de").resolve_asset_graph()
    assert not alone.has(key)


@thorough
def test_each_chat_has_its_own_lane_in_shared_tables(
    shops: Shops, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = "  response_target_seconds: 60\n"
    defs = shops.definitions("shop_de", "shop_fr", shop_fr=rules)
    monkeypatch.setenv("DE_KEY", "zc-revoked")
    failed = shops.sync(defs, "shop_de", "users")
    assert not failed.success
    assert "See DE_KEY." in str(failed.failure_data_for_node("shop_de__users"))
    assert shops.sync(defs, "shop_fr").success
    monkeypatch.setenv("DE_KEY", KEYS["DE_KEY"])
    tables = ("raw_conversations", "raw_messages", "sla_events", "conversation_facts")
    assert shops.sync(defs, "shop_de", *tables).success
    for chat_id, sandbox in enumerate(shops.sandboxes.values(), 1):
        assert_stored(shops, chat_id, sandbox)
    targets = "select chat_id, max(target_seconds) from zipchat.sla_events group by all order by 1"
    assert shops.rows(targets) == [(1, None), (2, 60.0)]
    page = (shops.folder / "warehouse_shop_fr_report.html").read_text("utf-8")
    assert "<title>shop_fr · Escalations</title>" in page
    done = shops.instance.get_materialized_partitions(dg.AssetKey(["shop_fr", "raw_messages"]))
    assert (FIRST in done, len(done)) == (True, 7)


def assert_stored(shops: Shops, chat_id: int, sandbox: Sandbox) -> None:
    """Every conversation and message of the chat, and nothing else under its number."""
    truth = sandbox.truth()
    expected = {
        "raw_conversations": len(truth["conversations"]),
        "raw_messages": sum(map(len, truth["messages"].values())),
        "conversation_facts": len(truth["conversations"]),
    }
    for table, count in expected.items():
        found = shops.rows(f"select count(*) from zipchat.{table} where chat_id = {chat_id}")
        assert found == [(count,)], table


@thorough
def test_a_setting_of_one_chat_derives_only_its_rows_again(shops: Shops) -> None:
    tables = ("raw_conversations", "raw_messages", "escalation_metrics")
    assert shops.sync(shops.definitions("shop_de", "shop_fr"), "shop_de", *tables).success
    computed = "select max(computed_at) from zipchat.conversation_facts"
    before = shops.rows(computed)
    changed = shops.definitions("shop_de", "shop_fr", shop_fr="  quiet_hours: 5\n")
    assert shops.sync(changed, "shop_fr", *tables).success
    assert shops.rows(f"{computed} where chat_id = 1") == before != shops.rows(computed)


def test_a_chat_that_leaves_the_file_keeps_its_rows(shops: Shops) -> None:
    chats = "select chat_id, name, is_current from zipchat.chats order by chat_id"
    assert shops.sync(shops.definitions("shop_de", "shop_fr"), "shop_de", "users").success
    assert shops.rows(chats) == [(1, "shop_de", True), (2, "shop_fr", True)]
    rows = shops.rows("select count(*) from zipchat.users")
    result = shops.sync(shops.definitions("shop_fr"), "shop_fr", "users")
    assert result.success
    assert shops.rows(chats) == [(1, "shop_de", False), (2, "shop_fr", True)]
    assert shops.rows("select count(*) from zipchat.users where chat_id = 1") == rows != [(0,)]
    logged = [event.user_message for event in shops.instance.all_logs(result.run_id)]
    assert sum("shop_de (chat 1) is no longer in ZIPCHAT_CHATS" in text for text in logged) == 1
