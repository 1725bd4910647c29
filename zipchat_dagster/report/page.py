"""The page: one file of HTML with its data, script, style and charting library inside."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from html import escape
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import Any

from zipchat_dagster.report.data import headline, read_data
from zipchat_dagster.report.picture import draw_picture
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster.warehouse.derive import QUIET_HOURS

_FOLDER = Path(__file__).parent
_BUNDLER = f"vl-convert {version('vl-convert-python')}"


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
    former: Path | None = None,
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
        former: a page that this one will replace, if there is one; its copy of the charting library
            is used again.
    """
    data = read_data(warehouse, chat_id=chat_id, first=first, last=last, now=now)
    data |= {
        "target": target_seconds,
        "quietHours": quiet_hours,
        "businessHours": business_hours,
        "source": source,
        "name": name,
    }
    return Report(html=page(data, former=former), png=draw_picture(data), summary=headline(data))


def page(data: dict[str, Any], *, former: Path | None = None) -> str:
    """The HTML for what `read_data` returns and the settings."""
    title = f"{data['name']} · Escalations" if data["name"] else "Escalations"
    charts = json.loads(_file("charts.json"))
    return fill("page", title, {**data, "charts": charts}, library=_library(former))


def fill(name: str, title: str, data: dict[str, Any], *, library: str = "") -> str:
    """`frame.html` with the content and the script of this name, the data, and a library if the
    content has a place for one."""
    script = _file("shared.js") + _file(f"{name}.js")
    digests = [hashlib.sha256(text.encode()).digest() for text in (library, script) if text]
    content = Template(_file(f"{name}.html"))
    return Template(_file("frame.html")).substitute(
        title=escape(title),
        hashes=" ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests),
        style=_file("page.css"),
        content=content.substitute(bundler=_BUNDLER, library=library),
        data=_json(data),
        script=script,
    )


def _library(former: Path | None) -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that needs no network. Bundling them takes over
    a second, and each run is a process of its own, so a former page by the same bundler is used."""
    html = ""
    if former:
        with suppress(OSError):  # there is none, or it is somebody else's
            html = former.read_text(encoding="utf-8", errors="replace")
    mark = re.escape(f'<script data-bundler="{_BUNDLER}">')
    found = re.search(f"{mark}(.+?)</script>", html, re.DOTALL)
    return found[1] if found else _bundle()


@cache
def _bundle() -> str:
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
