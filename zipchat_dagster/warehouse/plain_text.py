"""A message as plain text: HTML and attachment blocks turned into what a person would read.

`message` can be plain text, HTML (`<br>`, `<p>`), or a JSON array of blocks in a string (api.md).
"""

from __future__ import annotations

import json
import re
from typing import Any

from bs4 import BeautifulSoup

# A text such as "size < 5 & > 3" is no HTML; only tags that messages are made of make it one.
_TAG = re.compile(
    r"</?(?:a|b|blockquote|br|code|div|em|h[1-6]|hr|i|img|li|ol|p|pre|s|span|strong|table|tbody|td"
    r"|th|thead|tr|u|ul)(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)
_BLOCKS = ("p", "div", "li", "tr", "blockquote", "pre", *(f"h{n}" for n in range(1, 7)))
_BLANK_LINES = re.compile(r"[ \t]*\n(?:[ \t]*\n)+")


def plain_text(message: Any) -> str | None:
    """The text of one `message` field; an attachment becomes its type, such as `[image]`.

    None for what is no string. Never raises: a text that only looks like blocks is kept as it is.
    """
    if not isinstance(message, str):
        return None
    blocks = _blocks(message)
    if blocks is None:
        return _without_html(message)
    return "\n".join(filter(None, map(_block_text, blocks)))


def _blocks(message: str) -> list[dict[str, Any]] | None:
    if not message.lstrip().startswith("["):
        return None
    try:
        blocks = json.loads(message)
    except (ValueError, RecursionError):
        return None
    if blocks and all(isinstance(b, dict) and isinstance(b.get("type"), str) for b in blocks):
        return list(blocks)
    return None


def _block_text(block: dict[str, Any]) -> str:
    text = block.get("text")
    return _without_html(text) if isinstance(text, str) else f"[{block['type']}]"


def _without_html(text: str) -> str:
    if not _TAG.search(text):
        return text
    soup = BeautifulSoup(text, "html.parser")
    for image in soup.find_all("img"):
        image.replace_with("[image]")
    for line_break in soup.find_all(["br", "hr"]):
        line_break.replace_with("\n")
    for block in soup.find_all(_BLOCKS):
        block.insert_before("\n")
        block.insert_after("\n")
    return _BLANK_LINES.sub("\n", soup.get_text()).strip()
