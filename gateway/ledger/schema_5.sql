-- Sets of result objects, the images of a job in rows of their own, studies that are held, and figures that
-- are kept instead of counted: nothing that an event or a request runs reads more than it is about.

DROP TRIGGER mirror_event;
DROP TRIGGER mirror_study_reason;
DROP TRIGGER mirror_progress;

-- the images of a job: its frozen membership, sorted along the slice normal; 1.2.3#7: frame 7 of 1.2.3
CREATE TABLE job_images (
    job_key   TEXT NOT NULL REFERENCES jobs,
    position  INTEGER NOT NULL,
    name      TEXT NOT NULL,
    PRIMARY KEY (job_key, position)
) STRICT, WITHOUT ROWID;
INSERT INTO job_images (job_key, position, name)
SELECT j.job_key, i.key, i.value FROM jobs j, json_each(j.instance_uids) i;

-- what was made of a job: one row an object, also those of its earlier revisions
CREATE TABLE result_objects (
    sop_instance_uid  TEXT PRIMARY KEY,
    job_key           TEXT NOT NULL REFERENCES jobs,
    output            TEXT NOT NULL,               -- what it is: seg, sr, ...
    sop_class_uid     TEXT NOT NULL,
    path              TEXT NOT NULL,               -- below data_dir
    sha256            TEXT NOT NULL,               -- '': made by a version that did not keep it
    is_current        INTEGER NOT NULL,            -- 1: of the job's present result
    made_at           TEXT NOT NULL
) STRICT;
INSERT INTO result_objects (sop_instance_uid, job_key, output, sop_class_uid, path, sha256, is_current, made_at)
SELECT d.sop_instance_uid, d.job_key, 'seg', d.sop_class_uid, d.path,
    CASE WHEN d.sop_instance_uid = j.encoded_uid THEN j.encoded_sha256 ELSE '' END,
    d.sop_instance_uid IS j.encoded_uid, min(d.created_at)
FROM deliveries d JOIN jobs j USING (job_key) GROUP BY d.sop_instance_uid;
INSERT OR IGNORE INTO result_objects
    (sop_instance_uid, job_key, output, sop_class_uid, path, sha256, is_current, made_at)
SELECT encoded_uid, job_key, 'seg', '', encoded_path, encoded_sha256, 1, updated_at
FROM jobs WHERE encoded_uid IS NOT NULL;
CREATE INDEX result_objects_by_job ON result_objects (job_key, is_current);

ALTER TABLE jobs DROP COLUMN instance_uids;
ALTER TABLE jobs DROP COLUMN encoded_path;
ALTER TABLE jobs DROP COLUMN encoded_sha256;
ALTER TABLE jobs DROP COLUMN encoded_uid;
ALTER TABLE jobs ADD COLUMN outputs TEXT NOT NULL DEFAULT '["seg"]'; -- what is to be made of it
ALTER TABLE deliveries DROP COLUMN path;
ALTER TABLE deliveries DROP COLUMN sop_class_uid;

CREATE TABLE studies_5 (
    study_uid           TEXT PRIMARY KEY,
    study_key           TEXT NOT NULL UNIQUE,
    state               TEXT NOT NULL CHECK (state IN ('receiving', 'processing', 'failed', 'held', 'done')),
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
    generation          INTEGER NOT NULL DEFAULT 0,
    images              INTEGER NOT NULL DEFAULT 0, -- current instances
    done_at             TEXT                        -- since when it is done; NULL while it is not
) STRICT;
INSERT INTO studies_5
SELECT s.study_uid, study_key,
    CASE WHEN state = 'failed'
        AND EXISTS (SELECT 1 FROM jobs j WHERE j.study_uid = s.study_uid AND j.state = 'quarantined')
        AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.study_uid = s.study_uid AND j.state = 'failed')
        AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.study_uid = s.study_uid AND d.state = 'failed')
    THEN 'held' ELSE state END,
    reason, patient_id, accession_number, study_date, study_description, received_at, last_instance_at,
    updated_at, completed_at, evidence, evidence_at, complete_requested, generation,
    (SELECT count(*) FROM instances i WHERE i.study_uid = s.study_uid AND i.is_current = 1),
    CASE WHEN state = 'done' THEN updated_at END
