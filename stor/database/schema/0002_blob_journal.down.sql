DROP TABLE blob_log;

DROP TABLE blob_namespace;

DROP TABLE blob_entry;

DROP TABLE blob_tree;
