# syntax=docker/dockerfile:1

# 1. All that is installed, in one folder; the compiler stays behind here.
FROM python:3.11-slim-bookworm AS build
RUN apt-get update \
 && apt-get install --yes --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY requirements.txt ./
RUN python -m venv /opt/stor \
 && /opt/stor/bin/pip install --require-hashes --requirement requirements.txt
COPY LICENSE README.md pyproject.toml setup.cfg setup.py ./
COPY stor stor
COPY twisted twisted
# The compiled lane is optional elsewhere; an image without it would be a slow one that nobody notices.
RUN pip wheel --no-deps --wheel-dir /wheels . \
 && /opt/stor/bin/pip install --no-deps /wheels/*.whl \
 && cd / && /opt/stor/bin/python -c "import stor.redis._lane" \
 && /opt/stor/bin/twistd --help > /dev/null  # writes Twisted's cache of plugins, which later nobody may

# 2. What runs.
FROM python:3.11-slim-bookworm
RUN apt-get update \
 && apt-get install --yes --no-install-recommends fuse3 tini \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --home-dir /data --shell /usr/sbin/nologin stor \
 && install --directory --owner stor --group stor --mode 0750 /data \
 && install --directory /etc/stor
COPY --from=build /opt/stor /opt/stor
ENV PATH=/opt/stor/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    STOR_DATA=/data \
    STOR_WEB__HOST=0.0.0.0 \
    PROXY_HOST=::
# A stor.toml mounted here is read; without one the environment says it all.
WORKDIR /etc/stor
USER stor
EXPOSE 8080 6379
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=15s --retries=3 CMD ["stor", "health"]
# -s: reap also where something else is process 1, as on Fly.
ENTRYPOINT ["tini", "-s", "--"]
CMD ["twistd", "-n", "--pidfile=", "stor", "run"]
