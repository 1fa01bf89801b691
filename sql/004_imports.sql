-- How far tables of other systems were taken over (sluiced import). Written in the transactions that
-- store their rows, so that each of these is taken over once, whatever interrupts it.
CREATE TABLE imports (
    source      text        PRIMARY KEY,
    name        text        NOT NULL,
    last_id     bigint      NOT NULL,
    records     bigint      NOT NULL DEFAULT 0,
    refused     bigint      NOT NULL DEFAULT 0,
    changed_at  timestamptz NOT NULL DEFAULT now()
);

COMMENT ON COLUMN imports.source IS 'cluster, database and table, by their numbers';
COMMENT ON COLUMN imports.last_id IS 'rows with ids up to this one are done';
COMMENT ON COLUMN imports.refused IS 'of these, how many are in dead_letters';
