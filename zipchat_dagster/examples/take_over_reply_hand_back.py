"""Take over a conversation, reply, and hand it back to the AI.

If a person has the conversation already, it stays with them: only the reply is sent.
"""

from __future__ import annotations

from zipchat_dagster.client import ZipchatClient
from zipchat_dagster.examples.common import run


def take_over_reply_hand_back(
    client: ZipchatClient, conversation_id: int, user_id: int, message: str
) -> None:
    """Send a customer one message as a human. user_id is one of the chat's users."""
    found = client.get_conversation(conversation_id)
    is_with_ai = not found["manual_reply_mode"]
    try:
        if is_with_ai:
            client.assign(conversation_id, user_id)
        sent = client.send_message(conversation_id, message=message, sender_id=user_id)
        print(f"Sent as message {sent['id']}.")
    finally:
        # Even if something failed, so that the customer is not left without an answer.
        if is_with_ai:
            client.hand_back(conversation_id)
    owner = "the AI" if is_with_ai else "a person"
    print(f"As before, {owner} has conversation {conversation_id}.")


if __name__ == "__main__":
    run(take_over_reply_hand_back, conversation_id=int, user_id=int, message=str)
