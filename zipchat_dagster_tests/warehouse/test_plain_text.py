"""`plain_text`: the text that a person would read, from any message."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zipchat_dagster.warehouse.plain_text import plain_text

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus" / "customer_turns.jsonl.gz"


def image(**more: Any) -> dict[str, Any]:
    return {"type": "image", "source": {"url": "https://files.example.com/1.jpg"}, **more}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Where is my order?",
        "a < b & c > d",
        "size<5 and >3",
        "1<2>0",
        "<3 you & me",
        "AT&T, R&D, ?a=1&copy=2, & so on; &nosuchname;",
        "<name@example.com>",
        "if <something> then",
        "  two  spaces\tand\n\n\nblank lines  ",
        "[not json",
        "[1, 2]",
        "[]",
        '["a"]',
        '[{"kind": "image"}]',
        '[{"type": 7}]',
        '{"type": "text", "text": "no array"}',
        '[{"type": "text", "text": "cut',
        "[" * 5000,
        "[" + "9" * 5000 + "]",
    ],
)
def test_plain_text_comes_through_unchanged(text: str) -> None:
    assert plain_text(text) == text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>Hello,</p><p>how are you?</p>", "Hello,\nhow are you?"),
        ("one<br>two<br/>three<BR />four", "one\ntwo\nthree\nfour"),
        ("one<br><br>\n<br>two", "one\ntwo"),
        ("<p>within <b>30 days</b>.</p>", "within 30 days."),
        ("<div><div>in<blockquote>deep<p>er</p></blockquote></div>out</div>", "in\ndeep\ner\nout"),
        ("<ul><li>one</li><li>two</li></ul>", "one\ntwo"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc"),
        ("<h2>Title</h2>text", "Title\ntext"),
        ('see <a href="https://example.com/?a=1&amp;b=2">our page</a>', "see our page"),
        ('<p>look: <img src="a.png"></p>', "look: [image]"),
        ("<p>5 < 6 & 7 > 3</p>", "5 < 6 & 7 > 3"),
        ("<p>a</p><!-- <p>not this</p> --><p>b</p>", "a\nb"),
        ("<style>p {color: red}</style><p>a</p><script>alert('<p>')</script>", "a"),
        ("<!DOCTYPE html><html><body><p>a</p></body></html>", "a"),
        ("<p><o:p>a</o:p><font color='red'>b</font></p>", "ab"),
        ("<p>a&nbsp;b &lt;p&gt; &amp;lt;</p>", "a b <p> &lt;"),
        ("<p>never closed <b>bold", "never closed bold"),
        ("<br>half a <!-- comment", "half a <!-- comment"),
        ("<br><![", "<!["),
        ("<p></p>", ""),
    ],
)
def test_html_becomes_what_a_browser_would_show(html: str, text: str) -> None:
    assert plain_text(html) == text


@pytest.mark.parametrize(
    ("entities", "text"),
    [
        ("free above 50 &euro;.", "free above 50 €."),
        ("Fish &amp; chips &lt;3", "Fish & chips <3"),
        ("it&#39;s &#x1F600;", "it's 😀"),
        ("&#xD800; &#0; &#9999999;", "\ufffd \ufffd \ufffd"),
    ],
)
def test_entities_without_any_tag_are_read_too(entities: str, text: str) -> None:
    assert plain_text(entities) == text


@pytest.mark.parametrize(
    ("blocks", "text"),
    [
        ([image()], "[image]"),
        ([image(), {"type": "file"}], "[image]\n[file]"),
        ([image(), {"type": "text", "text": "this one"}], "[image]\nthis one"),
        ([{"type": "text", "text": "<p>a</p><p>b &amp; c</p>"}, image()], "a\nb & c\n[image]"),
        ([{"type": "text", "text": ""}, image()], "[image]"),
        ([{"type": "text", "text": None}], "[text]"),
        ([{"type": "video", "text": 7}], "[video]"),
    ],
)
def test_blocks_become_their_texts_and_attachments_their_type(blocks: Any, text: str) -> None:
    assert plain_text(json.dumps(blocks)) == text
    assert plain_text(" \n" + json.dumps(blocks, indent=1)) == text


@pytest.mark.parametrize("value", [None, 7, 1.5, True, [], {}, b"bytes"])
def test_a_value_that_is_not_a_string_has_no_text(value: Any) -> None:
    assert plain_text(value) is None


def test_half_a_surrogate_pair_stays_where_it_is() -> None:
    assert plain_text("half: \ud83d") == "half: \ud83d"
    assert plain_text("<p>half: \ud83d</p>") == "half: \ud83d"
    assert plain_text(r'[{"type": "text", "text": "half: \ud83d"}]') == "half: \ud83d"


@pytest.mark.parametrize(
    "text",
    [
        "<br>" + "<a " * 50_000,
        "<br>" + "<!--" * 50_000,
        "<br>" + "<script>" * 30_000,
        "<br>" + "</" * 100_000,
        "<br>" + "&" * 200_000,
        "<br>" + " " * 200_000 + "x",
        "<p>" + "\n" * 200_000,
        "<div>" * 40_000 + "x",
        "<p>word</p>" * 20_000,
        "<p " + "a" * 200_000,
        "[" * 200_000,
        '[{"type":"x"},' * 15_000,
    ],
    ids=lambda text: text[:12],
)
def test_a_long_message_takes_no_longer_than_its_length(text: str) -> None:
    """Anybody can write to a shop: 200,000 characters take milliseconds, whatever they are."""
    began_at = time.process_time()
    plain_text(text)
    assert time.process_time() - began_at < 2


PIECES = st.sampled_from(
    [
        "<p>",
        "</p>",
        "<br>",
        "<![",
        "<!--",
        "-->",
        "<?",
        "<!DOCTYPE",
        "&",
        "&#",
        "&#x",
        "&amp;",
        "&#xD800;",
        "<a",
        "<div",
        "</",
        "<script>",
        "</script>",
        "<style>",
        "[",
        "]",
        "{",
        "}",
        '"',
        "'",
        "=",
        "<![CDATA[",
        "]]>",
        "<textarea>",
        "<title>",
        "x",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.lists(PIECES).map("".join), st.lists(PIECES).map(" ".join)))
def test_plain_text_never_fails(text: str) -> None:
    assert isinstance(plain_text(text), str)
    block = json.dumps([{"type": "text", "text": text}])
    assert plain_text(block) == plain_text(text)


def test_texts_that_real_customers_typed_come_through_unchanged() -> None:
    if not CORPUS.exists():
        pytest.skip(f"no customers' texts in {CORPUS.parent}")
    with gzip.open(CORPUS, "rt", encoding="utf-8") as lines:
        texts = [turn["text"] for line in lines for turn in json.loads(line)["turns"]]
    assert len(texts) > 10_000
    assert [text for text in texts if plain_text(text) != text] == []
