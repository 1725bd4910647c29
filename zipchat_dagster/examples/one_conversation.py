"""Fetch a single conversation with its messages."""

from __future__ import annotations

import json

from zipchat_dagster.client import ZipchatClient
from zipchat_dagster.examples.common import run


def one_conversation(client: ZipchatClient, conversation_id: int) -> None:
    """Print one conversation's channel and all its messages."""
    conversation = client.get_conversation(conversation_id)
    print(f"Conversation {conversation['id']}, {conversation['channel']}")
    for message in conversation["messages"]:
        # As a JSON string, since a customer's text may contain anything, such as line breaks.
        text = json.dumps(message["message"], ensure_ascii=False)
        print(message["created_at"], message["role"], text)


if __name__ == "__main__":
    run(one_conversation, conversation_id=int)
