-- All runs of a job can be shown, and those that were lost are counted from their rows, not from the timeline.

ALTER TABLE runs ADD COLUMN backend TEXT NOT NULL DEFAULT '';   -- the queue that it was handed to; '': by a version without it
ALTER TABLE runs ADD COLUMN started_at TEXT;                    -- when it began to run, the first time; NULL: it did not, or is not known
ALTER TABLE runs ADD COLUMN lost_on TEXT NOT NULL DEFAULT ''    -- by whose fault it has to be done again; '': nobody's, or it has not
    CHECK (lost_on IN ('', 'work', 'machine', 'outside'));
ALTER TABLE jobs ADD COLUMN counted_after INTEGER NOT NULL DEFAULT 0; -- its last run when a person asked for it anew: later ones count

UPDATE runs SET backend = 'batch' WHERE queue_id <> '';

-- What was lost of jobs that are on their way, since a person last asked for them.
INSERT INTO runs (job_key, run, lane, is_open, submitted_at, ended_at, exit_code, sentence, lost_on)
SELECT j.job_key, json_extract(e.detail, '$.run'), j.lane, 0, e.at, e.at, json_extract(e.detail, '$.exit_code'),
    coalesce(json_extract(e.detail, '$.reason'), ''),
    coalesce(json_extract(e.detail, '$.on'), iif(json_extract(e.detail, '$.blameless'), '', 'work'))
FROM jobs j JOIN events e ON e.job_key = j.job_key
WHERE j.state IN ('planned', 'converted', 'staged', 'submitted', 'runnable', 'running')
    AND e.event = 'job.run_lost' AND json_extract(e.detail, '$.run') IS NOT NULL
    AND e.seq > (SELECT coalesce(max(seq), 0) FROM events
        WHERE job_key = j.job_key AND event IN ('job.retried', 'job.replanned'))
ON CONFLICT (job_key, run) DO UPDATE SET lost_on = excluded.lost_on;
