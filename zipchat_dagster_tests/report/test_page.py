"""The page and the picture: their numbers, their bounds, and what strange data does to them."""

from __future__ import annotations

import re
import struct
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pytest
from bs4 import BeautifulSoup

from zipchat_dagster.report import Report, build_report
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster_tests.report.conftest import CHAT_ID, FIRST, LAST, NOW, World, fill

CARDS = 7
NAMES = (
    '<script>alert("1")</script>',
    "</text></svg><b onclick='x'>&amp;",
    '" onload="x',
    "--><!-- $x^2$ \\frac{1}{2}",
    "山田太郎 😀 محمد",
    "two\nlines\tand\x07 a bell",
    "A" * 300,
    "#ffffff url(#x) xlink:href",
)


def report(world: World, first: date = FIRST, last: date = LAST) -> Report:
    return build_report(world.warehouse, chat_id=CHAT_ID, first=first, last=last, now=NOW)


@pytest.fixture(scope="module")
def made(world: World) -> Report:
    return report(world)


@pytest.fixture(scope="module")
def page(made: Report) -> BeautifulSoup:
    return parsed(made)


def parsed(made: Report) -> BeautifulSoup:
    return BeautifulSoup(made.html, "html.parser")


def tiles(page: BeautifulSoup) -> dict[str, str]:
    tiles = page.select(".tile")
    return {tile.select("dt")[0].text: tile.select(".value")[0].text for tile in tiles}


def table(page: BeautifulSoup, title: str) -> list[list[str]]:
    (card,) = (card for card in page.select(".card") if card.select("h2")[0].text == title)
    return [[cell.text for cell in row("td")] for row in card.select("tbody tr")]


def test_the_same_data_gives_the_same_bytes(world: World, made: Report) -> None:
    assert report(world) == made


def test_tiles_show_the_numbers_of_the_range(world: World, page: BeautifulSoup) -> None:
    shown = tiles(page)
    days = world.escalations["partition_date"]
    escalated = world.escalations[(days >= FIRST) & (days <= LAST)]
    response = (escalated["first_response_at"] - escalated["escalated_at"]).dt.total_seconds()
    assert shown["Escalations"] == str(len(escalated))
    assert shown["Resolved"] == f"{escalated['resolved_at'].notna().mean():.1%}"
    assert shown["Median response"] == f"{response.median() / 60:.0f}\u00a0min"
    assert shown["Open now"] == str(world.escalations["is_open"].sum())
    assert all("before" in change.text for change in page.select(".change"))


def test_the_table_of_a_chart_has_every_day(world: World, page: BeautifulSoup) -> None:
    rows = table(page, "Conversations and escalations")
    per_day = world.escalations.groupby("partition_date").size()
    days = [FIRST + timedelta(days=n) for n in range(30)]
    assert [row[0] for row in rows] == [f"{day.day} {day:%b %Y}" for day in days]
    assert [row[3] for row in rows] == [str(per_day.get(day, 0)) for day in days]


def test_the_summary_has_the_headline_numbers(world: World, made: Report) -> None:
    summary = made.summary
    assert summary["open_now"] == world.escalations["is_open"].sum()
    assert set(map(type, summary.values())) <= {int, float}


def test_charts_are_labelled_and_their_ids_are_their_own(page: BeautifulSoup) -> None:
    charts = page.find_all("svg")
    assert len(charts) == CARDS
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in charts)
    ids = [element["id"] for element in page.find_all(id=True)]
    assert len(ids) == len(set(ids))
    source = str(page)
    referred = re.findall(r"url\(#([^)]+)\)", source) + re.findall(r'href="#([^"]+)"', source)
    assert referred
    assert set(referred) <= set(ids)
    assert set(re.findall(r'aria-labelledby="([^"]+)"', source)) <= set(ids)
    assert page.select("html[lang=en]")
    assert page.find("meta", attrs={"name": "viewport"})
    assert [heading.name for heading in page.find_all(["h1", "h2"])].count("h1") == 1


def test_nothing_is_fetched_and_nothing_runs(made: Report) -> None:
    html = made.html.lower()
    for forbidden in ("http:", "https:", "//", "@import", "<script", "<link", "<img", " src="):
        assert forbidden not in html.replace("<!doctype html>", "")


@pytest.mark.parametrize("days", [1, 2, 62, 400, 1500])
def test_page_and_picture_stay_small_for_every_length(world: World, days: int) -> None:
    made = report(world, first=LAST - timedelta(days=days - 1))
    assert len(made.html.encode()) < 250_000
    assert len(made.png) < 60_000
    assert struct.unpack(">II", made.png[16:24]) == (720, 270)


