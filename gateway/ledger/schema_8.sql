-- Retention: what is to be removed from here is written down before it is removed, and what is left of a
-- study that is gone is a tombstone of keys and times.

ALTER TABLE studies ADD COLUMN images_removed_at TEXT;      -- when images of it were removed that are not back; or NULL
-- 1: something may lie here that its age or the disk will remove; looked at anew whenever it becomes done
ALTER TABLE studies ADD COLUMN images_here INTEGER NOT NULL DEFAULT 1;
ALTER TABLE studies ADD COLUMN results_here INTEGER NOT NULL DEFAULT 1; -- 2: here only, so they stay
ALTER TABLE studies ADD COLUMN is_upload INTEGER NOT NULL DEFAULT 0;    -- 1: of a NIfTI that a person uploaded
UPDATE studies SET is_upload = 1
WHERE EXISTS (SELECT 1 FROM jobs j WHERE j.study_uid = studies.study_uid AND j.rule = 'upload');
UPDATE studies SET results_here = 2
WHERE done_at IS NOT NULL
    AND EXISTS (SELECT 1 FROM jobs j WHERE j.study_uid = studies.study_uid AND j.state = 'encoded');
ALTER TABLE studies ADD COLUMN forget_at TEXT;              -- when a person asked to forget it; or NULL
ALTER TABLE instances ADD COLUMN removed_at TEXT;           -- since when its file is not here; NULL: it is
ALTER TABLE instances ADD COLUMN identifying_sha256 TEXT NOT NULL DEFAULT ''; -- of whose image it is; '': not kept
ALTER TABLE jobs ADD COLUMN results_removed_at TEXT;        -- since when its results are not here; NULL: they are

-- files, folders, prefixes of the object store, and items of the mirror that nothing here speaks of any more
CREATE TABLE removals (
    number   INTEGER PRIMARY KEY AUTOINCREMENT,
    kind     TEXT NOT NULL CHECK (kind IN ('file', 'folder', 'objects', 'mirror')),
    name     TEXT NOT NULL,                 -- below data_dir; a key or prefix of the store; an item's key
    job_key  TEXT NOT NULL DEFAULT '',      -- whose steps wait until it is gone
    since    TEXT NOT NULL,
    UNIQUE (kind, name)
) STRICT;
CREATE INDEX removals_by_kind ON removals (kind, number);
CREATE INDEX removals_by_job ON removals (job_key) WHERE job_key <> '';

CREATE TABLE tombstones (
    study_key    TEXT PRIMARY KEY,
    job_keys     TEXT NOT NULL,             -- JSON
    received_at  TEXT NOT NULL,
    done_at      TEXT,
    removed_at   TEXT NOT NULL,
    why          TEXT NOT NULL CHECK (why IN ('age', 'forgotten'))
) STRICT, WITHOUT ROWID;

CREATE INDEX studies_by_images_here ON studies (done_at, study_uid) WHERE images_here = 1 AND is_upload = 0;
CREATE INDEX studies_by_upload_here ON studies (done_at, study_uid) WHERE images_here = 1 AND is_upload = 1;
CREATE INDEX studies_by_results_here ON studies (done_at, study_uid) WHERE results_here = 1 AND is_upload = 0;
CREATE INDEX studies_by_nothing_here ON studies (done_at, study_uid)
    WHERE images_here = 0 AND results_here = 0;
CREATE INDEX studies_to_forget ON studies (forget_at) WHERE forget_at IS NOT NULL;
CREATE INDEX instances_removed ON instances (study_uid) WHERE removed_at IS NOT NULL AND is_current = 1;
CREATE INDEX quarantine_by_last ON quarantine (last_at);
CREATE INDEX quarantine_by_study ON quarantine (study_uid) WHERE study_uid IS NOT NULL;
CREATE INDEX mirror_outbox_by_study ON mirror_outbox (study_uid);
