DROP TABLE object_round;

DROP TABLE object_hold;

DROP TABLE object_quota;

DROP TABLE object_usage;

DROP TABLE object_doomed;

DROP TABLE object_blob;

DROP TABLE object;
