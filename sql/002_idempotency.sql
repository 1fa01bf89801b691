-- Frames of requests that carried an Idempotency-Key, by what the request was (principal, key and
-- body). Such a request sent again is a frame with the same u and another receive time, so it is
-- found here and not in the ledger. Rows are kept for 24 hours at least.
CREATE TABLE idempotency (
    u  uuid        PRIMARY KEY,
    t  timestamptz NOT NULL
);

CREATE INDEX idempotency_t ON idempotency USING brin (t);
