-- The access token behind a ticket, sealed with the ticket's secret: the process that redeems it asks the issuer again
-- and again whether its person still is who they were.
ALTER TABLE ticket ADD COLUMN sealed_token BYTEA;
