-- The mirror's outbox: when each thing is to be shipped. Everything of a study goes together: at once where the
-- study's state changes, 5 s after the first change that waits, and where a job only got on, after a minute. What
-- a further change overtakes until then is never written (docs/aws.md says what that saves).

DROP TRIGGER mirror_event;
DROP TRIGGER mirror_study_reason;
DROP TRIGGER mirror_progress;
DROP INDEX mirror_outbox_by_since;
DROP INDEX mirror_outbox_by_study;
ALTER TABLE mirror_outbox RENAME COLUMN since TO due_at;    -- what waits was due at once, or seconds later
ALTER TABLE mirror_outbox DROP COLUMN is_urgent;
CREATE INDEX mirror_outbox_by_due ON mirror_outbox (due_at);
CREATE INDEX mirror_outbox_by_study ON mirror_outbox (study_uid, due_at);

-- Every visible change has its line in the timeline. The study comes last: who sees it done finds the rest there.
CREATE TRIGGER mirror_event AFTER INSERT ON events
WHEN NEW.study_uid IS NOT NULL AND (SELECT is_on FROM mirror)
BEGIN
    INSERT INTO mirror_outbox (study_uid, kind, key, due_at)
    VALUES (NEW.study_uid, 'event', NEW.seq, strftime('%Y-%m-%dT%H:%M:%f', NEW.at, '+5 seconds') || '000Z');
    INSERT OR REPLACE INTO mirror_outbox (study_uid, kind, key, due_at)
    SELECT j.study_uid, 'job', j.job_key, (SELECT min(due_at) FROM mirror_outbox WHERE study_uid = NEW.study_uid)
    FROM jobs j
    WHERE j.job_key = NEW.job_key OR (j.study_uid = NEW.study_uid AND NEW.event LIKE 'study.%');
    INSERT OR REPLACE INTO mirror_outbox (study_uid, kind, key, due_at)
    SELECT s.study_uid, 'study', s.study_uid, (SELECT min(due_at) FROM mirror_outbox WHERE study_uid = s.study_uid)
    FROM studies s WHERE s.study_uid = NEW.study_uid;
    UPDATE mirror_outbox SET due_at = (SELECT min(due_at) FROM mirror_outbox WHERE study_uid = NEW.study_uid)
    WHERE study_uid = NEW.study_uid
        AND due_at > (SELECT min(due_at) FROM mirror_outbox WHERE study_uid = NEW.study_uid);
END;

CREATE TRIGGER mirror_study_state AFTER UPDATE OF state ON studies
WHEN NEW.state <> OLD.state AND (SELECT is_on FROM mirror)
BEGIN
    UPDATE mirror_outbox SET due_at = strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000Z'
    WHERE study_uid = NEW.study_uid AND due_at > strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000Z';
    INSERT OR REPLACE INTO mirror_outbox (study_uid, kind, key, due_at)
    VALUES (NEW.study_uid, 'study', NEW.study_uid, min(
        coalesce((SELECT min(due_at) FROM mirror_outbox WHERE study_uid = NEW.study_uid), 'never'),
        strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000Z'));
END;

CREATE TRIGGER mirror_study_reason AFTER UPDATE OF reason ON studies
WHEN NEW.reason <> OLD.reason AND (SELECT is_on FROM mirror)
BEGIN
    INSERT OR REPLACE INTO mirror_outbox (study_uid, kind, key, due_at)
    VALUES (NEW.study_uid, 'study', NEW.study_uid, min(
        coalesce((SELECT min(due_at) FROM mirror_outbox WHERE study_uid = NEW.study_uid), 'never'),
        strftime('%Y-%m-%dT%H:%M:%f', 'now', '+5 seconds') || '000Z'));
END;

CREATE TRIGGER mirror_progress AFTER UPDATE OF stage, fraction ON jobs
WHEN NEW.state = OLD.state AND (SELECT is_on FROM mirror)
BEGIN
    INSERT OR REPLACE INTO mirror_outbox (study_uid, kind, key, due_at)
    VALUES (NEW.study_uid, 'job', NEW.job_key, min(
        coalesce((SELECT min(due_at) FROM mirror_outbox WHERE study_uid = NEW.study_uid), 'never'),
        strftime('%Y-%m-%dT%H:%M:%f', 'now', '+60 seconds') || '000Z'));
END;
