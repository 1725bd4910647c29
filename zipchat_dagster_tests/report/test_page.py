"""The page in Chromium: its figures and lists against the same ones computed with pandas."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

import pandas as pd
import pytest
from playwright.sync_api import Browser, Page, expect

from zipchat_dagster.report import build_report
from zipchat_dagster.sandbox import Sandbox, generate
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster.warehouse.derive import Rules
from zipchat_dagster_tests.conftest import NOW as TODAY
from zipchat_dagster_tests.conftest import Project, derive_all
from zipchat_dagster_tests.report.conftest import CHAT_ID, FIRST, LAST, NOW, ZONE, World

pytestmark = pytest.mark.browser

TARGET = 3600.0
START = LAST - timedelta(days=69)  # of the page's data
WEEK = (LAST - timedelta(days=6), LAST)
MONTH = (FIRST, LAST)
CUSTOM = (date(2026, 2, 10), date(2026, 3, 3))


@pytest.fixture(scope="package")
def file(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    report = build_report(
        world.warehouse,
        chat_id=CHAT_ID,
        first=START,
        last=LAST,
        now=NOW,
        target_seconds=TARGET,
        business_hours="mon-fri 09:00-17:00",
        source="http://127.0.0.1:34139/api/integrations/backend_api/v1",
    )
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(report.html, "utf-8")
    return path


@contextmanager
def opened(browser: Browser, file: Path, address: str = "", **options: Any) -> Iterator[Page]:
    """The page, in a browser of another time zone. Errors and requests fail the test."""
    options = {"viewport": {"width": 1280, "height": 900}} | options
    with browser.new_context(timezone_id="Pacific/Auckland", **options) as context:
        page = context.new_page()
        troubles: list[str] = []
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda request: troubles.append(request.url))
        page.goto(f"{file.as_uri()}{address}")
        expect(page.locator("#ai svg")).to_be_attached()
        yield page
        assert [trouble for trouble in troubles if not trouble.startswith("file:")] == []


@pytest.fixture(scope="module")
def page(browser: Browser, file: Path) -> Iterator[Page]:
    with opened(browser, file) as page:
        yield page


@pytest.mark.parametrize(
    ("days", "channels", "agents"),
    [
        (MONTH, [], []),
        (WEEK, [], []),
        ((LAST, LAST), [], []),
        (CUSTOM, ["web", "email"], []),
        (MONTH, ["unknown"], ["1", "null"]),
    ],
)
def test_tiles_and_their_lists_agree_with_the_tables(
    page: Page, world: World, days: tuple[date, date], channels: list[str], agents: list[str]
) -> None:
    choose(page, days, channels, agents)
    expected = tiles(world, days, channels, agents)
    shown = {
        tile.get_attribute("id"): tile.locator(".value").get_attribute("data-value") or None
        for tile in page.locator(".tile").all()
    }
    assert shown.keys() == {f"tile-{name}" for name in expected}
    for name, (value, ids) in expected.items():
        found = shown[f"tile-{name}"]
        assert (None if found is None else float(found)) == pytest.approx(value), name
        if found is not None:
            page.locator(f"#tile-{name}").dispatch_event("click")  # faster than with a mouse
            assert listed(page) == ids, name


def test_the_change_compares_with_the_preceding_range_as_it_stood_then(
    page: Page, world: World
) -> None:
    choose(page, MONTH)
    then = datetime(2026, 3, 1, 16, tzinfo=UTC)  # 30 days before by the clock of Berlin: 17:00
    escalated = between(world.escalations, FIRST - timedelta(days=30), FIRST - timedelta(days=1))
    escalated = escalated[escalated["escalated_at"] <= then]
    unanswered = len(escalated) - (escalated["first_response_at"] <= then).sum()
    change = page.locator("#tile-unanswered .change")
    expect(change).to_contain_text(f"{unanswered} before")
    begun = between(world.facts, FIRST - timedelta(days=30), FIRST - timedelta(days=1))
    local = begun["created_at"].dt.tz_convert(ZONE)
    begun = begun[(begun["partition_date"] < FIRST - timedelta(days=1)) | (local.dt.hour <= 17)]
    expect(page.locator("#tile-started .change")).to_contain_text(f"{len(begun)} before")
    choose(page, (START, LAST))
    expect(page.locator("#range-note")).to_contain_text("No comparison")
    assert page.locator("#tiles .change b").count() == 0


def test_a_bar_a_cell_and_a_number_lead_to_their_conversations(page: Page, world: World) -> None:
    choose(page, MONTH)
    escalated = between(world.escalations, *MONTH)
    per_day = escalated.groupby("partition_date")["conversation_id"].agg(list)
    bars = page.locator("#escalations svg .mark-rect path")
    assert bars.count() == 30
    day = max(per_day.index, key=lambda day: len(per_day[day]))
    bars.nth((day - FIRST).days).click()
    assert listed(page) == sorted(per_day[day])
    local = escalated["escalated_at"].dt.tz_convert(ZONE)
    hours = local.dt.day_of_week * 24 + local.dt.hour
    cell = hours.value_counts().index[0]
    page.locator("#hours svg .mark-rect path").nth(cell).click()
    assert listed(page) == sorted(escalated.loc[hours == cell, "conversation_id"])
    page.locator("#backlog summary").focus()
    page.keyboard.press("Enter")
    for at, row in ((0, FIRST), (29, LAST)):
        end = min(pd.Timestamp(row + timedelta(days=1)).tz_localize(ZONE), pd.Timestamp(NOW))
        page.locator("#backlog td button").nth(at).focus()
        page.keyboard.press("Enter")
        assert listed(page) == sorted(open_at(world.escalations, end)["conversation_id"])


def test_waiting_customers_are_on_top_longest_first_with_a_link(page: Page, world: World) -> None:
    choose(page, MONTH, agents=["1"])
    escalations = world.escalations
    waiting = escalations[escalations["is_open"] & (agent(escalations) == "1")]
    is_answered = waiting["first_response_at"].notna()
    waiting = waiting[~is_answered | (waiting["conversation_id"] % 4 == 0)]
    since = waiting["first_response_at"].fillna(waiting["escalated_at"]).sort_values()
    ids = waiting.loc[since.index, "conversation_id"]
    links = page.locator("#waiting a")
    shown = [link.get_attribute("href") for link in links.all()]
    assert shown == [f"https://share.example.com/c/{one}" for one in ids][:8]
    late = int(((NOW - since).dt.total_seconds() >= TARGET).sum())
    expect(page.locator("#waiting-lead")).to_contain_text(f"{late} past the target.")
    expect(page.locator("#waiting tbody tr").first).to_contain_text("late by")


def test_tables_of_channels_and_agents_and_the_chart_of_the_ai(page: Page, world: World) -> None:
    choose(page, MONTH)
    escalated = between(world.escalations, *MONTH)
    names = {"1": "Ada Agent", "2": "Bo Agent", "3": "Chloé Agent", "4": "Dana Gone"}
    counts = agent(escalated).map(names).fillna("unassigned").value_counts().to_dict()
    shown = {row[0]: int(row[1]) for row in table(page, "#by-agent") if row[1] != "0"}
    assert shown == counts
    counts = escalated["channel"].fillna("unknown").value_counts().to_dict()
    assert {row[0]: int(row[2]) for row in table(page, "#by-channel")} == counts
    begun = between(world.facts, *MONTH)
    page.locator("#ai summary").click()
    per_outcome = pd.DataFrame(table(page, "#ai")).astype({2: int}).groupby(1)[2].sum()
    assert per_outcome["automated"] == begun["is_automated"].sum()
    assert per_outcome["pending"] == begun["is_automation_pending"].sum()
    assert per_outcome.sum() == len(begun)


def test_choices_made_by_hand_are_in_the_address(page: Page) -> None:
    choose(page, MONTH)
    page.get_by_role("button", name="7 days", exact=True).click()
    expect(page.locator("#from")).to_have_value(str(WEEK[0]))
    page.locator("#from").fill(str(CUSTOM[0]))
    page.locator("#to").fill(str(CUSTOM[1]))
    page.locator("#channels summary").click()
    page.get_by_role("checkbox", name="web").check()
    page.locator("#agents summary").click()
    expect(page.get_by_role("checkbox", name="web")).to_be_hidden()
    page.get_by_role("checkbox", name="Bo Agent").check()
    page.get_by_role("checkbox", name="Ada Agent").check()
    query = parse_qs(page.evaluate("location.hash.slice(1)"))
    assert (query["from"], query["to"]) == ([str(CUSTOM[0])], [str(CUSTOM[1])])
    assert (query["channels"], set(query["agents"])) == (["web"], {"1", "2"})
    shown = page.locator("#tile-escalations").text_content()
    choose(page, MONTH)
    choose(page, CUSTOM, ["web"], ["2", "1"])
    expect(page.locator("#tile-escalations")).to_have_text(shown or "")
    expect(page.locator("#agents summary")).to_have_text("Ada Agent, Bo Agent")


@pytest.mark.parametrize(("width", "height"), [(1280, 1060), (390, 844)])
def test_the_page_fits_every_screen(browser: Browser, file: Path, width: int, height: int) -> None:
    size: Any = {"width": width, "height": height}
    with opened(browser, file, viewport=size, color_scheme="dark") as page:
        assert page.evaluate("document.documentElement.scrollWidth") == width
        page.locator("#tile-p50").click()
        box = page.locator("#list").bounding_box()
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert page.locator("#list").evaluate("list => list.scrollWidth <= list.clientWidth")
        page.keyboard.press("Escape")
        expect(page.locator("#list")).to_be_hidden()
        background = "getComputedStyle(document.body).backgroundColor"
        dark = page.evaluate(background)
        page.locator("#theme").click()
        light = page.evaluate(background)
        assert light != dark
        page.locator("#theme").click()
        assert page.evaluate(background) == dark
        page.emulate_media(media="print")
        assert page.evaluate(background) == "rgba(0, 0, 0, 0)"
        expect(page.locator("#filters")).to_be_hidden()


@pytest.mark.skipif("UI_SCREENSHOTS" not in os.environ, reason="runs in `make screenshots`")
def test_pictures_for_the_docs(browser: Browser, tmp_path: Path) -> None:
    """Of the data that `make dev` starts with."""
    chat = generate(seed=1, conversations=900, days=30, now=TODAY)
    project = Project(Sandbox(chat=chat, limit=None), Warehouse(tmp_path / "dev.duckdb"))
    project.sync()
    rules = Rules(response_target_seconds=TARGET)
    days = [f"{TODAY - timedelta(days=n):%Y-%m-%d}" for n in reversed(range(30))]
    derive_all(project.warehouse, days=days, rules=rules)
    report = build_report(
        project.warehouse,
        chat_id=1,
        first=date.fromisoformat(days[0]),
        last=date.fromisoformat(days[-1]),
        now=TODAY,
        target_seconds=TARGET,
        source="the sandbox",
    )
    file = tmp_path / "report.html"
    file.write_text(report.html, "utf-8")
    for name, width, height in (("desktop", 1280, 1500), ("phone", 390, 1100)):
        for scheme, suffix in (("light", ""), ("dark", "-dark")):
            options: Any = {"viewport": {"width": width, "height": height}, "color_scheme": scheme}
            with opened(browser, file, "#days=14", **options) as page:
                picture = Path(os.environ["UI_SCREENSHOTS"]) / f"report-{name}{suffix}.png"
                page.screenshot(path=picture, animations="disabled")


def test_durations_and_percentiles_are_worded_and_computed_right(page: Page) -> None:
    seconds = [None, 0, 59.4, 59.6, 90, 599, 3599, 12_600, 86_400, 172_800, 86_400 * 400]
    words = [page.evaluate("duration", value).replace("\u00a0", " ") for value in seconds]
    assert words == [
        *("–", "0 s", "59 s", "1 min", "1.5 min", "10 min", "1 h", "3.5 h", "24 h", "2 d", "400 d"),
    ]
    values = [3.0, 1.0, 10.0, 2.0]
    for share in (0, 0.5, 0.9, 1):
        found = page.evaluate("([values, share]) => quantile(values, share)", [values, share])
        assert found == pytest.approx(pd.Series(values).quantile(share))
    assert page.evaluate("quantile([], 0.5)") is None


def test_text_can_be_read_in_both_themes() -> None:
    from zipchat_dagster.report.page import _file

    colours = re.findall(r"--(\w+): light-dark\(#(\w+), #(\w+)\)", _file("page.css"))
    for theme in (1, 2):
        named = {name[0]: luminance(name[theme]) for name in colours}
        for text in ("ink", "muted", "ai", "good", "bad"):
            for ground in ("card", "page"):
                low, high = sorted((named[text], named[ground]))
                assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ground, theme)


# What the page should show


def tiles(
    world: World, days: tuple[date, date], channels: list[str], agents: list[str]
) -> dict[str, tuple[float | None, list[int]]]:
    """Each tile's value and the ids that it lists."""

    def chosen(frame: pd.DataFrame) -> pd.DataFrame:
        if channels:
            frame = frame[frame["channel"].fillna("unknown").isin(channels)]
        if agents and "escalated_at" in frame:
            frame = frame[agent(frame).isin(agents)]
        return frame

    rows = chosen(between(world.escalations, *days))
    begun = chosen(between(world.facts, *days))
    response = (rows["first_response_at"] - rows["escalated_at"]).dt.total_seconds()
    resolution = (rows["resolved_at"] - rows["escalated_at"]).dt.total_seconds()
    age = (NOW - rows["escalated_at"]).dt.total_seconds()
    is_due = response.notna() | rows["ended_at"].notna() | (age >= TARGET)
    is_in_time = response <= TARGET
    alone, pending = begun["is_automated"], begun["is_automation_pending"]
    is_known = (
        alone & begun["lead_id"].notna() & (begun["last_message_at"] <= NOW - timedelta(days=7))
    )
    repeated = is_known & begun["repeat_contact_at"].notna()

    def ids(frame: pd.DataFrame) -> list[int]:
        return sorted(frame["conversation_id"])

    escalated = begun[begun["escalations"] > 0]
    answer = begun["first_ai_answer_seconds"]
    involved = begun[begun["is_ai_involved"]]
    return {
        "started": (len(begun), ids(begun)),
        "escalations": (len(rows), ids(rows)),
        "rate": (ratio(len(escalated), len(begun)), ids(escalated)),
        "p50": (quantile(response, 0.5), ids(rows[response.notna()])),
        "p90": (quantile(response, 0.9), ids(rows[response.notna()])),
        "target": (
            ratio((is_due & is_in_time).sum(), is_due.sum()),
            ids(rows[is_due & ~is_in_time]),
        ),
        "unanswered": (response.isna().sum(), ids(rows[response.isna()])),
        "resolved": (ratio(resolution.notna().sum(), len(rows)), ids(rows[resolution.notna()])),
        "resolution": (quantile(resolution, 0.5), ids(rows[resolution.notna()])),
        "open": (
            len(still := chosen(open_at(world.escalations, pd.Timestamp(NOW)))),
            ids(still),
        ),
        "involved": (ratio(len(involved), len(begun)), ids(involved)),
        "automated": (ratio(alone.sum(), len(begun) - pending.sum()), ids(begun[alone])),
        "pending": (pending.sum(), ids(begun[pending])),
        "repeated": (ratio(repeated.sum(), is_known.sum()), ids(begun[repeated])),
        "answer": (quantile(answer, 0.5), ids(begun[answer.notna()])),
    }


