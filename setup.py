"""What setup.cfg cannot say: the one optional compiled part, left out where it cannot be built."""

from setuptools import Extension, setup

setup(ext_modules=[Extension("stor.redis._lane", ["stor/redis/_lane.c"], extra_compile_args=["-O2"], optional=True)])
