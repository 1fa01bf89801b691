-- What stands in a dead letter, so that its records can be stored once the reason is gone.

COMMENT ON TABLE dead_letters IS
    'records that are not in logs: Postgres refused them, or their entry could not be read';
COMMENT ON COLUMN dead_letters.t IS
    'receive time, as of the frame''s rows in logs.created_at; of an entry, the time in its id';
COMMENT ON COLUMN dead_letters.u IS
    'the frame''s producer id; of an entry, made of its id and fields';
COMMENT ON COLUMN dead_letters.position IS
    'of the record in its frame, from 0: with stream_id it is the message_id; -1 is a whole entry';
COMMENT ON COLUMN dead_letters.sqlstate IS 'empty if Postgres was not asked';
COMMENT ON COLUMN dead_letters.row_bytes IS
    'the row as COPY text: device_id, log_level, message, log_data, event_time, without id,'
    ' created_at and newline; of an entry, its fields, names and values in turn, each as a'
    ' netstring (5:hello,)';
