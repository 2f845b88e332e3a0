# syntax=docker/dockerfile:1
# The service in a container:
#   docker build --target cpu -t dabt:cpu . && docker run --network host -v dabt:/data dabt:cpu
#   docker build --target cuda -t dabt:cuda . && \
#     docker run --gpus all --shm-size 4g --network host -v dabt:/data dabt:cuda
# The workers of one engine (--tensor-parallel) speak through shared memory, of which Docker gives 64 MiB. Caches of
# models and of compiled kernels lie in /data too, so that a new container finds them.
# Another command: docker run … dabt:cpu versions. The service listens on loopback only while it has no API keys, hence
# the host's network. The CUDA libraries come with the wheels of cuda.lock; the host brings the driver and NVIDIA's
# container toolkit.

FROM python:3.11-slim-bookworm AS base
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# A compiler at run time: vLLM and Triton compile kernels for the machine that they find. KubeRay's probes ask by wget.
# hadolint ignore=DL3008 # Debian removes old versions from its archive, so a pinned one would not build next month
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ libnuma1 wget \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /app

# Packages first and the source last, so that a change of the source does not download them again.
FROM base AS packages-cpu
RUN python -m venv /opt/venv
COPY requirements/cpu.lock requirements/
RUN pip install --no-cache-dir --no-deps --extra-index-url https://download.pytorch.org/whl/cpu -r requirements/cpu.lock

FROM base AS packages-cuda
RUN python -m venv /opt/venv
COPY requirements/cuda.lock requirements/
RUN pip install --no-cache-dir --no-deps -r requirements/cuda.lock

# What both images share on top of their packages: the project, a user without rights, a place for the data, the command.
FROM base AS app
RUN useradd --create-home --uid 10001 dabt && install --directory --owner=dabt --group=dabt /data
ENV DABT_HOME=/data \
    XDG_CACHE_HOME=/data/cache \
    HF_HOME=/data/cache/huggingface \
    VLLM_CACHE_ROOT=/data/cache/vllm \
    FLASHINFER_WORKSPACE_BASE=/data/cache \
    TRITON_CACHE_DIR=/data/cache/triton \
    TORCHINDUCTOR_CACHE_DIR=/data/cache/torchinductor \
    CUDA_CACHE_PATH=/data/cache/cuda \
    VLLM_NO_USAGE_STATS=1
COPY . .
VOLUME /data
# The service, unless another command is given.
HEALTHCHECK --interval=10s --timeout=5s --start-period=5m \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["dabt"]
CMD ["serve", "--base", "examples/clinic/base_model"]

FROM app AS runs-cpu
COPY --from=packages-cpu /opt/venv /opt/venv
RUN pip install --no-cache-dir --no-deps --no-build-isolation --editable .
USER 10001

FROM app AS cuda
COPY --from=packages-cuda /opt/venv /opt/venv
RUN pip install --no-cache-dir --no-deps --no-build-isolation --editable .
USER 10001

# Training where GPUs are rented: SageMaker runs it with the word `train`, Vertex AI with the variables of its contract
# (docs/guides/kubernetes.md). Both run a container as root, and mount what it may read and must write.
FROM cuda AS training
ENV DABT_HOME=/tmp/dabt
# hadolint ignore=DL3002 # /opt/ml belongs to root there
USER 0
HEALTHCHECK NONE
ENTRYPOINT ["dabt", "train-container"]
CMD []

FROM runs-cpu AS training-cpu
ENV DABT_HOME=/tmp/dabt
# hadolint ignore=DL3002 # as above
USER 0
HEALTHCHECK NONE
ENTRYPOINT ["dabt", "train-container"]
CMD []

# Last, so that a build without --target makes the image that runs anywhere.
FROM runs-cpu AS cpu
