-- The ledger's first schema. Times are UTC, ISO 8601 with microseconds and a Z; UIDs are kept as received.
-- Later versions are further files, schema_2.sql and so on, applied in order (see store.py).

CREATE TABLE studies (
    study_uid           TEXT PRIMARY KEY,
    study_key           TEXT NOT NULL UNIQUE,
    state               TEXT NOT NULL CHECK (state IN ('receiving', 'processing', 'failed', 'done')),
    reason              TEXT NOT NULL DEFAULT '',
    patient_id          TEXT NOT NULL DEFAULT '',
    accession_number    TEXT NOT NULL DEFAULT '',
    study_date          TEXT NOT NULL DEFAULT '',
    study_description   TEXT NOT NULL DEFAULT '',
    received_at         TEXT NOT NULL,
    last_instance_at    TEXT NOT NULL,
    updated_at          TEXT NOT NULL,
    completed_at        TEXT,
    -- what the last association that touched it did: released, aborted, or NULL while one may be open
    evidence            TEXT CHECK (evidence IN ('released', 'aborted')),
    evidence_at         TEXT,
    complete_requested  INTEGER NOT NULL DEFAULT 0,
    -- grows with every change of its instances: completion freezes one generation
    generation          INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX studies_by_state ON studies (state, received_at);
CREATE INDEX studies_by_received ON studies (received_at, study_key);

CREATE TABLE instances (
    sop_instance_uid    TEXT NOT NULL,
    revision            INTEGER NOT NULL,
    is_current          INTEGER NOT NULL,
    study_uid           TEXT NOT NULL REFERENCES studies,
    series_uid          TEXT NOT NULL,
    sop_class_uid       TEXT NOT NULL,
    transfer_syntax_uid TEXT NOT NULL,
    modality            TEXT NOT NULL DEFAULT '',
    series_number       INTEGER,
    series_description  TEXT NOT NULL DEFAULT '',
    path                TEXT NOT NULL,          -- below data_dir
    size_bytes          INTEGER NOT NULL,
    header_sha256       TEXT NOT NULL,
    pixel_sha256        TEXT NOT NULL,
    geometry_sha256     TEXT NOT NULL,
    of_use              INTEGER NOT NULL,       -- 0: kept, never an input
    why_not             TEXT NOT NULL DEFAULT '',
    sender              TEXT NOT NULL,
    received_at         TEXT NOT NULL,
    PRIMARY KEY (sop_instance_uid, revision)
) STRICT;
CREATE UNIQUE INDEX instances_current ON instances (sop_instance_uid) WHERE is_current = 1;
CREATE INDEX instances_by_study ON instances (study_uid, series_uid) WHERE is_current = 1;
CREATE INDEX instances_by_series ON instances (series_uid) WHERE is_current = 1;

-- what was decided about each volume at the last completion, chosen or not, and why
CREATE TABLE volumes (
    study_uid    TEXT NOT NULL REFERENCES studies,
    series_uid   TEXT NOT NULL,
    number       INTEGER NOT NULL,
    images       INTEGER NOT NULL,
    job_key      TEXT,
    why          TEXT NOT NULL,
    findings     TEXT NOT NULL DEFAULT '[]',
    ranking      TEXT NOT NULL DEFAULT '[]',
    PRIMARY KEY (study_uid, series_uid, number)
) STRICT;

CREATE TABLE jobs (
    job_key          TEXT PRIMARY KEY,
    study_uid        TEXT NOT NULL REFERENCES studies,
    series_uid       TEXT NOT NULL,
    slot             TEXT NOT NULL,             -- series, volume and task: what a revision is a revision of
    rule             TEXT NOT NULL,
    task             TEXT NOT NULL,
    options          TEXT NOT NULL,
    engine           TEXT NOT NULL,
    priority         INTEGER NOT NULL,
    instance_uids    TEXT NOT NULL,             -- the frozen membership, sorted along the slice normal; 1.2.3#7: frame 7 of 1.2.3
    send_to          TEXT NOT NULL,             -- destination names
    state            TEXT NOT NULL CHECK (state IN (
                         'planned', 'converted', 'staged', 'submitted', 'runnable', 'running', 'segmented',
                         'encoded', 'delivered', 'failed', 'cancelled', 'superseded', 'quarantined')),
    resume_state     TEXT,
    reason           TEXT NOT NULL DEFAULT '',
    run              INTEGER NOT NULL DEFAULT 0,
    failures         INTEGER NOT NULL DEFAULT 0, -- of the present step, in a row
    not_before       TEXT,
    stage            TEXT NOT NULL DEFAULT '',
    fraction         REAL NOT NULL DEFAULT 0,
    header_sha256    TEXT NOT NULL,
    labels_sha256    TEXT,
    segmented_at     TEXT,
    encoded_path     TEXT,
    encoded_sha256   TEXT,
    encoded_uid      TEXT,
    warnings         TEXT NOT NULL DEFAULT '[]',
    created_at       TEXT NOT NULL,
    updated_at       TEXT NOT NULL
) STRICT;
CREATE INDEX jobs_by_study ON jobs (study_uid);
CREATE INDEX jobs_by_state ON jobs (state, priority, created_at);

CREATE TABLE deliveries (
    key                TEXT PRIMARY KEY,
    job_key            TEXT NOT NULL REFERENCES jobs,
    study_uid          TEXT NOT NULL REFERENCES studies,
    destination        TEXT NOT NULL,
    path               TEXT NOT NULL,
    sop_class_uid      TEXT NOT NULL,
    sop_instance_uid   TEXT NOT NULL,
    state              TEXT NOT NULL CHECK (state IN (
                           'pending', 'sent', 'committed', 'failed', 'cancelled', 'superseded')),
    reason             TEXT NOT NULL DEFAULT '',
    attempts           INTEGER NOT NULL DEFAULT 0,
    not_before         TEXT,
    created_at         TEXT NOT NULL,
    pending_since      TEXT NOT NULL,
    updated_at         TEXT NOT NULL
) STRICT;
CREATE INDEX deliveries_by_job ON deliveries (job_key);
CREATE INDEX deliveries_by_study ON deliveries (study_uid);
CREATE INDEX deliveries_by_state ON deliveries (state, not_before);
CREATE INDEX deliveries_by_object ON deliveries (sop_instance_uid);

CREATE TABLE quarantine (
    key              TEXT PRIMARY KEY,          -- digest of the bytes: the same refused object is kept once
    reason           TEXT NOT NULL,             -- a code
    sentence         TEXT NOT NULL,             -- for a person, without patient data
    path             TEXT NOT NULL,
    study_uid        TEXT,
    sop_instance_uid TEXT,
    sender           TEXT NOT NULL,
    times            INTEGER NOT NULL DEFAULT 1,
    first_at         TEXT NOT NULL,
    last_at          TEXT NOT NULL
) STRICT;

CREATE TABLE events (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    at           TEXT NOT NULL,
    study_uid    TEXT,
    job_key      TEXT,
    delivery_key TEXT,
    event        TEXT NOT NULL,
    detail       TEXT NOT NULL DEFAULT '{}'
) STRICT;
CREATE INDEX events_by_study ON events (study_uid, seq);
CREATE INDEX events_by_job ON events (job_key, seq);
