"""Schedules; off until they are switched on."""

from datetime import timedelta

import dagster as dg

from zipchat_dagster.jobs import sync_job
from zipchat_dagster.partitions import daily

TIMEZONE = daily.timezone


@dg.schedule(job=sync_job, cron_schedule="5 * * * *", execution_timezone=TIMEZONE)
def hourly_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Keeps today fresh: users, conversations, messages, escalations and metrics."""
    now = context.scheduled_execution_time
    return dg.RunRequest(partition_key=now.strftime("%Y-%m-%d"))


@dg.schedule(job=sync_job, cron_schedule="20 0 * * *", execution_timezone=TIMEZONE)
def daily_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Closes yesterday, and restates the metrics of days that changed."""
    yesterday = context.scheduled_execution_time - timedelta(days=1)
    return dg.RunRequest(partition_key=yesterday.strftime("%Y-%m-%d"))


SCHEDULES = [hourly_schedule, daily_schedule]
