-- An order dies of refusals, not of the tries that a silent system left without an answer.
ALTER TABLE job ADD COLUMN refusals BIGINT NOT NULL DEFAULT 0;
