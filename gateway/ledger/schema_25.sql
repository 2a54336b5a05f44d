-- Who may ask: tokens by name and role. A token is a random secret of 256 bits, so that its SHA-256 is enough: it
-- cannot be guessed from it, and needs neither salt nor a slow hash as passwords do, which people choose.

CREATE TABLE tokens (
    key         TEXT NOT NULL PRIMARY KEY, -- the token's SHA-256, lower-case hex
    name        TEXT NOT NULL, -- which the timeline says; another token may have it when this one was revoked
    prefix      TEXT NOT NULL, -- how the token begins, to know it again
    role        TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin', 'sender')),
    created_at  TEXT NOT NULL,
    created_by  TEXT NOT NULL,
    expires_at  TEXT,
    revoked_at  TEXT,
    revoked_by  TEXT
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX tokens_by_name ON tokens (name) WHERE revoked_at IS NULL;
