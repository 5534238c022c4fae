-- What a ticket is for, and of which session.
ALTER TABLE ticket ADD COLUMN purpose TEXT NOT NULL DEFAULT 'open' CHECK (purpose IN ('open', 'watch', 'join'));

-- Whether a session is recorded, and the hash that the recording's chain ended with.
ALTER TABLE session ADD COLUMN recorded INTEGER NOT NULL DEFAULT 0 CHECK (recorded IN (0, 1));
ALTER TABLE session ADD COLUMN recording_hash BLOB CHECK (length(recording_hash) = 32);
