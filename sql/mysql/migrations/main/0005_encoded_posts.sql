-- Pages of posts are put together from JSON that was made when a post was written. A row without it
-- is read from its columns: one of before, of a process of before, or changed since.

-- Added unless it is there: this may be run again.
DROP PROCEDURE IF EXISTS post_add_encoded;

CREATE PROCEDURE post_add_encoded()
BEGIN
    IF NOT EXISTS (
        SELECT 1 FROM information_schema.columns AS c
        WHERE c.table_schema = DATABASE() AND c.table_name = 'post' AND c.column_name = 'encoded'
    ) THEN
        -- What follows a post's id: 5,"author_id":…
        ALTER TABLE post ADD COLUMN encoded TEXT;
    END IF;
END;

CALL post_add_encoded();

DROP PROCEDURE IF EXISTS post_add_encoded;


-- A time as the service writes it in JSON.
DROP FUNCTION IF EXISTS json_time;

CREATE FUNCTION json_time(p_at DATETIME(6)) RETURNS TEXT DETERMINISTIC NO SQL
BEGIN
    RETURN REPLACE(DATE_FORMAT(p_at, '"%Y-%m-%dT%H:%i:%s.%fZ"'), '.000000Z', 'Z');
END;


-- What a post's encoded is. p_content is JSON already, and so are the times; null if one of them is.
DROP FUNCTION IF EXISTS post_json;

CREATE FUNCTION post_json(
    p_author_id INT, p_content TEXT, p_privacy VARCHAR(7), p_created_at TEXT, p_updated_at TEXT
) RETURNS TEXT DETERMINISTIC NO SQL
BEGIN
    RETURN CONCAT(
        ',"author_id":', p_author_id, ',"content":', p_content, ',"privacy":"', p_privacy,
        '","created_at":', p_created_at, ',"updated_at":', p_updated_at
    );
END;


-- POST /posts. created is false when this client_id had been posted before. p_encoded: the content
-- as JSON; null leaves the post without. (The procedure without it stays for processes of before.)
DROP PROCEDURE IF EXISTS post_create_encoded;

CREATE PROCEDURE post_create_encoded(
    p_author_id INT, p_content VARCHAR(4096), p_privacy VARCHAR(7), p_client_id VARBINARY(256),
    p_encoded TEXT
)
BEGIN
    DECLARE v_locked INT;
    DECLARE v_id BIGINT;
    DECLARE v_created BOOLEAN DEFAULT FALSE;
    DECLARE v_now DATETIME(6);
    DECLARE v_event_id BIGINT;
    DECLARE v_after_users LONGTEXT;
    DECLARE v_after_ids LONGTEXT;
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    SELECT u.id INTO v_locked FROM user AS u WHERE u.id = p_author_id FOR UPDATE;
    SELECT p.id INTO v_id FROM post AS p
    WHERE p.author_id = p_author_id AND p.client_id = p_client_id;
    IF v_id IS NULL THEN
        SET v_now = SYSDATE(6);
        INSERT INTO post (
            author_id, content, privacy, client_id, created_at, updated_at, encoded
        )
        VALUES (
            p_author_id, p_content, p_privacy, p_client_id, v_now, v_now,
            post_json(p_author_id, p_encoded, p_privacy, json_time(v_now), json_time(v_now))
        );
        SET v_id = LAST_INSERT_ID(), v_created = TRUE;
        INSERT INTO outbox (kind, user_id, subject_id, version, created_at)
        VALUES ('post.created', p_author_id, v_id, 1, SYSDATE(6));
        SET v_event_id = LAST_INSERT_ID();
        CALL outbox_before_post(p_author_id, v_event_id, v_after_users, v_after_ids);
    END IF;
    SELECT p.id, p.author_id, p.content, p.privacy, p.created_at, p.updated_at, p.version,
           v_created AS created, v_event_id AS event_id,
           v_after_users AS after_users, v_after_ids AS after_ids
    FROM post AS p WHERE p.id = v_id;
    COMMIT;
