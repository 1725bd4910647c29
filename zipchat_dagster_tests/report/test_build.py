"""The file and the picture: their content, their size, and how they cope with strange data."""

from __future__ import annotations

import json
import re
import struct
import zlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import vl_convert
from playwright.sync_api import Browser, expect

from zipchat_dagster.report import Report, build_report
from zipchat_dagster.report import page as page_module
from zipchat_dagster.report.data import LISTED, headline, read_data
from zipchat_dagster.report.page import page as fill_page
from zipchat_dagster.report.picture import picture_spec
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster_tests.report.conftest import CHAT_ID, FIRST, LAST, NOW, World, fill
from zipchat_dagster_tests.report.test_page import between, opened, tiles

NAMES = (
    '</script><script>alert("1")</script>',
    "</script><b onclick='x'>&amp;",
    '" onload="x',
    "<!--<script>",
    "山田太郎 😀 محمد\u2028",
    "two\nlines\tand\x07 a bell",
    "A" * 300,
    "javascript:alert(1)",
)


def report(warehouse: Warehouse, former: Path | None = None) -> Report:
    return build_report(warehouse, chat_id=CHAT_ID, first=FIRST, last=LAST, now=NOW, former=former)


@pytest.fixture(scope="module")
def made(world: World) -> Report:
    return report(world.warehouse)


def rows(data: dict[str, Any], name: str) -> list[dict[str, Any]]:
    table = data["tables"][name]
    return [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]


def copied(world: World, folder: Path) -> Warehouse:
    path = folder / "zipchat.duckdb"
    path.write_bytes(world.warehouse.path.read_bytes())
    return Warehouse(path, timezone=world.warehouse.timezone)


def test_the_headline_is_what_the_tiles_show(world: World, made: Report) -> None:
    found = made.summary
    expected = {name: value for name, (value, _) in tiles(world, (FIRST, LAST), [], []).items()}
    assert found == pytest.approx(
        {
            "conversations_started": expected["started"],
            "escalations": expected["escalations"],
            "escalation_rate": expected["rate"],
            "first_response_seconds_p50": expected["p50"],
            "first_response_seconds_p90": expected["p90"],
            "resolution_seconds_p50": expected["resolution"],
            "resolution_rate": expected["resolved"],
            "unanswered": expected["unanswered"],
            "open_now": expected["open"],
            "waiting_now": len(
                read_data(world.warehouse, chat_id=CHAT_ID, first=LAST, last=LAST, now=NOW)[
                    "tables"
                ]["waiting"]["rows"]
            ),
        }
    )


def test_nothing_about_customers_is_in_the_report(
    world: World, made: Report, tmp_path: Path
) -> None:
    warehouse = copied(world, tmp_path)
    with warehouse.connection() as connection:
        connection.execute(
            "update zipchat.raw_conversations set lead_full_name = 'SECRET', lead_email = 'SECRET',"
            " lead_phone_number = 'SECRET', payload = '{\"a\": \"SECRET\"}'"
        )
        connection.execute("update zipchat.raw_messages set message = 'SECRET'")
    assert report(warehouse) == made


