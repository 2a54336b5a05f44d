-- The mirror: what of the ledger still has to be shipped to a table elsewhere (outbox.py).
-- Triggers write the outbox, so nothing can change without it, and in the same transaction.

CREATE TABLE mirror (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    is_on       INTEGER NOT NULL,           -- 0: nothing is written to the outbox
    epoch       INTEGER NOT NULL,           -- the first part of every version; only grows
    seen_epoch  INTEGER NOT NULL,           -- the highest that was met in the table
    rebuilding  INTEGER NOT NULL            -- the epoch of a rebuild: when all is shipped, what is older is removed; or 0
) STRICT;
INSERT INTO mirror (id, is_on, epoch, seen_epoch, rebuilding) VALUES (1, 0, 0, 0, 0);

CREATE TABLE mirror_outbox (
    number      INTEGER PRIMARY KEY AUTOINCREMENT, -- the second part of the version; a further change takes a new one
    study_uid   TEXT NOT NULL,
    kind        TEXT NOT NULL CHECK (kind IN ('study', 'job', 'event')),
    key         TEXT NOT NULL,              -- study_uid, job_key or events.seq
    since       TEXT NOT NULL,              -- of the first change that is not shipped
    is_urgent   INTEGER NOT NULL,           -- 0: progress only, which can wait a few seconds
    UNIQUE (kind, key)
) STRICT;

-- Every visible change has its line in the timeline. The study comes last: who sees it done finds the rest there.
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
