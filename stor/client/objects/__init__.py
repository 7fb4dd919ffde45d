"""The object store at a URL: `RemoteObjects` asks, `Transfers` moves files, pipes and objects; `Name` says which."""

from stor.client.objects.held import Made, Page, Seen, Shown
from stor.client.objects.names import Id, Name, Ref, named
from stor.client.objects.remote import RemoteObjects
from stor.client.objects.transfer import Done, Transfers
from stor.client.objects.wish import Manner, Wish

__all__ = [
    "Done",
    "Id",
    "Made",
    "Manner",
    "Name",
    "Page",
    "Ref",
    "RemoteObjects",
    "Seen",
    "Shown",
    "Transfers",
    "Wish",
    "named",
]
