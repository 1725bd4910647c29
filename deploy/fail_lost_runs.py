"""Reports the runs that ended with an earlier container of the code location as failed.

compose.yaml starts this beside the code location. Its runs are processes in the same container.
When that is stopped, Dagster goes on showing them as started, and waits for them. Once they are
reported as failed, `run_retries` starts them again, and they read only what is missing.

Not for Kubernetes: there each run is a pod of its own, and Dagster watches it.
"""

import subprocess
import time

import dagster as dg

container_started_at = time.time()

# A retry needs the code location, and Dagster tries it only once.
IS_SERVING = ["dagster", "api", "grpc-health-check", "--port", "4000"]
while subprocess.run(IS_SERVING, check=False).returncode != 0:  # noqa: S603 (a fixed command)
    time.sleep(1)

with dg.DagsterInstance.get() as instance:
    started = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])
    for record in instance.get_run_records(started):
        if record.start_time is None or record.start_time < container_started_at:
            instance.report_run_failed(
                record.dagster_run, "The container of this run was stopped or restarted."
            )
