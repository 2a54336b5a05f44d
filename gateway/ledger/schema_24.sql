-- How much was received, by ten minutes: what a day and a month brought is known at once, also of what is gone again.

CREATE TABLE received (
    ten_minutes  TEXT PRIMARY KEY,              -- the time, UTC, as far as it goes: 2026-11-30T18:2
    studies      INTEGER NOT NULL DEFAULT 0,    -- of which the first image came then
    instances    INTEGER NOT NULL DEFAULT 0,    -- every revision counted
    bytes        INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
INSERT INTO received (ten_minutes, studies) SELECT substr(received_at, 1, 15), count(*) FROM studies GROUP BY 1;
-- The last month of it is enough, and read soon, whatever the ledger holds.
INSERT INTO received (ten_minutes, instances, bytes)
SELECT substr(i.received_at, 1, 15), count(*), sum(i.size_bytes)
FROM studies s CROSS JOIN instances i ON i.study_uid = s.study_uid AND i.is_current = 1 -- in this order
WHERE s.received_at > (SELECT strftime('%Y-%m-%d', max(received_at), '-32 days') FROM studies)
GROUP BY 1
ON CONFLICT DO UPDATE SET instances = excluded.instances, bytes = excluded.bytes;
CREATE TRIGGER study_received AFTER INSERT ON studies BEGIN
    INSERT INTO received (ten_minutes, studies) VALUES (substr(NEW.received_at, 1, 15), 1)
    ON CONFLICT DO UPDATE SET studies = studies + 1;
END;
CREATE TRIGGER instance_received AFTER INSERT ON instances BEGIN
    INSERT INTO received (ten_minutes, instances, bytes) VALUES (substr(NEW.received_at, 1, 15), 1, NEW.size_bytes)
    ON CONFLICT DO UPDATE SET instances = instances + 1, bytes = bytes + NEW.size_bytes;
END;
