"""Dagster's UI as a person uses it: `dagster dev` on a sandbox, in Chromium.

`make screenshots` runs this too, and puts pictures of what it sees into the README.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from zipchat_dagster.demo import sandbox_environment
from zipchat_dagster.sandbox import DEFAULT_KEY, Sandbox, generate, serve
from zipchat_dagster.settings import PROJECT
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster_tests.browser import chromium
from zipchat_dagster_tests.conftest import NOW, Project, thorough, without_settings
from zipchat_dagster_tests.postgres import free_port
from zipchat_dagster_tests.single import ASSETS

pytestmark = [pytest.mark.browser, thorough]

NAMES = [key.path[-1] for asset in ASSETS for key in asset.keys]
DAYS = [f"{NOW - timedelta(days=n):%Y-%m-%d}" for n in reversed(range(11))]
# A busy machine is slow. Nothing waits longer than what it waits for takes.
PAGE_SECONDS = 60
RUN_SECONDS = 180
BACKFILL_SECONDS = 480
STOP_SECONDS = 30


@dataclass(frozen=True)
class Dagster:
    """A running `dagster dev`: where it is, what it works on, and its log."""

    url: str
    project: Project
    log: Path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        expect.set_options(timeout=PAGE_SECONDS * 1000)
        yield browser


@pytest.fixture(scope="module")
def dagster(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dagster]:
    """`dagster dev` on a chat of ten days, in a folder of its own, so that no `.env` is read."""
    home = tmp_path_factory.mktemp("dagster")
    shutil.copy(PROJECT / "dagster.yaml", home)
    chat = generate(seed=8, conversations=80, days=10, now=NOW, max_messages=30)
    sandbox = Sandbox(chat=chat, limit=120, window=2, pagination="meta")
    database = home / "warehouse.duckdb"
    log = home / "dagster.log"
    with serve(sandbox) as api_url:
        command = ["dagster", "dev", "-m", "zipchat_dagster.definitions", "-d", str(PROJECT)]
        settings = {"ZIPCHAT_START_DATE": DAYS[0], "DAGSTER_HOME": str(home)}
        environment = without_settings() | sandbox_environment(api_url, database) | settings
        with running(command, environment, folder=home, log=log) as url:
            yield Dagster(url, Project(sandbox, Warehouse(database)), log)


@contextmanager
def running(
    command: list[str], environment: dict[str, str], *, folder: Path, log: Path
) -> Iterator[str]:
    """Dagster's UI and daemon, by this command and a port. Yields the address of the UI."""
    port = free_port()
    program = Path(sys.executable).with_name(command[0])
    with log.open("w") as output:
        process = subprocess.Popen(
            [str(program), *command[1:], "--host", "127.0.0.1", "--port", str(port)],
            env=environment,
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(url, process, log)
            yield url
        finally:
            stop(process)


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + RUN_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            httpx.get(f"{url}/server_info").raise_for_status()
            return
        time.sleep(0.2)
    pytest.fail(f"dagster dev did not start:\n{log.read_text()[-3000:]}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """As Ctrl-C does, with all processes that it started; and for good, should that not help."""
    with suppress(ProcessLookupError, subprocess.TimeoutExpired):
        os.killpg(process.pid, signal.SIGINT)
        process.wait(STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture
def page(browser: Browser, dagster: Dagster) -> Iterator[Page]:
    with open_page(browser, dagster.url) as page:
        yield page


@contextmanager
def open_page(browser: Browser, url: str) -> Iterator[Page]:
    with browser.new_context(base_url=url, viewport={"width": 1280, "height": 760}) as context:
        context.set_default_timeout(PAGE_SECONDS * 1000)
        page = context.new_page()
        # More room, and pictures that can be read in the README.
        page.goto("/")
        page.get_by_role("button", name="Hide navigation").click()
        yield page


@pytest.fixture
def screenshot(page: Page) -> Callable[[str], None]:
    """Takes a picture for the README, where `make screenshots` says into which folder."""
    folder = os.environ.get("UI_SCREENSHOTS")

    def take(name: str) -> None:
        if folder:
            page.mouse.move(0, 0)
            page.wait_for_load_state("networkidle")
            page.screenshot(path=Path(folder) / name, animations="disabled")

    return take


@pytest.fixture(scope="module")
def backfill(browser: Browser, dagster: Dagster) -> str:
    """A backfill of all days and assets, launched from the graph; the address of its page."""
    with open_page(browser, dagster.url) as page:
        return launch_backfill(page, DAYS[0], DAYS[-1])


@pytest.fixture(scope="module")
def backfilled(browser: Browser, dagster: Dagster, backfill: str) -> None:
    """The same, finished."""
    with open_page(browser, dagster.url) as page:
        page.goto(backfill)
        wait_until_finished(page)


def launch_backfill(page: Page, first: str, last: str) -> str:
    """A backfill of these days and all assets, launched from the graph; the address of its page."""
    page.goto("/asset-groups")
    page.get_by_role("button", name="Materialize all").click()
    dialog = page.get_by_role("dialog")
    days = dialog.get_by_role("textbox")
    days.fill(f"[{first}...{last}]")
    days.press("Enter")
    dialog.get_by_role("button", name="Launch backfill").click()
    page.get_by_role("link", name="View").click()
    page.wait_for_url("**/runs/b/*")
    return page.url


def wait_until_finished(page: Page) -> Locator:
    """On a backfill's page. Returns what shows its status."""
    status = page.get_by_text("Status", exact=True).locator("..")
    finished = re.compile("Succeeded|Failed|Canceled")
    expect(status).to_contain_text(finished, timeout=BACKFILL_SECONDS * 1000)
    return status


def test_the_graph_shows_both_groups_and_all_assets(page: Page, backfill: str) -> None:
    graph = open_graph(page)
    for name in ("zipchat_raw", "zipchat_metrics", *NAMES):
        expect(graph.get_by_text(name, exact=True)).to_be_visible()


def test_a_dry_run_from_the_launchpad_succeeds_and_writes_nothing(
    page: Page, dagster: Dagster, screenshot: Callable[[str], None]
) -> None:
    sandbox = dagster.project.sandbox
    before = sandbox.truth()
    conversation = next(c for c in before["conversations"] if c["channel"] == "web")
    sender = before["users"][0]
    page.goto("/jobs")
    page.get_by_role("link", name="take_over_reply_hand_back_job").click()
    page.get_by_role("tab", name="Launchpad").click()
    expect(page.get_by_text("Missing required config entries")).to_contain_text(
        "['conversation_id', 'message', 'sender_id']"
    )
    launch = page.get_by_role("button", name="Launch Run")
    expect(launch).to_be_disabled()
    page.locator(".CodeMirror").click()
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.insert_text(
        "ops:\n"
        "  take_over_reply_hand_back:\n"
        "    config:\n"
        f"      conversation_id: {conversation['id']}\n"
        f"      sender_id: {sender['id']}\n"
        "      message: Your parcel is on its way.\n"
        "      dry_run: true"
    )
    schema = page.get_by_role("code")
    expect(schema).to_contain_text("conversation_id: Int")
    expect(schema).to_contain_text("dry_run?: Bool")
    expect(schema).to_contain_text("Check everything and report what would be done")
    expect(page.get_by_text("No errors")).to_be_visible()
    screenshot("launchpad.png")
    launch.click()
    expect(page.get_by_text("RUN_SUCCESS")).to_be_visible(timeout=RUN_SECONDS * 1000)
    expect(page.get_by_text("Would send a 26-character message")).to_be_visible()
    assert sandbox.truth() == before
    writes = sandbox.stats()["by_endpoint"]
    assert (writes["assignment"], writes["message"]) == (0, 0)


def test_the_schedules_are_off_and_one_is_switched_on(
    page: Page, screenshot: Callable[[str], None]
) -> None:
    page.goto("/automation")
    for name in ("hourly_schedule", "daily_schedule", "checks_schedule"):
        expect(switch(page, name)).not_to_be_checked()
    switch(page, "daily_schedule").locator("..").click()
    expect(switch(page, "daily_schedule")).to_be_checked()
    page.reload()
    expect(switch(page, "daily_schedule")).to_be_checked()
    expect(switch(page, "hourly_schedule")).not_to_be_checked()
    page.set_viewport_size({"width": 1280, "height": 480})  # as high as the list is long
    screenshot("schedules.png")


def test_a_backfill_finishes_and_the_tables_agree(
    page: Page,
    dagster: Dagster,
    backfill: str,
    backfilled: None,
    screenshot: Callable[[str], None],
) -> None:
    page.goto(backfill)
    expect(page.get_by_text("100% completed")).to_have_count(len(NAMES))
    expect(page.get_by_text("Status", exact=True).locator("..")).to_contain_text("Succeeded")
    screenshot("backfill.png")
    dagster.project.assert_tables_agree()
    graph = open_graph(page)
    filled = re.compile("100% filled|91% filled")  # a day may have begun meanwhile
    expect(graph.get_by_text(filled)).to_have_count(4)
    screenshot("asset-graph.png")


def test_the_page_of_a_partition_shows_what_is_in_it_and_what_it_cost(
    page: Page, dagster: Dagster, backfilled: None, screenshot: Callable[[str], None]
) -> None:
    day = DAYS[-3]
    page.goto("/assets/raw_messages")
    page.get_by_role("tab", name="Partitions").click()
    expect(page.get_by_text(f"Materialized ({len(DAYS)})")).to_be_visible()
    page.get_by_text(day, exact=True).first.click()
    expect(page.get_by_text("Materialized", exact=True)).to_be_visible()
    query = "select count(*) from zipchat.raw_messages where partition_date = $day"
    ((rows,),) = dagster.project.rows(query, day=day)
    conversations = len(dagster.project.sandbox.chat.conversations)
    expect(metadata(page, "dagster/partition_row_count")).to_have_text(str(rows))
    expect(metadata(page, "requests")).to_have_text(str(conversations))
    screenshot("partition.png")


def test_the_checks_of_an_asset_have_passed(
    page: Page, backfilled: None, screenshot: Callable[[str], None]
) -> None:
    page.goto("/assets/raw_messages")
    page.get_by_role("tab", name="Checks").click()
    heading = page.get_by_text(re.compile(r"Checks \(\d+\)"))
    count = int(re.sub(r"\D", "", heading.inner_text()))
    assert count > 0
    expect(page.get_by_text("Succeeded", exact=True)).to_have_count(count)
    page.get_by_text("counts_are_as_the_api_stated").first.click()
    expect(page.get_by_text("Passed")).to_be_visible()
    page.set_viewport_size({"width": 1280, "height": 800})  # as high as the list is long
    screenshot("checks.png")


def test_the_report_is_found_from_its_asset(page: Page, dagster: Dagster, backfilled: None) -> None:
    page.goto("/assets/escalation_report")
    path = dagster.project.warehouse.path.with_name("warehouse_report.html")
    expect(page.get_by_text(str(path))).to_be_visible()
    assert path.exists()
    page.get_by_text("[Show Markdown]").click()
    picture = page.get_by_role("img", name="escalations, first response and backlog by day")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") > 0


def test_dagster_logged_no_error_and_no_key(dagster: Dagster, backfilled: None) -> None:
    log = dagster.log.read_text()
    assert "RUN_SUCCESS" in log
    assert "ERROR" not in log
    assert "Traceback" not in log
    assert DEFAULT_KEY not in log


def open_graph(page: Page) -> Locator:
    """The graph from top to bottom, with both groups opened and all of it in view. Returns its nodes."""
    page.set_viewport_size({"width": 2000, "height": 1150})  # wide enough for nodes with details
    page.goto("/asset-groups")
    graph = page.locator("svg foreignObject")
    expect(graph.get_by_text("zipchat_raw", exact=True)).to_be_visible()
    for option in ("Expand all groups", "Change graph to vertical orientation"):
        choose(page, option)
    page.get_by_role("button", name="panel_show_right", exact=True).click()
    for _ in range(PAGE_SECONDS):  # again if it was not laid out yet
        page.mouse.dblclick(140, 200)  # beside the graph, which fits it into the page
        page.wait_for_timeout(1000)
        if all(graph.get_by_text(name, exact=True).is_visible() for name in NAMES):
            break
    return graph


def choose(page: Page, option: str) -> None:
    """Choose from the graph's menu, again if it closes because the graph is redrawn."""
    for _ in range(20):
        page.get_by_role("button", name="settings").last.click()
        with suppress(PlaywrightTimeout):
            page.get_by_role("menuitem", name=option).click(timeout=2000)
            return
    pytest.fail(f"the graph's menu never held still for “{option}”")


def switch(page: Page, name: str) -> Locator:
    """The (invisible) input of the switch in a schedule's row; the one before it selects the row."""
    row = page.locator("[data-index]").filter(has=page.get_by_role("link", name=name))
    return row.get_by_role("checkbox").nth(1)


def metadata(page: Page, name: str) -> Locator:
    row = page.get_by_role("row").filter(has=page.get_by_role("cell", name=name, exact=True))
    return row.get_by_role("cell").nth(1)
