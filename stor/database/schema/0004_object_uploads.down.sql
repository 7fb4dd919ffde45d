DROP TABLE object_upload_part;

DROP TABLE object_upload;
