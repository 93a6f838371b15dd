-- Logins that can be renewed. A refresh token names its session and its number in it, and is good
-- once. What is kept here is no secret: the token that follows another one is made of this row and
-- signed, so every process makes the same one.
CREATE TABLE IF NOT EXISTS session (
    id         VARBINARY(64)  NOT NULL,
    user_id    INT            NOT NULL,
    -- The number of the newest token.
    generation INT            NOT NULL,
    -- When the tokens before it were used, in ms since 1970, of 13 digits each: the last 16, the
    -- newest last.
    uses_ms    VARBINARY(208) NOT NULL DEFAULT '',
    -- Begun with a token of before there were sessions. It would begin anew with that token, so a
    -- row that has ended stays until the token expires.
    inherited  BOOLEAN        NOT NULL DEFAULT FALSE,
    ended      BOOLEAN        NOT NULL DEFAULT FALSE,
    -- No token of it is good from then on.
    expires_at DATETIME(6)    NOT NULL,
    PRIMARY KEY (id),
    KEY session_of_user (user_id, expires_at),
    KEY session_expiry (expires_at)
) ENGINE = InnoDB;


-- A new session, good for p_keep_s seconds. A user has p_sessions_max at most: of more, those go
-- that were renewed longest ago. Up to p_expired_max that have expired go, too, whosever they are:
-- more than come, and never many at once. Each in a transaction of its own, so that none waits for
-- a row while it holds another.
DROP PROCEDURE IF EXISTS session_start;

CREATE PROCEDURE session_start(
    p_id VARBINARY(64), p_user_id INT, p_keep_s DOUBLE, p_sessions_max INT, p_expired_max INT
)
BEGIN
    DECLARE v_now DATETIME(6) DEFAULT SYSDATE(6);
    DECLARE v_beyond INT DEFAULT 0;
    DELETE FROM session WHERE expires_at < v_now ORDER BY expires_at LIMIT p_expired_max;
    SELECT COUNT(*) + 1 - p_sessions_max INTO v_beyond
    FROM session AS s WHERE s.user_id = p_user_id AND NOT s.inherited;
    IF v_beyond > 0 THEN
        DELETE FROM session WHERE user_id = p_user_id AND NOT inherited
        ORDER BY expires_at LIMIT v_beyond;
    END IF;
    INSERT INTO session (id, user_id, generation, expires_at)
    VALUES (p_id, p_user_id, 0, v_now + INTERVAL ROUND(p_keep_s * 1000000) MICROSECOND);
    SELECT CONVERT(p_id USING utf8mb4) AS id;
END;


