"""Page through the messages of a conversation, however many there are."""

from __future__ import annotations

from zipchat_dagster.client import ZipchatClient
from zipchat_dagster.examples.common import run


def paging_through_messages(client: ZipchatClient, conversation_id: int) -> None:
    """Print when each message of a conversation was written, and by which side."""
    # The client reads pages of 200 messages until it has them all, each once.
    messages = client.get_conversation(conversation_id)["messages"]
    for number, message in enumerate(messages, start=1):
        print(number, message["created_at"], message["role"])
    print(f"Messages: {len(messages)}. Requests: {client.requests}.")


if __name__ == "__main__":
    run(paging_through_messages, conversation_id=int)
