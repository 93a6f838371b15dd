-- Run on the main database after a backup was restored, before any server starts. Tokens, ETags and
-- event ids of the time between the backup and now are still out there: none of them may fit what
-- is going to happen. Everybody logs in again. At least 1048576: more than happens between two
-- backups; and by chance more, so that nothing fits either after one backup was restored twice.
SET @shift = 1048576 + floor(rand() * 1048576);
UPDATE user SET version = version + @shift, token_version = token_version + @shift;
UPDATE post SET version = version + @shift;
UPDATE usergone SET version = version + @shift;
DELETE FROM session;

-- An outbox that is empty does not know what its last id was: friendships bear the highest.
SET @user = (SELECT coalesce(max(id), 0) + @shift FROM user);
SET @post = (SELECT coalesce(max(id), 0) + @shift FROM post);
SET @outbox = @shift + greatest(
    (SELECT coalesce(max(id), 0) FROM outbox), (SELECT coalesce(max(version), 0) FROM friend)
);
SET @set = concat('ALTER TABLE user AUTO_INCREMENT = ', @user);
PREPARE next_id FROM @set;
EXECUTE next_id;
SET @set = concat('ALTER TABLE post AUTO_INCREMENT = ', @post);
PREPARE next_id FROM @set;
EXECUTE next_id;
SET @set = concat('ALTER TABLE outbox AUTO_INCREMENT = ', @outbox);
PREPARE next_id FROM @set;
EXECUTE next_id;
DEALLOCATE PREPARE next_id;
