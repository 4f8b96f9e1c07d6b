# A machine that trains: local-pool, gpu-pool, and pi-pool's queue `train`; the dashboard with another command. Its
# torch brings CUDA on x86; a GPU needs the NVIDIA container toolkit and `--gpus all`.
# docker build -f docker/worker.Dockerfile -t nightshift-worker:0.1.0 .
FROM python:3.11.14-slim-bookworm
# LightGBM and torch share OpenMP.
RUN apt-get update && apt-get install --no-install-recommends -y "libgomp1=12.*" && rm -rf /var/lib/apt/lists/*
ENV PYTHONUNBUFFERED=1 NIGHTSHIFT_HOME=/srv/nightshift
WORKDIR /opt/nightshift
COPY constraints.txt pyproject.toml README.md LICENSE prefect.yaml docker/in_home.py ./
COPY configs configs
COPY nightshift nightshift
COPY flows flows
COPY tasks tasks
COPY deployments deployments
RUN pip install --no-cache-dir -c constraints.txt ".[dashboard,driving,scale]"
RUN useradd --uid 1000 --create-home nightshift && install -d -o nightshift -g nightshift /srv/nightshift
USER 1000
WORKDIR /srv/nightshift
VOLUME /srv/nightshift
HEALTHCHECK --start-period=60s --interval=30s --timeout=10s \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/health', timeout=5)"]
ENTRYPOINT ["python", "/opt/nightshift/in_home.py"]
CMD ["prefect", "worker", "start", "--pool", "gpu-pool", "--type", "process", "--limit", "1", "--with-healthcheck"]