def test_customers_stay_out_of_it(world: World, made: Report, tmp_path: Path) -> None:
    warehouse = copied(world, tmp_path)
    with warehouse.connection() as connection:
        connection.execute(
            "update zipchat.raw_conversations set lead_full_name = 'SECRET', lead_email = 'SECRET',"
            ' payload = \'{"a": "SECRET"}\''
        )
        connection.execute("update zipchat.raw_messages set message = 'SECRET'")
    assert build_report(warehouse, chat_id=CHAT_ID, first=FIRST, last=LAST, now=NOW) == made


def test_names_are_text_whatever_they_are(world: World, tmp_path: Path) -> None:
    warehouse = copied(world, tmp_path)
    agents = range(1, len(NAMES) + 1)
    users = pd.DataFrame({"chat_id": CHAT_ID, "user_id": agents, "full_name": NAMES})
    with warehouse.connection() as connection:
        connection.execute("delete from zipchat.users")
        for name, agent in zip(NAMES, agents, strict=True):
            connection.execute(
                "update zipchat.escalations set channel = $name, assignee_id = $agent"
                " where conversation_id % 8 = $agent - 1",
                {"name": name, "agent": agent},
            )
    fill(warehouse, users=users)
    html = build_report(warehouse, chat_id=CHAT_ID, first=FIRST, last=LAST, now=NOW).html
    page = BeautifulSoup(html, "html.parser")
    assert {row[0] for row in table(page, "Agents")} - {"unassigned"} == set(NAMES)
    assert {row[0] for row in table(page, "Channels")} > set(NAMES)
    assert not page.select("script, main b:not(.unseen), [onclick], [onload]")
    assert len(page.find_all("svg")) == CARDS
    texts = [text.text for text in page.find_all("text")]
    assert "two lines and a bell" in texts
    assert NAMES[0] in texts
    assert NAMES[-1] in texts
    assert not any(len(text) > 50 for text in texts)


def test_an_unknown_agent_has_a_number_and_nobody_is_unassigned(empty: Warehouse) -> None:
    fill(
        empty,
        escalations=escalation(escalated_at=NOW - timedelta(hours=2), assignee_id=5),
        raw_conversations=conversation(created_at=NOW - timedelta(hours=3)),
    )
    page = parsed(build_report(empty, chat_id=CHAT_ID, first=FIRST, last=LAST, now=NOW))
    assert table(page, "Agents") == [["user 5", "1", "0", "0", "0", "–"]]
    assert table(page, "Open now, by age")[1] == ["1–4 h", "1", "1"]
    assert tiles(page)["Escalation rate"] == "100.0%"
    assert "30 of 30 days are not in escalation_metrics" in page.select("header")[0].text


def test_the_banner_and_the_settings_are_on_the_page(world: World, page: BeautifulSoup) -> None:
    assert not page.select(".banner")
    header = page.select("header")[0].text
    assert "No response target is set. No business hours are set." in header
    made = build_report(
        world.warehouse,
        chat_id=CHAT_ID,
        first=FIRST,
        last=LAST,
        now=NOW,
        target_seconds=2400,
        business_hours="mon-fri 09:00-17:00",
        source="the sandbox",
    )
    page = parsed(made)
    assert "These records come from the sandbox." in page.select(".banner")[0].text
    header = page.select("header")[0].text
    assert "Response target: 40\u00a0min. Business hours: mon-fri 09:00-17:00." in header
    assert "within the target of 40\u00a0min" in page.select("main")[0].text


def test_an_empty_chat_says_so(empty: Warehouse) -> None:
    made = build_report(empty, chat_id=CHAT_ID, first=FIRST, last=LAST, now=NOW)
    page = parsed(made)
    assert "Nothing to show yet" in page.select("main")[0].text
    assert not page.find_all("svg")
    assert made.png.startswith(b"\x89PNG")
    assert made.summary["escalations"] == 0
    assert made.summary["escalation_rate"] is None


def test_a_range_without_escalations_shows_what_there_is(world: World) -> None:
    first = LAST - timedelta(days=300)
    made = report(world, first=first, last=first + timedelta(days=5))
    page = parsed(made)
    assert "Nothing was answered in these days" in page.select("main")[0].text
    assert page.find("svg", attrs={"aria-label": "Open escalations by age"})
    assert tiles(page)["Resolved"] == "–"


def copied(world: World, folder: Path) -> Warehouse:
    path = folder / "zipchat.duckdb"
    path.write_bytes(world.warehouse.path.read_bytes())
    return Warehouse(path, timezone=world.warehouse.timezone)


def escalation(**values: object) -> pd.DataFrame:
    known = {"chat_id": CHAT_ID, "conversation_id": 1, "partition_date": LAST, "is_open": True}
    return pd.DataFrame([known | values])


def conversation(**values: object) -> pd.DataFrame:
    return pd.DataFrame([{"chat_id": CHAT_ID, "conversation_id": 1} | values])
