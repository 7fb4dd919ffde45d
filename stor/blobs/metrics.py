"""What the trees count; one set for all trees of a process. Labels are bounded."""

from prometheus_client import CollectorRegistry, Counter, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counters with the prefix stor_blobs_."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.writes = Counter(
            "stor_blobs_writes", "Writes of files, by what came of them.", ["outcome"], registry=registry
        )
        self.races = Counter(
            "stor_blobs_races", "Writes that met another one and had to look again.", registry=registry
        )
        self.corrections = Counter(
            "stor_blobs_index_corrections",
            "Entries of the index that did not show what the object says.",
            registry=registry,
        )
        self.written_behind = Counter(
            "stor_blobs_indexes_written_behind", "Indexes written for the older software.", registry=registry
        )
        self.purged = Counter("stor_blobs_purged", "What was forgotten, by kind.", ["kind"], registry=registry)
        self.appends = Histogram(
            "stor_blobs_journal_append_seconds",
            "Time until a record of a write was in the journal.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.tails = Histogram(
            "stor_blobs_journal_tail_seconds",
            "Time until the tail of the journal was read.",
            buckets=_SECONDS,
            registry=registry,
        )
