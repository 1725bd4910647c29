"""What a step does when the API fails, and what the resources share with the steps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from zipchat_dagster.assets.common import API_RETRIES
from zipchat_dagster.client import BudgetDownError, ZipchatClient
from zipchat_dagster.resources import WarehouseResource, ZipchatResource
from zipchat_dagster.sandbox import Fault, Sandbox, generate, serve
from zipchat_dagster.sync import ApiDownError
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster.warehouse.engine import LastingError
from zipchat_dagster.warehouse.privacy import Privacy
from zipchat_dagster_tests.conftest import NOW
from zipchat_dagster_tests.single import ASSETS, api_at


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(chat=generate(seed=1, conversations=3, days=2, now=NOW), limit=None)


@pytest.fixture
def resource(sandbox: Sandbox, tmp_path: Path) -> Iterator[ZipchatResource]:
    with serve(sandbox) as url:
        yield api_at(url, tmp_path)


def failure_of(resource: ZipchatResource, *calls: object) -> dg.Failure:
    """How a step fails that makes these calls: names of the client's methods, or an error."""
    with (
        pytest.raises(dg.Failure) as raised,
        dg.build_op_context() as context,
        resource.client(context) as client,
    ):
        for call in calls:
            if isinstance(call, Exception):
                raise call
            list(getattr(ZipchatClient, str(call))(client))
    return raised.value


def test_a_step_is_retried_if_the_api_went_down(
    sandbox: Sandbox, resource: ZipchatResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zipchat_dagster.client.call.FIRST_PAUSE", 0.0)
    sandbox.add_fault(Fault("500", endpoint="list", times=None))
    failure = failure_of(resource, "iter_users", "iter_conversations")
    assert "the API answered 500" in (failure.description or "")
    assert failure.allow_retries
    for error in (ApiDownError("20 in a row"), BudgetDownError("does not respond")):
        assert failure_of(resource, "iter_users", error).allow_retries


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"api_key": ""}, "ZIPCHAT_API_KEY: not set. Enable the Backend API under Settings >"),
        ({"api_key": "zc-another"}, "See ZIPCHAT_API_KEY."),
        ({"chat_id": " "}, "ZIPCHAT_CHAT_ID: not set. It is the number in the address of your"),
        ({"chat_id": "77"}, "See ZIPCHAT_CHAT_ID and ZIPCHAT_BASE_URL."),
        ({"base_url": "http://127.0.0.1:9/api"}, "See ZIPCHAT_BASE_URL."),
        (
            {"concurrency": 500},
            "concurrency: 500 is not between 1 and 128.",
        ),  # a resource made without the settings
    ],
)
def test_a_step_is_not_retried_for_a_wrong_setting_and_names_it(
    resource: ZipchatResource, changes: dict[str, object], sentence: str
) -> None:
    failure = failure_of(resource.model_copy(update=changes), "iter_users")
    assert sentence in (failure.description or "")
    assert not failure.allow_retries


def test_steps_that_call_the_api_are_retried_and_are_in_its_pool() -> None:
    for asset in ASSETS:
        calls_api = asset.op.name in {"users", "raw_conversations", "raw_messages"}
        policy = asset.op.retry_policy
        assert (policy is not None) == calls_api
        assert asset.op.pool == ("zipchat_api" if calls_api else "zipchat_duckdb")


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, dg.DagsterExecutionInterruptedError])
def test_a_step_of_a_terminated_run_is_not_retried(interrupt: type[BaseException]) -> None:
    @dg.asset(retry_policy=API_RETRIES)
    def interrupted() -> None:
        raise interrupt

    with pytest.raises(interrupt):
        dg.materialize([interrupted])


def test_a_step_whose_database_no_later_try_can_use_is_not_retried() -> None:
    @dg.asset(retry_policy=API_RETRIES)
    def refused() -> None:
        raise LastingError("notes.duckdb cannot be opened.")

    result = dg.materialize([refused], raise_on_error=False)
    assert [event.event_type_value for event in result.all_events].count("STEP_UP_FOR_RETRY") == 0
    (failure,) = result.get_step_failure_events()
    assert failure.step_failure_data.error is not None
    assert "notes.duckdb cannot be opened." in failure.step_failure_data.error.message


def test_all_steps_of_a_run_share_one_warehouse(tmp_path: Path) -> None:
    seen: list[Warehouse] = []

    @dg.asset
    def first(warehouse: WarehouseResource) -> None:
        seen.extend([warehouse.warehouse, warehouse.warehouse])

    @dg.asset(deps=[first])
    def second(warehouse: WarehouseResource) -> None:
        seen.append(warehouse.warehouse)
        with warehouse.get_connection() as connection:
            connection.execute("select 1")

    resources = {"warehouse": WarehouseResource(database=str(tmp_path / "warehouse.duckdb"))}
    assert dg.materialize([first, second], resources=resources).success
    assert dg.materialize([first], resources=resources).success
    one, same, shared, of_the_next_run, _ = seen
    assert one is same is shared
    assert of_the_next_run is not one


def test_a_database_with_the_schemas_name_is_refused(tmp_path: Path) -> None:
    refused = str(tmp_path / "zipchat.duckdb")
    with pytest.raises(dg.Failure, match=r"^zipchat\.duckdb would give the database the same name"):
        _ = WarehouseResource(database=refused).warehouse
    fine = str(tmp_path / "warehouse.duckdb")
    with pytest.raises(dg.Failure, match="Use another file name"):
        _ = WarehouseResource(database=fine, published_database=refused).published


def test_hashes_without_a_key_fail_the_step_before_anything_is_stored(tmp_path: Path) -> None:
    database = str(tmp_path / "warehouse.duckdb")
    with pytest.raises(dg.Failure, match=r"^ZIPCHAT_PII: hashes need a key of at least 32"):
        _ = WarehouseResource(database=database, pii_content="hash", pii_key="short").warehouse
    with pytest.raises(dg.Failure, match=r"^ZIPCHAT_PII: hide is not one of keep, hash, drop"):
        _ = WarehouseResource(database=database, pii_content="hide").warehouse
    found = WarehouseResource(database=database, pii_content="hash", pii_key="k" * 32)
    assert "kkk" not in repr(found)
    assert found.warehouse.privacy == Privacy(content="hash", key="k" * 32)
