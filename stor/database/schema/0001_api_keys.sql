-- API keys, by the SHA-256 (hex) of each. Times are microseconds since 1970.
CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    tenant TEXT,
    permissions TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    last_used_at BIGINT,
    revoked_at BIGINT,
    revision BIGINT NOT NULL UNIQUE
);

CREATE INDEX api_keys_by_creation ON api_keys (created_at, id);

-- One row, counted up by each change: its lock puts the changes in order, so whoever has read up to a revision
-- has seen every change below it.
CREATE TABLE api_keys_revision (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    revision BIGINT NOT NULL
);

INSERT INTO api_keys_revision (id, revision) VALUES (1, 0);
