-- Lists of instances that somebody named: a storage commitment request, or an Instance Availability Notification.

CREATE TABLE named_lists (
    key              INTEGER PRIMARY KEY,
    study_uid        TEXT,              -- the study that it is about; NULL: it does not say
    sender           TEXT NOT NULL,     -- AE title
    address          TEXT NOT NULL,
    transaction_uid  TEXT,              -- of a commitment that is to be reported; NULL: none is, or it was
    failures         TEXT,              -- JSON, SOP Instance UID to failure reason: what is reported; NULL: not known yet
    named_at         TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX named_lists_to_report ON named_lists (sender, transaction_uid) WHERE transaction_uid IS NOT NULL;
CREATE INDEX named_lists_by_study ON named_lists (study_uid) WHERE study_uid IS NOT NULL;
CREATE INDEX named_lists_by_age ON named_lists (named_at);

CREATE TABLE named_instances (
    list              INTEGER NOT NULL REFERENCES named_lists ON DELETE CASCADE,
    sop_instance_uid  TEXT NOT NULL,
    sop_class_uid     TEXT NOT NULL,
    is_awaited        INTEGER NOT NULL DEFAULT 1,   -- 0: its study was closed
    PRIMARY KEY (list, sop_instance_uid)
) STRICT, WITHOUT ROWID;
CREATE INDEX named_instances_by_instance ON named_instances (sop_instance_uid);
