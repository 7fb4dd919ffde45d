-- Objects on their way in, in pieces. Times are microseconds since 1970.

-- An upload that can be resumed. `state` is OPEN, DONE (there is an `object`, and its `digest`) or FAILED (`error` says
-- why). `draft` is the object that it is to be, in JSON; `said` is Upload-Metadata as it came. `length` is NULL as long as
-- nobody has said it; `received` bytes are kept. `coming` is where the piece under way will be put: who finds another name
-- there has been overtaken, and its piece does not count. Until `claimed_until` nobody but `node` makes the object;
-- `attempt` is the id that the object was to have when it was last tried. `damaged_at` is since when, whenever it was tried, a
-- part was not as it was put. A FAILED upload keeps its parts until it expires or is removed.
CREATE TABLE object_upload (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    draft TEXT NOT NULL,
    said TEXT NOT NULL,
    class TEXT NOT NULL,
    state TEXT NOT NULL,
    length INTEGER,
    received INTEGER NOT NULL,
    parts INTEGER NOT NULL,
    coming TEXT,
    object TEXT,
    digest BLOB,
    error TEXT,
    attempt TEXT,
    node TEXT,
    claimed_until INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    damaged_at INTEGER,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
);

CREATE INDEX object_upload_kept ON object_upload (tenant) WHERE state <> 'DONE';

CREATE INDEX object_upload_whole ON object_upload (claimed_until) WHERE state = 'OPEN' AND received = length;

CREATE INDEX object_upload_by_expiry ON object_upload (expires_at);

-- The pieces that count, each under a `copy` that is never used again; `etag` is the one that it had when it was put,
-- `digest` the SHA-256 of its bytes as they came.
CREATE TABLE object_upload_part (
    upload TEXT NOT NULL,
    start INTEGER NOT NULL,
    size INTEGER NOT NULL,
    copy TEXT NOT NULL,
    class TEXT NOT NULL,
    etag TEXT NOT NULL,
    digest BLOB NOT NULL,
    PRIMARY KEY (upload, start)
);
