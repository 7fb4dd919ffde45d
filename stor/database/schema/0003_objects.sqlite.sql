-- The object store. Times are microseconds since 1970; digests are SHA-256; classes are 'hot' and 'cold'.

-- A name with bytes. `state` is WRITING, COMMITTED, DELETING (it still holds its reference to a blob) or DELETED.
-- `slot` is '' for who owns its key, its own id for who does not (no key, or an upload that is to replace the owner),
-- and NULL for what is deleted: so a key has one owner. `copy` is where the bytes of an upload are put; only who
-- finds its row WRITING may commit, so a copy without a row can never come to be of use.
CREATE TABLE object (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    namespace TEXT NOT NULL,
    key TEXT NOT NULL,
    slot TEXT,
    state TEXT NOT NULL,
    class TEXT NOT NULL,
    blob INTEGER,
    digest BLOB,
    size INTEGER NOT NULL,
    content_type TEXT NOT NULL,
    metadata TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    node TEXT,
    copy TEXT
);

CREATE UNIQUE INDEX object_by_key ON object (tenant, namespace, key, slot) WHERE slot IS NOT NULL;

CREATE INDEX object_by_creation ON object (tenant, namespace, created_at, id) WHERE state = 'COMMITTED';

CREATE INDEX object_by_size ON object (tenant, namespace, size, id) WHERE state = 'COMMITTED';

CREATE INDEX object_by_blob ON object (blob, tenant) WHERE blob IS NOT NULL;

CREATE INDEX object_unsettled ON object (state, updated_at, id) WHERE state <> 'COMMITTED';

CREATE INDEX object_unsettled_of ON object (tenant, state, updated_at, id) WHERE state <> 'COMMITTED';

-- Bytes, once for each class. `refs` counts the objects that are COMMITTED or DELETING; `idle_since` says since when
-- there are none. The bytes are in `data`, or in the store of the class under the key `copy`, which is never used
-- again for others. `etag` is that of the copy when its bytes were last hashed (`checked_at`). `damage` says why they
-- cannot be given.
CREATE TABLE object_blob (
    id INTEGER PRIMARY KEY,
    digest BLOB NOT NULL,
    class TEXT NOT NULL,
    size INTEGER NOT NULL,
    refs INTEGER NOT NULL,
    idle_since INTEGER,
    copy TEXT,
    etag TEXT NOT NULL,
    checked_at INTEGER NOT NULL,
    damage TEXT,
    data BLOB,
    UNIQUE (digest, class)
);

CREATE INDEX object_blob_idle ON object_blob (idle_since) WHERE idle_since IS NOT NULL;

-- Copies that nothing refers to, until they are gone.
CREATE TABLE object_doomed (
    copy TEXT PRIMARY KEY,
    class TEXT NOT NULL,
    due INTEGER NOT NULL,
    claimed_until INTEGER NOT NULL
);

CREATE INDEX object_doomed_by_due ON object_doomed (class, due);

-- What is COMMITTED, in several rows for one sum, so that writers need not wait for each other.
CREATE TABLE object_usage (
    tenant TEXT NOT NULL,
    namespace TEXT NOT NULL,
    class TEXT NOT NULL,
    shard INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    objects INTEGER NOT NULL,
    PRIMARY KEY (tenant, namespace, class, shard)
);

-- NULL: no limit.
CREATE TABLE object_quota (
    tenant TEXT PRIMARY KEY,
    bytes INTEGER,
    objects INTEGER
);

-- While a row is here and `until` is to come, no copy is removed: somebody makes a backup.
CREATE TABLE object_hold (
    id TEXT PRIMARY KEY,
    until INTEGER NOT NULL
);

-- How far those have come who go round and round.
CREATE TABLE object_round (
    name TEXT PRIMARY KEY,
    position TEXT NOT NULL,
    updated_at INTEGER NOT NULL
);
