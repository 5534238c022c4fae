-- SQLite reads the trail by time, also that of one device; an index that no query uses was most of what a record cost.
DROP INDEX audit_device;
