# A Raspberry Pi with a 64-bit system: device checks of pi-pool, on the base install, Prefect's worker and S3.
# docker buildx build --platform linux/arm64 -f docker/pi.Dockerfile -t nightshift-pi:0.1.0 .
FROM python:3.11.14-slim-bookworm
ENV PYTHONUNBUFFERED=1 NIGHTSHIFT_HOME=/srv/nightshift
WORKDIR /opt/nightshift
COPY constraints.txt pyproject.toml README.md LICENSE prefect.yaml docker/in_home.py ./
COPY configs configs
COPY nightshift nightshift
COPY flows flows
COPY tasks tasks
COPY deployments deployments
RUN pip install --no-cache-dir -c constraints.txt ".[board]"
RUN useradd --uid 1000 --create-home nightshift && install -d -o nightshift -g nightshift /srv/nightshift
USER 1000
WORKDIR /srv/nightshift
VOLUME /srv/nightshift
HEALTHCHECK --start-period=60s --interval=30s --timeout=10s \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/health', timeout=5)"]
ENTRYPOINT ["python", "/opt/nightshift/in_home.py"]
CMD ["prefect", "worker", "start", "--pool", "pi-pool", "--work-queue", "device", "--limit", "1", "--type", "process", "--with-healthcheck"]
