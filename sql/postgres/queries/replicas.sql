-- name: replication_position
-- What readers of this server see: every commit up to this position in the log. A primary's commits
-- are flushed before anybody sees them, unless synchronous_commit is off. Timelines are compared
-- by the marks that they left in the data: what two servers call timeline 2 need not be the same.
SELECT NOT s.recovers AS is_primary,
       (
           SELECT t.mark FROM waltimeline AS t
           WHERE t.timeline = coalesce(
               s.timeline, (SELECT max(timeline) FROM waltimeline WHERE timeline > '')
           )
       ) AS timeline,
       (CASE
           WHEN s.recovers THEN pg_last_wal_replay_lsn()
           WHEN current_setting('synchronous_commit') = 'off' THEN pg_current_wal_insert_lsn()
           ELSE pg_current_wal_flush_lsn()
       END - '0/0'::pg_lsn)::bigint AS lsn
FROM (
    SELECT recovers,
           CASE
               WHEN NOT recovers THEN left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)
           END AS timeline
    FROM pg_is_in_recovery() AS recovers
) AS s;

-- name: waltimeline_mark
-- Of the primary's present timeline, once.
INSERT INTO waltimeline (timeline)
VALUES (left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))
ON CONFLICT (timeline) DO NOTHING
RETURNING mark;
