-- Answers are kept under the versions of what they show, so versions move with every change of it,
-- whoever writes: the service, or somebody with a statement of their own. Only TRUNCATE, which no
-- trigger sees, is not noticed.
--
-- A server with a binary log lets only SUPER make triggers, unless it is set to
-- log_bin_trust_function_creators = 1.

-- The highest version of any user whose row is gone. One who comes under the id of another, or of
-- their own again, begins above it.
CREATE TABLE IF NOT EXISTS usergone (
    id      INT NOT NULL,
    version INT NOT NULL,
    PRIMARY KEY (id)
) ENGINE = InnoDB;

INSERT INTO usergone (id, version) VALUES (1, 0) ON DUPLICATE KEY UPDATE id = id;


DROP TRIGGER IF EXISTS user_inserted;

CREATE TRIGGER user_inserted BEFORE INSERT ON user FOR EACH ROW
BEGIN
    SET NEW.version = GREATEST(NEW.version, (SELECT g.version + 1 FROM usergone AS g));
END;


-- Texts are compared byte by byte: 'a' and 'a ' would be equal.
DROP TRIGGER IF EXISTS user_updated;

CREATE TRIGGER user_updated BEFORE UPDATE ON user FOR EACH ROW
BEGIN
    IF NEW.id <> OLD.id THEN
        UPDATE usergone AS g SET g.version = GREATEST(g.version, OLD.version);
        SET NEW.version = 1 + GREATEST(
            NEW.version, OLD.version, (SELECT g.version FROM usergone AS g)
        );
    ELSEIF NEW.version < OLD.version
        OR NEW.version = OLD.version AND NOT (
            CAST(NEW.username AS BINARY) <=> CAST(OLD.username AS BINARY)
            AND CAST(NEW.first_name AS BINARY) <=> CAST(OLD.first_name AS BINARY)
            AND CAST(NEW.last_name AS BINARY) <=> CAST(OLD.last_name AS BINARY)
            AND NEW.birthdate <=> OLD.birthdate
            AND CAST(NEW.bio AS BINARY) <=> CAST(OLD.bio AS BINARY)
            AND CAST(NEW.city AS BINARY) <=> CAST(OLD.city AS BINARY)
            AND CAST(NEW.country AS BINARY) <=> CAST(OLD.country AS BINARY)
        ) THEN
        SET NEW.version = OLD.version + 1;
    END IF;
END;


DROP TRIGGER IF EXISTS user_deleted;

CREATE TRIGGER user_deleted AFTER DELETE ON user FOR EACH ROW
BEGIN
    UPDATE usergone AS g SET g.version = OLD.version WHERE g.version < OLD.version;
END;


-- Of a pair. Its other row is of the same version only while nobody changes one by itself. Versions
-- are ids of outbox: one is used up.
DROP TRIGGER IF EXISTS friend_updated;

CREATE TRIGGER friend_updated BEFORE UPDATE ON friend FOR EACH ROW
BEGIN
    IF NEW.version < OLD.version
        OR NEW.version = OLD.version AND NOT (
            NEW.user_id = OLD.user_id AND NEW.friend_id = OLD.friend_id AND NEW.state = OLD.state
        ) THEN
        INSERT INTO outbox (kind, user_id, subject_id, created_at)
        VALUES ('friend.changed', NEW.user_id, NEW.friend_id, SYSDATE(6));
        SET NEW.version = LAST_INSERT_ID();
        DELETE FROM outbox WHERE id = NEW.version;
    END IF;
END;


-- The version of a post, which is its ETag.
DROP TRIGGER IF EXISTS post_edited;

CREATE TRIGGER post_edited BEFORE UPDATE ON post FOR EACH ROW
BEGIN
    IF NEW.version < OLD.version
        OR NEW.version = OLD.version AND NOT (
            NEW.author_id = OLD.author_id
            AND CAST(NEW.content AS BINARY) = CAST(OLD.content AS BINARY)
            AND NEW.privacy = OLD.privacy
            AND NEW.created_at = OLD.created_at
            AND NEW.updated_at = OLD.updated_at
        ) THEN
        SET NEW.version = OLD.version + 1;
    END IF;
END;


-- Every change of an author's posts is counted; one that makes a post another author's, for both.
DROP TRIGGER IF EXISTS post_inserted;

CREATE TRIGGER post_inserted AFTER INSERT ON post FOR EACH ROW
BEGIN
    INSERT INTO wall (author_id, changes) VALUES (NEW.author_id, 1)
    ON DUPLICATE KEY UPDATE changes = changes + 1;
END;

DROP TRIGGER IF EXISTS post_updated;

CREATE TRIGGER post_updated AFTER UPDATE ON post FOR EACH ROW
BEGIN
    INSERT INTO wall (author_id, changes) VALUES (NEW.author_id, 1)
    ON DUPLICATE KEY UPDATE changes = changes + 1;
    IF OLD.author_id <> NEW.author_id THEN
        INSERT INTO wall (author_id, changes) VALUES (OLD.author_id, 1)
        ON DUPLICATE KEY UPDATE changes = changes + 1;
    END IF;
END;

DROP TRIGGER IF EXISTS post_deleted;

CREATE TRIGGER post_deleted AFTER DELETE ON post FOR EACH ROW
BEGIN
    INSERT INTO wall (author_id, changes) VALUES (OLD.author_id, 1)
    ON DUPLICATE KEY UPDATE changes = changes + 1;
END;


-- What each change of a post calls, under the author's lock: the rows that must be published before
-- this one of the author's: the author's newest before it, and friendships that began or ended,
-- because they decide who is told. Whoever publishes lets these go first. Two JSON lists of the same
-- length, or null. (It counted the changes until triggers did.)
DROP PROCEDURE IF EXISTS outbox_before_post;

CREATE PROCEDURE outbox_before_post(
    p_author_id INT, p_event_id BIGINT, OUT v_after_users LONGTEXT, OUT v_after_ids LONGTEXT
)
BEGIN
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
