-- Runs in rows of their own: what was known of a job's present run alone stood in a third of the job's columns.

CREATE TABLE runs (
    id             INTEGER PRIMARY KEY,
    job_key        TEXT NOT NULL REFERENCES jobs,
    run            INTEGER NOT NULL,            -- from 1; where another gateway had one in between, one is left out
    lane           TEXT NOT NULL CHECK (lane IN ('main', 'fallback')),
    queue_id       TEXT NOT NULL DEFAULT '',    -- the queue's own name of it; '': it has none, or is not known
    followed       TEXT NOT NULL DEFAULT '',    -- another gateway whose run this is; '': ours
    is_open        INTEGER NOT NULL,            -- 1: it may live, and cost, at the queue
    submitted_at   TEXT NOT NULL,               -- when it was last handed over
    attempt        INTEGER NOT NULL DEFAULT 0,  -- the queue's own, of the last news taken in
    rank           INTEGER NOT NULL DEFAULT 0,  -- of those news (adapters/queue.py)
    waiting_since  TEXT,                        -- since when it waits for a machine
    waiting_code   TEXT NOT NULL DEFAULT '',    -- the last explanation of that
    blocked_code   TEXT NOT NULL DEFAULT '',    -- what the queue itself said of it
    withdrawn_at   TEXT,                        -- when it was taken back for the fallback
    ended_at       TEXT,                        -- NULL: it is not known to have ended
    exit_code      INTEGER,                     -- NULL: it has none, or is not known
    sentence       TEXT NOT NULL DEFAULT '',    -- why it came to nothing; '': it did not, or is not known
    UNIQUE (job_key, run)
) STRICT;
CREATE INDEX runs_open ON runs (job_key) WHERE is_open = 1;

INSERT INTO runs (job_key, run, lane, queue_id, followed, is_open, submitted_at, attempt, rank, waiting_since,
    waiting_code, blocked_code, withdrawn_at, ended_at)
SELECT job_key, run, lane, queue_id, followed,
    run_open = 1 OR state IN ('submitted', 'runnable', 'running'), coalesce(submitted_at, updated_at),
    attempt, rank, waiting_since, waiting_code, blocked_code, withdrawn_at,
    CASE WHEN run_open = 0 AND state NOT IN ('submitted', 'runnable', 'running') THEN updated_at END
FROM jobs WHERE run > 0;

DROP INDEX jobs_by_open_run;
ALTER TABLE jobs DROP COLUMN attempt;
ALTER TABLE jobs DROP COLUMN rank;
ALTER TABLE jobs DROP COLUMN queue_id;
ALTER TABLE jobs DROP COLUMN followed;
ALTER TABLE jobs DROP COLUMN run_open;
ALTER TABLE jobs DROP COLUMN submitted_at;
ALTER TABLE jobs DROP COLUMN waiting_since;
ALTER TABLE jobs DROP COLUMN waiting_code;
ALTER TABLE jobs DROP COLUMN blocked_code;
ALTER TABLE jobs DROP COLUMN withdrawn_at;
