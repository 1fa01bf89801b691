-- What only the tables' owner can do, and loaders have to: each a function that does no more than
-- it says, so that a loader neither owns the tables nor can change or drop what is stored. Who may
-- run them, and all other rights, is in daemon/pg_rights.cpp.

-- Makes the partition that holds this day (logs) or hour (ledger) since 1970, unless it is there;
-- fails for now if it is being dropped. Its name, or null if it was there. Made as a table of its
-- own and then attached: ATTACH lets others write meanwhile, CREATE TABLE ... PARTITION OF would
-- lock them out. A wait for a lock is bounded; loaders that want the same one take turns.
CREATE FUNCTION sluice_make_partition(parent text, number bigint) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET lock_timeout = '2s' SET TimeZone = 'UTC'
AS $$
DECLARE
    step     CONSTANT interval :=
        CASE parent WHEN 'logs' THEN '1 day' WHEN 'ledger' THEN '1 hour' END;
    first    CONSTANT timestamptz := timestamptz 'epoch' + number * step;
    stem     CONSTANT text := parent ||
        to_char(first, CASE parent WHEN 'logs' THEN '_YYYYMMDD' ELSE '_YYYYMMDDHH24' END);
    time     CONSTANT text := CASE parent WHEN 'logs' THEN 'created_at' ELSE 't' END;
    taken    record;
    attached boolean := false;
    names    text[] := '{}';
    name     text := stem;
BEGIN
    IF step IS NULL THEN
        RAISE EXCEPTION '% has no partitions', parent USING ERRCODE = 'wrong_object_type';
    END IF;
    PERFORM pg_advisory_xact_lock(7306930287321604097);
    -- The name may be another table's still, which somebody has detached to keep it elsewhere.
    FOR taken IN
        SELECT relname, inhdetachpending AS detaching,
            obj_description(c.oid, 'pg_class') = 'sluice: to be dropped' AS marked
        FROM pg_class c
        LEFT JOIN pg_inherits ON inhrelid = c.oid AND inhparent = parent::regclass
        WHERE relname ~ ('^' || stem || '(_[0-9]+)?$')
            AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = parent::regclass)
    LOOP
        IF taken.detaching OR (taken.detaching IS NULL AND taken.marked) THEN
            RAISE EXCEPTION '% is being %', taken.relname,
                CASE WHEN taken.detaching THEN 'detached' ELSE 'dropped' END
                USING ERRCODE = 'object_in_use';
        END IF;
        attached := attached OR taken.detaching IS NOT NULL;
        names := names || taken.relname::text;
    END LOOP;
    IF attached THEN
        RETURN NULL;
    END IF;
    FOR copy IN 2 .. 1000 LOOP
        EXIT WHEN name <> ALL (names);
        name := stem || '_' || copy;
    END LOOP;
    -- Rows are only ever added. After a million of them the visibility map is brought up to date,
    -- and they are frozen at once, for they will not change: the defaults are a storm in a large
    -- table now, and one in all tables when transaction ids run out.
    -- The check spares ATTACH a scan; attached, the bounds say the same.
    EXECUTE format(
        'CREATE TABLE %1$I (LIKE %2$I INCLUDING DEFAULTS INCLUDING CONSTRAINTS,'
        ' CONSTRAINT bounds CHECK (%3$I >= %4$L AND %3$I < %5$L)) WITH ('
        'autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 1000000,'
        ' autovacuum_freeze_min_age = 0,'
        ' autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 1000000)',
        name, parent, time, first, first + step);
    EXECUTE format('ALTER TABLE %2$I ATTACH PARTITION %1$I FOR VALUES FROM (%3$L) TO (%4$L)',
                   name, parent, first, first + step);
    EXECUTE format('ALTER TABLE %I DROP CONSTRAINT bounds', name);
    RETURN name;
END
$$;

