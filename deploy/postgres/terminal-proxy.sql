-- What terminal-proxy may do in the shared database: read the directory, write sessions, tickets and its audit chain,
-- and nothing else. Run it as the owner of the tables, in their schema, after `iot-bridge-api migrate`, and again after
-- every later migration (it may be repeated); then give the role a password: \password terminal_proxy
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'terminal_proxy') THEN
        CREATE ROLE terminal_proxy LOGIN;
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO terminal_proxy', current_schema());
END
$$;

-- The directory. The view `passport` shows of a certificate what people may see; the table stays closed.
GRANT SELECT ON device, passport, vpn_prefix TO terminal_proxy;

-- Sessions: they begin, end and are never deleted; who opened what is never changed.
GRANT SELECT, INSERT ON session TO terminal_proxy;
GRANT UPDATE (closed_at, reason, output_bytes, input_bytes, end_requested_at, recording_hash)
    ON session TO terminal_proxy;

-- One-time tickets.
GRANT SELECT, INSERT, DELETE ON ticket TO terminal_proxy;

-- Its own processes, and the requests that they hand to each other.
GRANT SELECT, INSERT, UPDATE, DELETE ON proxy_process TO terminal_proxy;
GRANT SELECT, INSERT, DELETE ON forward_pass TO terminal_proxy;

-- The audit chain: records are added, never changed.
GRANT SELECT, INSERT ON audit TO terminal_proxy;
GRANT SELECT, INSERT, UPDATE ON audit_head TO terminal_proxy;

-- Whether the tables are those of the program.
GRANT SELECT ON _sqlx_migrations TO terminal_proxy;
