# Two images; docs/howto/containers.md says how to build and run them.
#   docker build --target runtime -t dentalzoo .       applies the released bundles; no TensorFlow
#   docker build --target full -t dentalzoo:full .     everything in the extra `all`

FROM debian:trixie-slim AS base
# The suite pins Debian's packages; their updates are wanted.
# hadolint ignore=DL3008
RUN apt-get update -q \
    && apt-get install -yq --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/*
# HOME, for any user: bundles that are downloaded, and the fonts of figures
ENV PATH=/opt/dentalzoo/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1

# pip and what it builds stay behind in these stages.
FROM base AS builder
# hadolint ignore=DL3008
RUN apt-get update -q \
    && apt-get install -yq --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/dentalzoo
WORKDIR /src
COPY . .

FROM builder AS builder-runtime
ARG EXTRAS=runtime
# setup.cfg pins
# hadolint ignore=DL3013
RUN pip install --no-cache-dir --compile ".[$EXTRAS]" \
    && pip check \
    && pip uninstall -yq pip

FROM builder AS builder-full
# hadolint ignore=DL3013
RUN pip install --no-cache-dir --compile '.[all]' \
    && pip check \
    && pip uninstall -yq pip

FROM base AS full
# what Open3D is linked against
# hadolint ignore=DL3008
RUN apt-get update -q \
    && apt-get install -yq --no-install-recommends \
        libegl1 libgl1 libgomp1 libidn2-0 libudev1 libusb-1.0-0 libx11-6 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --no-create-home dentalzoo
COPY --from=builder-full /opt/dentalzoo /opt/dentalzoo
USER 1000
WORKDIR /data
ENTRYPOINT ["dentalzoo"]
CMD ["--help"]

# Last, so that it is what `docker build .` builds.
FROM base AS runtime
RUN useradd --uid 1000 --no-create-home dentalzoo
COPY --from=builder-runtime /opt/dentalzoo /opt/dentalzoo
USER 1000
WORKDIR /data
ENTRYPOINT ["dentalzoo"]
CMD ["--help"]