END;


-- PATCH /posts/{p_id}: what is null stays as it is. No row where it is not p_me's. p_encoded: the
-- content as JSON; null leaves the post without. (The procedure without it stays, too.)
DROP PROCEDURE IF EXISTS post_change_encoded;

CREATE PROCEDURE post_change_encoded(
    p_id BIGINT, p_me INT, p_content VARCHAR(4096), p_privacy VARCHAR(7), p_encoded TEXT
)
BEGIN
    DECLARE v_locked INT;
    DECLARE v_version INT;
    DECLARE v_now DATETIME(6);
    DECLARE v_event_id BIGINT;
    DECLARE v_after_users LONGTEXT;
    DECLARE v_after_ids LONGTEXT;
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    SELECT u.id INTO v_locked FROM user AS u WHERE u.id = p_me FOR UPDATE;
    SELECT p.version + 1 INTO v_version FROM post AS p
    WHERE p.id = p_id AND p.author_id = p_me FOR UPDATE;
    IF v_version IS NOT NULL THEN
        SET v_now = SYSDATE(6);
        UPDATE post AS p
        SET p.content = COALESCE(p_content, p.content),
            p.privacy = COALESCE(p_privacy, p.privacy),
            p.updated_at = v_now,
            p.version = v_version,
            p.encoded = post_json(
                p.author_id, p_encoded, COALESCE(p_privacy, p.privacy),
                json_time(p.created_at), json_time(v_now)
            )
        WHERE p.id = p_id;
        INSERT INTO outbox (kind, user_id, subject_id, version, created_at)
        VALUES ('post.updated', p_me, p_id, v_version, SYSDATE(6));
        SET v_event_id = LAST_INSERT_ID();
        CALL outbox_before_post(p_me, v_event_id, v_after_users, v_after_ids);
        SELECT p.id, p.author_id, p.content, p.privacy, p.created_at, p.updated_at, p.version,
               v_event_id AS event_id, v_after_users AS after_users, v_after_ids AS after_ids
        FROM post AS p WHERE p.id = p_id;
    END IF;
    COMMIT;
END;


-- Whatever changes what is shown leaves no JSON of before, and raises the version, which is the
-- post's ETag.
DROP TRIGGER IF EXISTS post_edited;

CREATE TRIGGER post_edited BEFORE UPDATE ON post FOR EACH ROW
BEGIN
    DECLARE v_same BOOLEAN DEFAULT (
        NEW.author_id = OLD.author_id
        AND CAST(NEW.content AS BINARY) = CAST(OLD.content AS BINARY)
        AND NEW.privacy = OLD.privacy
        AND NEW.created_at = OLD.created_at
        AND NEW.updated_at = OLD.updated_at
    );
    IF NEW.version < OLD.version OR NEW.version = OLD.version AND NOT v_same THEN
        SET NEW.version = OLD.version + 1;
    END IF;
    IF NOT v_same AND CAST(NEW.encoded AS BINARY) = CAST(OLD.encoded AS BINARY) THEN
        SET NEW.encoded = NULL;
    END IF;
END;


-- A wall is the same when a post of it has only got its JSON: it has its version still.
DROP TRIGGER IF EXISTS post_updated;

CREATE TRIGGER post_updated AFTER UPDATE ON post FOR EACH ROW
BEGIN
    IF NEW.id <> OLD.id OR NEW.version <> OLD.version OR NEW.author_id <> OLD.author_id THEN
        INSERT INTO wall (author_id, changes) VALUES (NEW.author_id, 1)
        ON DUPLICATE KEY UPDATE changes = changes + 1;
    END IF;
    IF OLD.author_id <> NEW.author_id THEN
        INSERT INTO wall (author_id, changes) VALUES (OLD.author_id, 1)
        ON DUPLICATE KEY UPDATE changes = changes + 1;
    END IF;
END;