def between(frame: pd.DataFrame, first: date, last: date) -> pd.DataFrame:
    return frame[(frame["partition_date"] >= first) & (frame["partition_date"] <= last)]


def agent(frame: pd.DataFrame) -> pd.Series[str]:
    agents = frame["assignee_id"].fillna(frame["first_responder_id"])
    return agents.astype("string").fillna("null")


def open_at(frame: pd.DataFrame, at: pd.Timestamp) -> pd.DataFrame:
    is_running = frame["ended_at"].isna() | (frame["ended_at"] >= at)
    return frame[(frame["escalated_at"] < at) & is_running]


def ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def quantile(values: pd.Series[float], share: float) -> float | None:
    return float(values.quantile(share)) if values.notna().any() else None


def luminance(colour: str) -> float:
    parts = [int(colour[n : n + 2], 16) / 255 for n in (0, 2, 4)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


# What a reader does


def choose(
    page: Page,
    days: tuple[date, date],
    channels: Sequence[str] = (),
    agents: Sequence[str] = (),
) -> None:
    """By the address, which is faster than by hand."""
    chosen = [("from", str(days[0])), ("to", str(days[1]))]
    chosen += [("channels", name) for name in channels] + [("agents", name) for name in agents]
    page.evaluate("query => { location.hash = query }", urlencode(chosen))
    expect(page.locator("#from")).to_have_value(str(days[0]))
    expect(page.locator("#to")).to_have_value(str(days[1]))


def listed(page: Page) -> list[int]:
    """The ids in the list that is open, which is closed again. Every one has its link."""
    more = page.locator("#list .more")
    while more.count():
        more.click()
    links = page.locator("#list-rows a").evaluate_all(
        "all => all.map(a => [a.textContent, a.href])"
    )
    page.locator("#close").dispatch_event("click")
    ids = sorted(int(text.removeprefix("#")) for text, _ in links)
    assert sorted(int(href.rsplit("/", 1)[1]) for _, href in links) == ids
    return ids


def table(page: Page, place: str) -> list[list[str]]:
    rows = page.locator(f"{place} tbody tr").all()
    return [row.locator("td").all_text_contents() for row in rows]
