-- Where many users match either name of a search for two, and few both: the users of a pair of first
-- letters in the order of their ids. While it is made nobody registers or changes a profile, for some
-- seconds a million users. Whoever can't wait for that makes it beforehand, by CREATE INDEX
-- CONCURRENTLY with the same words: then this finds it there.
CREATE INDEX IF NOT EXISTS user_letters ON "user" (left(first_key, 1), left(last_key, 1), id)
INCLUDE (first_key, last_key, version);
