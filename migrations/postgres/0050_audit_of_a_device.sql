-- PostgreSQL reads a device's records by their index; only SQLite, which never did, loses it.
SELECT 1;
