-- Storage commitment that destinations are asked for: what is sent, and whether they say that they keep it. (What
-- others ask of this gateway stands in named_lists.)

ALTER TABLE deliveries ADD COLUMN unkept_since TEXT; -- since when it is sent and waits for the word that it is kept; NULL: it does not
CREATE INDEX deliveries_unkept ON deliveries (destination, job_key) WHERE unkept_since IS NOT NULL;

-- what was asked for by which transaction; a report counts for what is still as it was sent then
CREATE TABLE pledges (
    transaction_uid  TEXT NOT NULL,
    delivery_key     TEXT NOT NULL REFERENCES deliveries ON DELETE CASCADE,
    PRIMARY KEY (transaction_uid, delivery_key)
) STRICT, WITHOUT ROWID;
CREATE INDEX pledges_by_delivery ON pledges (delivery_key);
