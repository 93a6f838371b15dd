# One image for every process: `docker run hlfast api`, `ws`, `tables`, whatever `hlfast` does.

FROM python:3.13-slim AS build
COPY requirements-image.txt /
RUN python -m venv --without-pip /venv \
    && pip --python /venv/bin/python install --no-cache-dir --disable-pip-version-check \
        --require-hashes --only-binary :all: --requirement requirements-image.txt
COPY hlfast /app/hlfast
COPY hl_utils /app/hl_utils
COPY sql /app/sql
RUN python -m compileall -q /app

FROM python:3.13-slim
RUN useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin hlfast
COPY --from=build /venv /venv
COPY --from=build /app /app
# Where users find user_faker.py and create_tables_and_superuser.sh. Nothing is imported from the
# working directory: its modules are hl_utils'.
WORKDIR /app/hl_utils
# A container is one process, and listens on 8000 whichever it is: one health check fits all.
ENV PATH=/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONSAFEPATH=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HLFAST_HTTP_HOST=0.0.0.0 \
    HLFAST_WS_HOST=0.0.0.0 \
    HLFAST_HTTP_PORT=8000 \
    HLFAST_WS_PORT=8000
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from http.client import HTTPConnection as C; c = C('127.0.0.1', 8000, timeout=4); c.request('GET', '/health/ready'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["python", "-m", "hl_utils"]
CMD ["api"]
