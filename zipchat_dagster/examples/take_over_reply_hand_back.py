"""Take over a conversation, reply, and hand it back to the AI."""

from __future__ import annotations

from zipchat_dagster.client import ZipchatClient
from zipchat_dagster.examples.common import run


def take_over_reply_hand_back(
    client: ZipchatClient, conversation_id: int, user_id: int, message: str
) -> None:
    """Send a customer one message as a human. user_id is one of the chat's users."""
    client.assign(conversation_id, user_id)
    try:
        sent = client.send_message(conversation_id, message=message, sender_id=user_id)
        print(f"Sent as message {sent['id']}.")
    finally:
        # Also when the reply was refused, so that the customer is not left without an answer.
        client.hand_back(conversation_id)
    print(f"Conversation {conversation_id} is with the AI again.")


if __name__ == "__main__":
    run(take_over_reply_hand_back, conversation_id=int, user_id=int, message=str)
