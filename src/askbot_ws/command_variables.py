"""Command variables: what commands that connect to a server take from the environment; no settings of a server."""

URL_VARIABLE = "ASKBOT_URL"  # the server's URL
TOKEN_VARIABLE = "ASKBOT_TOKEN"  # noqa: S105 - the name of what has the key or token for it
