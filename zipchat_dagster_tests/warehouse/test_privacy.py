"""How each mode masks personal data."""

from __future__ import annotations

import json
from itertools import product
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zipchat_dagster.warehouse.privacy import FIELDS, KEEP, Kind, Privacy
from zipchat_dagster_tests.conftest import effort

KEY: Final = "marked-key-" * 4
HASH: Final = Privacy("hash", "hash", "hash", key=KEY)
DROP: Final = Privacy("drop", "drop", "drop")
STRICT: Final = [
    Privacy(identity, content, attributes, key=KEY)
    for identity, content, attributes in product(("hash", "drop"), repeat=3)
]
CONVERSATION: Final[dict[str, Any]] = {
    "id": 4,
    "chat_id": 1,
    "created_at": "2026-01-15T10:30:00Z",
    "last_message_at": "2026-01-15 10:30:00.123+02:00",
    "channel": "whatsapp",
    "manual_reply_mode": False,
    "last_escalated_at": None,
    "last_escalation_resolved_at": 1700000000,
    "share_url": "https://share.example.com/c/4",
    "assignee": {"id": 7, "full_name": "Ann Bell", "email": "Ann@Example.com", "role": "agent"},
    "lead": {
        "id": 3,
        "full_name": "Ada Quill",
        "first_name": None,
        "email": " ADA@example.com",
        "phone_number": "+49 (170) 555-0123",
        "email_marketing_consent": True,
        "shopify_customer_id": 88,
        "additional_attributes": {"vip": True, "city": "Ulm"},
    },
}
MESSAGE: Final = {
    "id": 5,
    "role": "user",
    "message": "<p>It is me, Ada</p>",
    "manual_reply": False,
    "status": "read",
    "sender_id": None,
    "created_at": "2026-01-15",
}


def test_personal_values_are_hashed_in_one_normal_form_and_others_stay() -> None:
    assert KEEP.mask("conversation", CONVERSATION) is CONVERSATION
    h = HASH.hashed
    assert HASH.mask("conversation", CONVERSATION) == {
        **CONVERSATION,
        "share_url": h("https://share.example.com/c/4"),
        "assignee": {
            "id": 7,
            "full_name": h("Ann Bell"),
            "email": h("ann@example.com"),
            "role": "agent",
        },
        "lead": {
            "id": 3,
            "full_name": h("Ada Quill"),
            "first_name": None,
            "email": h("ada@example.com"),
            "phone_number": h("+491705550123"),
            "email_marketing_consent": True,
            "shopify_customer_id": h("88"),
            "additional_attributes": h('{"city":"Ulm","vip":true}'),
        },
    }
    assert HASH.mask("message", MESSAGE) == {**MESSAGE, "message": h("<p>It is me, Ada</p>")}
    user = {"id": 1, "full_name": " Ada Quill ", "email": "", "avatar_url": "https://x.example/a"}
    assert HASH.mask("user", user) == {
        "id": 1,
        "full_name": h("Ada Quill"),
        "email": "",
        "avatar_url": h("https://x.example/a"),
    }


def test_dropped_fields_are_null() -> None:
    masked = DROP.mask("conversation", CONVERSATION)
    assert masked == {
        **CONVERSATION,
        "share_url": None,
        "assignee": {"id": 7, "full_name": None, "email": None, "role": "agent"},
        "lead": {**dict.fromkeys(CONVERSATION["lead"]), "id": 3, "email_marketing_consent": True},
    }
    assert DROP.mask("message", MESSAGE) == {**MESSAGE, "message": None}
    assert DROP.mask("conversation", HASH.mask("conversation", CONVERSATION)) == masked


def test_each_class_has_its_mode_and_unknown_fields_the_strictest() -> None:
    record = {
        "share_url": "https://share.example.com/c/4",
        "surprise": 7,
        "lead": {"email": ["in a list"], "additional_attributes": {"a": 1}},
    }
    assert Privacy(content="drop").mask("conversation", record) == {
        "share_url": "https://share.example.com/c/4",
        "surprise": None,
        "lead": {"email": None, "additional_attributes": {"a": 1}},
    }
    assert Privacy(content="drop").mask("message", {"message": "Hello"}) == {"message": None}
    assert Privacy("drop").mask("message", {"message": "Hello"}) == {"message": "Hello"}
    masked = Privacy("drop", "hash", "hash", key=KEY).mask("conversation", record)
    assert masked == {
        "share_url": None,
        "surprise": None,
        "lead": {"email": None, "additional_attributes": HASH.hashed('{"a":1}')},
    }


