"""Backups of the object store, made while it goes on, as plain files; and the way back. See docs/backup.md."""
