# A machine that trains: local-pool, gpu-pool, and pi-pool's queue `train`. Its torch brings CUDA on x86; a GPU needs
# the NVIDIA container toolkit and `--gpus all`.
# docker build -f docker/worker.Dockerfile -t nightshift-worker .
FROM python:3.11-slim
# LightGBM and torch share OpenMP.
RUN apt-get update && apt-get install --no-install-recommends -y libgomp1 && rm -rf /var/lib/apt/lists/*
ENV PYTHONUNBUFFERED=1 NIGHTSHIFT_HOME=/srv/nightshift
WORKDIR /opt/nightshift
COPY constraints.txt pyproject.toml README.md LICENSE prefect.yaml ./
COPY configs configs
COPY nightshift nightshift
COPY flows flows
COPY tasks tasks
COPY deployments deployments
RUN pip install --no-cache-dir -c constraints.txt ".[driving,scale]"
VOLUME /srv/nightshift
CMD ["prefect", "worker", "start", "--pool", "gpu-pool", "--type", "process", "--limit", "1"]
