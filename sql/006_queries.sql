-- What queries ask, at a cost that does not grow with what is stored.

-- When a device last sent something: kept by loaders, apart from the rows and a little behind them.
-- A row changes every few seconds while its device sends, so pages keep room, and the dead are seen
-- to early.
CREATE TABLE devices (
    device_id  text        PRIMARY KEY,
    last_seen  timestamptz NOT NULL
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX devices_last_seen ON devices (last_seen);

COMMENT ON TABLE devices IS 'devices that have sent records of days that are kept';
COMMENT ON COLUMN devices.last_seen IS
    'receive time of the newest record; some seconds behind, or more when very many devices send';

-- From one device to the next in the index: rows are not read one by one.
INSERT INTO devices (device_id, last_seen)
WITH RECURSIVE known (device_id) AS (
    SELECT min(device_id) FROM logs
    UNION ALL
    SELECT (SELECT min(logs.device_id) FROM logs WHERE logs.device_id > known.device_id)
    FROM known WHERE known.device_id IS NOT NULL
)
SELECT device_id,
    (SELECT max(created_at) FROM logs WHERE logs.device_id = known.device_id)
FROM known WHERE device_id IS NOT NULL;

-- Deletes the devices that have no records of days that are kept, and tells how many.
CREATE FUNCTION sluice_forget_devices() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET TimeZone = 'UTC'
AS $$
DECLARE
    deleted bigint;
BEGIN
    DELETE FROM devices WHERE last_seen < (
        SELECT min(to_timestamp(substr(relname, 6, 8), 'YYYYMMDD'))
        FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
        WHERE inhparent = 'logs'::regclass AND NOT inhdetachpending
            AND relname ~ '^logs_[0-9]{8}(_[0-9]+)?$');
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END
$$;

-- Both are read backwards for the newest first. Until the end of this transaction loaders wait, and
-- records in Redis for them; readers do not. That is some seconds for each million rows. Where
-- that is too long, build the same two beforehand on every partition, beside all work:
--     CREATE INDEX CONCURRENTLY ON logs_20251121 (device_id, created_at, id, log_level);
--     CREATE INDEX CONCURRENTLY ON logs_20251121 (log_level, created_at, id);
-- What is there already is taken as it is.
--
-- The page of a device. Ids break ties: records of one frame share a created_at. The level is in it
-- so that a level that is rare is looked for in the index, not in the rows.
CREATE INDEX logs_device_page ON logs (device_id, created_at, id, log_level);
-- The page of all devices: of each level that is asked for in turn, merged.
CREATE INDEX logs_level_page ON logs (log_level, created_at, id);
DROP INDEX logs_device, logs_created_at;

-- Sums of counters, for ranges that are too long to add up minutes. Only its triggers write here,
-- in the transaction that changes counters, so they agree whatever wrote there.
CREATE TABLE counters_hour (
    hour       timestamptz NOT NULL,
    log_level  log_level   NOT NULL,
    slot       text        NOT NULL,
    n          bigint      NOT NULL,
    PRIMARY KEY (hour, log_level, slot)
) WITH (fillfactor = 50);

CREATE TABLE counters_day (
    day        timestamptz NOT NULL,
    log_level  log_level   NOT NULL,
    slot       text        NOT NULL,
    n          bigint      NOT NULL,
    PRIMARY KEY (day, log_level, slot)
) WITH (fillfactor = 50);

COMMENT ON TABLE counters_hour IS 'sums of counters by hour (UTC), kept by triggers on counters';
COMMENT ON TABLE counters_day IS 'sums of counters by day (UTC), kept by triggers on counters';

-- Once a statement: a batch changes some rows at a time. In the order of the keys, which begin with
-- the time for all of them, so that nobody waits in a circle.
CREATE FUNCTION sluice_sum_counters() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
AS $$
DECLARE
    changes counters[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg((minute, log_level, slot, n)::counters) INTO changes FROM fresh;
    ELSIF TG_OP = 'UPDATE' THEN
        SELECT array_agg((minute, log_level, slot, n)::counters) INTO changes
        FROM (SELECT minute, log_level, slot, n FROM fresh
              UNION ALL SELECT minute, log_level, slot, -n FROM past) AS changed;
    ELSE
        SELECT array_agg((minute, log_level, slot, -n)::counters) INTO changes FROM past;
    END IF;
    IF changes IS NULL THEN
        RETURN NULL;
    END IF;
    INSERT INTO counters_hour AS sums (hour, log_level, slot, n)
    SELECT date_trunc('hour', minute, 'UTC'), log_level, slot, sum(n)
    FROM unnest(changes) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (hour, log_level, slot) DO UPDATE SET n = sums.n + excluded.n;
    INSERT INTO counters_day AS sums (day, log_level, slot, n)
    SELECT date_trunc('day', minute, 'UTC'), log_level, slot, sum(n)
    FROM unnest(changes) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (day, log_level, slot) DO UPDATE SET n = sums.n + excluded.n;
    IF TG_OP = 'DELETE' THEN
        DELETE FROM counters_hour WHERE n = 0 AND (hour, log_level, slot) IN (
            SELECT date_trunc('hour', minute, 'UTC'), log_level, slot FROM unnest(changes));
        DELETE FROM counters_day WHERE n = 0 AND (day, log_level, slot) IN (
            SELECT date_trunc('day', minute, 'UTC'), log_level, slot FROM unnest(changes));
    END IF;
    RETURN NULL;
END
$$;

-- Names mean what they mean here, whatever the caller has made in schemas of its own.
DO $$
DECLARE
    name regprocedure;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'sluice_forget_devices()'::regprocedure, 'sluice_sum_counters()']
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', name, current_schema());
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', name);
    END LOOP;
END
$$;

-- Behind the lock on logs, as a batch takes them.
LOCK TABLE counters IN SHARE ROW EXCLUSIVE MODE;

CREATE TRIGGER sum_inserted AFTER INSERT ON counters
    REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION sluice_sum_counters();
CREATE TRIGGER sum_updated AFTER UPDATE ON counters
    REFERENCING OLD TABLE AS past NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION sluice_sum_counters();
CREATE TRIGGER sum_deleted AFTER DELETE ON counters
    REFERENCING OLD TABLE AS past
    FOR EACH STATEMENT EXECUTE FUNCTION sluice_sum_counters();

INSERT INTO counters_hour
SELECT date_trunc('hour', minute, 'UTC'), log_level, slot, sum(n) FROM counters GROUP BY 1, 2, 3;
INSERT INTO counters_day
SELECT date_trunc('day', hour, 'UTC'), log_level, slot, sum(n) FROM counters_hour GROUP BY 1, 2, 3;
