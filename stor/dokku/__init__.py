"""`stor dokku`: what is kept on this machine about one deployment, and the talk with its Dokku host.

Plain functions that wait; only the command line calls them.
"""
