-- Runs at a queue that goes on without this process: who has them, how far their news are, where they go next.

ALTER TABLE jobs ADD COLUMN attempt INTEGER NOT NULL DEFAULT 0;       -- the queue's own, within the present run
ALTER TABLE jobs ADD COLUMN rank INTEGER NOT NULL DEFAULT 0;          -- of the last news taken in (adapters/queue.py)
ALTER TABLE jobs ADD COLUMN queue_id TEXT NOT NULL DEFAULT '';        -- the queue's own name of the present run
ALTER TABLE jobs ADD COLUMN lane TEXT NOT NULL DEFAULT 'main' CHECK (lane IN ('main', 'fallback'));
ALTER TABLE jobs ADD COLUMN followed TEXT NOT NULL DEFAULT '';        -- another gateway whose run this is; '': ours
ALTER TABLE jobs ADD COLUMN run_open INTEGER NOT NULL DEFAULT 0;      -- 1: a run may live, and cost, at the queue
ALTER TABLE jobs ADD COLUMN submitted_at TEXT;                        -- when the present run was last handed over
ALTER TABLE jobs ADD COLUMN waiting_since TEXT;                       -- since when it waits for a machine
ALTER TABLE jobs ADD COLUMN waiting_code TEXT NOT NULL DEFAULT '';    -- the last explanation of that
ALTER TABLE jobs ADD COLUMN withdrawn_at TEXT;                        -- when it was taken back for the fallback
ALTER TABLE jobs ADD COLUMN fallback_of TEXT REFERENCES jobs;         -- the job whose place it took
CREATE INDEX jobs_by_fallback ON jobs (fallback_of) WHERE fallback_of IS NOT NULL;
CREATE INDEX jobs_by_open_run ON jobs (state) WHERE run_open = 1;
