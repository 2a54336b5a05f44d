
-- In which region a run takes place, and whether a copy of its job's folder lies there.

ALTER TABLE runs ADD COLUMN region TEXT NOT NULL DEFAULT '';         -- of AWS; '': on this machine, or not known
ALTER TABLE runs ADD COLUMN has_copy INTEGER NOT NULL DEFAULT 0;     -- 1: in the second region's bucket
CREATE INDEX runs_with_copy ON runs (region, run) WHERE has_copy = 1;
