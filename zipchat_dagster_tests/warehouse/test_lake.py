"""What only a lake has: turns, readers that never wait, foreign writers, and services that can be down."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from zipchat_dagster.readers import open_read_only
from zipchat_dagster.warehouse import Warehouse, store
from zipchat_dagster.warehouse.engine import WarehouseError
from zipchat_dagster_tests.conftest import Lakes, disk_full_at, thorough
from zipchat_dagster_tests.warehouse.test_store import (
    CHAT,
    T0,
    conversation,
    put,
    put_messages,
    rows,
)

pytestmark = thorough

COUNT = "select count(*) from zipchat.raw_conversations"


@pytest.fixture
def name(lakes: Lakes) -> Iterator[str]:
    """A lake of the test's own."""
    name = lakes.create()
    yield name
    lakes.drop(name)


@pytest.fixture
def warehouse(lakes: Lakes, name: str) -> Warehouse:
    return lakes.open(name)


def read(warehouse: Warehouse, query: str) -> list[tuple[Any, ...]]:
    with warehouse.connection(read_only=True) as connection:
        return connection.execute(query).fetchall()


# Turns


def test_a_reader_sees_what_is_committed_while_a_writer_has_its_turn(
    lakes: Lakes, name: str, warehouse: Warehouse
) -> None:
    put(warehouse, conversation(id=1))
    reader = lakes.open(name)
    with warehouse.transaction() as transaction:
        transaction.execute("store_setting", name="a", value="b")
        for _ in range(20):
            assert read(reader, COUNT) == [(1,)]
    with reader.connection(read_only=True) as connection:
        assert connection.execute(COUNT).fetchall() == [(1,)]
        for number in range(2, 7):
            put(warehouse, conversation(id=number))  # nor does the writer wait for the reader
        assert connection.execute(COUNT).fetchall() == [(1,)]  # one snapshot for the whole block
    assert read(reader, COUNT) == [(6,)]


def test_a_notebook_opens_the_lake_by_its_name_alone(
    lakes: Lakes, name: str, warehouse: Warehouse
) -> None:
    put(warehouse, conversation())
    with (
        warehouse.connection(),  # a writer has its turn
        open_read_only(lakes.address(name)) as connection,
    ):
        assert connection.execute(COUNT).fetchall() == [(1,)]


def test_a_reader_cannot_write(warehouse: Warehouse) -> None:
    with pytest.raises(Exception, match="read-only"):
        read(warehouse, "delete from zipchat.users")


def test_writers_take_turns_so_that_a_new_key_is_stored_once(lakes: Lakes, name: str) -> None:
    first = lakes.open(name)
    second = threading.Thread(target=lambda: put(lakes.open(name), conversation()))
    with first.transaction() as transaction:
        store.store_conversations(transaction, [conversation()], [T0], chat_id=CHAT)
        second.start()
        while not lakes.run("select from pg_locks where locktype = 'advisory' and not granted"):
            assert second.is_alive()
    second.join()
    assert read(first, COUNT) == [(1,)]