FROM studies s;
DROP TABLE studies;
ALTER TABLE studies_5 RENAME TO studies;
CREATE INDEX studies_by_state ON studies (state, received_at, study_key);
CREATE INDEX studies_by_received ON studies (received_at, study_key);
CREATE INDEX studies_by_done ON studies (done_at) WHERE done_at IS NOT NULL;

DROP INDEX jobs_by_study;
CREATE INDEX jobs_by_study ON jobs (study_uid, slot);
DROP INDEX jobs_by_state;
CREATE INDEX jobs_by_state ON jobs (state, priority DESC, created_at);
CREATE INDEX jobs_by_put_off ON jobs (state, not_before) WHERE not_before IS NOT NULL;
DROP INDEX deliveries_by_state;
CREATE INDEX deliveries_by_state ON deliveries (state, destination, created_at);
CREATE INDEX deliveries_by_put_off ON deliveries (state, destination, not_before) WHERE not_before IS NOT NULL;
CREATE INDEX instances_by_path ON instances (path);
-- of every revision: a study that is removed is looked for among them
DROP INDEX instances_by_study;
CREATE INDEX instances_by_study ON instances (study_uid, series_uid, is_current);
CREATE INDEX quarantine_by_path ON quarantine (path);
CREATE INDEX quarantine_by_first ON quarantine (first_at, key);
CREATE INDEX jobs_held ON jobs (updated_at, job_key) WHERE state = 'quarantined';

