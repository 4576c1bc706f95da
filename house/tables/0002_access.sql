-- +goose Up
-- Who asked for data of a grade that is recorded, and what became of it. It holds nothing of the data.
CREATE TABLE access_record (
    id        BIGINT PRIMARY KEY, -- grows with time
    who       TEXT   NOT NULL,    -- id of the principal; empty where nobody was signed in
    route     TEXT   NOT NULL,    -- such as GET /api/approval/cases/{id}
    grade     TEXT   NOT NULL,    -- of the route
    clearance TEXT   NOT NULL,    -- of who asked
    decision  TEXT   NOT NULL,    -- passed, masked or refused
    trace     TEXT   NOT NULL,    -- trace id, 32 hexadecimal digits; may be empty
    at        BIGINT NOT NULL     -- milliseconds since 1970, UTC
);
CREATE INDEX access_record_who ON access_record (who, id);
