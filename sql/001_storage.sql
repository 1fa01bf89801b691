-- Where records end up, and what makes each of them arrive exactly once.

CREATE TYPE log_level AS ENUM ('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL');

-- Partitioned by day (UTC), partitions named logs_YYYYMMDD and made by the loader: ahead of time,
-- and on demand for frames from another day. There is no DEFAULT partition: a missing partition is
-- something to make, never a reason to put a row elsewhere.
CREATE TABLE logs (
    id          bigint      NOT NULL,
    created_at  timestamptz NOT NULL,
    device_id   text        NOT NULL,
    log_level   log_level   NOT NULL,
    message     text        NOT NULL,
    log_data    jsonb       NOT NULL,
    event_time  timestamptz
) PARTITION BY RANGE (created_at);

COMMENT ON COLUMN logs.created_at IS 'receive time at the edge';
COMMENT ON COLUMN logs.event_time IS 'the time the client gave, if it gave one';

-- The page of a device, newest first. Ids break ties: records of one frame share a created_at.
CREATE INDEX logs_device ON logs (device_id, created_at DESC, id DESC);
-- Time ranges over all devices; rows arrive nearly in this order.
CREATE INDEX logs_created_at ON logs USING brin (created_at)
    WITH (pages_per_range = 32, autosummarize = on);

-- One nextval is a block of a million row ids: a loader asks once a million rows, not once a row.
CREATE SEQUENCE log_id_blocks AS bigint INCREMENT BY 1000000 MINVALUE 1 START WITH 1;

-- Frames already stored, written in the transaction of their rows. The key is the frame's own
-- receive time and producer id, which are fixed at the edge, so a frame that comes back finds its
-- row in the same partition. Partitioned by hour (UTC), named ledger_YYYYMMDDHH.
CREATE TABLE ledger (
    t             timestamptz NOT NULL,
    u             uuid        NOT NULL,
    stream_id     text        NOT NULL,
    first_row_id  bigint      NOT NULL,
    n             integer     NOT NULL,
    PRIMARY KEY (t, u)
) PARTITION BY RANGE (t);

-- Exact numbers of stored rows. A slot is a loader's consumer name: loaders never wait for each
-- other's counter rows; readers sum over the slots. The rows are few and hot, so pages keep room
-- for updates in place.
CREATE TABLE counters (
    minute     timestamptz NOT NULL,
    log_level  log_level   NOT NULL,
    slot       text        NOT NULL,
    n          bigint      NOT NULL,
    PRIMARY KEY (minute, log_level, slot)
) WITH (fillfactor = 50);

-- Records that Postgres refused, kept with the reason.
CREATE TABLE dead_letters (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    t          timestamptz NOT NULL,
    u          uuid        NOT NULL,
    position   integer     NOT NULL,
    stream_id  text        NOT NULL,
    sqlstate   text        NOT NULL,
    reason     text        NOT NULL,
    row_bytes  bytea       NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (t, u, position)
);
