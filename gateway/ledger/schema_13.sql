-- Corrections: segmentations that came in, and turn out to be edited ones of results that were made here.

CREATE TABLE corrections (
    sop_instance_uid  TEXT PRIMARY KEY,
    study_uid         TEXT NOT NULL REFERENCES studies,
    state             TEXT NOT NULL CHECK (state IN ('waiting', 'compared', 'unreadable')),
    key               TEXT UNIQUE,              -- opaque; NULL while it is not known to be a correction
    job_key           TEXT REFERENCES jobs,     -- of the result that it was made of; NULL as long
    evidence          TEXT NOT NULL DEFAULT '', -- by what it is known: reference, tracking, equipment, labels
    sentence          TEXT NOT NULL DEFAULT '', -- why it was not compared, or not yet
    structures        TEXT NOT NULL DEFAULT '[]',
    received_at       TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX corrections_waiting ON corrections (received_at) WHERE state = 'waiting';
CREATE INDEX corrections_by_study ON corrections (study_uid);
CREATE INDEX corrections_by_job ON corrections (job_key, received_at) WHERE job_key IS NOT NULL;
INSERT INTO corrections (sop_instance_uid, study_uid, state, received_at)
SELECT sop_instance_uid, study_uid, 'waiting', received_at FROM instances
WHERE is_current = 1 AND removed_at IS NULL
    AND sop_class_uid IN ('1.2.840.10008.5.1.4.1.1.66.4', '1.2.840.10008.5.1.4.1.1.66.7');

CREATE TABLE counts_before AS SELECT * FROM counts;
DROP TABLE counts;
CREATE TABLE counts (
    kind    TEXT NOT NULL CHECK (kind IN (
                'study', 'job', 'delivery', 'instance', 'quarantine', 'flag', 'correction')),
    state   TEXT NOT NULL,                  -- a flag's code; '' where rows of the kind have none
    number  INTEGER NOT NULL,
    PRIMARY KEY (kind, state)
) STRICT, WITHOUT ROWID;
INSERT INTO counts SELECT * FROM counts_before;
DROP TABLE counts_before;
INSERT INTO counts SELECT 'correction', state, count(*) FROM corrections GROUP BY state;
CREATE TRIGGER count_correction_in AFTER INSERT ON corrections BEGIN
    INSERT INTO counts VALUES ('correction', NEW.state, 1) ON CONFLICT DO UPDATE SET number = number + 1;
END;
CREATE TRIGGER count_correction_moved AFTER UPDATE OF state ON corrections WHEN NEW.state <> OLD.state BEGIN
    UPDATE counts SET number = number - 1 WHERE kind = 'correction' AND state = OLD.state;
    INSERT INTO counts VALUES ('correction', NEW.state, 1) ON CONFLICT DO UPDATE SET number = number + 1;
END;
CREATE TRIGGER count_correction_out AFTER DELETE ON corrections BEGIN
    UPDATE counts SET number = number - 1 WHERE kind = 'correction' AND state = OLD.state;
END;
