-- Who carries a job out: what a process left when it died is due again as soon as it is back.
ALTER TABLE job ADD COLUMN leased_by TEXT;