def test_a_writer_that_waits_too_long_learns_who_holds_the_turn(
    lakes: Lakes, name: str, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zipchat_dagster.warehouse.lake.LOCK_TIMEOUT", 0.05)
    with (
        warehouse.connection(purpose="raw_messages"),
        pytest.raises(
            WarehouseError, match=r"written to for 0 s by zipchat_dagster raw_messages on"
        ),
    ):
        put(lakes.open(name), conversation())


def test_a_turn_that_was_lost_is_noticed_before_the_commit(
    lakes: Lakes, warehouse: Warehouse
) -> None:
    with (
        pytest.raises(WarehouseError, match="ended the connection"),
        warehouse.transaction() as transaction,
    ):
        transaction.execute("add_changed", table="zipchat.raw_conversations", chat_id=1)
        lakes.run(
            "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and granted"
        )
    put(warehouse, conversation())  # and it goes on
    assert read(warehouse, COUNT) == [(1,)]


# Writers who take no turns


def test_when_another_commits_first_the_transaction_is_repeated(
    lakes: Lakes, name: str, warehouse: Warehouse
) -> None:
    put(warehouse, conversation())
    stranger = lakes.open(name)
    with warehouse.transaction() as transaction:
        transaction.execute("store_setting", name="ours", value="1")
        with stranger._engine._attached() as other:  # type: ignore[attr-defined]
            other.execute(
                "update zipchat.warehouse_settings set value = 'UTC' where name = 'timezone'"
            )
    stored = dict(read(warehouse, "from zipchat.warehouse_settings"))
    assert (stored["ours"], stored["timezone"]) == ("1", "UTC")


def test_decisions_based_on_a_row_that_another_has_changed_are_not_stored(
    lakes: Lakes, name: str, warehouse: Warehouse
) -> None:
    put(warehouse, conversation())
    stranger = lakes.open(name)
    with (
        pytest.raises(WarehouseError, match="changed the same tables"),
        warehouse.transaction() as transaction,
    ):
        assert transaction.execute("stored_setting", name="timezone") == [("UTC",)]
        transaction.execute("store_setting", name="ours", value="in UTC")
        with stranger._engine._attached() as other:  # type: ignore[attr-defined]
            other.execute(
                "update zipchat.warehouse_settings set value = 'Asia/Kolkata' where name = 'timezone'"
            )
    stored = dict(read(warehouse, "from zipchat.warehouse_settings"))
    assert stored["timezone"] == "Asia/Kolkata"
    assert "ours" not in stored


# Options and maintenance


def test_a_new_lake_has_our_options_once(lakes: Lakes, name: str, warehouse: Warehouse) -> None:
    put_messages(warehouse, {"id": 1, "created_at": "2026-03-03T09:30:00Z"})
    lakes.open(name)
    options = dict(read(warehouse, "select option_name, value from warehouse.options()"))
    assert options["data_inlining_row_limit"] == "0"
    assert options["parquet_compression"] == "zstd"
    partitions = "select count(*) from __ducklake_metadata_warehouse.ducklake_partition_info"
    assert read(warehouse, partitions) == [(1,)]
    (path,) = read(
        warehouse,
        "select data_file from ducklake_list_files('warehouse', 'raw_messages', schema => 'zipchat')",
    )
    assert re.search(r"chat_id=1/.*year=2026/.*month=3/", path[0])


def test_maintenance_merges_files_and_changes_no_row(warehouse: Warehouse) -> None:
    for number in range(6):
        put(warehouse, conversation(id=number))
    before = read(warehouse, "from zipchat.raw_conversations order by conversation_id")
    counted = warehouse.maintain(dry_run=True)
    assert read(warehouse, "from zipchat.raw_conversations order by conversation_id") == before
    done = warehouse.maintain()
    assert done["data_files_before"] == counted["data_files_before"]
    assert done["files_merged"] >= 6
    assert done["data_files_after"] < done["data_files_before"]
    assert warehouse.maintain()["files_merged"] == 0
    assert read(warehouse, "from zipchat.raw_conversations order by conversation_id") == before
    put(warehouse, conversation(id=6))
    assert rows(warehouse, COUNT) == [(7,)]


def test_a_lake_has_nothing_to_publish(warehouse: Warehouse, tmp_path: Path) -> None:
    assert warehouse.publish(tmp_path / "copy.duckdb") is None
    assert not list(tmp_path.iterdir())


# What can be down: one sentence each, without a password


@pytest.fixture
def broken(lakes: Lakes, name: str) -> Any:
    """Expects a message when a lake is written to and when it is read, at another address."""

    def check(message: str, *, address: str = "", data_path: str = "") -> None:
        for use in (lambda w: put(w, conversation()), lambda w: read(w, COUNT)):
            warehouse = Warehouse(
                address or lakes.address(name), data_path=data_path or lakes.data_path
            )
            with pytest.raises(WarehouseError, match=message) as raised:
                use(warehouse)
            assert "\n" not in str(raised.value)
            assert lakes.server.password not in str(raised.value)

    return check


def test_an_unreachable_postgresql_is_reported(lakes: Lakes, name: str, broken: Any) -> None:
    address = lakes.address(name).replace(f"port={lakes.server.port}", "port=1")
    broken("PostgreSQL cannot be reached .*Connection refused", address=address)


def test_a_wrong_password_is_reported(broken: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "wrong-secret")
    broken("PostgreSQL refused to log in .*PGPASSWORD")


def test_a_query_that_a_restart_of_postgresql_aborts_is_reported(warehouse: Warehouse) -> None:
    put(warehouse, conversation())
    found = (  # what DuckDB raises when it fetches from it
        "Invalid Input Error: Attempting to fetch from an unsuccessful query result\n"
        "Error: TransactionContext Error: Current transaction is aborted (please ROLLBACK)"
    )
    with (
        pytest.raises(WarehouseError, match="PostgreSQL cannot be reached or ended the connection"),
        warehouse.connection(read_only=True),
    ):
        raise duckdb.InvalidInputException(found)


def test_a_catalog_of_another_version_is_not_migrated(lakes: Lakes, name: str, broken: Any) -> None:
    for version in ("0.3", "9.9"):
        lakes.run(
            "update ducklake_metadata set value = %s where key = 'version'", version, database=name
        )
        broken(f"catalog of another version .*{version}.* Nothing was changed")


def test_another_data_path_is_reported(broken: Any, tmp_path: Path) -> None:
    broken("another ZIPCHAT_DATA_PATH", data_path=str(tmp_path / "other"))


def test_data_that_cannot_be_written_loses_nothing(lakes: Lakes, tmp_path: Path) -> None:
    place = tmp_path / "data"
    name = lakes.create(template="template1")
    warehouse = Warehouse(lakes.address(name), data_path=str(place))
    put(warehouse, conversation(id=1))
    moved = place.rename(tmp_path / "elsewhere")
    place.write_text("in the way")
    with pytest.raises(WarehouseError, match="cannot be read or written") as raised:
        put(warehouse, conversation(id=2))
    assert str(place) in str(raised.value)
    place.unlink()
    moved.rename(place)
    put(warehouse, conversation(id=3))
    assert read(warehouse, "select conversation_id from zipchat.raw_conversations order by 1") == [
        (1,),
        (3,),
    ]
    lakes.drop(name)


def test_no_space_for_data_loses_nothing(warehouse: Warehouse) -> None:
    put(warehouse, conversation(id=1))
    message = r"cannot be read or written .*File too large"
    with pytest.raises(WarehouseError, match=message), disk_full_at(100):
        put(warehouse, conversation(id=2))
    put(warehouse, conversation(id=3))
    found = "select conversation_id from zipchat.raw_conversations order by 1"
    assert read(warehouse, found) == [(1,), (3,)]


def test_after_a_restart_of_postgresql_it_goes_on(lakes: Lakes, warehouse: Warehouse) -> None:
    put(warehouse, conversation(id=1))
    lakes.server.restart()
    put(warehouse, conversation(id=2))
    assert read(warehouse, COUNT) == [(2,)]


def test_a_url_for_the_catalog_is_refused_because_it_could_hold_a_password() -> None:
    with pytest.raises(WarehouseError, match="dbname="):
        Warehouse("ducklake:postgres:postgresql://user@host/lake", data_path="data")


def test_a_password_in_the_name_is_refused_and_not_shown(lakes: Lakes, name: str) -> None:
    for address in (
        f"{lakes.address(name)} password=secret",
        f"{lakes.address(name)} PASSWORD = 'secret'",
        "ducklake:postgres:postgresql://user:secret@host/lake",
        "md:lake?motherduck_token=secret",
    ):
        with pytest.raises(WarehouseError, match="password") as raised:
            Warehouse(address, data_path=lakes.data_path)
        assert "secret" not in str(raised.value)
