-- +goose Up
-- What was lost when the log was put back from a backup: the leaf that says so, and the statement that it names by its SM3.
CREATE TABLE audit_restored (
    leaf      BIGINT PRIMARY KEY,
    statement TEXT   NOT NULL
);
