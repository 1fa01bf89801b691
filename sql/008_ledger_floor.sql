-- Drops the ledger's partitions of the hours before this one, counted since 1970, and tells how
-- many: none that has frames of the last hour, whatever is asked for, as Redis may give them out
-- once more, and none if another loader is at it. Only loaders touch the ledger, so the lock that
-- DROP takes on it holds up nobody else.
CREATE OR REPLACE FUNCTION sluice_forget_frames(before_hour bigint) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET lock_timeout = '2s' SET TimeZone = 'UTC'
AS $$
DECLARE
    bound   CONSTANT text :=
        to_char(least(timestamptz 'epoch' + before_hour * interval '1 hour',
                      now() - interval '1 hour'), '"ledger_"YYYYMMDDHH24');
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

-- As for all of them: names mean what they mean here.
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION sluice_forget_frames(bigint) SET search_path = %I, pg_temp',
                   current_schema());
END
$$;
