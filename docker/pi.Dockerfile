# A Raspberry Pi with a 64-bit system: device checks of pi-pool, on the base install and Prefect's worker.
# docker buildx build --platform linux/arm64 -f docker/pi.Dockerfile -t nightshift-pi .
FROM --platform=linux/arm64 python:3.11-slim
ENV PYTHONUNBUFFERED=1 NIGHTSHIFT_HOME=/srv/nightshift
WORKDIR /opt/nightshift
COPY constraints.txt pyproject.toml README.md LICENSE prefect.yaml ./
COPY configs configs
COPY nightshift nightshift
COPY flows flows
COPY tasks tasks
COPY deployments deployments
RUN pip install --no-cache-dir -c constraints.txt ".[worker]"
VOLUME /srv/nightshift
CMD ["prefect", "worker", "start", "--pool", "pi-pool", "--work-queue", "device", "--type", "process"]
