"""The column lineage names columns that exist, and leaves out none that is derived."""

from zipchat_dagster.assets.lineage import COLUMNS, column_lineage
from zipchat_dagster.warehouse import schema_tables
from zipchat_dagster_tests.single import LANE

GIVEN = {
    "chat_id",
    "conversation_id",
    "partition_date",
    "dimension",
    "dimension_value",
    "hour_start",
    "weekday",
    "hour",
    "computed_at",
}


def test_every_derived_column_has_sources_and_every_source_is_a_raw_column() -> None:
    for table in COLUMNS:
        lineage = column_lineage(table, key=LANE.key)["dagster/column_lineage"].deps_by_column
        columns = {column.name for column in schema_tables()[table].columns}
        assert set(lineage) <= columns
        assert columns - set(lineage) <= GIVEN
        for dependencies in lineage.values():
            for dependency in dependencies:
                raw = schema_tables()[dependency.asset_key.to_user_string()]
                assert dependency.column_name in {column.name for column in raw.columns}
