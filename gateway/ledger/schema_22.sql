-- What was put aside is dismissed by a person: it is kept, and nobody waits for it any more. What is put aside is
-- looked for by reason and by sender. What was erased lately is found, for those who read the timeline on.

ALTER TABLE quarantine ADD COLUMN dismissed_at TEXT;            -- null: it waits for a person
ALTER TABLE quarantine ADD COLUMN dismissed_by TEXT NOT NULL DEFAULT '';

DROP INDEX quarantine_by_first;
CREATE INDEX quarantine_waiting ON quarantine (first_at, key) WHERE dismissed_at IS NULL;
CREATE INDEX quarantine_dismissed ON quarantine (first_at, key) WHERE dismissed_at IS NOT NULL;
CREATE INDEX quarantine_by_reason ON quarantine (reason, first_at, key) WHERE dismissed_at IS NULL;
CREATE INDEX quarantine_by_sender ON quarantine (sender, first_at, key) WHERE dismissed_at IS NULL;

DROP TRIGGER count_quarantine_in;
DROP TRIGGER count_quarantine_out;
CREATE TRIGGER count_quarantine_in AFTER INSERT ON quarantine WHEN NEW.dismissed_at IS NULL BEGIN
    UPDATE counts SET number = number + 1 WHERE kind = 'quarantine';
END;
CREATE TRIGGER count_quarantine_out AFTER DELETE ON quarantine WHEN OLD.dismissed_at IS NULL BEGIN
    UPDATE counts SET number = number - 1 WHERE kind = 'quarantine';
END;
CREATE TRIGGER count_quarantine_dismissed AFTER UPDATE OF dismissed_at ON quarantine BEGIN
    UPDATE counts SET number = number + (NEW.dismissed_at IS NULL) - (OLD.dismissed_at IS NULL)
    WHERE kind = 'quarantine';
END;

CREATE INDEX tombstones_by_time ON tombstones (removed_at);
