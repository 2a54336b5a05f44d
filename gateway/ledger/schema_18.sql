-- Studies that came again in full: who got their results is asked whether they are still there.

CREATE TABLE revisits (
    study_uid    TEXT NOT NULL REFERENCES studies,
    destination  TEXT NOT NULL,
    noted_at     TEXT NOT NULL,
    not_before   TEXT,                          -- NULL: to be asked now
    asked        INTEGER NOT NULL DEFAULT 0,    -- so often without what was hoped for
    resent       TEXT NOT NULL DEFAULT '[]',    -- keys of deliveries that were sent again: are those there now?
    PRIMARY KEY (study_uid, destination)
) STRICT, WITHOUT ROWID;
CREATE INDEX revisits_by_destination ON revisits (destination, not_before);
CREATE INDEX revisits_tried ON revisits (destination, not_before) WHERE resent <> '[]';

ALTER TABLE result_objects ADD COLUMN series_uid TEXT NOT NULL DEFAULT '';   -- '': only its file says it

CREATE INDEX deliveries_failed ON deliveries (destination) WHERE state = 'failed';
