-- Run on the main database after a backup was restored, before any server starts. Tokens, ETags and
-- event ids of the time between the backup and now are still out there: none of them may fit what
-- is going to happen. Everybody logs in again. 1048576: more than happens between two backups.
UPDATE "user" SET version = version + 1048576, token_version = token_version + 1048576;
UPDATE post SET version = version + 1048576;
UPDATE usergone SET version = version + 1048576;
DELETE FROM session;

SELECT setval('user_id_seq', 1048576 + (SELECT last_value FROM user_id_seq));
SELECT setval('post_id_seq', 1048576 + (SELECT last_value FROM post_id_seq));
SELECT setval('outbox_id_seq', 1048576 + (SELECT last_value FROM outbox_id_seq));
SELECT setval('friend_version_seq', 1048576 + (SELECT last_value FROM friend_version_seq));

ANALYZE;
