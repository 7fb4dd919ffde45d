"""Lets twistd find stor."""

from twisted.application.service import ServiceMaker

maker = ServiceMaker("stor", "stor.tap", "The storage front door of a small machine.", "stor")
