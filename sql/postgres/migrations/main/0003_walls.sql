-- How often the posts of an author have changed, by whatever statement but TRUNCATE: a feed is the
-- same as long as these counts are, of all of its authors. No row is 0. One row an author, so two
-- of them never wait for each other; a statement that changes several authors' posts takes them in
-- order.
CREATE TABLE wall (
    author_id integer PRIMARY KEY,
    changes   bigint  NOT NULL
) WITH (fillfactor = 50);


CREATE FUNCTION wall_changed() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO wall AS w (author_id, changes)
    SELECT p.author_id, count(*) FROM changed AS p GROUP BY p.author_id ORDER BY p.author_id
    ON CONFLICT (author_id) DO UPDATE SET changes = w.changes + excluded.changes;
    RETURN NULL;
END
$$;

CREATE TRIGGER post_inserted AFTER INSERT ON post
REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION wall_changed();

CREATE TRIGGER post_updated AFTER UPDATE ON post
REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION wall_changed();

CREATE TRIGGER post_deleted AFTER DELETE ON post
REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION wall_changed();


-- Answers are kept with the versions of what they show, so indexes that pages are read from hold
-- the versions beside the ids: of users, and of friendships, on which a feed depends besides.
DROP INDEX user_first, user_last, friend_state;
CREATE INDEX user_first ON "user" (first_key, last_key, id) INCLUDE (version);
CREATE INDEX user_last ON "user" (last_key, first_key, id) INCLUDE (version);
CREATE INDEX friend_state ON friend (user_id, state, friend_id) INCLUDE (version);
