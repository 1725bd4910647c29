"""Settings with any text are valid, or an error names each that is not, without any secret."""

from __future__ import annotations

import json
from typing import Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from zipchat_dagster.chats import FIELDS as CHAT_FIELDS
from zipchat_dagster.chats import load_chats
from zipchat_dagster.client import SettingError
from zipchat_dagster.settings import Settings
from zipchat_dagster_tests.conftest import effort

MARK: Final = "Xq7Secret"  # in every secret
NAMES: Final = sorted(str(field.alias) for field in Settings.model_fields.values())
USUAL: Final = [
    *("1234", "0.25", "500", "nan", "1e400", "-0", "٣", "²", "true", "sandbox", "replay"),
    *("2026-01-31", "2026-W05", "99999-01-01", "Europe/Berlin", "../zone", "UTC\n"),
    *("mon-fri 09:00-17:00, sat 10:00-14:00", "sun-mon 22:00-24:00", "data/warehouse.duckdb"),
    *("~/w.duckdb", "~nobody/w.duckdb", "zipchat.duckdb", "/dev/null", "x" * 5000, "md:chats"),
    *("ducklake:postgres:dbname=lake host=db", "s3://bucket/prefix", "https://example.com/api"),
    *("http://127.0.0.1:99999/", "https://[::1", "https://exa mple.com", "postgresql://u@host/db"),
]
SECRETS: Final = [
    *(f"zc-{MARK}", f"zc-{MARK} 2", f"https://hooks.example.com/{MARK}"),
    *(f"https://u:{MARK}@example.com", f"http://u:{MARK}@127.0.0.1/"),
    *(f"postgresql://u:{MARK}@host/db", f"host=db password={MARK}"),
    *(f"ducklake:postgres:dbname=lake password={MARK}", f"md:chats?motherduck_token={MARK}"),
    f"ducklake:postgres:postgresql://u:{MARK}@host/lake",
]
ODD: Final = st.characters(exclude_characters="\0")  # which no environment can hold


@st.composite
def texts(draw: st.DrawFn) -> str:
    """What somebody may write, with something else in its midst; or a secret, with something around
    it."""
    added = draw(st.text(ODD, max_size=2))
    if draw(st.booleans()):
        secret = draw(st.sampled_from(SECRETS))
        return draw(st.sampled_from([added + secret, secret + added]))
    text = draw(st.sampled_from(USUAL) | st.text(ODD, max_size=9))
    start, end = sorted(draw(st.tuples(*[st.integers(0, len(text))] * 2)))
    return text[:start] + added + text[draw(st.sampled_from([start, end])) :]


def complaint(environment: dict[str, str], *, where: tuple[str, ...]) -> str:
    """The error about these settings; "" if they are valid."""
    try:
        load_chats(Settings.from_environment(environment), environment)
    except SettingError as error:
        lines = str(error).splitlines()
        for line in lines[len(lines) > 1 and lines[0].endswith("settings are malformed:") :]:
            assert line.startswith(where), line
        return str(error)
    return ""


@settings(max_examples=effort(150, 1_000), deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), texts(), max_size=4))
@example({"ZIPCHAT_DATABASE": "~no_such_user/w.duckdb"})
@example({"ZIPCHAT_TIMEZONE": "\udcff"})
@example({"ZIPCHAT_CHATS": f"https://hooks.example.com/{MARK}"})
@example({"ZIPCHAT_BASE_URL": "1234\r0"})
def test_any_environment_is_accepted_or_each_malformed_setting_is_named(
    environment: dict[str, str],
) -> None:
    said = complaint(environment, where=("ZIPCHAT_",))
    assert MARK not in said


KEYS: Final = {"DE_KEY": "zc-de", "ODD_KEY": f"zc-{MARK} 2"}
FIELDS: Final = st.sampled_from([*sorted(CHAT_FIELDS), "timezone", "database", f"zc-{MARK}", "_"])
PLAIN: Final = "chats:\n- name: shop_de\n  chat_id: 1\n  api_key_env: DE_KEY\n"


@st.composite
def files(draw: st.DrawFn) -> str:
    """A file of chats written by hand, with mistakes."""
    entries = draw(
        st.lists(
            st.dictionaries(FIELDS, texts() | st.sampled_from([*KEYS]), max_size=4), max_size=3
        )
    )
    is_quoted = draw(st.booleans())
    lines = [
        f"{'  ' if number else '- '}{name}: {json.dumps(text) if is_quoted else text}\n"
        for entry in entries
        for number, (name, text) in enumerate(entry.items())
    ]
    text = PLAIN + "".join(lines)
    cut = draw(st.sampled_from([0] * 9 + [draw(st.integers(0, len(text)))]))
    return text[cut:] + draw(
        st.sampled_from([""] * 9 + ["\t", "}", "\0", "? [x]: y", "- *a", "---"])
    )


@settings(max_examples=effort(100, 1_000), deadline=None)
@given(files())
@example(f"{PLAIN}- zc-{MARK}: 1\n")
def test_any_file_of_chats_is_accepted_or_each_mistake_has_its_line(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "chats.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    environment = {"ZIPCHAT_CHATS": str(path), **KEYS}
    said = complaint(environment, where=("chats.yaml, line ", "ZIPCHAT_CHATS: "))
    assert MARK not in said
