-- Delivered objects that do not count any more, and whether their destination was told.

CREATE TABLE withdrawals (
    sop_instance_uid  TEXT NOT NULL REFERENCES result_objects,
    destination       TEXT NOT NULL,
    study_uid         TEXT NOT NULL REFERENCES studies,
    job_key           TEXT NOT NULL REFERENCES jobs,     -- whose result takes its place, or whose object it is
    state             TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'told', 'left')),
    code              TEXT NOT NULL DEFAULT '',          -- title of its rejection note; '': not decided
    note_uid          TEXT,                              -- SOP Instance UID of the note
    reason            TEXT NOT NULL DEFAULT '',
    since             TEXT NOT NULL,
    PRIMARY KEY (sop_instance_uid, destination)
) STRICT, WITHOUT ROWID;
CREATE INDEX withdrawals_waiting ON withdrawals (since) WHERE state = 'waiting';
CREATE INDEX withdrawals_by_study ON withdrawals (study_uid);
CREATE INDEX withdrawals_by_job ON withdrawals (job_key);
