-- Answers are kept under the versions of what they show, so versions move with every change of it,
-- whoever writes: the service, or somebody with a statement of their own. Where the service has
-- raised a version itself, no function is called.

-- The highest version of any user whose row is gone. One who comes under the id of another, or of
-- their own again, begins above it.
CREATE TABLE usergone (
    is_one  boolean PRIMARY KEY DEFAULT true CHECK (is_one),
    version integer NOT NULL
);

INSERT INTO usergone (version) VALUES (0);


CREATE FUNCTION user_came() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.version := greatest(NEW.version, (SELECT g.version + 1 FROM usergone AS g));
    RETURN NEW;
END
$$;

CREATE FUNCTION user_changed() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.id <> OLD.id THEN
        UPDATE usergone AS g SET version = greatest(g.version, OLD.version);
        NEW.version := greatest(NEW.version, (SELECT g.version FROM usergone AS g));
    END IF;
    NEW.version := greatest(NEW.version, OLD.version) + 1;
    RETURN NEW;
END
$$;

CREATE FUNCTION user_went() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE usergone AS g
    SET version = greatest(g.version, (SELECT max(u.version) FROM gone AS u));
    RETURN NULL;
END
$$;

CREATE FUNCTION users_truncated() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE usergone AS g
    SET version = greatest(g.version, (SELECT max(u.version) FROM "user" AS u));
    RETURN NULL;
END
$$;

-- Make them, or take them away: a cluster copies no table to its nodes that has any.
CREATE FUNCTION user_triggers(p_wanted boolean) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    DROP TRIGGER IF EXISTS user_inserted ON "user";
    DROP TRIGGER IF EXISTS user_updated ON "user";
    DROP TRIGGER IF EXISTS user_deleted ON "user";
    DROP TRIGGER IF EXISTS user_truncated ON "user";
    IF NOT p_wanted THEN
        RETURN;
    END IF;
    CREATE TRIGGER user_inserted BEFORE INSERT ON "user"
    FOR EACH ROW EXECUTE FUNCTION user_came();
    CREATE TRIGGER user_updated BEFORE UPDATE ON "user"
    FOR EACH ROW WHEN (
        NEW.id <> OLD.id
        OR NEW.version <= OLD.version
           AND (NEW.username, NEW.first_name, NEW.last_name, NEW.birthdate, NEW.bio, NEW.city,
                NEW.country, NEW.version)
           IS DISTINCT FROM
               (OLD.username, OLD.first_name, OLD.last_name, OLD.birthdate, OLD.bio, OLD.city,
                OLD.country, OLD.version)
    )
    EXECUTE FUNCTION user_changed();
    CREATE TRIGGER user_deleted AFTER DELETE ON "user"
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION user_went();
    CREATE TRIGGER user_truncated BEFORE TRUNCATE ON "user"
    FOR EACH STATEMENT EXECUTE FUNCTION users_truncated();
END
$$;

DO $$
DECLARE
    v_is_spread boolean := false;
BEGIN
    IF to_regclass('pg_dist_partition') IS NOT NULL THEN
        EXECUTE 'SELECT EXISTS (SELECT FROM pg_dist_partition '
                'WHERE logicalrelid = ''"user"''::regclass)' INTO v_is_spread;
    END IF;
    PERFORM user_triggers(NOT v_is_spread);
END
$$;


-- Of a pair. Its other row is of the same version only while nobody changes one by itself.
CREATE FUNCTION friend_changed() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.version := nextval('friend_version_seq');
    RETURN NEW;
END
$$;

CREATE TRIGGER friend_updated BEFORE UPDATE ON friend
FOR EACH ROW WHEN (NEW.version <= OLD.version AND NEW.* IS DISTINCT FROM OLD.*)
EXECUTE FUNCTION friend_changed();


-- The version of a post, which is its ETag.
CREATE FUNCTION post_changed() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.version := OLD.version + 1;
    RETURN NEW;
END
$$;

CREATE TRIGGER post_edited BEFORE UPDATE ON post
FOR EACH ROW WHEN (NEW.version <= OLD.version AND NEW.* IS DISTINCT FROM OLD.*)
EXECUTE FUNCTION post_changed();


-- A post that becomes another author's changes both walls.
CREATE FUNCTION walls_changed() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO wall AS w (author_id, changes)
    SELECT p.author_id, 1
    FROM (SELECT author_id FROM before UNION SELECT author_id FROM changed) AS p
    ORDER BY p.author_id
    ON CONFLICT (author_id) DO UPDATE SET changes = w.changes + 1;
    RETURN NULL;
END
$$;

CREATE FUNCTION all_walls_changed() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE wall AS w SET changes = w.changes + 1;
    RETURN NULL;
END
$$;

DROP TRIGGER post_updated ON post;

CREATE TRIGGER post_updated AFTER UPDATE ON post
REFERENCING OLD TABLE AS before NEW TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION walls_changed();

CREATE TRIGGER post_truncated AFTER TRUNCATE ON post
FOR EACH STATEMENT EXECUTE FUNCTION all_walls_changed();
