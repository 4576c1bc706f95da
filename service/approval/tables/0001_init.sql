-- +goose Up
-- Times are milliseconds since 1970, UTC. The saga that decides a case has the case's id.
CREATE TABLE cases (
    id           TEXT   PRIMARY KEY,
    matter       TEXT   NOT NULL,
    version      BIGINT NOT NULL,
    owner        TEXT   NOT NULL, -- principal
    status       TEXT   NOT NULL, -- draft, processing, decided, refused, withdrawn
    subject      TEXT   NOT NULL, -- what it is listed by
    form         BYTEA  NOT NULL, -- JSON, sealed
    form_sm3     BYTEA  NOT NULL,
    reason       TEXT   NOT NULL,
    rev          BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,
    submitted_at BIGINT NOT NULL, -- 0 until then, as below
    decided_at   BIGINT NOT NULL
);
CREATE INDEX cases_owner ON cases (owner, id);
CREATE INDEX cases_status ON cases (status, id);

CREATE TABLE attachment (
    id         TEXT   PRIMARY KEY,
    case_id    TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    media_type TEXT   NOT NULL,
    size       BIGINT NOT NULL,
    sm3        BYTEA  NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX attachment_case ON attachment (case_id, id);

-- What an applicant is told.
CREATE TABLE notice (
    id         BIGINT PRIMARY KEY, -- of the message it was made from
    owner      TEXT   NOT NULL,
    case_id    TEXT   NOT NULL,
    kind       TEXT   NOT NULL,
    subject    TEXT   NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX notice_owner ON notice (owner, id);

-- Every version of a matter that was ever loaded, so that cases under way finish on their own.
CREATE TABLE matter (
    name      TEXT   NOT NULL,
    version   BIGINT NOT NULL,
    sm3       BYTEA  NOT NULL,
    source    TEXT   NOT NULL, -- YAML
    loaded_at BIGINT NOT NULL,
    PRIMARY KEY (name, version)
);
