-- Users, friendships, posts, and the events that tell of them. What MySQL 8 and
-- MariaDB 10.6 both understand.
--
-- Every statement may be run again: DDL commits by itself, so a migration that
-- failed halfway is started anew. The server finds the ends of the procedures,
-- so there is no DELIMITER; the mysql program needs one.
--
-- No foreign keys: users are never deleted (only disabled), every author is an
-- authenticated user, and a key check per insert would lock the row of a
-- celebrity once for each of her posts.
--
-- Texts that are compared are VARBINARY: UTF-8, byte by byte, which is the order
-- of utf8mb4_bin (and of COLLATE "C" in PostgreSQL) without its padding, by which
-- 'a' and 'a ' are equal and 'a\t' comes before 'a'.
--
-- Every procedure is one transaction and ends with one SELECT, or with none when
-- there is no row. Sessions are READ COMMITTED: after a lock was waited for, the
-- next statement sees what its holder committed. What is read through an index is
-- locked, whether it is wanted or not: FORCE INDEX (PRIMARY) stands where the
-- planner of a small table might read more than the row.

ALTER DATABASE CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS user (
    -- Ids stay below 2^31, so that two of them fit into one dialog id.
    id            INT            NOT NULL AUTO_INCREMENT,
    username      VARCHAR(32)    NOT NULL,
    -- Lower case; usernames are ASCII, so this needs no locale.
    username_key  VARBINARY(32)  NOT NULL,
    password_hash VARCHAR(255)   NOT NULL,
    first_name    VARCHAR(64)    NOT NULL,
    last_name     VARCHAR(64)    NOT NULL,
    -- What search compares: NFKC and case folded by the application, up to 128
    -- characters of 4 bytes.
    first_key     VARBINARY(512) NOT NULL,
    last_key      VARBINARY(512) NOT NULL,
    birthdate     DATE,
    bio           VARCHAR(1000),
    city          VARCHAR(64),
    country       VARCHAR(64),
    is_superuser  BOOLEAN        NOT NULL DEFAULT FALSE,
    disabled      BOOLEAN        NOT NULL DEFAULT FALSE,
    -- Tokens carry it; raising it refuses every token issued before.
    token_version INT            NOT NULL DEFAULT 0,
    -- Raised by every change that others can see; the ETag.
    version       INT            NOT NULL DEFAULT 1,
    created_at    DATETIME(6)    NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    PRIMARY KEY (id),
    UNIQUE KEY user_username_key (username_key),
    -- Both names and the id are in each index, so that a search reads no row but
    -- those of its answer.
    KEY user_first (first_key, last_key, id),
    KEY user_last (last_key, first_key, id)
) ENGINE = InnoDB;

-- Two rows for each pair, one seen from either side, written and deleted
-- together under the lock on the row of the lower id.
CREATE TABLE IF NOT EXISTS friend (
    user_id   INT     NOT NULL,
    friend_id INT     NOT NULL,
    -- 1: I asked them; 2: they asked me; 3: friends
    state     TINYINT NOT NULL CHECK (state IN (1, 2, 3)),
    -- Grows with every change of the pair, also over a break: older events of
    -- the pair are told from newer ones by it. It is the id of the change's row
    -- in outbox; whoever fills this table otherwise raises outbox's AUTO_INCREMENT
    -- above it.
    version   BIGINT  NOT NULL,
    PRIMARY KEY (user_id, friend_id),
    KEY friend_state (user_id, state, friend_id)
) ENGINE = InnoDB;

