-- What a run cost, and which machine it had until when: the time before the next run there is that one's.

ALTER TABLE runs ADD COLUMN instance TEXT NOT NULL DEFAULT '';  -- EC2's name of its machine; '': none, or not known
ALTER TABLE runs ADD COLUMN held_until TEXT;                    -- when it gave its machine back, by the machine's clock
ALTER TABLE runs ADD COLUMN cost TEXT;                          -- JSON (RunCost); NULL: it has no result, or not known
CREATE INDEX runs_by_instance ON runs (instance, held_until) WHERE instance != '';
