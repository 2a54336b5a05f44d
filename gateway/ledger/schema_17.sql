-- Instances that a rejection note named (IHE IOCM), here or still to come.

CREATE TABLE rejections (
    sop_instance_uid  TEXT NOT NULL,
    note_uid          TEXT NOT NULL,     -- the note's own SOP Instance UID
    study_uid         TEXT NOT NULL,
    patient_id        TEXT NOT NULL,     -- as the note has it
    code              TEXT NOT NULL CHECK (code IN ('113001', '113037', '113038', '113039')),
    received_at       TEXT NOT NULL,
    PRIMARY KEY (sop_instance_uid, note_uid)
) STRICT, WITHOUT ROWID;
CREATE INDEX rejections_by_study ON rejections (study_uid);
