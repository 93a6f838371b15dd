-- One row for each timeline of the write-ahead log that a primary has had, written on it: a
-- replica that has replayed the row follows that very primary and no other one.
CREATE TABLE waltimeline (
    timeline text COLLATE "C" PRIMARY KEY, -- as in the names of the log's files: 8 hex digits
    mark     uuid NOT NULL DEFAULT gen_random_uuid()
);
