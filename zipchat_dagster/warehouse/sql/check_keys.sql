-- grain: one row per key that $table holds more than once, at most $most; `offenders` counts all
with keys as (
    select chat_id, conversation_id as id, null::timestamptz as moment, null::varchar as label
    from zipchat.raw_conversations where $table = 'raw_conversations'
    union all
    select chat_id, message_id, null, null from zipchat.raw_messages where $table = 'raw_messages'
    union all
    select chat_id, user_id, null, null from zipchat.users where $table = 'users'
    union all
    select chat_id, lead_id, null, null from zipchat.leads where $table = 'leads'
    union all
    select chat_id, conversation_id, escalated_at, null
    from zipchat.escalations where $table = 'escalations'
    union all
    select chat_id, conversation_id, asked_at, turn::varchar
    from zipchat.customer_turns where $table = 'customer_turns'
    union all
    select chat_id, conversation_id, escalated_at, concat_ws(' ', metric, turn)
    from zipchat.sla_events where $table = 'sla_events'
    union all
    select chat_id, conversation_id, null, null
    from zipchat.conversation_facts where $table = 'conversation_facts'
    union all
    select chat_id, null, partition_date::timestamptz, concat_ws(' ', dimension, dimension_value)
    from zipchat.escalation_metrics where $table = 'escalation_metrics'
    union all
    select chat_id, null, hour_start, concat_ws(' ', dimension, dimension_value)
    from zipchat.activity_by_hour where $table = 'activity_by_hour'
),
repeated as (
    select id, moment, label from keys
    where chat_id = $chat_id
    group by id, moment, label
    having count(*) > 1
)
select
    concat_ws(' ', id, strftime(moment, '%Y-%m-%dT%H:%M:%SZ'), label) as offender,
    count(*) over () as offenders
from repeated
order by id, moment, label
limit $most
