"""`escalation_metrics` of one day, computed by hand."""

from __future__ import annotations

import pytest

from zipchat_dagster.warehouse import schema_tables
from zipchat_dagster.warehouse.business_hours import BusinessHours
from zipchat_dagster_tests.conftest import Open
from zipchat_dagster_tests.warehouse.support import METRICS, Story, days_between

# Tuesday, 3 March 2026, in UTC, as known on Friday, 6 March, 12:00. Agents are in the office from
# 9 to 17 on weekdays; an answer is in time within 40 minutes (2400 s).
#
#     conversation       escalated   first response              business   resolved        open at midnight
# A1  web, Ada           08:30:00    09:10:00   2400 s           600 s      10:00:00  5400 s
# A2  the same           15:00:05    00:30:05  34200 s (4 Mar)  7195 s      09:00:05 64800 s (4 Mar)   32395 s
# B   whatsapp, Bo       10:00:00    10:00:00      0 s             0 s      10:00:00 172800 s (5 Mar)  50400 s
# E   web, nobody        13:05:00    none                                   never                      39300 s
# G   web, nobody        26 Feb 09:10:00, none                              never                     485400 s
#
# A1 waits in business time from 09:00 to 09:10; A2 from 15:00:05 to 17:00 (half past midnight is
# before the next opening). Bo left the chat on 4 March. B is resolved without a message.
# Nobody asks again after a first response. E is abandoned: its customer was silent for a day.
# C (email) is one message, D (instagram) is the AI's alone, F (messenger) is answered by Cy
# without an escalation. B began on 2 March at 23:50, G on 26 February. So on that day:
#
# all        started A C D E F; active A B C D E F; escalated A B E of 6; contained C D of 6
#            responses 0 2400 34200: p50 2400, p90 2400 + 0.8 * 31800, p95 2400 + 0.9 * 31800
#            business  0 600 7195:   p50 600,  p90 600 + 0.8 * 6595,   p95 600 + 0.9 * 6595
#            resolutions in business time 3600 7200 57600: p90 7200 + 0.8 * 50400
#            in time A1 B of 4; resolutions 5400 64800 172800: p50 64800,
#            p90 64800 + 0.8 * 108000, mean 243000 / 3
#            backlog 32395 39300 50400 485400: p50 (39300 + 50400) / 2
#            customers A 2, B 1, C 1, D 2, E 1, F 1; AI A 2, B 1, D 2; people A 1, B 1, F 1
# web        started A E; active A E, both escalated; responses 2400 34200: p50 18300,
#            p90 2400 + 0.9 * 31800, p95 2400 + 0.95 * 31800; business 600 7195; in time 1 of 3;
#            resolutions 5400 64800; backlog 32395 39300 485400
# Ada        A1 and A2 as on the web, without E: in time 1 of 2; backlog A2
# unassigned E; backlog E and G: p50 (39300 + 485400) / 2
STORY = """
02-26 09:00     G start
02-26 09:10     G escalate, sync
03-02 23:50     B start whatsapp
03-03 08:00     A start
03-03 08:00:10  A ai
03-03 08:30     A escalate, A ai
03-03 08:45     sync
03-03 09:10     A assign Ada, A human Ada
03-03 09:30     sync
03-03 10:00     A resolve, A assign nobody
                B customer, B ai, B escalate, B assign Bo, B human Bo
03-03 11:00     C start email
03-03 12:00     D start instagram
03-03 12:00:04  D ai
03-03 12:01     D customer
03-03 12:01:03  D ai, sync
03-03 13:00     E start
03-03 13:05     E escalate
03-03 14:00     F start messenger
03-03 14:20     F assign Cy, F human Cy
03-03 15:00     A customer
03-03 15:00:05  A escalate
03-03 16:00     sync
03-04 00:30:05  A assign Ada, A human Ada
03-04 06:00     sync, Bo leaves
03-04 09:00:05  A resolve
03-04 10:00     sync
03-05 10:00     B resolve
03-06 12:00     sync
"""
GOLDEN = """
                                     all      web      whatsapp email instagram messenger 1       2      3 unassigned
conversations_started                5        2        0        1     1         1         -       -      - -
conversations_active                 6        2        1        1     1         1         -       -      - -
escalated_conversations              3        2        1        0     0         0         1       1      0 1
escalations                          4        3        1        0     0         0         2       1      0 1
reescalations                        1        1        0        0     0         0         1       0      0 0
resolved                             3        2        1        0     0         0         2       1      0 0
still_open                           1        1        0        0     0         0         0       0      0 1
unanswered                           1        1        0        0     0         0         0       0      0 1
escalation_rate                      3/6      2/2      1/1      0/1   0/1       0/1       -       -      - -
containment_rate                     2/6      0/2      0/1      1/1   1/1       0/1       -       -      - -
resolution_rate                      3/4      2/3      1/1      -     -         -         2/2     1/1    - 0/1
first_response_seconds_p50           2400     18300    0        -     -         -         18300   0      - -
first_response_seconds_p90           27840    31020    0        -     -         -         31020   0      - -
first_response_seconds_p95           31020    32610    0        -     -         -         32610   0      - -
first_response_business_seconds_p50  600      3897.5   0        -     -         -         3897.5  0      - -
first_response_business_seconds_p90  5876     6535.5   0        -     -         -         6535.5  0      - -
first_response_business_seconds_p95  6535.5   6865.25  0        -     -         -         6865.25 0      - -
answered_within_target_rate          2/4      1/3      1/1      -     -         -         1/2     1/1    - 0/1
pending_within_target                0        0        0        0     0         0         0       0      0 0
resolution_seconds_p50               64800    35100    172800   -     -         -         35100   172800 - -
resolution_seconds_p90               151200   58860    172800   -     -         -         58860   172800 - -
resolution_seconds_mean              81000    35100    172800   -     -         -         35100   172800 - -
resolution_business_seconds_p50      7200     5400     57600    -     -         -         5400    57600  - -
resolution_business_seconds_p90      47520    6840     57600    -     -         -         6840    57600  - -
next_response_seconds_p50            -        -        -        -     -         -         -       -      - -
next_response_seconds_p90            -        -        -        -     -         -         -       -      - -
responses_under_1h                   2        1        1        0     0         0         1       1      0 0
responses_1h_to_4h                   0        0        0        0     0         0         0       0      0 0
responses_4h_to_8h                   0        0        0        0     0         0         0       0      0 0
responses_8h_to_24h                  1        1        0        0     0         0         1       0      0 0
responses_over_24h                   0        0        0        0     0         0         0       0      0 0
one_touch                            3        2        1        0     0         0         2       1      0 0
abandoned                            1        1        0        0     0         0         0       0      0 1
backlog_at_day_end                   4        3        1        0     0         0         1       1      0 2
backlog_age_seconds_p50              44850    39300    50400    -     -         -         32395   50400  - 262350
backlog_age_seconds_max              485400   485400   50400    -     -         -         32395   50400  - 485400
customer_messages                    8        3        1        1     2         1         -       -      - -
ai_messages                          5        2        1        0     2         0         -       -      - -
human_messages                       3        1        1        0     0         1         1       1      1 0
"""


