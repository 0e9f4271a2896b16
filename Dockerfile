# `digit-edge serve` and `digit-edge watch` with LiteRT; compose.yaml runs both.
#     docker build -t digit-edge .
#     docker run --read-only -p 8080:8080 -e DIGIT_EDGE_TOKEN=… digit-edge
FROM python:3.13-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/digit-edge
COPY pyproject.toml setup.py README.md LICENSE ./
COPY benchmarks benchmarks
COPY deploy/wheel deploy/wheel
COPY export export
COPY runtime runtime
COPY train train
RUN /opt/digit-edge/bin/pip install --no-cache-dir ".[litert,serve,mqtt]"

FROM python:3.13-slim-bookworm
COPY --from=build /opt/digit-edge /opt/digit-edge
# /state: watch remembers there which images it has classified. /inbox: the images arrive there.
RUN install --directory --owner=10001 --group=10001 /state /inbox
ENV PATH=/opt/digit-edge/bin:$PATH PYTHONDONTWRITEBYTECODE=1 STATE_DIRECTORY=/state
USER 10001:10001
EXPOSE 8080
# Of serve; compose.yaml has the check of watch.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/healthz', timeout=3)"]
ENTRYPOINT ["digit-edge"]
CMD ["serve", "--host", "0.0.0.0"]
