-- The index of blobs. Of each tree: its head, whose row lock puts all appends in order; what all records so far add
-- up to; and the last of the records themselves, for processes that have read up to a position.
CREATE TABLE blob_tree (
    id BIGINT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    log TEXT NOT NULL,
    position BIGINT NOT NULL,
    purged_at BIGINT NOT NULL,
    purged_version BIGINT NOT NULL,
    horizon BIGINT NOT NULL
);

-- `state` is 0: live, 1: deleted, 2: purged. What is purged stays a while, so that who loads the entries page by
-- page, in the order of positions, sees it go. `modified` is in microseconds since 1970.
CREATE TABLE blob_entry (
    tree BIGINT NOT NULL,
    path TEXT NOT NULL,
    state SMALLINT NOT NULL,
    md5 TEXT NOT NULL,
    size BIGINT NOT NULL,
    modified BIGINT NOT NULL,
    version BIGINT NOT NULL,
    etag TEXT NOT NULL,
    position BIGINT NOT NULL,
    content_type TEXT,
    PRIMARY KEY (tree, path)
);

CREATE UNIQUE INDEX blob_entry_by_position ON blob_entry (tree, position, path);

CREATE TABLE blob_namespace (
    tree BIGINT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (tree, name)
);

-- `records` is a JSON list, as in a segment of the log that a store keeps.
CREATE TABLE blob_log (
    tree BIGINT NOT NULL,
    position BIGINT NOT NULL,
    records TEXT NOT NULL,
    PRIMARY KEY (tree, position)
);
