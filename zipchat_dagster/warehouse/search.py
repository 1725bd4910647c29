"""Which files contain one of several texts, whatever their format."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from os import SEEK_END
from pathlib import Path

import duckdb

from zipchat_dagster.warehouse.engine import in_memory
from zipchat_dagster.warehouse.tables import sql


def files_with(words: Sequence[str], paths: Iterable[Path]) -> list[Path]:
    """The files that contain one of the words: as bytes, or in a row of a Parquet file. A folder
    counts for all files in it.

    Bytes that are compressed are not recognized, which Parquet's always are. DuckDB compresses some
    of its columns, too.
    """
    files = {file for path in paths for file in (path.rglob("*") if path.is_dir() else (path,))}
    with in_memory("") as connection:
        return [
            file
            for file in sorted(files)
            if file.is_file()
            and (
                has_bytes(words, file)
                or (file.suffix == ".parquet" and has_row(words, str(file), connection))
            )
        ]


def has_bytes(words: Sequence[str], file: Path) -> bool:
    """Whether the file contains one of the words. One that is removed meanwhile, as locks are, does
    not."""
    with suppress(FileNotFoundError), file.open("rb") as opened:
        if opened.seek(0, SEEK_END):  # an empty file cannot be mapped
            with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return any(content.find(word.encode()) >= 0 for word in words)
    return False


def pattern_of(words: Sequence[str]) -> str:
    """A regular expression of DuckDB that matches each of the words and nothing else. It takes the
    time of one word to search for all of them, and no memory, unlike a join."""
    return "|".join(map(re.escape, words)) or r"[^\s\S]"


def has_row(words: Sequence[str], address: str, connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether a row of the Parquet file at this path, or address of an object store, contains one
    of the words."""
    parameters = {"address": address, "pattern": pattern_of(words)}
    return bool(connection.execute(sql("parquet_rows"), parameters).fetchall())
