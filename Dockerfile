# askbot-ws, with its embedded model unless built with --build-arg MODEL=no (when an API is used).
FROM python:3.13-slim

RUN useradd --create-home --uid 10001 askbot && install -d -o askbot -g askbot /data
WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
COPY client client
COPY docs/asyncapi.json docs/
ARG MODEL=yes
RUN pip install --no-cache-dir --constraint constraints.txt . \
 && if [ "$MODEL" = yes ]; then askbot model install; fi

USER askbot
ENV ASKBOT_HOST=0.0.0.0 \
    ASKBOT_STORE=sqlite:////data/askbot.db \
    ASKBOT_LOG_FORMAT=json
EXPOSE 8765
VOLUME /data
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8765/readyz', timeout=2)"]
CMD ["askbot", "serve"]
