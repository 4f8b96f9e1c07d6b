# Prefect's server, and MLflow's with another command: see docker/README.md.
# docker build -f docker/server.Dockerfile -t nightshift-server .
FROM python:3.11-slim
ENV PYTHONUNBUFFERED=1 DO_NOT_TRACK=1 PREFECT_SERVER_ANALYTICS_ENABLED=false MLFLOW_DISABLE_TELEMETRY=true \
    PREFECT_HOME=/srv/prefect
COPY constraints.txt /tmp/
RUN pip install --no-cache-dir -c /tmp/constraints.txt prefect fastapi mlflow asyncpg psycopg2-binary boto3
VOLUME /srv/prefect
EXPOSE 4200 5000
CMD ["prefect", "server", "start", "--host", "0.0.0.0", "--analytics-off"]
