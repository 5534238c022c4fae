-- The processes of terminal-proxy: until when each may be believed to live, and where others reach it.
CREATE TABLE proxy_process (
    instance    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    url         TEXT,
    alive_until BIGINT NOT NULL
);

-- A request that one process hands to another. Only who can write here can hand one over; each is redeemed once.
CREATE TABLE forward_pass (
    secret_hash    BYTEA NOT NULL PRIMARY KEY CHECK (length(secret_hash) = 32),
    instance       TEXT COLLATE "C" NOT NULL,
    client_address TEXT NOT NULL,
    expires_at     BIGINT NOT NULL
);
