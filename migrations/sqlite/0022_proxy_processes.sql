-- The processes of terminal-proxy: until when each may be believed to live, and where others reach it.
CREATE TABLE proxy_process (
    instance    TEXT NOT NULL PRIMARY KEY,
    url         TEXT,
    alive_until INTEGER NOT NULL
) STRICT;

-- A request that one process hands to another. Only who can write here can hand one over; each is redeemed once.
CREATE TABLE forward_pass (
    secret_hash    BLOB NOT NULL PRIMARY KEY CHECK (length(secret_hash) = 32),
    instance       TEXT NOT NULL,
    client_address TEXT NOT NULL,
    expires_at     INTEGER NOT NULL
) STRICT;
