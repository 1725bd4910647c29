"""Sends reports. Nothing else in this project sends data anywhere but to Zipchat.

A `Report` contains everything that somebody needs to act on it, and no customer data: `sensors.py`
builds it from ids and this project's own names and sentences. To report somewhere other than to a
webhook, subclass `Notifier`, override `send`, and put it into the definitions as `notifier`.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import dagster as dg
import httpx
from pydantic import Field

from zipchat_dagster.client import SettingError
from zipchat_dagster.client.options import is_loopback

TIMEOUT: Final = 4.0  # seconds, for connecting and again for the answer
PAUSES = (0.0, 0.5, 1.5)  # seconds before each attempt; after the last, the next tick tries again

# At INFO, httpx logs the address of each request, and a webhook's address is its password.
logging.getLogger("httpx").setLevel(logging.WARNING)


@dataclass(frozen=True)
class Report:
    """One failure or recovery.

    Attributes:
        kind: what happened.
        key: identifies the event, which is posted twice if the webhook's response is lost.
        text: a line for people, in the field that chat programs show.
        facts: the same as JSON, for programs.
    """

    kind: Literal["run_failed", "check_failed", "check_recovered"]
    key: str
    text: str
    facts: Mapping[str, Any]


class NotDeliveredError(Exception):
    """The webhook did not accept a report. The message does not contain its address."""


class Notifier(dg.ConfigurableResource):  # type: ignore[type-arg]  # generic only for I/O managers
    """Sends reports to the log, and to a webhook if one is set."""

    webhook_url: str = Field(
        default="",
        repr=False,  # such addresses are secrets
        description=(
            "Where reports are posted as JSON: text, kind, key and the facts. https, or plain http"
            " on this machine. Without it, they are only logged."
        ),
    )

    def send(self, report: Report, log: logging.Logger) -> None:
        """Send one report, to the webhook first.

        Raises:
            NotDeliveredError: the webhook did not accept it.
            SettingError: ZIPCHAT_WEBHOOK_URL is malformed.
        """
        if self.webhook_url:
            url = check_webhook_url(self.webhook_url)
            _post(
                url, {"text": report.text, "kind": report.kind, "key": report.key, **report.facts}
            )
        level = logging.INFO if report.kind == "check_recovered" else logging.ERROR
        log.log(level, report.text)


def check_webhook_url(value: str) -> httpx.URL:
    """The address as a URL.

    Raises:
        SettingError: it is malformed, or would be called unencrypted. Its value is not shown.
    """
    try:
        url = httpx.URL(value.strip())
    except httpx.InvalidURL:
        url = httpx.URL("")
    is_safe = url.scheme == "https" or (url.scheme == "http" and is_loopback(url.host))
    if not is_safe or not url.host:
        raise SettingError(
            "ZIPCHAT_WEBHOOK_URL (not shown: it may be a secret) is not an address to post to."
            " Write https://…; plain http is accepted for this machine only."
        )
    return url


def _post(url: httpx.URL, payload: Mapping[str, Any]) -> None:
    for pause in PAUSES:
        time.sleep(pause)
        try:
            response = httpx.post(url, json=payload, timeout=TIMEOUT, follow_redirects=False)
        except httpx.HTTPError as error:
            what = type(error).__name__  # its text may contain the address
            continue
        if response.is_success:
            return
        what = f"it answered {response.status_code}"
    raise NotDeliveredError(f"The webhook at {url.host} did not accept a report ({what}).")
