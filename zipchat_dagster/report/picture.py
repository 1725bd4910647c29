"""The key charts of the range as a picture, with the same charts and colours as the page."""

from __future__ import annotations

import json
import re
import struct
import zlib
from pathlib import Path
from typing import Any, Final

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_FOLDER = Path(__file__).parent
_WIDTH: Final = 760  # as wide as the dialog in which Dagster shows it, which does not scale
_HEIGHT: Final = 120
_TITLES: Final = {
    "escalations": "Escalations by day",
    "response": "First response by day",
    "backlog": "Open at the end of the day",
}


def draw_picture(data: dict[str, Any]) -> bytes:
    """A PNG of the days that have metrics; `data` is what `read_data` returns."""
    # Imported here because it is slow, and every start of the code location would pay for it.
    import vl_convert

    return _compressed(vl_convert.vegalite_to_png(picture_spec(data)))


def _compressed(png: bytes) -> bytes:
    """The same picture in a quarter of the bytes. The renderer is made for speed, and Dagster keeps
    the picture of every run."""
    chunks, at = [], len(_SIGNATURE)
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        chunks.append((png[at + 4 : at + 8], png[at + 8 : at + 8 + length]))
        at += length + 12
    pixels = zlib.decompress(b"".join(body for kind, body in chunks if kind == b"IDAT"))
    others = [chunk for chunk in chunks if chunk[0] != b"IDAT"]
    return _SIGNATURE + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in [*others[:-1], (b"IDAT", zlib.compress(pixels, 9)), others[-1]]
    )


def picture_spec(data: dict[str, Any]) -> dict[str, Any]:
    """The same picture as a Vega-Lite specification."""
    table = data["tables"]["days"]
    days = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
    values = {
        "escalations": [{"day": d["day"], "count": d["escalations"]} for d in days],
        "response": [
            {"day": d["day"], "part": part, "seconds": d[name]}
            for d in days
            for part, name in (("p90", "p90"), ("median", "p50"))
        ],
        "backlog": [{"day": d["day"], "count": d["backlog"]} for d in days],
    }
    charts = json.loads(_with_colours((_FOLDER / "charts.json").read_text("utf-8")))
    shown = [
        charts[name]
        | {"title": title, "width": _WIDTH, "height": _HEIGHT}
        | {"data": {"values": [value for value in values[name] if None not in value.values()]}}
        for name, title in _TITLES.items()
    ]
    config = charts["config"] | {"autosize": "pad", "background": "white", "padding": 16}
    return {"vconcat": shown, "config": config, "resolve": {"scale": {"color": "independent"}}}


def _with_colours(charts: str) -> str:
    """Each `var(--name)` as its light colour in the page's style."""
    style = (_FOLDER / "page.css").read_text("utf-8")
    colours = dict(re.findall(r"--(\w+): light-dark\((#\w+),", style))
    return re.sub(r"var\(--(\w+)\)", lambda match: colours[match[1]], charts)
