"""The page: one file of HTML with its data, script, style and charting library inside."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from zipchat_dagster.report.data import headline, read_data
from zipchat_dagster.report.picture import draw_picture
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster.warehouse.derive import QUIET_HOURS

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Report:
    """A finished report.

    Attributes:
        html: the page, as one self-contained file.
        png: the key charts of the range, for places that cannot show the page.
        summary: the headline numbers; None where there is nothing to measure.
    """

    html: str
    png: bytes
    summary: dict[str, float | None]


def build_report(
    warehouse: Warehouse,
    *,
    chat_id: int,
    first: date,
    last: date,
    now: datetime,
    target_seconds: float | None = None,
    quiet_hours: int = QUIET_HOURS,
    business_hours: str = "",
    source: str = "",
    name: str = "",
) -> Report:
    """The report of one chat. The page's reader chooses ranges within `first` to `last`.

    Args:
        first, last: days in the warehouse's time zone, both included.
        now: an aware datetime: the moment of "waiting now" and of ages.
        target_seconds: within which a first response is in time.
        quiet_hours, business_hours: the settings, which the page shows.
        source: where the records come from if not from Zipchat, such as "the sandbox"; a banner
            says so.
        name: the chat's name among several, for the title.

    Raises:
        ValueError: `last` is before `first`, or `now` has no time zone.
    """
    data = read_data(warehouse, chat_id=chat_id, first=first, last=last, now=now)
    data |= {
        "target": target_seconds,
        "quietHours": quiet_hours,
        "businessHours": business_hours,
        "source": source,
        "name": name,
    }
    return Report(html=page(data), png=draw_picture(data), summary=headline(data))


def page(data: dict[str, Any]) -> str:
    """The HTML for what `read_data` returns and the settings."""
    title = f"{data['name']} · Escalations" if data["name"] else "Escalations"
    charts = _json(json.loads(_file("charts.json")))
    return fill("page", data, library=library(), title=escape(title), charts=charts)


def fill(name: str, data: dict[str, Any], *, library: str = "", **parts: str) -> str:
    """`name.html` with its script, the shared style and script, its data and what else it needs."""
    script = _file("shared.js") + _file(f"{name}.js")
    hashes = [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in (library, script)
        if text
    ]
    return Template(_file(f"{name}.html")).substitute(
        parts,
        hashes=" ".join(f"'sha256-{digest}'" for digest in hashes),
        style=_file("page.css"),
        library=library,
        script=script,
        data=_json(data),
    )


@cache
def library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that needs no network."""
    import vl_convert

    # An HTML parser ends a script at this text, wherever in the script it is.
    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")).replace(
        "</script", r"<\/script"
    )


def _json(value: Any) -> str:
    """JSON without a character that an HTML parser could take for markup."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c")


def _file(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
