-- +goose Up
-- One row a saga: it is the durable message that has the saga run. Times are milliseconds since 1970, UTC.
CREATE TABLE saga (
    id         TEXT     PRIMARY KEY,
    name       TEXT     NOT NULL,
    version    BIGINT   NOT NULL,
    status     TEXT     NOT NULL,
    ended      BIGINT   NOT NULL, -- 1 once nothing will happen any more
    input      TEXT     NOT NULL,
    state      TEXT     NOT NULL, -- JSON: steps, reason, cancellation
    stuck_on   TEXT     NOT NULL, -- ' a b ': participants that do not answer, or whose step is parked
    parked     BIGINT   NOT NULL, -- 1 where a step waits for a person
    trace      TEXT     NOT NULL,
    rev        BIGINT   NOT NULL,
    boot       BIGINT   NOT NULL, -- which life of the process wrote the row
    next_at    BIGINT   NOT NULL, -- when to take it up again
    deadline   BIGINT   NOT NULL,
    created_at BIGINT   NOT NULL,
    updated_at BIGINT   NOT NULL
);
CREATE INDEX saga_next ON saga (next_at) WHERE ended = 0;
CREATE INDEX saga_stuck ON saga (stuck_on) WHERE ended = 0 AND stuck_on <> '';