def test_the_library_is_taken_from_a_former_page_of_the_same_version(
    world: World, made: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    former = tmp_path / "report.html"
    monkeypatch.setattr(page_module, "_bundle", lambda: "bundled")
    assert ">bundled</script>" in report(world.warehouse, former).html  # there is none yet
    former.write_text(made.html, "utf-8")
    assert report(world.warehouse, former) == made
    former.write_bytes(made.html.encode()[:500_000] + b"\xff")  # torn within the library
    assert ">bundled</script>" in report(world.warehouse, former).html
    former.write_text(made.html, "utf-8")
    monkeypatch.setattr(page_module, "_BUNDLER", "vl-convert 99")
    assert ">bundled</script>" in report(world.warehouse, former).html


@pytest.mark.browser
def test_names_are_text_whatever_they_are(world: World, browser: Browser, tmp_path: Path) -> None:
    warehouse = copied(world, tmp_path)
    users = pd.DataFrame(
        {"chat_id": CHAT_ID, "user_id": range(101, 101 + len(NAMES)), "full_name": NAMES}
    )
    with warehouse.connection() as connection:
        for name, agent in zip(NAMES, users["user_id"], strict=True):
            connection.execute(
                "update zipchat.escalations set channel = $name, assignee_id = $agent"
                " where conversation_id % 8 = $agent - 101",
                {"name": name, "agent": int(agent)},
            )
        connection.execute("update zipchat.raw_conversations set share_url = 'javascript:alert(1)'")
    fill(warehouse, users=users)
    file = tmp_path / "report.html"
    file.write_text(report(warehouse).html, "utf-8")
    with opened(browser, file) as page:
        for place in ("#by-agent", "#by-channel"):
            cells = page.locator(f"{place} tbody td:first-child").all_text_contents()
            assert set(NAMES) - set(cells) == set()
        page.locator("#tile-escalations").click()
        assert page.locator("#list-rows tr").count() > 1
        assert page.locator("a").count() == 0
        assert page.locator("script:not([type])").count() == 2
        assert page.locator("[onclick], [onload]").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") == 1280


def test_only_lists_are_cut_where_there_is_much(world: World) -> None:
    few, all_of_it = (
        read_data(world.warehouse, chat_id=CHAT_ID, first=FIRST, last=LAST, now=NOW, listed=listed)
        for listed in (10, LISTED)
    )
    assert headline(few) == headline(all_of_it)
    links = [row["link"] for row in rows(few, "escalations")]
    assert [link is not None for link in links] == [True] * 10 + [False] * (len(links) - 10)
    assert rows(few, "conversations") == rows(all_of_it, "conversations")[:10]
    assert [row["id"] for row in rows(few, "escalations")] == [
        row["id"] for row in rows(all_of_it, "escalations")
    ]


def test_a_big_chat_takes_seventy_bytes_an_escalation(empty: Warehouse) -> None:
    fill(empty)
    count = 60_000
    with empty.connection() as connection:
        connection.execute(
            "insert into zipchat.escalations by name select $chat_id as chat_id,"
            " 1000000 + n as conversation_id, 'whatsapp' as channel, 1000 + n % 50 as assignee_id,"
            " $now - n * interval 40 second as escalated_at,"
            " timezone('Europe/Berlin', escalated_at)::date as partition_date,"
            " escalated_at + interval 20 minute as first_response_at,"
            " escalated_at + interval 7 hour as resolved_at, resolved_at as ended_at"
            " from range(1, $count) as numbers (n)",
            {"chat_id": CHAT_ID, "now": NOW, "count": count},
        )
    data = read_data(empty, chat_id=CHAT_ID, first=LAST - timedelta(days=29), last=LAST, now=NOW)
    assert data["tables"]["escalations"]["rows"]
    settings = {"target": None, "quietHours": 72, "businessHours": "", "source": "", "name": ""}
    assert len(fill_page(data | settings)) < 1_000_000 + 70 * count


@pytest.mark.browser
def test_an_empty_chat_has_a_page_too(empty: Warehouse, browser: Browser, tmp_path: Path) -> None:
    made = report(empty)
    file = tmp_path / "report.html"
    file.write_text(made.html, "utf-8")
    with opened(browser, file) as page:
        expect(page.locator("#waiting-lead")).to_have_text("Nobody is waiting.")
        expect(page.locator("#range-note")).to_contain_text("30 of 30 days not computed yet")
        expect(page.locator("#banner")).to_be_hidden()
        expect(page.locator("#about")).to_contain_text("no response target set")
        assert page.locator("#tile-target").count() == 0
        assert page.locator("#tile-rate .value").text_content() == "–"
    assert made.png.startswith(b"\x89PNG")
    assert made.summary["escalations"] == 0
    assert made.summary["escalation_rate"] is None


def test_the_picture_shows_every_day(world: World, made: Report) -> None:
    width, height = struct.unpack(">II", made.png[16:24])
    assert 780 < width < 900
    assert 450 < height < 700
    data = read_data(world.warehouse, chat_id=CHAT_ID, first=FIRST, last=LAST, now=NOW)
    svg = vl_convert.vegalite_to_svg(picture_spec(data))
    bars = re.findall(r'd="M[^h"]*h([\d.]+)v([\d.]+)h[^"]*" fill="#bf560b"', svg)
    counts = between(world.escalations, FIRST, LAST)["partition_date"].value_counts()
    drawn = [float(height) for width, height in bars if float(width) > 10 and float(height) > 0]
    assert len(drawn) == len(counts)
    assert max(drawn) / min(drawn) == pytest.approx(counts.max() / counts.min(), rel=0.1)
    assert len(re.findall(r'<path [^>]*fill="#bf560b" stroke-width="2"', svg)) >= len(counts)


def pixels(png: bytes) -> bytes:
    """What a PNG shows, if its checksums are right."""
    at, packed = 8, b""
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        chunk = png[at + 4 : at + 8 + length]
        assert struct.pack(">I", zlib.crc32(chunk)) == png[at + 8 + length : at + 12 + length]
        packed += chunk[4:] if chunk[:4] == b"IDAT" else b""
        at += length + 12
    return zlib.decompress(packed)


def test_the_picture_is_small_and_loses_nothing(world: World, made: Report) -> None:
    data = read_data(world.warehouse, chat_id=CHAT_ID, first=FIRST, last=LAST, now=NOW)
    drawn = vl_convert.vegalite_to_png(picture_spec(data))
    assert pixels(made.png) == pixels(drawn)
    assert made.png[:33] == drawn[:33]  # the size and kind of the picture
    assert made.png.endswith(drawn[-12:])
    assert len(made.png) < 0.4 * len(drawn)


def test_the_data_can_be_read_out_of_the_file(made: Report) -> None:
    html = made.html
    (text,) = re.findall(
        r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL
    )
    data = json.loads(text)
    assert (data["first"], data["last"]) == (str(FIRST), str(LAST))
    assert len(html.encode()) < 1_500_000