-- Drops a day of logs with the counts of its minutes, but never the newest one. The lock that this
-- takes on logs lasts for milliseconds. Until others let it have that one it waits, a second at
-- most, and whoever comes then waits behind it.
-- Versions before this one marked a day, detached it beside those who read, and dropped it then:
-- what they have begun is ended here.
CREATE FUNCTION sluice_drop_day(name text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET lock_timeout = '1s' SET TimeZone = 'UTC'
AS $$
DECLARE
    partition record;
    day       timestamptz;
BEGIN
    SELECT inhdetachpending AS detaching,
        obj_description(c.oid, 'pg_class') = 'sluice: to be dropped' AS marked INTO partition
    FROM pg_class c LEFT JOIN pg_inherits ON inhrelid = c.oid AND inhparent = 'logs'::regclass
    WHERE relname = name AND name ~ '^logs_[0-9]{8}(_[0-9]+)?$' AND relkind = 'r'
        AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'logs'::regclass);
    IF NOT FOUND OR (coalesce(partition.detaching, true) AND partition.marked IS NOT TRUE) THEN
        RAISE EXCEPTION '% is no day of logs', name USING ERRCODE = 'wrong_object_type';
    END IF;
    day := to_timestamp(substr(name, 6, 8), 'YYYYMMDD');
    IF partition.detaching THEN
        EXECUTE format('ALTER TABLE logs DETACH PARTITION %I FINALIZE', name);
    ELSIF partition.detaching IS NOT NULL
        AND day >= (SELECT date_trunc('day', least(now(), max(minute))) FROM counters) THEN
        RAISE EXCEPTION '% is the newest day of logs', name USING ERRCODE = 'object_in_use';
    END IF;
    EXECUTE format('DROP TABLE %I', name);
    DELETE FROM counters WHERE minute >= day AND minute < day + interval '1 day';
END
$$;

-- Drops the ledger's partitions of the hours before this one, counted since 1970, and tells how
-- many: none if another loader is at it. Only loaders touch the ledger, so the lock that DROP takes
-- on it holds up nobody else.
CREATE FUNCTION sluice_forget_frames(before_hour bigint) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET lock_timeout = '2s' SET TimeZone = 'UTC'
AS $$
DECLARE
    bound   CONSTANT text :=
        to_char(timestamptz 'epoch' + before_hour * interval '1 hour', '"ledger_"YYYYMMDDHH24');
    old     text;
    dropped integer := 0;
BEGIN
    IF NOT pg_try_advisory_xact_lock(7306930287321604099) THEN
        RETURN 0;
    END IF;
    -- Names sort as their times do.
    FOR old IN
        SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
        WHERE inhparent = 'ledger'::regclass AND relname ~ '^ledger_[0-9]{10}(_[0-9]+)?$'
            AND relname < bound ORDER BY relname
    LOOP
        EXECUTE format('DROP TABLE %I', old);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END
$$;

-- Deletes so many keys of requests from before this hour at most, none that is younger than 24
-- hours, and tells how many. Rows that somebody holds are left for another time: no
-- loader waits for another one here.
CREATE FUNCTION sluice_forget_keys(before_hour bigint, most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
AS $$
DECLARE
    deleted bigint;
BEGIN
    DELETE FROM idempotency WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM idempotency
        WHERE t < least(timestamptz 'epoch' + before_hour * interval '1 hour',
                        now() - interval '24 hours')
        LIMIT most FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END
$$;

-- Names mean what they mean here, whatever the caller has made in schemas of its own.
DO $$
DECLARE
    name regprocedure;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'sluice_make_partition(text, bigint)'::regprocedure, 'sluice_drop_day(text)',
        'sluice_forget_frames(bigint)', 'sluice_forget_keys(bigint, integer)']
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', name, current_schema());
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', name);
    END LOOP;
END
$$;

-- A mark that was left on a day that was not begun: whoever detaches that day wants to keep it.
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN
        SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
        WHERE inhparent = 'logs'::regclass AND NOT inhdetachpending
            AND obj_description(inhrelid, 'pg_class') = 'sluice: to be dropped'
    LOOP
        EXECUTE format('COMMENT ON TABLE %I IS NULL', name);
    END LOOP;
END
$$;
