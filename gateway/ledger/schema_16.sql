-- A delivery that is under way is known as such before its first byte goes out, so that no kill makes it one that
-- never was: what may be there already is neither superseded nor called off as if it were not.

ALTER TABLE deliveries ADD COLUMN begun_at TEXT;    -- since when it may be there, by a transfer of which no answer is known; or NULL
