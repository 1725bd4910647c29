"""What a step does about what the API does: which failures Dagster may repeat, and which not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from zipchat_dagster.assets import ASSETS
from zipchat_dagster.client import ZipchatClient
from zipchat_dagster.resources import ZipchatResource
from zipchat_dagster.sandbox import DEFAULT_KEY, Fault, Sandbox, generate, serve
from zipchat_dagster.sync import ApiDownError
from zipchat_dagster_tests.conftest import NOW, Clock


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(chat=generate(seed=1, conversations=3, days=2, now=NOW), limit=None)


@pytest.fixture
def resource(sandbox: Sandbox, tmp_path: Path) -> Iterator[ZipchatResource]:
    with serve(sandbox) as url:
        yield ZipchatResource(
            api_key=DEFAULT_KEY,
            chat_id="1",
            base_url=url,
            budget_database=str(tmp_path / "budget.sqlite"),
        )


def failure_of(resource: ZipchatResource, *calls: object) -> dg.Failure:
    """What a step ends with that makes these calls: names of the client's methods, or an error."""
    with (
        pytest.raises(dg.Failure) as raised,
        resource.client(dg.build_op_context()) as client,
    ):
        client.clock = Clock()
        for call in calls:
            if isinstance(call, Exception):
                raise call
            list(getattr(ZipchatClient, str(call))(client))
    return raised.value


def test_an_api_that_goes_down_may_be_up_again_in_some_minutes(
    sandbox: Sandbox, resource: ZipchatResource
) -> None:
    sandbox.add_fault(Fault("500", endpoint="list", times=None))
    failure = failure_of(resource, "iter_users", "iter_conversations")
    assert "the API answered 500" in (failure.description or "")
    assert failure.allow_retries
    assert failure_of(resource, "iter_users", ApiDownError("20 in a row")).allow_retries


def test_what_repeating_cannot_mend_is_not_repeated(
    sandbox: Sandbox, resource: ZipchatResource
) -> None:
    sandbox.key = "zc-another"
    assert not failure_of(resource, "iter_users").allow_retries
    nowhere = resource.model_copy(update={"base_url": "http://127.0.0.1:9/api"})
    failure = failure_of(nowhere, "iter_users")
    assert "Check ZIPCHAT_BASE_URL" in (failure.description or "")
    assert not failure.allow_retries
    without = resource.model_copy(update={"api_key": ""})
    assert not failure_of(without, "iter_users").allow_retries


def test_steps_that_ask_the_api_are_repeated_and_stand_in_its_pool() -> None:
    for asset in ASSETS:
        asks = asset.key.path[-1] in {"users", "raw_conversations", "raw_messages"}
        policy = asset.op.retry_policy
        assert (policy is not None) == asks
        assert asset.op.pool == ("zipchat_api" if asks else "zipchat_duckdb")
