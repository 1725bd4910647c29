"""The page of all chats in Chromium: each row agrees with the page that it leads to."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from zipchat_dagster.report import build_report
from zipchat_dagster.report.chats import ListedChat, chats_page, headline, read_chats
from zipchat_dagster.sandbox import Sandbox, generate
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster.warehouse.derive import Rules, rebuild_metrics
from zipchat_dagster_tests.conftest import NOW as TODAY
from zipchat_dagster_tests.conftest import Project, derive_all, thorough
from zipchat_dagster_tests.report.conftest import CHAT_ID, HISTORY, LAST, NOW, World

pytestmark = pytest.mark.browser

DAYS = 10  # a conversation began in the hour of NOW, ten days before
NAME = "</script><b onclick='x'>&amp;"
CHATS = [
    ListedChat(CHAT_ID, "shop_de", "de.html", 3600.0, "the sandbox"),
    ListedChat(CHAT_ID + 1, NAME, "fr.html", 7200.0),
    ListedChat(CHAT_ID + 2, "no target", "it.html"),
    ListedChat(CHAT_ID + 3, "never synced", "es.html"),
]
TABLES = ("raw_conversations", "raw_messages", "escalations", "conversation_facts", "sla_events")


@pytest.fixture(scope="module")
def tables(world: World, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """The world's chat, and two with a part of its conversations."""
    path = tmp_path_factory.mktemp("chats") / "warehouse.duckdb"
    path.write_bytes(world.warehouse.path.read_bytes())
    warehouse = Warehouse(path, timezone=world.warehouse.timezone)
    with warehouse.connection() as connection:
        for part, chat in ((3, CHATS[1]), (4, CHATS[2])):
            for table in TABLES:
                connection.execute(
                    f"insert into zipchat.{table} select * replace ($chat_id as chat_id)"
                    f" from zipchat.{table} where chat_id = $world and conversation_id % $part = 0",
                    {"chat_id": chat.chat_id, "world": CHAT_ID, "part": part},
                )
    days = [f"{LAST - timedelta(days=n)}" for n in reversed(range(HISTORY))]
    for chat, first in ((CHATS[1], 0), (CHATS[2], HISTORY - DAYS)):  # the last one cannot compare
        rebuild_metrics(warehouse, chat_id=chat.chat_id, days=days[first:], now=NOW, rules=Rules())
    return warehouse


@pytest.fixture(scope="module")
def page(browser: Browser, tables: Warehouse) -> Iterator[Page]:
    folder = tables.path.parent
    data = read_chats(tables, CHATS, days=DAYS, now=NOW)
    (folder / "all.html").write_text(chats_page(data), "utf-8")
    for chat in CHATS:
        report = build_report(
            tables,
            chat_id=chat.chat_id,
            first=LAST - timedelta(days=29),
            last=LAST,
            now=NOW,
            target_seconds=chat.target_seconds,
            name=chat.name,
        )
        (folder / chat.link).write_text(report.html, "utf-8")
    with browser.new_context(
        timezone_id="Pacific/Auckland", viewport={"width": 1280, "height": 900}
    ) as context:
        page = context.new_page()
        troubles: list[str] = []
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.goto((folder / "all.html").as_uri())
        yield page
        assert troubles == []


@thorough
@pytest.mark.parametrize("chat", CHATS[:3], ids=lambda chat: chat.link)
def test_a_row_shows_what_the_page_behind_it_shows(
    page: Page, tables: Warehouse, chat: ListedChat
) -> None:
    page.goto((tables.path.parent / "all.html").as_uri())
    link = page.get_by_role("link", name=chat.name, exact=True)
    cells = page.locator("#chats tr").filter(has=link).locator("td")
    shown = {cell.get_attribute("data-name"): cell.text_content() for cell in cells.all()}
    link.click()
    expect(page).to_have_title(f"{chat.name} · Escalations")
    expect(page.locator("h1")).to_have_text(f"{chat.name} · Escalations")
    expect(page.locator("#from")).to_have_value(str(LAST - timedelta(days=DAYS - 1)))
    figures = {
        "Escalations": "escalations",
        "Escalation rate": "rate",
        "First response, median": "p50",
        "Within target": "target",
        "Automated": "automated",
    }
    if chat.target_seconds is None:
        assert shown["Within target"] == "–"
        del figures["Within target"]
    for label, name in figures.items():
        tile = page.locator(f"#tile-{name}")
        assert shown[label] == "".join(tile.locator(".value, .change").all_text_contents()), label
    assert shown["Open now"] == page.locator("#tile-open .value").text_content()
    number, longest, late = re.findall(
        r"^(\d+) customers?; the longest has waited (.+?)\. (\d+) past the target\.$",
        page.locator("#waiting-lead").text_content() or "",
    )[0]
    assert shown["Waiting now"] == f"{number}longest {longest}{late} past the target"