@pytest.fixture(scope="module")
def golden(shared_place: Open) -> Story:
    """The story above, seen by an hourly run now and then; metrics of 20 February to 6 March."""
    story = Story(shared_place)
    story.play(STORY)
    story.derive(
        *days_between("2026-02-20", "2026-03-06"),
        business_hours=BusinessHours.parse("mon-fri 09:00-17:00", "UTC"),
        response_target_seconds=2400,
    )
    return story


def expected_slices() -> dict[tuple[str, str], dict[str, float | None]]:
    """The columns of GOLDEN by dimension and value."""
    head, *lines = GOLDEN.strip("\n").splitlines()
    slices: dict[tuple[str, str], dict[str, float | None]] = {}
    for place, value in enumerate(head.split(), start=1):
        is_agent = value.isdigit() or value == "unassigned"
        dimension = "all" if value == "all" else "agent" if is_agent else "channel"
        column = slices[dimension, value] = {}
        for metric, cell in ((line.split()[0], line.split()[place]) for line in lines):
            over, _, under = cell.partition("/")
            column[metric] = None if cell == "-" else float(over) / float(under or 1)
    return slices


def test_the_day_is_as_computed_by_hand(golden: Story) -> None:
    rows = golden.dicts(
        "from zipchat.escalation_metrics where partition_date = '2026-03-03' order by all"
    )
    found = {(row["dimension"], row["dimension_value"]): row for row in rows}
    assert len(found) == len(rows)
    assert found.keys() == expected_slices().keys()
    for key, expected in expected_slices().items():
        assert list(expected) == METRICS
        assert {name: found[key][name] for name in METRICS} == pytest.approx(expected, abs=1e-8)


def test_an_empty_day_is_one_row_of_zeros_and_nulls(golden: Story) -> None:
    (row,) = golden.dicts("from zipchat.escalation_metrics where partition_date = '2026-02-21'")
    counts = {
        column.name
        for column in schema_tables()["escalation_metrics"].columns
        if column.type == "bigint"
    }
    for column in METRICS:
        assert row[column] == (0 if column in counts else None), column


def test_a_day_without_a_message_still_shows_its_backlog(golden: Story) -> None:
    row = golden.metrics("2026-03-01")
    assert row["conversations_active"] == row["escalations"] == 0
    assert row["backlog_at_day_end"] == 1
    # G, from 26 February 09:10 to 2 March 00:00: 3 days, 14 hours, 50 minutes
    assert row["backlog_age_seconds_max"] == 312_600
    assert row["escalation_rate"] is row["containment_rate"] is row["resolution_rate"] is None
