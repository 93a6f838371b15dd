-- How often the posts of an author have changed through the service: a feed is the same as long as
-- these counts are, of all of its authors. No row is 0. (Triggers, which would see every change,
-- need SUPER where the binary log is written.)
CREATE TABLE IF NOT EXISTS wall (
    author_id INT    NOT NULL,
    changes   BIGINT NOT NULL,
    PRIMARY KEY (author_id)
) ENGINE = InnoDB;


-- What each change of a post calls, under the author's lock: it counts the change, and finds the
-- rows that must be published before this one of the author's: the author's newest before it, and
-- friendships that began or ended, because they decide who is told. Whoever publishes lets these go
-- first. Two JSON lists of the same length, or null.
DROP PROCEDURE IF EXISTS outbox_before_post;

CREATE PROCEDURE outbox_before_post(
    p_author_id INT, p_event_id BIGINT, OUT v_after_users LONGTEXT, OUT v_after_ids LONGTEXT
)
BEGIN
    INSERT INTO wall (author_id, changes) VALUES (p_author_id, 1)
    ON DUPLICATE KEY UPDATE changes = changes + 1;
    SELECT CONCAT('[', GROUP_CONCAT(b.user_id ORDER BY b.id), ']'),
           CONCAT('[', GROUP_CONCAT(b.id ORDER BY b.id), ']')
    INTO v_after_users, v_after_ids
    FROM (
        (
            SELECT o.user_id, o.id FROM outbox AS o
            WHERE o.user_id = p_author_id AND o.id < p_event_id AND o.kind LIKE 'post.%'
            ORDER BY o.id DESC
            LIMIT 1
        )
        UNION ALL
        SELECT o.user_id, o.id FROM outbox AS o
        WHERE o.user_id = p_author_id AND o.id < p_event_id
          AND o.kind IN ('friend.added', 'friend.removed')
        UNION ALL
        SELECT o.user_id, o.id FROM outbox AS o
        WHERE o.subject_id = p_author_id AND o.id < p_event_id
          AND o.kind IN ('friend.added', 'friend.removed')
    ) AS b;
END;
