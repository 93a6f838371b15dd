-- Where many names match a search: the users of a first letter in the order of their ids.
CREATE INDEX user_first_letter ON "user" (left(first_key, 1), id)
INCLUDE (first_key, last_key, version);
CREATE INDEX user_last_letter ON "user" (left(last_key, 1), id)
INCLUDE (last_key, first_key, version);
