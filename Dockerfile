# docker build --tag scope:0.1.0 --build-arg PROFILE=gpu .      (PROFILE=cpu, the default: for machines without a GPU)
# docker run --rm --gpus all --shm-size 16g -v scope-runs:/scope/runs -v scope-hub:/hub scope:0.1.0 make train
# Run: every step with PROFILE=cpu, by buildah on a Debian bookworm made by debootstrap; in it scope-train doctor, plan,
# and make train with steps=1 (libnuma1 was put in after the build). Not run: docker, PROFILE=gpu.
FROM debian:bookworm-slim
ARG PROFILE=cpu

# wget is for KubeRay's probes; vLLM's build for CPUs links libnuma. The GPU profile needs no CUDA,
# which comes with torch, and no compiler but the one by which Triton builds launchers (docs/gpu.md).
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates libnuma1 make procps python3 python3-venv wget \
        $(test "$PROFILE" = cpu || echo gcc libc6-dev python3-dev) \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home --uid 1000 scope \
    && install --directory --owner scope /scope /scope/runs /hub \
    && for command in ray scope-train scope-eval scope-grade; do \
        ln -s "/scope/.venv/bin/$command" /usr/local/bin/; done
USER scope
WORKDIR /scope
ENV PROFILE=$PROFILE HF_HOME=/hub UV_NO_CACHE=1 PIP_NO_CACHE_DIR=1

# the packages of the lock are a layer of their own, which a change of the code leaves as it is
COPY --chown=scope requirements requirements
RUN sh requirements/install.sh "$PROFILE"
COPY --chown=scope . .
RUN sh requirements/install.sh "$PROFILE"

VOLUME ["/scope/runs", "/hub"]
CMD ["scope-train", "doctor"]
