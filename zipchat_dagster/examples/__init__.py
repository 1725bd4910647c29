"""The examples in the documentation of the Backend API, as short programs.

    python -m zipchat_dagster.examples.latest_conversations
    python -m zipchat_dagster.examples.last_hour
    python -m zipchat_dagster.examples.one_conversation CONVERSATION_ID
    python -m zipchat_dagster.examples.paging_through_messages CONVERSATION_ID
    python -m zipchat_dagster.examples.take_over_reply_hand_back CONVERSATION_ID USER_ID MESSAGE

They read ZIPCHAT_API_KEY, ZIPCHAT_CHAT_ID and, for the sandbox, ZIPCHAT_BASE_URL from the
environment.
"""
