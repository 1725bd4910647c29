"""What people and the AI write in an invented chat."""

from __future__ import annotations

import json
from typing import Any

CUSTOMER = (
    "Where is my order?",
    "Hi, do you ship to Norway?",
    "The zip of the jacket broke after two days.",
    "Can I change the delivery address?",
    "Is the blue one in stock again soon?",
    "How do I return a pair of shoes?",
    "thanks!",
    "Yes, please",
    "My discount code does not work 😕",
    "<p>Hello,</p><p>I was charged twice for the same order.</p>",
    "Which size fits 182 cm?\nI usually wear L.",
    "Ça marche aussi avec une carte cadeau ?",
)
AI = (
    "<p>Hi! How can I help you today?</p>",
    "<p>Your parcel left our warehouse yesterday.<br>It should arrive in 2 to 3 days.</p>",
    "<p>You can return any item within <b>30 days</b>.</p><p>Shall I send you the form?</p>",
    "We ship to all of Europe, and shipping is free above 50 &euro;.",
    "<p>I could not find that order.<br/>Could you check the number?</p>",
    "It runs true to size.",
    "<p>Is there anything else I can do for you?</p>",
)
HUMAN = (
    "Hello, I am taking over from our assistant. Let me look into it.",
    "<p>I have refunded the second charge, it takes 3 working days.</p>",
    "A replacement is on its way to you.",
    "Could you send a photo of the label, please?",
    "Done, the address is changed.",
)
WANTS_HUMAN = "I would like to talk to a person."
HANDOVER = "<p>I have passed this on to a colleague, who will answer you here.</p>"


def attachment(number: int, text: str | None) -> str:
    url = f"https://files.example.com/uploads/{number}.jpg"
    blocks: list[dict[str, Any]] = [{"type": "image", "source": {"url": url}}]
    if text is not None:
        blocks.append({"type": "text", "text": text})
    return json.dumps(blocks)
