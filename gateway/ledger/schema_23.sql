-- Who is told what happens: how far each receiver has been told, what is to be told next, and the messages.

CREATE TABLE receivers (
    name         TEXT PRIMARY KEY,           -- as it is called in the configuration
    counted      INTEGER NOT NULL,           -- events.seq: what came until then is told, or stands in occasions
    waiting_upto TEXT NOT NULL,              -- what got no further since a time before this was told as waiting
    standing     TEXT NOT NULL DEFAULT '{}', -- JSON: what was told and is not over, by occasion, since when
    quiet_until  TEXT NOT NULL,              -- no message is made before
    gap_s        REAL NOT NULL,              -- how long it was quiet, or is, before that
    summed_up_at TEXT NOT NULL,              -- when the last summary was made
    summed_up    INTEGER NOT NULL            -- events.seq: the lines until then stood in one
) STRICT, WITHOUT ROWID;

CREATE TABLE occasions (
    receiver  TEXT NOT NULL REFERENCES receivers ON DELETE CASCADE,
    kind      TEXT NOT NULL,
    study_key TEXT NOT NULL DEFAULT '',      -- '': of the gateway
    sentence  TEXT NOT NULL DEFAULT '',      -- of the gateway; of a study what the ledger says then
    since     TEXT NOT NULL,
    PRIMARY KEY (receiver, kind, study_key)
) STRICT, WITHOUT ROWID;

CREATE TABLE messages (
    key        TEXT PRIMARY KEY,             -- goes along each time it is sent: who gets it twice knows it again
    receiver   TEXT NOT NULL REFERENCES receivers ON DELETE CASCADE,
    message    TEXT NOT NULL,                -- JSON, nothing of a patient
    state      TEXT NOT NULL CHECK (state IN ('pending', 'sent', 'failed')),
    reason     TEXT NOT NULL DEFAULT '',     -- why it is not there yet, or never will be
    attempts   INTEGER NOT NULL DEFAULT 0,
    not_before TEXT NOT NULL DEFAULT '',
    made_at    TEXT NOT NULL,
    ended_at   TEXT
) STRICT;
CREATE INDEX messages_by_receiver ON messages (receiver, made_at);
CREATE INDEX messages_pending ON messages (receiver, made_at) WHERE state = 'pending';
