-- +goose Up
-- The ids of the newest entries are found in memory, and come into log_id later, many at a time in the order of their hashes:
-- one after the other each would write a page of its own. One row; where there is none, all are in log_id.
CREATE TABLE log_recent (
    one INTEGER PRIMARY KEY, -- 1
    idx BIGINT NOT NULL      -- of the first entry whose id may not be there yet
);
