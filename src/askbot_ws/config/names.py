"""Setting names: how a setting is called in the environment and on the command line, and in which section it is."""

from __future__ import annotations

from ..command_variables import TOKEN_VARIABLE, URL_VARIABLE
from ..setting_types import format_value
from .settings import API_KEY, Settings

ENV_PREFIX = "ASKBOT_"
CONFIG_FILE = "askbot.toml"
CONFIG_FILE_VARIABLE = "ASKBOT_CONFIG"
OTHER_VARIABLES = (CONFIG_FILE_VARIABLE, URL_VARIABLE, TOKEN_VARIABLE)
SECRETS = (API_KEY, "jwt_secret", "ticket_secret", "moderation_api_key")  # in no message and no option
OPENAI_VARIABLES = {"openai_api_key": "OPENAI_API_KEY", "openai_base_url": "OPENAI_BASE_URL"}


def env_variable(field: str) -> str:
    """Return a setting's name in the environment."""
    return OPENAI_VARIABLES.get(field, ENV_PREFIX + field.upper())


def flag(field: str) -> str:
    """Return a setting's name on the command line."""
    return "--" + field.replace("_", "-")


def default_text(field: str) -> str | None:
    """Return a setting's default as people write it; None where there is none."""
    info = Settings.model_fields[field]
    value = info.get_default(call_default_factory=True, validated_data={})
    return None if value in (None, (), {}) else format_value(value, info)


FIELD_OF_VARIABLE = {env_variable(field): field for field in Settings.model_fields}
SECTIONS = {  # titles in the help and in docs/settings.md, each by the field that its section begins with
    "host": "Where it listens",
    "keys": "Who may connect",
    "store": "What is kept",
    "upstream": "The model",
    "openai_api_key": "The model's API",
    "max_question": "Questions and answers",
    "workers": "Processes",
    "max_frame": "Connections",
    "roles": "Users",
    "overload_lag": "Overload",
    "log_level": "Logs and traces",
}


def section_title(field: str) -> str:
    """Return the title of a setting's section."""
    fields = [*Settings.model_fields]
    return [SECTIONS[each] for each in fields[: fields.index(field) + 1] if each in SECTIONS][-1]
