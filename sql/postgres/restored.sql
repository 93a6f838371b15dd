-- Run on the main database after a backup was restored, before any server starts. Tokens, ETags and
-- event ids of the time between the backup and now are still out there: none of them may fit what
-- is going to happen. Everybody logs in again. At least 1048576: more than happens between two
-- backups; and by chance more, so that nothing fits either after one backup was restored twice.
CREATE TEMPORARY TABLE shift AS SELECT 1048576 + floor(random() * 1048576)::integer AS by;
UPDATE "user" SET version = version + (SELECT by FROM shift),
    token_version = token_version + (SELECT by FROM shift);
UPDATE post SET version = version + (SELECT by FROM shift);
UPDATE usergone SET version = version + (SELECT by FROM shift);
DELETE FROM session;

SELECT setval('user_id_seq', (SELECT by + last_value FROM shift, user_id_seq));
SELECT setval('post_id_seq', (SELECT by + last_value FROM shift, post_id_seq));
SELECT setval('outbox_id_seq', (SELECT by + last_value FROM shift, outbox_id_seq));
SELECT setval('friend_version_seq', (SELECT by + last_value FROM shift, friend_version_seq));

DROP TABLE shift;

ANALYZE;
