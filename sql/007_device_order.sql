-- Devices are compared byte by byte, whatever the language of the database: with en_US, which asks the
-- C library for each comparison, a stored row took half as much CPU again, nearly all of it in
-- the index of devices; and such an index is no longer true when the library's order changes, as it
-- does with some upgrades of the system.
--
-- No row is written anew, but the index is. Until the end of this transaction loaders and readers
-- wait, and records in Redis; that is some seconds for each million rows. Where that is too long,
-- build it beforehand on every partition, beside all work:
--     CREATE INDEX CONCURRENTLY ON logs_20251121 (device_id COLLATE "C", created_at, id, log_level);
DROP INDEX logs_device_page;
ALTER TABLE logs ALTER COLUMN device_id TYPE text COLLATE "C";
ALTER TABLE devices ALTER COLUMN device_id TYPE text COLLATE "C";
CREATE INDEX logs_device_page ON logs (device_id, created_at, id, log_level);
