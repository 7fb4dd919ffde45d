"""The blob sync API: a tree of files that many machines keep in step."""
