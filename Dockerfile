# One image for every service: CELERIAC_SERVICE says which one a container is.
# Python 3.13.15. To update, take the digest that `docker buildx imagetools inspect` prints for the tag.
FROM python:3.13-slim-trixie@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b AS build
WORKDIR /src
RUN python -m venv /venv
# The versions that the demo is tested with, their hashes checked; apart from the sources, so that
# a change of those installs nothing anew.
COPY requirements/demo.txt requirements/
RUN /venv/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements/demo.txt
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY src src
RUN /venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.13-slim-trixie@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b
RUN useradd --system --uid 10001 --no-create-home shop
COPY --from=build /venv /venv
WORKDIR /app
COPY config config
COPY handlers handlers
COPY tasks tasks
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 10001
CMD ["celery", "-A", "config", "worker"]
