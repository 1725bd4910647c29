"""Chromium for the tests that look at a page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Root's Chromium starts in no sandbox of its own; the rest keeps it from calling home.
BROWSER_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Playwright's own, or the machine's. The test is skipped where there is neither."""
    with sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path)
        found = own if own.exists() else next(filter(None, map(shutil.which, BROWSERS)), None)
        if found is None:
            pytest.skip("no browser: install Chromium, or run `playwright install chromium`")
        with playwright.chromium.launch(executable_path=found, args=BROWSER_OPTIONS) as browser:
            yield browser