-- what is known of the ledger itself, by name
CREATE TABLE facts (
    name   TEXT PRIMARY KEY,
    value  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- rows by state, kept by triggers: a scrape of the metrics must not count a million rows
CREATE TABLE counts (
    kind    TEXT NOT NULL CHECK (kind IN ('study', 'job', 'delivery', 'instance', 'quarantine')),
    state   TEXT NOT NULL,                          -- '' where rows of the kind have none
    number  INTEGER NOT NULL,
    PRIMARY KEY (kind, state)
) STRICT, WITHOUT ROWID;
INSERT INTO counts SELECT 'study', state, count(*) FROM studies GROUP BY state;
INSERT INTO counts SELECT 'job', state, count(*) FROM jobs GROUP BY state;
INSERT INTO counts SELECT 'delivery', state, count(*) FROM deliveries GROUP BY state;
INSERT INTO counts SELECT 'instance', '', count(*) FROM instances;
INSERT INTO counts SELECT 'quarantine', '', count(*) FROM quarantine;

CREATE TRIGGER count_study_in AFTER INSERT ON studies BEGIN
    INSERT INTO counts VALUES ('study', NEW.state, 1) ON CONFLICT DO UPDATE SET number = number + 1;
END;
CREATE TRIGGER count_study_moved AFTER UPDATE OF state ON studies WHEN NEW.state <> OLD.state BEGIN
    UPDATE counts SET number = number - 1 WHERE kind = 'study' AND state = OLD.state;
    INSERT INTO counts VALUES ('study', NEW.state, 1) ON CONFLICT DO UPDATE SET number = number + 1;
END;
CREATE TRIGGER count_study_out AFTER DELETE ON studies BEGIN
    UPDATE counts SET number = number - 1 WHERE kind = 'study' AND state = OLD.state;
END;
CREATE TRIGGER count_job_in AFTER INSERT ON jobs BEGIN
    INSERT INTO counts VALUES ('job', NEW.state, 1) ON CONFLICT DO UPDATE SET number = number + 1;
END;
CREATE TRIGGER count_job_moved AFTER UPDATE OF state ON jobs WHEN NEW.state <> OLD.state BEGIN
    UPDATE counts SET number = number - 1 WHERE kind = 'job' AND state = OLD.state;
    INSERT INTO counts VALUES ('job', NEW.state, 1) ON CONFLICT DO UPDATE SET number = number + 1;
END;
CREATE TRIGGER count_job_out AFTER DELETE ON jobs BEGIN
    UPDATE counts SET number = number - 1 WHERE kind = 'job' AND state = OLD.state;
END;
CREATE TRIGGER count_delivery_in AFTER INSERT ON deliveries BEGIN
    INSERT INTO counts VALUES ('delivery', NEW.state, 1) ON CONFLICT DO UPDATE SET number = number + 1;
END;
CREATE TRIGGER count_delivery_moved AFTER UPDATE OF state ON deliveries WHEN NEW.state <> OLD.state BEGIN
    UPDATE counts SET number = number - 1 WHERE kind = 'delivery' AND state = OLD.state;
    INSERT INTO counts VALUES ('delivery', NEW.state, 1) ON CONFLICT DO UPDATE SET number = number + 1;
END;
CREATE TRIGGER count_delivery_out AFTER DELETE ON deliveries BEGIN
    UPDATE counts SET number = number - 1 WHERE kind = 'delivery' AND state = OLD.state;
END;
CREATE TRIGGER count_instance_in AFTER INSERT ON instances BEGIN
    UPDATE counts SET number = number + 1 WHERE kind = 'instance';
END;
CREATE TRIGGER count_instance_out AFTER DELETE ON instances BEGIN
    UPDATE counts SET number = number - 1 WHERE kind = 'instance';
END;
CREATE TRIGGER count_quarantine_in AFTER INSERT ON quarantine BEGIN
    UPDATE counts SET number = number + 1 WHERE kind = 'quarantine';
END;
CREATE TRIGGER count_quarantine_out AFTER DELETE ON quarantine BEGIN
    UPDATE counts SET number = number - 1 WHERE kind = 'quarantine';
END;

-- the mirror's triggers as they were (schema_3.sql): they stood in the way of the tables' change
CREATE TRIGGER mirror_event AFTER INSERT ON events
WHEN NEW.study_uid IS NOT NULL AND (SELECT is_on FROM mirror)
BEGIN
    INSERT INTO mirror_outbox (study_uid, kind, key, since, is_urgent)
    VALUES (NEW.study_uid, 'event', NEW.seq, NEW.at, 1);
    INSERT OR REPLACE INTO mirror_outbox (study_uid, kind, key, since, is_urgent)
    SELECT j.study_uid, 'job', j.job_key, coalesce(o.since, NEW.at), 1
    FROM jobs j LEFT JOIN mirror_outbox o ON o.kind = 'job' AND o.key = j.job_key
    WHERE j.job_key = NEW.job_key OR (j.study_uid = NEW.study_uid AND NEW.event LIKE 'study.%');
    INSERT OR REPLACE INTO mirror_outbox (study_uid, kind, key, since, is_urgent)
    SELECT s.study_uid, 'study', s.study_uid, coalesce(o.since, NEW.at), 1
    FROM studies s LEFT JOIN mirror_outbox o ON o.kind = 'study' AND o.key = s.study_uid
    WHERE s.study_uid = NEW.study_uid;
END;

CREATE TRIGGER mirror_study_reason AFTER UPDATE OF reason ON studies
WHEN NEW.reason <> OLD.reason AND (SELECT is_on FROM mirror)
BEGIN
    INSERT OR REPLACE INTO mirror_outbox (study_uid, kind, key, since, is_urgent)
    SELECT s.study_uid, 'study', s.study_uid,
        coalesce(o.since, strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000Z'), 1
    FROM studies s LEFT JOIN mirror_outbox o ON o.kind = 'study' AND o.key = s.study_uid
    WHERE s.study_uid = NEW.study_uid;
END;

CREATE TRIGGER mirror_progress AFTER UPDATE OF stage, fraction ON jobs
WHEN NEW.state = OLD.state AND (SELECT is_on FROM mirror)
BEGIN
    INSERT OR REPLACE INTO mirror_outbox (study_uid, kind, key, since, is_urgent)
    SELECT j.study_uid, 'job', j.job_key,
        coalesce(o.since, strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000Z'), coalesce(o.is_urgent, 0)
    FROM jobs j LEFT JOIN mirror_outbox o ON o.kind = 'job' AND o.key = j.job_key
    WHERE j.job_key = NEW.job_key;
END;
