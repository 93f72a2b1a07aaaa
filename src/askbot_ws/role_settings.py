"""Role settings: what a role may do in place of what the settings say for everybody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeAlias, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails, from_json

from .setting_types import MAX_INTEGER, Count, Size, TextList, allowed_text

_EXAMPLE = '{"guest": {"models": ["small"], "max_tokens": 256, "tokens_per_day": 20000}}'


class RoleSettings(BaseModel):
    """What a role may do. What is left out is as the setting of the same name says for everybody."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    models: TextList | None = Field(default=None, min_length=1)
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    temperature: bool | None = None
    user_frames_per_minute: Count | None = None
    questions_per_minute: Count | None = None
    characters_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    tokens_per_day: Annotated[int, Field(ge=0, le=MAX_INTEGER)] | None = None
    max_turns_per_user: Count | None = None
    max_queued_per_user: Annotated[int, Field(ge=0, le=MAX_INTEGER)] | None = None
    max_connections_per_user: Count | None = None
    max_sessions_per_user: Count | None = None
    max_session_size: Size | None = None

    @field_validator("*", mode="before")
    @classmethod
    def _check_kind(cls, value: object, info: ValidationInfo) -> object:
        """Refuse on and off for what is a number (to pydantic, true is 1)."""
        if isinstance(value, bool) and info.field_name != "temperature":
            raise ValueError("it is no switch")
        return value


def parse_roles(value: object) -> object:
    """Return roles by name, from a table or from JSON. Raises ValueError."""
    if isinstance(value, str):
        try:
            value = from_json(value)
        except ValueError:
            raise ValueError(f"it should be JSON like {_EXAMPLE}") from None
    if not isinstance(value, Mapping):
        raise ValueError(f"it should be a table of roles, as JSON like {_EXAMPLE}")  # noqa: TRY004 - pydantic's way
    roles: dict[str, RoleSettings] = {}
    faults: dict[str, None] = {}
    for name, role in cast(Mapping[object, object], value).items():
        try:
            roles[str(name)] = RoleSettings.model_validate(role)
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_context=False):
                faults[_describe_fault(str(name), detail)] = None
    if faults:
        raise ValueError("; ".join(faults))
    return roles


def _describe_fault(name: str, detail: ErrorDetails) -> str:
    if not detail["loc"]:
        return f"it should be a table of tables, one for each role, as JSON like {_EXAMPLE}"
    field = str(detail["loc"][0])
    info = RoleSettings.model_fields.get(field)
    if info is None:
        known = ", ".join(RoleSettings.model_fields)
        return f"it should be without {name}.{field}: a role may have {known}"
    wanted = allowed_text(info).removeprefix("it should be ")
    if field == "models":
        wanted += ", of at least one name, none of them empty"
    return f"it should be right in each role: {name}.{field} should be {wanted}"


Roles: TypeAlias = Annotated[Mapping[str, RoleSettings], BeforeValidator(parse_roles)]