-- Friends of a user, for the limit. Apart from user, whose rows are wide.
CREATE TABLE IF NOT EXISTS friendcount (
    user_id INT NOT NULL,
    friends INT NOT NULL,
    PRIMARY KEY (user_id)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS post (
    id         BIGINT        NOT NULL AUTO_INCREMENT,
    author_id  INT           NOT NULL,
    content    VARCHAR(4096) NOT NULL,
    privacy    VARCHAR(7)    NOT NULL CHECK (privacy IN ('public', 'friends')),
    client_id  VARBINARY(256),
    version    INT           NOT NULL DEFAULT 1,
    -- The same in a new row: whoever compares them sees whether it was edited.
    created_at DATETIME(6)   NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    updated_at DATETIME(6)   NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    PRIMARY KEY (id),
    KEY post_author (author_id, id),
    UNIQUE KEY post_client (author_id, client_id)
) ENGINE = InnoDB;

-- Committed means it will be an event. A row names what happened; the text is
-- read from its table by whoever publishes. friend.withdrawn ends what was no
-- friendship yet.
CREATE TABLE IF NOT EXISTS outbox (
    id         BIGINT      NOT NULL AUTO_INCREMENT,
    kind       VARCHAR(32) NOT NULL,
    user_id    INT         NOT NULL, -- the author, or who changed the friendship
    subject_id BIGINT      NOT NULL, -- the post, or the other user
    version    BIGINT,               -- of the post; null: of the pair, which is id
    created_at DATETIME(6) NOT NULL,
    PRIMARY KEY (id),
    KEY outbox_user (user_id, id),
    KEY outbox_subject (subject_id, kind, id)
) ENGINE = InnoDB;

-- One process at a time does what needs only one: whoever renewed its lease last.
CREATE TABLE IF NOT EXISTS lease (
    name       VARCHAR(32) NOT NULL,
    holder     VARCHAR(64) NOT NULL,
    expires_at DATETIME(6) NOT NULL,
    PRIMARY KEY (name)
) ENGINE = InnoDB;


-- No row when the name is taken: of simultaneous registrations one wins.
DROP PROCEDURE IF EXISTS user_create;

CREATE PROCEDURE user_create(
    p_username VARCHAR(32), p_username_key VARBINARY(32), p_password_hash VARCHAR(255),
    p_first_name VARCHAR(64), p_last_name VARCHAR(64),
    p_first_key VARBINARY(512), p_last_key VARBINARY(512),
    p_birthdate DATE, p_bio VARCHAR(1000), p_city VARCHAR(64), p_country VARCHAR(64)
)
BEGIN
    -- 1062: a duplicate key. The other one has committed: a conflict waits for it.
    DECLARE EXIT HANDLER FOR 1062 ROLLBACK;
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    INSERT INTO user (
        username, username_key, password_hash, first_name, last_name, first_key, last_key,
        birthdate, bio, city, country
    )
    VALUES (
        p_username, p_username_key, p_password_hash, p_first_name, p_last_name,
        p_first_key, p_last_key, p_birthdate, p_bio, p_city, p_country
    );
    SELECT u.id, u.username, u.first_name, u.last_name, u.birthdate, u.bio, u.city, u.country,
           u.version
    FROM user AS u WHERE u.id = LAST_INSERT_ID();
    COMMIT;
END;


-- Required fields stay when null is passed, optional ones unless they are given.
DROP PROCEDURE IF EXISTS user_update;

CREATE PROCEDURE user_update(
    p_id INT, p_first_name VARCHAR(64), p_last_name VARCHAR(64),
    p_first_key VARBINARY(512), p_last_key VARBINARY(512),
    p_birthdate_given BOOLEAN, p_birthdate DATE, p_bio_given BOOLEAN, p_bio VARCHAR(1000),
    p_city_given BOOLEAN, p_city VARCHAR(64), p_country_given BOOLEAN, p_country VARCHAR(64)
)
BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    UPDATE user AS u
    SET u.first_name = COALESCE(p_first_name, u.first_name),
        u.last_name = COALESCE(p_last_name, u.last_name),
        u.first_key = COALESCE(p_first_key, u.first_key),
        u.last_key = COALESCE(p_last_key, u.last_key),
        u.birthdate = IF(p_birthdate_given, p_birthdate, u.birthdate),
        u.bio = IF(p_bio_given, p_bio, u.bio),
        u.city = IF(p_city_given, p_city, u.city),
        u.country = IF(p_country_given, p_country, u.country),
        u.version = u.version + 1
    WHERE u.id = p_id;
    SELECT u.id, u.username, u.first_name, u.last_name, u.birthdate, u.bio, u.city, u.country,
           u.version
    FROM user AS u WHERE u.id = p_id;
    COMMIT;
END;


-- Only where the hash that was verified still stands: two changes at once must not both win.
DROP PROCEDURE IF EXISTS user_set_password;

CREATE PROCEDURE user_set_password(
    p_id INT, p_old_hash VARCHAR(255), p_new_hash VARCHAR(255)
)
BEGIN
    DECLARE v_changed BOOLEAN;
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    UPDATE user AS u
    SET u.password_hash = p_new_hash, u.token_version = u.token_version + 1
    WHERE u.id = p_id AND u.password_hash = p_old_hash;
    SET v_changed = ROW_COUNT() > 0;
    SELECT u.id FROM user AS u WHERE u.id = p_id AND v_changed;
    COMMIT;
END;


-- No row unless p_me is a superuser. null stays.
DROP PROCEDURE IF EXISTS user_set_disabled;

CREATE PROCEDURE user_set_disabled(p_id INT, p_disabled BOOLEAN, p_me INT)
BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    IF EXISTS (SELECT 1 FROM user AS me WHERE me.id = p_me AND me.is_superuser AND NOT me.disabled) THEN
        UPDATE user AS u SET u.disabled = COALESCE(p_disabled, u.disabled) WHERE u.id = p_id;
        SELECT u.id, u.username, u.first_name, u.last_name, u.birthdate, u.bio, u.city, u.country,
               u.version
        FROM user AS u WHERE u.id = p_id;
    END IF;
    COMMIT;
END;


DROP PROCEDURE IF EXISTS user_make_superuser;

CREATE PROCEDURE user_make_superuser(
    p_username VARCHAR(32), p_username_key VARBINARY(32), p_password_hash VARCHAR(255),
    p_first_name VARCHAR(64), p_last_name VARCHAR(64),
    p_first_key VARBINARY(512), p_last_key VARBINARY(512)
)
BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    INSERT INTO user (
        username, username_key, password_hash, first_name, last_name, first_key, last_key,
        is_superuser
    )
    VALUES (
        p_username, p_username_key, p_password_hash, p_first_name, p_last_name,
        p_first_key, p_last_key, TRUE
    )
    ON DUPLICATE KEY UPDATE
        password_hash = p_password_hash,
        is_superuser = TRUE,
        disabled = FALSE,
        token_version = token_version + 1;
    SELECT u.id FROM user AS u WHERE u.username_key = p_username_key;
    COMMIT;
END;


-- A row when the lease is mine for p_lease_s more seconds.
DROP PROCEDURE IF EXISTS lease_take;

CREATE PROCEDURE lease_take(p_name VARCHAR(32), p_holder VARCHAR(64), p_lease_s DOUBLE)
BEGIN
    DECLARE v_mine BOOLEAN;
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    -- There is a row from now on, locked: one that nobody holds.
    INSERT INTO lease (name, holder, expires_at) VALUES (p_name, '', '1970-01-01')
    ON DUPLICATE KEY UPDATE name = name;
    SELECT l.holder = p_holder OR l.expires_at < SYSDATE(6) INTO v_mine
    FROM lease AS l WHERE l.name = p_name;
    IF v_mine THEN
        UPDATE lease AS l
        SET l.holder = p_holder,
            l.expires_at = SYSDATE(6) + INTERVAL ROUND(p_lease_s * 1000000) MICROSECOND
        WHERE l.name = p_name;
        SELECT p_holder AS holder;
    END IF;
    COMMIT;
END;


-- Rows that must be published before this one of the author's: the author's newest
-- before it, and friendships that began or ended, because they decide who is told.
-- Whoever publishes lets these go first. Called under the author's lock, so that
-- the others have committed. Two JSON lists of the same length, or null.
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


-- The same before one of a pair's, under the pair's lock.
DROP PROCEDURE IF EXISTS outbox_before_friendship;

CREATE PROCEDURE outbox_before_friendship(
    p_one INT, p_other INT, p_event_id BIGINT, OUT v_after_users LONGTEXT, OUT v_after_ids LONGTEXT
)
BEGIN
    SELECT CONCAT('[', GROUP_CONCAT(b.user_id ORDER BY b.id), ']'),
           CONCAT('[', GROUP_CONCAT(b.id ORDER BY b.id), ']')
    INTO v_after_users, v_after_ids
    FROM (
        SELECT o.user_id, o.id FROM outbox AS o
        WHERE o.user_id = p_one AND o.subject_id = p_other AND o.id < p_event_id
          AND o.kind LIKE 'friend.%'
        UNION ALL
        SELECT o.user_id, o.id FROM outbox AS o
        WHERE o.user_id = p_other AND o.subject_id = p_one AND o.id < p_event_id
          AND o.kind LIKE 'friend.%'
    ) AS b;
END;


-- PUT /friends/{p_other}. outcome: requested, friends, unknown, limit.
DROP PROCEDURE IF EXISTS friend_put;

CREATE PROCEDURE friend_put(p_me INT, p_other INT, p_limit INT)
friend_put: BEGIN
    DECLARE v_low INT DEFAULT LEAST(p_me, p_other);
    DECLARE v_high INT DEFAULT GREATEST(p_me, p_other);
    DECLARE v_state TINYINT;
    DECLARE v_version BIGINT;
    DECLARE v_outcome VARCHAR(16);
    DECLARE v_event_id BIGINT;
    DECLARE v_after_users LONGTEXT;
    DECLARE v_after_ids LONGTEXT;
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;

    IF NOT EXISTS (SELECT 1 FROM user AS u WHERE u.id = p_other) THEN
        SELECT 'unknown' AS outcome, CAST(NULL AS SIGNED) AS event_id,
               CAST(NULL AS SIGNED) AS version, NULL AS after_users, NULL AS after_ids;
        LEAVE friend_put;
    END IF;

    START TRANSACTION;
    -- The lock on the pair: its row of the lower id, made here if there is none
    -- (version 0). An update of nothing, because a mere IGNORE would share the lock.
    INSERT INTO friend (user_id, friend_id, state, version)
    VALUES (v_low, v_high, IF(p_me = v_low, 1, 2), 0)
    ON DUPLICATE KEY UPDATE version = version;
    SELECT IF(p_me = v_low OR f.state = 3, f.state, 3 - f.state), f.version
    INTO v_state, v_version
    FROM friend AS f WHERE f.user_id = v_low AND f.friend_id = v_high;

    IF v_version = 0 THEN
        IF EXISTS (SELECT 1 FROM friendcount AS c WHERE c.user_id = p_me AND c.friends >= p_limit) THEN
            SET v_outcome = 'limit';
        ELSE
            SET v_outcome = 'requested';
            INSERT INTO outbox (kind, user_id, subject_id, created_at)
            VALUES ('friend.requested', p_me, p_other, SYSDATE(6));
            SET v_event_id = LAST_INSERT_ID();
            UPDATE friend AS f FORCE INDEX (PRIMARY) SET f.version = v_event_id
            WHERE f.user_id = v_low AND f.friend_id = v_high;
            INSERT INTO friend (user_id, friend_id, state, version)
            VALUES (v_high, v_low, IF(p_me = v_low, 2, 1), v_event_id);
        END IF;
    ELSEIF v_state = 2 THEN
        -- They asked me. Rows are locked in ascending order of user, or two
        -- acceptances that cross would wait for each other.
        INSERT INTO friendcount (user_id, friends) VALUES (v_low, 0), (v_high, 0)
        ON DUPLICATE KEY UPDATE friends = friends;
        IF EXISTS (
            SELECT 1 FROM friendcount AS c
            WHERE c.user_id IN (v_low, v_high) AND c.friends >= p_limit
        ) THEN
            SET v_outcome = 'limit';
        ELSE
            SET v_outcome = 'friends';
            UPDATE friendcount AS c FORCE INDEX (PRIMARY) SET c.friends = c.friends + 1
            WHERE c.user_id IN (v_low, v_high);
            INSERT INTO outbox (kind, user_id, subject_id, created_at)
            VALUES ('friend.added', p_me, p_other, SYSDATE(6));
            SET v_event_id = LAST_INSERT_ID();
            UPDATE friend AS f FORCE INDEX (PRIMARY) SET f.state = 3, f.version = v_event_id
            WHERE f.user_id = v_low AND f.friend_id = v_high;
            UPDATE friend AS f FORCE INDEX (PRIMARY) SET f.state = 3, f.version = v_event_id
            WHERE f.user_id = v_high AND f.friend_id = v_low;
        END IF;
    ELSE
        SET v_outcome = IF(v_state = 1, 'requested', 'friends');
    END IF;

    IF v_event_id IS NULL THEN
        -- Takes away the row that only was a lock.
        ROLLBACK;
    ELSE
        CALL outbox_before_friendship(p_me, p_other, v_event_id, v_after_users, v_after_ids);
        COMMIT;
    END IF;
    SELECT v_outcome AS outcome, v_event_id AS event_id, v_event_id AS version,
           v_after_users AS after_users, v_after_ids AS after_ids;
END;


-- DELETE /friends/{p_other}. outcome: removed, withdrawn (it was but a request), none.
DROP PROCEDURE IF EXISTS friend_delete;

CREATE PROCEDURE friend_delete(p_me INT, p_other INT)
BEGIN
    DECLARE v_low INT DEFAULT LEAST(p_me, p_other);
    DECLARE v_high INT DEFAULT GREATEST(p_me, p_other);
    DECLARE v_state TINYINT;
    DECLARE v_outcome VARCHAR(16) DEFAULT 'none';
    DECLARE v_event_id BIGINT;
    DECLARE v_after_users LONGTEXT;
    DECLARE v_after_ids LONGTEXT;
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    SELECT f.state INTO v_state FROM friend AS f
    WHERE f.user_id = v_low AND f.friend_id = v_high FOR UPDATE;
    IF v_state IS NOT NULL THEN
        DELETE f FROM friend AS f FORCE INDEX (PRIMARY)
        WHERE f.user_id = v_low AND f.friend_id = v_high;
        DELETE f FROM friend AS f FORCE INDEX (PRIMARY)
        WHERE f.user_id = v_high AND f.friend_id = v_low;
        IF v_state = 3 THEN
            -- In the order of the primary key, which is ascending.
            UPDATE friendcount AS c FORCE INDEX (PRIMARY) SET c.friends = c.friends - 1
            WHERE c.user_id IN (v_low, v_high);
        END IF;
        SET v_outcome = IF(v_state = 3, 'removed', 'withdrawn');
        INSERT INTO outbox (kind, user_id, subject_id, created_at)
        VALUES (CONCAT('friend.', v_outcome), p_me, p_other, SYSDATE(6));
        SET v_event_id = LAST_INSERT_ID();
        CALL outbox_before_friendship(p_me, p_other, v_event_id, v_after_users, v_after_ids);
    END IF;
    COMMIT;
    SELECT v_outcome AS outcome, v_event_id AS event_id, v_event_id AS version,
           v_after_users AS after_users, v_after_ids AS after_ids;
END;


-- An author's events are told in the order in which they committed. The lock is
-- the author's row in user, which nobody else's events need.

-- POST /posts. created is false when this client_id had been posted before.
DROP PROCEDURE IF EXISTS post_create;

CREATE PROCEDURE post_create(
    p_author_id INT, p_content VARCHAR(4096), p_privacy VARCHAR(7), p_client_id VARBINARY(256)
)
BEGIN
    DECLARE v_locked INT;
    DECLARE v_id BIGINT;
    DECLARE v_created BOOLEAN DEFAULT FALSE;
    DECLARE v_event_id BIGINT;
    DECLARE v_after_users LONGTEXT;
    DECLARE v_after_ids LONGTEXT;
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    SELECT u.id INTO v_locked FROM user AS u WHERE u.id = p_author_id FOR UPDATE;
    SELECT p.id INTO v_id FROM post AS p
    WHERE p.author_id = p_author_id AND p.client_id = p_client_id;
    IF v_id IS NULL THEN
        INSERT INTO post (author_id, content, privacy, client_id)
        VALUES (p_author_id, p_content, p_privacy, p_client_id);
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


-- PATCH /posts/{p_id}: null stays. No row when it is not mine.
DROP PROCEDURE IF EXISTS post_change;

CREATE PROCEDURE post_change(
    p_id BIGINT, p_me INT, p_content VARCHAR(4096), p_privacy VARCHAR(7)
)
BEGIN
    DECLARE v_locked INT;
    DECLARE v_version INT;
    DECLARE v_event_id BIGINT;
    DECLARE v_after_users LONGTEXT;
    DECLARE v_after_ids LONGTEXT;
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    SELECT u.id INTO v_locked FROM user AS u WHERE u.id = p_me FOR UPDATE;
    SELECT p.version + 1 INTO v_version FROM post AS p
    WHERE p.id = p_id AND p.author_id = p_me FOR UPDATE;
    IF v_version IS NOT NULL THEN
        UPDATE post AS p
        SET p.content = COALESCE(p_content, p.content),
            p.privacy = COALESCE(p_privacy, p.privacy),
            p.updated_at = SYSDATE(6),
            p.version = v_version
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


-- DELETE /posts/{p_id}: the author's, or any for a superuser. No row for anybody else.
DROP PROCEDURE IF EXISTS post_remove;

CREATE PROCEDURE post_remove(p_id BIGINT, p_me INT)
BEGIN
    DECLARE v_locked INT;
    DECLARE v_author_id INT;
    DECLARE v_version INT;
    DECLARE v_event_id BIGINT;
    DECLARE v_after_users LONGTEXT;
    DECLARE v_after_ids LONGTEXT;
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    SELECT p.author_id INTO v_author_id FROM post AS p WHERE p.id = p_id;
    SELECT u.id INTO v_locked FROM user AS u WHERE u.id = v_author_id FOR UPDATE;
    -- It may be gone by now.
    SELECT p.version + 1 INTO v_version FROM post AS p
    WHERE p.id = p_id
      AND (
        p.author_id = p_me
        OR EXISTS (
            SELECT 1 FROM user AS u WHERE u.id = p_me AND u.is_superuser AND NOT u.disabled
        )
      );
    IF v_version IS NOT NULL THEN
        DELETE FROM post WHERE id = p_id;
        INSERT INTO outbox (kind, user_id, subject_id, version, created_at)
        VALUES ('post.deleted', v_author_id, p_id, v_version, SYSDATE(6));
        SET v_event_id = LAST_INSERT_ID();
        CALL outbox_before_post(v_author_id, v_event_id, v_after_users, v_after_ids);
        SELECT p_id AS id, v_author_id AS author_id, v_event_id AS event_id,
               v_after_users AS after_users, v_after_ids AS after_ids;
    END IF;
    COMMIT;
END;
