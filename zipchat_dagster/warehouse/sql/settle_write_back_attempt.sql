-- grain: one row, this run's attempt, once its outcome is known
update zipchat.write_back_attempts
set outcome = $outcome, message_id = $message_id
where run_id = $run_id and outcome = 'unknown';
