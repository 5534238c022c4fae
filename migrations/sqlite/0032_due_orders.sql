-- Each system's worker takes its own orders, the oldest first, without looking through those of the others.
CREATE INDEX job_due_of_system ON job (system, next_attempt_at, id) WHERE state = 'pending';
DROP INDEX job_due;
