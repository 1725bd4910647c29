"""What `ZipchatClient` is configured with. Every option is checked before anything is sent.

A `SettingError` from a check says what is wrong and what to write instead, but does not name the
option: the client puts its parameter's name in front, and the project the name of its setting.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import unquote
from urllib.request import getproxies, proxy_bypass

import httpx

from zipchat_dagster.client.errors import SettingError, printable

T = TypeVar("T")
R = TypeVar("R")

BASE_URL: Final = "https://app.zipchat.ai/api/integrations/backend_api/v1"
BUDGET_ADDRESS: Final = "postgresql://user@host:5432/database"
CONCURRENCY: Final = 8  # reads in flight
MAX_IN_FLIGHT: Final = 128
LARGEST_RESERVE: Final = 0.9  # of a window; the rest must be enough to get anywhere


def checked(name: str, check: Callable[[T], R], value: T) -> R:
    """Return `check(value)`. A SettingError from it then starts with `name`."""
    try:
        return check(value)
    except SettingError as error:
        raise SettingError(f"{name}: {error}") from None


def check_api_key(value: str) -> str:
    """Return the key without surrounding white space.

    Raises:
        SettingError: it is empty, or contains what no key does. Its value is not shown.
    """
    key = value.strip()
    if not key:
        raise SettingError(
            "not set. Enable the Backend API under Settings > Integrations in Zipchat, and copy the"
            " key, zc-…. It is shown only once."
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise SettingError(
            "it contains a character that no key has. Copy the key again. It starts with zc-."
        )
    return key


def check_chat_id(value: int | str) -> int:
    """Return the chat's number; SettingError if it is not one."""
    text = str(value).strip()
    if not text:
        raise SettingError("not set. It is the number in the address of your chat in Zipchat.")
    if not re.fullmatch(r"[0-9]{1,18}", text) or int(text) == 0:
        raise SettingError(f"{shown(text)} is not a chat id. It is a whole number, such as 1234.")
    return int(text)


def check_base_url(value: str) -> str:
    """Return the base URL without a trailing slash.

    Raises:
        SettingError: it is not a URL, or the key must not be sent there.
    """
    text = value.strip().rstrip("/")
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL("")
    is_whole = url.scheme in ("http", "https") and re.fullmatch(r"[^\s%]+", url.host)
    if not is_whole or url.query or url.fragment or not 0 < (url.port or 443) < 65536:
        raise SettingError(f"{shown(text)} is not an address. Write one such as {BASE_URL}.")
    if url.userinfo:
        raise SettingError(f"it contains a user name or a password. Write one such as {BASE_URL}.")
    if url.scheme == "http" and not is_loopback(url.host):
        raise SettingError(
            f"{shown(text)} would send the key unencrypted. Write https://; plain HTTP is accepted"
            " for this machine only."
        )
    return text


def check_budget(value: Path | str | None) -> Path | str | None:
    """Return a path as a Path, and the address of a PostgreSQL database as it is.

    Raises:
        SettingError: it is neither, or it contains a password. It is not shown then.
    """
    if value is None or isinstance(value, Path):
        return value
    if re.search(r"password\s*=|://.*:.*@", unquote(value), re.IGNORECASE | re.DOTALL):
        raise SettingError(
            f"it contains a password. Write an address such as {BUDGET_ADDRESS}, and put the"
            " password into PGPASSWORD or ~/.pgpass."
        )
    if "://" not in value:
        return Path(value)
    if not re.match(r"postgres(ql)?://([^/?]*@)?[^/?@]+([/?]|$)", value):
        raise SettingError(f"not a file or an address such as {BUDGET_ADDRESS}.")
    return value


def check_reserve(value: float) -> float:
    """Return the fraction; SettingError unless it is from 0 to `LARGEST_RESERVE`."""
    if not 0 <= value <= LARGEST_RESERVE:
        raise SettingError(f"{value:g} is not between 0 and {LARGEST_RESERVE}.")
    return value


def check_concurrency(value: int) -> int:
    """Return the number; SettingError unless it is from 1 to `MAX_IN_FLIGHT`."""
    if not 1 <= value <= MAX_IN_FLIGHT:
        raise SettingError(f"{value} is not between 1 and {MAX_IN_FLIGHT}.")
    return value


def proxy_for(base_url: str) -> httpx.Proxy | None:
    """The proxy that the environment names for this address, which httpx reads only if it chooses
    the transport itself.

    Raises:
        SettingError: the proxy's address is malformed. It is not shown: it may hold a password.
    """
    url = httpx.URL(base_url)
    if is_loopback(url.host) or proxy_bypass(url.host):
        return None
    proxies = getproxies()
    named = proxies.get(url.scheme) or proxies.get("all")
    try:
        return httpx.Proxy(named) if named else None
    except (ValueError, httpx.InvalidURL):
        raise SettingError(
            f"{url.scheme.upper()}_PROXY is not the address of a proxy. Write one such as"
            " http://proxy.example.com:3128, or unset it."
        ) from None


def shown(text: str) -> str:
    """A refused value in quotes, for its error, unless somebody may have put a secret there: a key,
    a webhook's address, a password."""
    if re.search("zc-|@|:/|=", text):
        return "the value (not shown: it may be a secret)"
    return f"“{printable(text)}”"


def is_loopback(host: str) -> bool:
    """Whether a name or an address means this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
