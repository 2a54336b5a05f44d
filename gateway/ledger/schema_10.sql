-- Quality: what a person should know before trusting a result stands with its job, and is counted by its code.

CREATE TABLE job_flags (
    job_key    TEXT NOT NULL REFERENCES jobs,
    source     TEXT NOT NULL CHECK (source IN ('arrival', 'result')),
    position   INTEGER NOT NULL,
    code       TEXT NOT NULL,
    structure  TEXT,                        -- NULL: it is about all that was segmented
    number     REAL NOT NULL,
    unit       TEXT NOT NULL,
    sentence   TEXT NOT NULL,
    PRIMARY KEY (job_key, source, position)
) STRICT, WITHOUT ROWID;
ALTER TABLE jobs ADD COLUMN released_labels TEXT NOT NULL DEFAULT ''; -- labels_sha256 that a person let go on

CREATE TABLE counts_before AS SELECT * FROM counts;
DROP TABLE counts;
CREATE TABLE counts (
    kind    TEXT NOT NULL CHECK (kind IN ('study', 'job', 'delivery', 'instance', 'quarantine', 'flag')),
    state   TEXT NOT NULL,                  -- a flag's code; '' where rows of the kind have none
    number  INTEGER NOT NULL,
    PRIMARY KEY (kind, state)
) STRICT, WITHOUT ROWID;
INSERT INTO counts SELECT * FROM counts_before;
DROP TABLE counts_before;
CREATE TRIGGER count_new_flag AFTER INSERT ON job_flags BEGIN
    INSERT INTO counts VALUES ('flag', NEW.code, 1) ON CONFLICT DO UPDATE SET number = number + 1;
END;
CREATE TRIGGER count_gone_flag AFTER DELETE ON job_flags BEGIN
    UPDATE counts SET number = number - 1 WHERE kind = 'flag' AND state = OLD.code;
END;
