# Two images: `--target gateway` (the process beside the PACS) and `--target batch` (a job's container).
# docs/container.md says how to build and run them; container/build-images.sh does it, also without Docker.
#
#   BASE     a slim system with Python 3.11 to 3.13, venv and CA certificates; by digest
#   ENGINE   of batch: totalsegmentator, or threshold, which needs no torch
#   TORCH    of totalsegmentator: cuda, or cpu, which the tests run with (container/constraints-*.txt)
#   TORCH_INDEX   one more package index for torch; of cpu: https://download.pytorch.org/whl/cpu
#   TASKS    of totalsegmentator: whose weights to bake in ("total total_mr"); none: mount them on /opt/weights

ARG BASE=docker.io/library/python:3.12.14-slim-bookworm@sha256:782412e85d0f0984994c290652577d4018aff08145c85b262bb63dc0c7522254
ARG ENGINE=totalsegmentator

# hadolint ignore=DL3006
FROM ${BASE} AS system
ENV PATH=/opt/iris/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1
COPY container/pip.txt /src/
RUN python3 -m venv /opt/iris \
    && pip install --require-hashes --requirement /src/pip.txt \
    && useradd --uid 10001 --user-group --no-create-home --home-dir /scratch --shell /usr/sbin/nologin iris \
    && install --directory --owner=iris --group=iris /scratch
WORKDIR /scratch
ENV HOME=/scratch \
    TMPDIR=/scratch

# Lists what is in an image (CycloneDX).
FROM system AS bom
COPY constraints-tools.txt /src/
RUN python3 -m venv --without-pip /opt/bom \
    && pip --python /opt/bom/bin/python install --require-hashes --constraint /src/constraints-tools.txt cyclonedx-bom


# -- batch: one layer for each thing that changes at its own pace; torch is the large one ------------------

FROM system AS batch-threshold
COPY constraints.txt container/batch.txt /src/
RUN pip install --require-hashes --constraint /src/constraints.txt --requirement /src/batch.txt

FROM batch-threshold AS batch-totalsegmentator
ARG TORCH=cuda
ARG TORCH_INDEX=""
ARG TASKS=""
ENV TOTALSEG_WEIGHTS_PATH=/opt/weights
COPY constraints-engine.txt container/constraints-${TORCH}.txt container/segment.txt /src/
RUN pip install ${TORCH_INDEX:+--extra-index-url "${TORCH_INDEX}"} --require-hashes \
    --constraint /src/constraints-engine.txt --constraint /src/constraints-${TORCH}.txt torch
# hadolint ignore=DL3059
RUN pip install --require-hashes --constraint /src/constraints-engine.txt \
    --constraint /src/constraints-${TORCH}.txt --requirement /src/segment.txt
RUN install --directory /opt/weights \
    && for task in ${TASKS}; do HOME=/tmp totalseg_download_weights -t "${task}" || exit 1; done

# hadolint ignore=DL3006
FROM batch-${ENGINE} AS batch-code
COPY batch_job /opt/iris/app/batch_job
RUN python -m compileall -q /opt/iris/app
ENV PYTHONPATH=/opt/iris/app

FROM batch-code AS batch-bom
COPY --from=bom /opt/bom /opt/bom
RUN /opt/bom/bin/cyclonedx-py environment --output-reproducible --output-file /opt/bom/bom.json \
    /opt/iris/bin/python

FROM batch-code AS batch
ARG VERSION=0
ARG REVISION=""
COPY --from=batch-bom /opt/bom/bom.json /usr/share/iris/bom.json
LABEL org.opencontainers.image.title="IRIS Gateway: batch job" \
      org.opencontainers.image.description="Segments one NIfTI of a job folder; for research use" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER 10001:10001
VOLUME /scratch
# A job says by its exit code how it went, and nobody asks it anything meanwhile; nor is a base's check inherited.
HEALTHCHECK NONE
ENTRYPOINT ["python", "-m", "batch_job"]


# -- gateway ------------------------------------------------------------------------------------------------

FROM system AS gateway-code
COPY pyproject.toml constraints.txt /src/
COPY container/dependencies.py /src/container/
RUN python /src/container/dependencies.py aws > /src/needed.txt \
    && pip install --require-hashes --constraint /src/constraints.txt --requirement /src/needed.txt
COPY README.md LICENSE /src/
COPY examples /src/examples
COPY batch_job /src/batch_job
COPY converter /src/converter
COPY gateway /src/gateway
RUN pip install --no-deps --build-constraint /src/constraints.txt /src

FROM gateway-code AS gateway-bom
COPY --from=bom /opt/bom /opt/bom
RUN /opt/bom/bin/cyclonedx-py environment --output-reproducible --output-file /opt/bom/bom.json \
    /opt/iris/bin/python

FROM gateway-code AS gateway
ARG VERSION=0
ARG REVISION=""
COPY --from=gateway-bom /opt/bom/bom.json /usr/share/iris/bom.json
RUN install --directory --owner=iris --group=iris --mode=0700 /data
# Inside a container everything listens: what is published is decided where it is run.
ENV IRIS_SITE__DATA_DIR=/data \
    IRIS_DICOM__HOST=0.0.0.0 \
    IRIS_API__HOST=0.0.0.0
LABEL org.opencontainers.image.title="IRIS Gateway" \
      org.opencontainers.image.description="Gives every suitable study in a PACS a segmentation; for research use" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER 10001:10001
VOLUME /data /scratch
EXPOSE 11112 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["python", "-c", \
    "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ.get(\"IRIS_API__PORT\", 8080)}/healthz', timeout=4)"]
ENTRYPOINT ["iris", "serve"]
