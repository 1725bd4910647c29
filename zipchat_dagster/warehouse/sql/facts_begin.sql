-- grain: one row: the first moment that facts of the batch count time from, NULL without any
select least((select min(escalated_at) from spans), (select min(asked_at) from turns)) as begins_at
