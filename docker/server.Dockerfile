# Prefect's server, MLflow's with another command, and `nightshift deploy` with a third: see docker/compose.yaml.
# docker build -f docker/server.Dockerfile -t nightshift-server:0.1.0 .
FROM python:3.11.14-slim-bookworm
ENV PYTHONUNBUFFERED=1 NIGHTSHIFT_HOME=/srv/nightshift
WORKDIR /opt/nightshift
COPY constraints.txt pyproject.toml README.md LICENSE prefect.yaml docker/in_home.py ./
COPY configs configs
COPY nightshift nightshift
COPY flows flows
COPY tasks tasks
COPY deployments deployments
RUN pip install --no-cache-dir -c constraints.txt ".[worker]" mlflow asyncpg psycopg2-binary boto3
RUN useradd --uid 1000 --create-home nightshift && install -d -o nightshift -g nightshift /srv/nightshift
USER 1000
WORKDIR /srv/nightshift
VOLUME /srv/nightshift
EXPOSE 4200 5000
ENTRYPOINT ["python", "/opt/nightshift/in_home.py"]
CMD ["python", "-m", "deployments.prefect_server", "--host", "0.0.0.0"]
