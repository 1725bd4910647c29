"""The client's options are checked before anything is sent; an error names the parameter."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from zipchat_dagster.client import BASE_URL, SettingError, UnreachableError, ZipchatClient
from zipchat_dagster.client.options import check_budget
from zipchat_dagster.sandbox import DEFAULT_KEY, Sandbox, serve
from zipchat_dagster_tests.client.support import KEY, Script, a_chat, a_client


def refusal(**options: Any) -> str:
    script = Script({"user": {"id": 1}})
    with pytest.raises(SettingError) as caught:
        a_client(script, **options).get_user(1)
    assert script.requests == []
    return str(caught.value)


@pytest.mark.parametrize("key", ["", " ", "\n"])
def test_a_missing_key_is_reported_with_where_to_get_one(key: str) -> None:
    text = refusal(api_key=key)
    assert text.startswith("api_key: not set.")
    assert "Settings > Integrations" in text


@pytest.mark.parametrize("inside", ["\n", "\r\n", " ", "\t", "\0", "é", "\u200b", "“"])
def test_a_key_with_a_character_that_no_key_has_is_refused_and_not_shown(inside: str) -> None:
    text = refusal(api_key=f"zc-0123{inside}4567")
    assert text.startswith("api_key: it contains a character that no key has.")
    assert "0123" not in text
    assert "4567" not in text


def test_white_space_around_an_option_is_ignored() -> None:
    script = Script({"user": {"id": 1}})
    client = a_client(script, api_key=f" {KEY}\n", chat_id=" 1\n", base_url=f" {BASE_URL}/ ")
    client.get_user(1)
    (request,) = script.requests
    assert str(request.url) == f"{BASE_URL}/chats/1/users/1"
    assert request.headers["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    "budget",
    [
        "postgresql://user:secret@host/database",
        "postgres://user:se?cret@host/database",
        "postgresql://user:se/cret@host",
        "postgresql://user:se#cret@host",
        "postgresql://:secret@host",
        "postgresql://me@shop.example:secret@host/database",
        "postgresql://user@host/database?password=secret",
        "postgresql://user@host/database?p%61ssword=secret",
        "mysql://user:secret@host/database",
        "host=host user=user password=secret",
    ],
)
def test_a_password_in_the_budgets_address_is_refused_and_not_shown(budget: str) -> None:
    text = refusal(budget=budget)
    assert text == (
        "budget: it contains a password. Write an address such as"
        " postgresql://user@host:5432/database, and put the password into PGPASSWORD or ~/.pgpass."
    )


@pytest.mark.parametrize("budget", ["postgresql://", "postgresql:///x", "mysql://host/database"])
def test_a_budget_that_is_neither_file_nor_address_is_refused(budget: str) -> None:
    assert refusal(budget=budget).startswith("budget: not a file or an address such as postgresql")


def test_a_budget_is_a_path_or_an_address() -> None:
    address = "postgres://user%40shop@one,two:5433/database?sslmode=require"
    assert check_budget(address) == address
    assert check_budget("data/budget.sqlite") == Path("data/budget.sqlite")
    assert check_budget(None) is None


@pytest.mark.parametrize("chat_id", ["", " "])
def test_a_missing_chat_is_reported(chat_id: str) -> None:
    assert refusal(chat_id=chat_id).startswith("chat_id: not set.")


@pytest.mark.parametrize(
    "chat_id", ["x", "1/users", "-1", "0", "1.5", "१", "9" * 5000, True, "1 2"]
)
def test_a_chat_id_that_is_not_a_whole_number_is_refused(chat_id: object) -> None:
    assert refusal(chat_id=chat_id).startswith("chat_id: “")


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "app.zipchat.ai",
        "ftp://app.zipchat.ai",
        "https://",
        "https:///v1",
        "https://[::1",
        "https://host:port",
        "https://host:70000",
        "https://two words",
        "https://host\n.example",
        "https://host/v1?page=1",
        "https://host/v1#top",
    ],
)
def test_a_base_url_that_is_not_an_address_is_refused(base_url: str) -> None:
    assert "is not an address" in refusal(base_url=base_url)


@pytest.mark.parametrize(
    "base_url",
    [
        "http://app.zipchat.ai/v1",
        "HTTP://app.zipchat.ai/v1",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "http://0.0.0.0:8000",
        "http://10.0.0.1",
        "http://[2001:db8::1]",
    ],
)
def test_plain_http_beyond_this_machine_is_refused(base_url: str) -> None:
    assert "would send the key unencrypted" in refusal(base_url=base_url)


@pytest.mark.parametrize(
    "base_url",
    ["http://localhost:1", "http://127.0.0.1:1/v1", "http://127.8.8.8", "http://[::1]:1"],
)
def test_plain_http_on_this_machine_is_accepted(base_url: str) -> None:
    script = Script({"user": {"id": 1}})
    a_client(script, base_url=base_url).get_user(1)
    assert len(script.requests) == 1


def test_a_user_name_in_the_base_url_would_replace_the_key_and_is_refused() -> None:
    text = refusal(base_url="https://someone:secret@host/v1")
    assert text.startswith("base_url: it contains a user name or a password.")
    assert "secret" not in text


@pytest.mark.parametrize("setting", ["chat_id", "base_url"])
def test_a_key_in_place_of_another_option_is_not_shown(setting: str) -> None:
    assert KEY not in refusal(**{setting: KEY})
    assert KEY not in refusal(base_url=f"http://host/{KEY}")


@pytest.mark.parametrize("reserve", [-0.1, 0.95, 1.0, math.nan])
def test_a_reserve_that_leaves_nothing_is_refused(reserve: float) -> None:
    assert refusal(reserve=reserve).startswith("reserve: ")


@pytest.mark.parametrize("concurrency", [0, -1, 129])
def test_a_concurrency_out_of_bounds_is_refused(concurrency: int) -> None:
    assert refusal(concurrency=concurrency).startswith("concurrency: ")


@pytest.fixture
def proxy() -> Iterator[tuple[str, list[str]]]:
    """A proxy that refuses every request, and remembers it."""
    asked: list[str] = []

    class Refusing(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            asked.append(self.requestline)
            self.send_error(403)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def test_the_environments_proxy_is_used_but_not_for_this_machine(
    proxy: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, asked = proxy
    monkeypatch.setenv("HTTPS_PROXY", address)
    monkeypatch.setenv("HTTP_PROXY", address)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with (
        ZipchatClient(api_key="zc-key", chat_id=1, base_url="https://shop.example/api") as client,
        pytest.raises(UnreachableError, match="403"),
    ):
        client.get_user(1)
    assert asked == ["CONNECT shop.example:443 HTTP/1.1"]
    with (
        serve(Sandbox(chat=a_chat(1), limit=None)) as url,
        ZipchatClient(api_key=DEFAULT_KEY, chat_id=1, base_url=url) as client,
    ):
        assert list(client.iter_users())
    assert len(asked) == 1


def test_a_malformed_proxy_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "ftp://me:secret@proxy.example")
    with pytest.raises(SettingError, match="HTTPS_PROXY is not the address of a proxy") as raised:
        ZipchatClient(api_key="zc-key", chat_id=1, base_url="https://shop.example/api")
    assert "secret" not in str(raised.value)