@thorough
def test_chats_that_need_attention_come_first_and_names_are_text(
    page: Page, tables: Warehouse
) -> None:
    page.goto((tables.path.parent / "all.html").as_uri())
    names = page.locator("#chats td:first-child").all_text_contents()
    assert names == [
        "shop_desynced 0\u00a0s ago",
        f"{NAME}never synced",
        "no targetnever synced",
        "never syncednever synced",
    ]
    expect(page.locator("#chats a")).to_have_count(3)  # nothing is known of the last one
    expect(page.locator("#banner")).to_contain_text("come from the sandbox for 1 of 4 chats.")
    assert page.locator("[onclick]").count() == 0
    assert page.locator("script:not([type])").count() == 1
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") == width


@thorough
def test_the_tiles_are_of_all_chats(page: Page, tables: Warehouse) -> None:
    page.goto((tables.path.parent / "all.html").as_uri())
    shown = dict(
        zip(
            page.locator(".tile .label").all_text_contents(),
            page.locator(".tile .value").all_text_contents(),
            strict=True,
        )
    )
    with tables.connection() as connection:
        days = {"first": LAST - timedelta(days=DAYS - 1), "last": LAST}
        ((escalations, p50, still_open),) = connection.execute(
            "select count(*), median(epoch(first_response_at) - epoch(escalated_at)),"
            " (select count(*) from zipchat.escalations where is_open)"
            " from zipchat.escalations where partition_date between $first and $last",
            days,
        ).fetchall()
        ((automated,),) = connection.execute(
            "select sum(automated) / sum(conversations_started - automation_pending)"
            " from zipchat.ai_metrics where channel = 'all' and period_start between $first and $last",
            days,
        ).fetchall()
    assert (shown["Escalations"], shown["Open now"]) == (f"{escalations}", f"{still_open}")
    assert shown["First response, median"] == page.evaluate("duration", p50)
    assert shown["Automated"] == page.evaluate("percent", automated)
    counts = headline(read_chats(tables, CHATS, days=DAYS, now=NOW))
    assert counts["open_now"] == still_open
    assert (shown["Waiting now"], shown["Past the target"]) == (
        f"{counts['waiting_now']}",
        f"{counts['waiting_past_target']}",
    )


@pytest.mark.skipif("UI_SCREENSHOTS" not in os.environ, reason="runs in `make screenshots`")
def test_picture_for_the_docs(browser: Browser, tmp_path: Path) -> None:
    """Of six invented chats."""
    warehouse = Warehouse(tmp_path / "warehouse.duckdb")
    listed = []
    names = ("shop_at", "shop_de", "shop_es", "shop_fr", "shop_it", "shop_uk")
    days = [f"{TODAY - timedelta(days=n):%Y-%m-%d}" for n in reversed(range(14))]
    for chat_id, name in enumerate(names, 1):
        target = 3600.0 if chat_id % 3 else 1800.0
        rules = Rules(response_target_seconds=target)
        chat = generate(
            seed=chat_id, conversations=70 * chat_id, days=21, now=TODAY, chat_id=chat_id
        )
        Project(Sandbox(chat=chat, limit=None), warehouse).sync()
        derive_all(warehouse, days=days, rules=rules, chat_id=chat_id)
        listed.append(ListedChat(chat_id, name, f"{name}.html", target, "the sandbox"))
    file = tmp_path / "report.html"
    file.write_text(chats_page(read_chats(warehouse, listed, days=7, now=TODAY)), "utf-8")
    with browser.new_context(viewport={"width": 1280, "height": 820}) as context:
        page = context.new_page()
        page.goto(file.as_uri())
        page.screenshot(path=Path(os.environ["UI_SCREENSHOTS"]) / "report-chats.png")
