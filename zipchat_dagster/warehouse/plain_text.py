"""A message as plain text: what a person would read in HTML and attachment blocks.

`message` can be plain text, HTML (`<br>`, `<p>`), or a JSON array of blocks in a string
(docs/api.md).
"""

from __future__ import annotations

import html
import json
import re
from typing import Any

# Only tags that messages are made of make a text HTML: "size < 5 & > 3" is not.
_TAG = re.compile(
    r"</?(?:a|b|blockquote|br|code|div|em|h[1-6]|hr|i|img|li|ol|p|pre|s|span|strong|table|tbody|td"
    r"|th|thead|tr|u|ul)(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)
_BREAKS = frozenset(
    {"br", "hr", "p", "div", "li", "tr", "blockquote", "pre", *(f"h{n}" for n in range(1, 7))}
)
_HIDDEN = tuple(  # everything from the opening to the closing
    (re.compile(opening, re.IGNORECASE), re.compile(closing, re.IGNORECASE))
    for opening, closing in (
        ("<!--", "-->"),
        (r"<script\b", r"</script\s*>"),
        (r"<style\b", r"</style\s*>"),
    )
)
_MARKUP = re.compile(r"<!\[?[a-z][^<>]*>|<(/?[a-z][a-z0-9:-]*)(?:\s[^<>]*)?/?>", re.IGNORECASE)
# In a text without tags, only what is clearly meant as a character; not "AT&T" or "?a=1&copy=2".
_ENTITY = re.compile(r"&(?:[a-z][a-z0-9]*|#[0-9]{1,7}|#x[0-9a-f]{1,6});", re.IGNORECASE)


def plain_text(message: Any) -> str | None:
    """The text of one `message` field; an attachment becomes its type, such as `[image]`.

    None for anything but a string. Never raises: a text that only looks like blocks is kept as is.
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
    # Written by hand so that each step takes time proportional to the text, since anybody can write
    # to a shop. Beautiful Soup takes two minutes for a long e-mail and raises at "<![". Python's
    # own parser takes nine for "<a <a <a …".
    if not _TAG.search(text):
        return _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
    for opening, closing in _HIDDEN:
        text = _cut(text, opening, closing)
    lines = html.unescape(_MARKUP.sub(_in_text, text)).replace("\xa0", " ").split("\n")
    return "\n".join(line.rstrip() for line in lines if line.strip()).strip()


def _cut(text: str, opening: re.Pattern[str], closing: re.Pattern[str]) -> str:
    """Cut out what is between them. An opening that is never closed stays."""
    kept = []
    position = 0
    while (start := opening.search(text, position)) and (end := closing.search(text, start.end())):
        kept.append(text[position : start.start()])
        position = end.end()
    return "".join(kept) + text[position:]


def _in_text(markup: re.Match[str]) -> str:
    """What a person sees in place of a tag."""
    name = (markup[1] or "").lower()
    if name.removeprefix("/") in _BREAKS:
        return "\n"
    return {"img": "[image]", "/td": " ", "/th": " "}.get(name, "")
