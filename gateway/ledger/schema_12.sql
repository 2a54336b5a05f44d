-- What waits for a destination is found at once, however much waits there and however much arrived.

ALTER TABLE deliveries ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;  -- its job's
UPDATE deliveries SET priority = j.priority FROM jobs j WHERE j.job_key = deliveries.job_key AND j.priority <> 0;

DROP INDEX deliveries_by_state;
DROP INDEX deliveries_by_put_off;
CREATE INDEX deliveries_due ON deliveries (destination, priority DESC, created_at)
    WHERE state = 'pending' AND not_before IS NULL;
CREATE INDEX deliveries_put_off ON deliveries (destination, not_before)
    WHERE state = 'pending' AND not_before IS NOT NULL;
CREATE INDEX deliveries_pending ON deliveries (destination, pending_since, key) WHERE state = 'pending';
CREATE INDEX deliveries_by_reason ON deliveries (destination, reason) WHERE state = 'pending';
CREATE INDEX mirror_outbox_by_since ON mirror_outbox (since);
