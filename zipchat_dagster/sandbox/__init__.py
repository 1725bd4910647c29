"""A local simulation of the Zipchat Backend API: for the demo, for tests, and without a key.

    python -m zipchat_dagster.sandbox            # serves an invented chat on port 8765

or, in Python, over HTTP or without a socket:

    chat = generate(seed=1, conversations=300, days=30, now=datetime.now(UTC))
    sandbox = Sandbox(chat=chat, pagination="meta", limit=120)
    with serve(sandbox) as base_url: ...
    httpx.Client(base_url=BASE_URL, transport=sandbox.transport())

`chat` holds the records and changes them, `invent` makes them up. `api` answers requests, with
`routing`, `limit`, `faults` and `records`, and `server` puts it on a port. `options` lists what the
API's documentation leaves open and what can go wrong.
"""

from zipchat_dagster.sandbox.api import DEFAULT_KEY, Answer, Sandbox
from zipchat_dagster.sandbox.chat import Chat, Conversation, Escalation, Lead, Message, User
from zipchat_dagster.sandbox.faults import Fault, FaultKind
from zipchat_dagster.sandbox.invent import generate, grow
from zipchat_dagster.sandbox.options import MessageOrder, Order, Pagination
from zipchat_dagster.sandbox.routing import BASE_PATH, Request
from zipchat_dagster.sandbox.server import HOST, serve

# For `Sandbox.transport()`, which answers for any host.
BASE_URL = f"http://{HOST}{BASE_PATH}"

__all__ = [
    "BASE_PATH",
    "BASE_URL",
    "DEFAULT_KEY",
    "Answer",
    "Chat",
    "Conversation",
    "Escalation",
    "Fault",
    "FaultKind",
    "Lead",
    "Message",
    "MessageOrder",
    "Order",
    "Pagination",
    "Request",
    "Sandbox",
    "User",
    "generate",
    "grow",
    "serve",
]
