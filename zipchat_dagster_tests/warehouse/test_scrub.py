"""`Warehouse.scrub`: what was deleted or overwritten is in no file and no catalog afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster.warehouse.search import files_with
from zipchat_dagster.warehouse.warehouse import SCRUB_DUE
from zipchat_dagster_tests.conftest import Lakes, Open, create_tables

GONE, KEPT, TEXT = "A-gone@example.org", "b-kept@example.org", "Nothing personal"


@contextmanager
def filled(tables: Warehouse) -> Iterator[None]:
    """Fill the tables, delete personal data in several ways, and check what is left at the end."""
    create_tables(tables)
    for statement in (
        f"""insert into zipchat.raw_messages (chat_id, message_id, partition_date, message, message_text, payload)
        select 1, i, date '2026-01-01', '{GONE}' || i, '{GONE}', '{{"message": "{GONE}"}}' from range(100) r (i)""",
        f"""insert into zipchat.raw_messages (chat_id, message_id, partition_date, message)
        select 1, i, date '2026-02-01', '{KEPT}' from range(1000, 1010) r (i)""",
        # all rows of a file, some rows of a file, and an overwritten value
        "delete from zipchat.raw_messages where message_id < 50",
        f"update zipchat.raw_messages set message = '{TEXT}', message_text = null, payload = null where message_id < 75",
        "delete from zipchat.raw_messages where message_id between 75 and 99",
    ):
        with tables.connection() as connection:
            connection.execute(statement)
    with tables.transaction() as transaction:
        transaction.needs_scrub()
    yield
    with tables.connection(read_only=True) as connection:
        found = connection.execute(
            "select message, count(*) from zipchat.raw_messages group by all order by all"
        ).fetchall()
        assert found == [(TEXT, 25), (KEPT, 10)]
        query = "select count(*) from zipchat.raw_messages where message = ?"
        assert connection.execute(query, [KEPT]).fetchall() == [(10,)]


def holding(text: str, files: Iterable[Path]) -> list[Path]:
    return [path for path in files if path.is_file() and text.encode() in path.read_bytes()]


def test_nothing_deleted_is_left_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "tables[1].duckdb"
    tables = Warehouse(path)
    with filled(tables):
        spilled = tmp_path / f"{path.name}.tmp" / "duckdb_temp_storage-0.tmp"
        spilled.parent.mkdir()
        for left in (spilled, tmp_path / f"{path.name}.unfinished.wal"):
            left.write_text(GONE)  # by a killed process
        assert path in holding(GONE, tmp_path.rglob("*"))
        assert tables.places_with([GONE]) == [
            str(path),
            f"{path}.tmp/{spilled.name}",
            f"{path}.unfinished.wal",
        ]
        counts = tables.scrub()
        assert counts["bytes_after"] < counts["bytes_before"]
        assert holding(GONE, tmp_path.rglob("*")) == []


def test_a_file_that_is_removed_during_the_search_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (kept := tmp_path / "kept").write_text(GONE)
    lock = tmp_path / "lock"
    lock.touch()

    def is_file(path: Path) -> bool:
        lock.unlink(missing_ok=True)
        return True

    monkeypatch.setattr(Path, "is_file", is_file)
    assert files_with([GONE], [kept, lock]) == [kept]


def test_nothing_deleted_is_left_in_a_lake(lakes: Lakes, tmp_path: Path) -> None:
    import psycopg2

    name = lakes.create(template="template1")
    tables = Warehouse(lakes.address(name), data_path=str(tmp_path / "lake"))
    server = lakes.server

    def pages() -> list[Path]:
        """PostgreSQL's files that hold it. Its log of changes is left out."""
        lakes.run("checkpoint")
        return holding(GONE, server.data.glob("base/**/*"))

    with filled(tables):
        lakes.run("analyze", database=name)
        assert holding(GONE, tmp_path.rglob("*"))
        assert len(pages()) > 1
        catalog = {
            f"the lake's catalog (ducklake_{kind}_column_stats)" for kind in ("file", "table")
        }
        assert set(tables.places_with([GONE])) == catalog
        orphan = tmp_path / "lake" / "by_a_killed_process.parquet"
        with tables.connection() as writer:
            writer.execute(f"copy (select '{GONE}' as text) to '{orphan}' (format parquet)")
        counts = tables.scrub()
        assert tables.places_with([GONE]) == [str(orphan)]
        orphan.unlink()
        assert counts["snapshots_expired"] > 0
        assert counts["files_deleted"] > 0
        assert holding(GONE, tmp_path.rglob("*")) == []
        assert pages() == []
        with (
            closing(
                psycopg2.connect(host=server.host, port=server.port, user=server.user, dbname=name)
            ) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(
                "select min_value, max_value from ducklake_table_column_stats where min_value = %s",
                [TEXT],
            )
            assert cursor.fetchall() == [(TEXT, KEPT)]
    lakes.drop(name)


@pytest.mark.parametrize("value", ["a", "m", "z"])
def test_rows_written_after_a_scrub_are_found(place: Open, value: str) -> None:
    """A lake reads only the files whose range of values, according to its catalog, fits the query."""
    tables = place()
    with filled(tables):
        tables.scrub()
    for at_work in (tables, place()):
        with at_work.connection() as connection:
            connection.execute("insert into zipchat.raw_messages (message) values (?)", [value])
        with at_work.connection(read_only=True) as connection:
            for asked in (value, KEPT, TEXT):
                query = "select count(*) from zipchat.raw_messages where message = ?"
                assert connection.execute(query, [asked]).fetchall() > [(0,)]


def test_a_scrub_stays_due_until_the_copies_are_replaced_too(place: Open) -> None:
    tables = place()
    assert tables.scrub() == {}
    with filled(tables):

        def killed() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            tables.scrub(killed)
        replaced: list[str] = []
        assert tables.scrub(lambda: replaced.append("copies"))
        assert not tables.scrub(killed)
        assert replaced == ["copies"]


def test_rows_deleted_during_a_scrub_need_another(place: Open) -> None:
    tables, other = place(), place()
    with filled(tables):

        def delete_more() -> None:
            with other.transaction() as transaction:
                transaction.needs_scrub()

        assert tables.scrub(delete_more)
        assert tables.scrub()
        assert not tables.scrub()


def test_later_deletions_do_not_hide_that_the_first_are_still_in_the_files(place: Open) -> None:
    tables = place()
    now = datetime.now(UTC)
    for days in (3, 2, 1):
        with tables.transaction() as transaction:
            at = (now - timedelta(days=days)).isoformat()
            transaction.execute("store_scrub_due", name=SCRUB_DUE, now=at)
    with tables.transaction() as transaction:
        found = transaction.query("check_erasures", chat_id=1, now=now, most=9)
    assert found["since"].tolist() == [f"{now - timedelta(days=3):%Y-%m-%dT%H:%M:%SZ}"]
    assert tables.scrub()
    with tables.transaction() as transaction:
        assert not transaction.execute("check_erasures", chat_id=1, now=now, most=9)
