-- Seconds since 1970.
SELECT extract(epoch FROM clock_timestamp())::double precision AS now_s
