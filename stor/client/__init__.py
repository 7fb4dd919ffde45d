"""A folder kept in step with a tree of the blob API: `Remote`, `sync`, `planned`, `watch`, and what they tell."""

from stor.client.outcome import Outcome, Progress, Silence, Wishes
from stor.client.plan import Act, Choice, Step
from stor.client.remote import Remote
from stor.client.safety import Allowed, Refused
from stor.client.sync import planned, sync
from stor.client.watch import watch

__all__ = [
    "Act",
    "Allowed",
    "Choice",
    "Outcome",
    "Progress",
    "Refused",
    "Remote",
    "Silence",
    "Step",
    "Wishes",
    "planned",
    "sync",
    "watch",
]
