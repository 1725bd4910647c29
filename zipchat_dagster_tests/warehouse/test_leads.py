"""`leads`: one row for each, from the newest conversation that shows it."""

from __future__ import annotations

import pytest

from zipchat_dagster.sandbox import Lead
from zipchat_dagster.warehouse import store
from zipchat_dagster.warehouse.derive import rebuild_leads
from zipchat_dagster_tests.conftest import Open
from zipchat_dagster_tests.warehouse.support import Story


@pytest.fixture
def story(place: Open) -> Story:
    story = Story(place)
    story.at("2026-03-03 10:00")
    return story


def look(story: Story) -> None:
    """Sync, and derive the leads."""
    story.sync()
    rebuild_leads(story.warehouse, chat_id=1)


def ada(**fields: object) -> Lead:
    known = {"first_name": "Ada", "last_name": "Sample", "email": "ada@example.com"}
    return Lead(7, **{**known, **fields})


def test_a_lead_has_the_fields_of_both_endpoints_and_its_contacts(story: Story) -> None:
    lead = ada(
        phone_number="+12025550100",
        email_marketing_consent=True,
        shopify_customer_id=6_200_000_000_001,
        additional_attributes={"locale": "fr", "orders_count": 3},
    )
    story.start(lead=lead)
    story.at("2026-03-04 10:00")
    second = story.start("email", lead=lead)
    story.start()  # an anonymous visitor
    story.at("2026-03-05 10:00")
    story.customer(second)
    look(story)
    (row,) = story.rows(
        "select lead_id, full_name, first_name, last_name, email, phone_number,"
        " email_marketing_consent, shopify_customer_id, additional_attributes ->> 'locale',"
        " conversations, strftime(first_contact_at, '%m-%d'), strftime(last_contact_at, '%m-%d')"
        " from zipchat.leads"
    )
    person = (7, "Ada Sample", "Ada", "Sample", "ada@example.com", "+12025550100", True)
    assert row == (*person, "6200000000001", "fr", 2, "03-03", "03-05")


def test_unknown_fields_are_null_and_empty_attributes_stay_empty(story: Story) -> None:
    story.start(lead=Lead(7, email_marketing_consent=None))
    look(story)
    assert story.rows(
        "select full_name, email, email_marketing_consent, shopify_customer_id,"
        " additional_attributes::varchar from zipchat.leads"
    ) == [(None, None, None, None, "{}")]


def test_the_newest_conversation_that_shows_a_field_wins(story: Story) -> None:
    story.start(lead=ada(shopify_customer_id=1))
    look(story)
    story.later(hours=1)
    story.start(lead=ada(email="new@example.com", last_name=None))
    look(story)
    assert story.rows(
        "select email, first_name, last_name, shopify_customer_id from zipchat.leads"
    ) == [("new@example.com", "Ada", "Sample", "1")]


def test_a_conversation_that_went_missing_does_not_bring_old_fields_back(story: Story) -> None:
    """Its observed_at is when it was missed: later than the newer address was seen."""
    old = story.start(lead=ada())
    look(story)
    story.later(hours=1)
    story.start(lead=ada(email="new@example.com"))
    look(story)
    story.later(hours=1)
    with story.warehouse.transaction() as transaction:
        store.mark_not_found(transaction, [old], story.now, chat_id=1)
    rebuild_leads(story.warehouse, chat_id=1)
    assert story.rows("select email, conversations from zipchat.leads") == [("new@example.com", 2)]


def test_a_conversation_that_moves_to_another_lead_gives_it_no_fields_of_the_former(
    story: Story,
) -> None:
    """The list shows the new lead while the stored fields of the show endpoint are the former one's."""
    conversation_id = story.start(lead=ada(shopify_customer_id=1))
    look(story)
    story.later(hours=1)
    story.chat.conversations[conversation_id].lead = Lead(8, "Bo", "Example")
    story.sync(refresh=True)
    stored = (
        "select try_cast(show_payload ->> '$.lead.id' as bigint) from zipchat.raw_conversations"
    )
    assert story.value(stored) == 8
    # As it is between the listing and the reading of its messages
    with story.warehouse.connection() as connection:
        connection.execute(
            "update zipchat.raw_conversations set show_payload ="
            ' \'{"lead": {"id": 7, "first_name": "Ada", "shopify_customer_id": 1}}\''
        )
    rebuild_leads(story.warehouse, chat_id=1)
    assert story.rows(
        "select lead_id, full_name, first_name, shopify_customer_id from zipchat.leads"
    ) == [(8, "Bo Example", None, None)]