-- A token is used. outcome: renewed (used_ms is when it was used first: the next token is made of
-- it), revoked (of the user's tokens), over (or never was), reused (and so the session is over).
DROP PROCEDURE IF EXISTS session_renew;

CREATE PROCEDURE session_renew(
    p_id VARBINARY(64), p_generation INT, p_user_id INT, p_token_version INT,
    p_inherited BOOLEAN, p_grace_s DOUBLE, p_keep_s DOUBLE
)
BEGIN
    DECLARE v_generation INT;
    DECLARE v_uses VARBINARY(208);
    DECLARE v_ended BOOLEAN;
    DECLARE v_now_ms BIGINT;
    DECLARE v_used_ms BIGINT;
    DECLARE v_place INT;
    DECLARE v_outcome VARCHAR(16) DEFAULT 'over';
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    IF NOT EXISTS (
        SELECT 1 FROM user AS u
        WHERE u.id = p_user_id AND u.token_version = p_token_version AND NOT u.disabled
    ) THEN
        SET v_outcome = 'revoked';
    ELSE
        IF p_inherited THEN
            -- An update of nothing, because a mere IGNORE would share the lock.
            INSERT INTO session (id, user_id, generation, inherited, expires_at)
            VALUES (
                p_id, p_user_id, 0, TRUE,
                SYSDATE(6) + INTERVAL ROUND(p_keep_s * 1000000) MICROSECOND
            )
            ON DUPLICATE KEY UPDATE generation = generation;
        END IF;
        SELECT s.generation, s.uses_ms, s.ended INTO v_generation, v_uses, v_ended
        FROM session AS s WHERE s.id = p_id AND s.user_id = p_user_id FOR UPDATE;
        SET v_now_ms = FLOOR(UNIX_TIMESTAMP(SYSDATE(6)) * 1000);
        IF v_generation IS NOT NULL AND NOT v_ended THEN
            SET v_place = CHAR_LENGTH(v_uses) - 13 * (v_generation - p_generation) + 1;
            -- A token of ours with a higher number: a failover has lost the newest state.
            IF p_generation >= v_generation THEN
                UPDATE session AS s
                SET s.generation = p_generation + 1,
                    s.uses_ms = IF(
                        p_generation > v_generation, v_now_ms, RIGHT(CONCAT(v_uses, v_now_ms), 208)
                    ),
                    s.expires_at = SYSDATE(6) + INTERVAL ROUND(p_keep_s * 1000000) MICROSECOND
                WHERE s.id = p_id;
                SET v_used_ms = v_now_ms;
            ELSEIF v_place > 0 THEN
                SET v_used_ms = CAST(SUBSTRING(v_uses, v_place, 13) AS SIGNED);
                SET v_used_ms = IF(v_now_ms - v_used_ms <= p_grace_s * 1000, v_used_ms, NULL);
            END IF;
            IF v_used_ms IS NULL THEN
                SET v_outcome = 'reused';
                UPDATE session AS s SET s.ended = TRUE WHERE s.id = p_id AND s.inherited;
                DELETE FROM session WHERE id = p_id AND NOT inherited;
            ELSE
                SET v_outcome = 'renewed';
            END IF;
        END IF;
    END IF;
    COMMIT;
    SELECT v_outcome AS outcome, v_used_ms AS used_ms;
END;


-- Logout. One that was inherited, and may not have begun, stays as ended.
DROP PROCEDURE IF EXISTS session_end;

CREATE PROCEDURE session_end(
    p_id VARBINARY(64), p_user_id INT, p_inherited BOOLEAN, p_keep_s DOUBLE
)
BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    IF p_inherited THEN
        INSERT INTO session (id, user_id, generation, inherited, ended, expires_at)
        VALUES (
            p_id, p_user_id, 0, TRUE, TRUE,
            SYSDATE(6) + INTERVAL ROUND(p_keep_s * 1000000) MICROSECOND
        )
        ON DUPLICATE KEY UPDATE ended = TRUE;
    ELSE
        UPDATE session AS s SET s.ended = TRUE
        WHERE s.id = p_id AND s.user_id = p_user_id AND s.inherited;
        DELETE FROM session WHERE id = p_id AND user_id = p_user_id AND NOT inherited;
    END IF;
    COMMIT;
END;


-- The parameters of all password hashes that there may be: each login does the work of every one,
-- so that nobody can tell from its time whose hash is how old, or there at all.
CREATE TABLE IF NOT EXISTS passwordparameters (
    parameters VARCHAR(190) NOT NULL, -- as a hash begins: $argon2id$v=19$m=19456,t=2,p=1
    PRIMARY KEY (parameters)
) ENGINE = InnoDB;

INSERT IGNORE INTO passwordparameters (parameters)
SELECT DISTINCT SUBSTRING_INDEX(u.password_hash, '$', 4)
FROM user AS u
WHERE u.password_hash LIKE '$argon2%$%$%$%$%';


-- All that are known, p_parameters from now on among them.
DROP PROCEDURE IF EXISTS password_parameters;

CREATE PROCEDURE password_parameters(p_parameters VARCHAR(190))
BEGIN
    INSERT INTO passwordparameters (parameters) VALUES (p_parameters)
    ON DUPLICATE KEY UPDATE parameters = p_parameters;
    SELECT p.parameters FROM passwordparameters AS p ORDER BY p.parameters;
END;


-- What a superuser may do ends with her tokens: these are given the version of the token. Those
-- without it stay for processes of before.
DROP PROCEDURE IF EXISTS post_remove_by;

CREATE PROCEDURE post_remove_by(p_id BIGINT, p_me INT, p_token_version INT)
BEGIN
    IF EXISTS (
        SELECT 1 FROM post AS p
        WHERE p.id = p_id
          AND (
            p.author_id = p_me
            OR EXISTS (
                SELECT 1 FROM user AS u
                WHERE u.id = p_me AND u.is_superuser AND NOT u.disabled
                  AND u.token_version = p_token_version
            )
          )
    ) THEN
        CALL post_remove(p_id, p_me);
    END IF;
END;


DROP PROCEDURE IF EXISTS user_set_disabled_by;

CREATE PROCEDURE user_set_disabled_by(
    p_id INT, p_disabled BOOLEAN, p_me INT, p_token_version INT
)
BEGIN
    IF EXISTS (
        SELECT 1 FROM user AS u
        WHERE u.id = p_me AND u.is_superuser AND NOT u.disabled
          AND u.token_version = p_token_version
    ) THEN
        CALL user_set_disabled(p_id, p_disabled, p_me);
    END IF;
END;


-- Somebody who is there, and no superuser, becomes one only when that is meant: no row otherwise.
-- The name may have been registered by whoever guessed that it would be used.
DROP PROCEDURE IF EXISTS superuser_make;

CREATE PROCEDURE superuser_make(
    p_username VARCHAR(32), p_username_key VARBINARY(32), p_password_hash VARCHAR(255),
    p_first_name VARCHAR(64), p_last_name VARCHAR(64),
    p_first_key VARBINARY(512), p_last_key VARBINARY(512), p_promote BOOLEAN
)
BEGIN
    DECLARE v_made BOOLEAN;
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
    ON DUPLICATE KEY UPDATE username_key = p_username_key;
    SET v_made = ROW_COUNT() = 1;
    IF NOT v_made THEN
        UPDATE user AS u
        SET u.password_hash = p_password_hash,
            u.is_superuser = TRUE,
            u.disabled = FALSE,
            u.token_version = u.token_version + 1
        WHERE u.username_key = p_username_key AND (u.is_superuser OR p_promote);
        SET v_made = ROW_COUNT() > 0;
    END IF;
    SELECT u.id FROM user AS u WHERE u.username_key = p_username_key AND v_made;
    COMMIT;
END;
