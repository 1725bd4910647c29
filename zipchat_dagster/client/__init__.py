"""The Zipchat Backend API as a Python client. It uses neither Dagster nor DuckDB.

from zipchat_dagster.client import ZipchatClient

with ZipchatClient(api_key="zc-…", chat_id=1) as client:
    for conversation in client.iter_conversations():
        print(conversation["id"], conversation["channel"])
"""

from zipchat_dagster.client.budget import Budget, Clock
from zipchat_dagster.client.client import (
    LARGEST_MESSAGE_PAGE,
    LARGEST_PAGE,
    ConversationRead,
    ZipchatClient,
)
from zipchat_dagster.client.errors import (
    BudgetDownError,
    CallError,
    ChatNotFoundError,
    ListingUnsettledError,
    MalformedAnswerError,
    NotFoundError,
    PageLoopError,
    RateLimitedError,
    ServerError,
    SettingError,
    StatusError,
    UnauthorizedError,
    UnexpectedStatusError,
    UnprocessableError,
    UnreachableError,
    ZipchatError,
)
from zipchat_dagster.client.listing import Listing, Page, requests_to_list
from zipchat_dagster.client.options import BASE_URL

__all__ = [
    "BASE_URL",
    "LARGEST_MESSAGE_PAGE",
    "LARGEST_PAGE",
    "Budget",
    "BudgetDownError",
    "CallError",
    "ChatNotFoundError",
    "Clock",
    "ConversationRead",
    "Listing",
    "ListingUnsettledError",
    "MalformedAnswerError",
    "NotFoundError",
    "Page",
    "PageLoopError",
    "RateLimitedError",
    "ServerError",
    "SettingError",
    "StatusError",
    "UnauthorizedError",
    "UnexpectedStatusError",
    "UnprocessableError",
    "UnreachableError",
    "ZipchatClient",
    "ZipchatError",
    "requests_to_list",
]
