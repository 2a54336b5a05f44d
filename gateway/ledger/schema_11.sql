-- Over time: what was measured of each result, whose it is, and what it was compared with when it was first encoded.

CREATE TABLE measured_results (
    job_key     TEXT PRIMARY KEY REFERENCES jobs,
    subject     TEXT NOT NULL,      -- keyed digest of whose structures these are, and of which task; '': nobody's over time
    name        TEXT NOT NULL,      -- keyed digests of the patient's name and birth date, to tell that they differ; '': not known
    birth_date  TEXT NOT NULL,
    acquired    TEXT NOT NULL,      -- 20260304101112, as the images say; '': they do not
    volumes     TEXT NOT NULL       -- JSON: structure to its ml, and whether the scan cuts it
) STRICT, WITHOUT ROWID;
CREATE INDEX measured_results_by_subject ON measured_results (subject, acquired) WHERE subject <> '';

CREATE TABLE comparisons (
    job_key          TEXT PRIMARY KEY REFERENCES jobs,
    chosen_for       TEXT NOT NULL, -- digest of what was compared: another patient, other labels are compared anew
    why_none         TEXT NOT NULL, -- why with nothing; '': there is a prior
    prior_job_key    TEXT,
    prior_study_uid  TEXT,
    prior_date       TEXT,          -- 2026-03-04
    interval_days    INTEGER NOT NULL DEFAULT 0,
    prior_object     TEXT NOT NULL DEFAULT '{}',    -- JSON: the object of it that reports refer to
    changes          TEXT NOT NULL DEFAULT '[]'     -- JSON, a line a structure
) STRICT, WITHOUT ROWID;
CREATE INDEX comparisons_by_prior ON comparisons (prior_study_uid) WHERE prior_study_uid IS NOT NULL;
