# The endpoint and the page server. See docs/clusters.md:
#   docker build -t streamvis . && docker run -p 8080:8080 -p 5006:5006 -v streamvis:/data streamvis
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY src src
RUN python -m venv /opt/streamvis && /opt/streamvis/bin/pip install --no-cache-dir . -c constraints.txt

FROM python:3.13-slim
COPY --from=build /opt/streamvis /opt/streamvis
# The folder of the runs and of the tokens. A volume that is made from it belongs to nobody, too.
RUN install -d -o nobody -g nogroup -m 700 /data
ENV PATH=/opt/streamvis/bin:$PATH PYTHONUNBUFFERED=1 HOME=/tmp STREAMVIS_DATA=/data STREAMVIS_HOST=0.0.0.0
USER nobody
VOLUME /data
EXPOSE 8080 5006
# Whether those of the two servers answer that run in this container: STREAMVIS_HEALTH names their addresses.
ENV STREAMVIS_HEALTH="http://127.0.0.1:8080/healthz http://127.0.0.1:5006/"
HEALTHCHECK --interval=30s --timeout=15s --start-period=60s CMD ["python", "-c", "import os, sys, urllib3; sys.exit(any(urllib3.request('GET', at, retries=False, timeout=5).status >= 500 for at in os.environ['STREAMVIS_HEALTH'].split()))"]
ENTRYPOINT ["streamvis"]
CMD ["serve", "--no-browser"]
