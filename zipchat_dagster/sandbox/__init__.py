"""The Zipchat Backend API played locally: for the demo, the tests, and whoever has no key.

    python -m zipchat_dagster.sandbox            # serves an invented chat on port 8765

or, in Python, over HTTP or without a socket:

    chat = generate(seed=1, conversations=300, days=30, now=datetime.now(UTC))
    sandbox = Sandbox(chat=chat, pagination="meta", limit=120)
    with serve(sandbox) as base_url: ...
    httpx.Client(base_url=BASE_URL, transport=sandbox.transport())

`data` invents the chat and changes it, `api` answers requests, `server` puts that on a port.
Each thing the API's documentation leaves open is an option of `Sandbox`; a `Fault` makes it fail.
"""

from zipchat_dagster.sandbox.api import BASE_PATH, DEFAULT_KEY, Answer, Fault, Request, Sandbox
from zipchat_dagster.sandbox.data import Chat, generate, grow
from zipchat_dagster.sandbox.server import HOST, serve

# For `Sandbox.transport()`, which answers for any host.
BASE_URL = f"http://{HOST}{BASE_PATH}"

__all__ = [
    "BASE_PATH",
    "BASE_URL",
    "DEFAULT_KEY",
    "Answer",
    "Chat",
    "Fault",
    "Request",
    "Sandbox",
    "generate",
    "grow",
    "serve",
]