@pytest.mark.parametrize(
    ("record", "dropped"),
    [
        ({"channel": "Ada Quill"}, {"channel": None}),
        ({"channel": ["web"]}, {"channel": None}),
        ({"created_at": "+49 170 5550123"}, {"created_at": None}),
        ({"created_at": "2026-01-15 Ada"}, {"created_at": None}),
        ({"id": "ada@example.com"}, {"id": None}),
        ({"manual_reply_mode": {"by": "Ada"}}, {"manual_reply_mode": None}),
        ({"lead": "Ada Quill"}, {"lead": None}),
        ({"lead": [{"id": 3}]}, {"lead": None}),
        ({"assignee": {"role": "Ada Quill"}}, {"assignee": {"role": None}}),
        ({"lead": {"loyalty": {"card": "Ada"}}}, {"lead": {"loyalty": None}}),
        ({"messages": [{"id": 5}]}, {"messages": None}),
        ({"Ada Quill": None}, {}),
    ],
)
def test_a_value_of_an_unexpected_shape_is_treated_as_unknown(
    record: dict[str, Any], dropped: dict[str, Any]
) -> None:
    assert json.dumps(HASH.mask("conversation", record)).count("h1:") == 1
    assert DROP.mask("conversation", record) == dropped


def test_a_name_in_two_parts_has_the_hash_of_the_whole() -> None:
    masked = HASH.mask("user", {"first_name": "Ada", "last_name": "Quill"})
    assert masked == {"first_name": HASH.hashed("Ada Quill"), "last_name": None}
    assert HASH.mask("user", masked) == masked


def test_hashes_show_which_key_made_them_and_are_not_hashed_again() -> None:
    other = Privacy("hash", "hash", "hash", key=KEY[::-1])
    masked = HASH.mask("message", MESSAGE)
    assert masked["message"].startswith(f"h1:{HASH.fingerprint}:")
    assert other.fingerprint != HASH.fingerprint
    assert other.mask("message", masked) == masked
    assert KEY not in repr(HASH)


def test_hashes_without_a_good_key_and_unknown_modes_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 32 characters"):
        Privacy(content="hash", key=KEY[:31])
    with pytest.raises(ValueError, match="hide is not one of"):
        Privacy(content="hide")


# Random records, with secrets in any place

SECRETS: Final = [
    "Ada Quill",
    "ada.quill@example.com",
    "+49 170 5550123",
    "https://share.example.com/c/7",
    "Please, where is my order?",
    "Ünï Çödé \ud83d",
]
NAMES: Final = sorted(
    {
        *(name for level in FIELDS.values() for name in level),
        *("full_name", "name", "first_name", "last_name", "email", "phone_number"),
        *("shopify_customer_id", "additional_attributes", "email_marketing_consent"),
        *("surprise", "", *SECRETS),
    }
)
values = st.recursive(
    st.sampled_from([None, True, 0, -1.5, "web", "2026-01-15T10:30:00Z", "", " ", "[]"])
    | st.sampled_from(SECRETS)
    | st.builds("{}{}".format, st.text(max_size=3), st.sampled_from(SECRETS)),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5)
    ),
    max_leaves=12,
)
records = st.dictionaries(st.sampled_from(NAMES), values, max_size=8)


@settings(max_examples=effort(150, 1000), deadline=None)
@given(
    st.sampled_from(list(FIELDS)),
    records,
    st.sampled_from(STRICT),
)
def test_no_secret_is_left_in_any_place_and_masking_twice_changes_nothing(
    kind: Kind, record: dict[str, Any], privacy: Privacy
) -> None:
    masked = privacy.mask(kind, record)
    shown = json.dumps(masked, ensure_ascii=False)
    assert not [secret for secret in SECRETS if secret in shown]
    assert privacy.mask(kind, masked) == masked
    assert "h1:" not in json.dumps(DROP.mask(kind, masked))
