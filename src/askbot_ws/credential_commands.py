"""Credential commands: `askbot key` and `askbot ticket`."""

from __future__ import annotations

import getpass
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, cast

import typer

from .config import load
from .core.principal import Right
from .errors import ConfigError
from .lazy_commands import make_typer
from .setting_types import one_of, parse_duration

key = make_typer(help="Make, list and revoke the static keys of a server.")
ticket = make_typer()

KeysOption = Annotated[
    Path | None, typer.Option("--keys", metavar="FILE", help="File of keys; by default the one of ASKBOT_KEYS.")
]
UserOption = Annotated[str, typer.Option("--user", metavar="NAME", help="User on whose behalf it is used.")]
RoleOption = Annotated[
    str | None, typer.Option("--role", metavar="ROLE", help="Role that decides which models and options are allowed.")
]


@key.command("new")
def new_key(
    user: UserOption,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="90d", help="How long it is valid; by default until revoked.")
    ] = None,
    may: Annotated[
        str, typer.Option("--may", metavar="RIGHTS", help="What it may do besides: admin, metrics, tickets.")
    ] = "",
    role: RoleOption = None,
    keys: KeysOption = None,
) -> None:
    """Make a key, print it once, and append its hash to the file.

    The key goes to stdout, what is said of it to stderr. Clients send it as `Authorization: Bearer KEY`. A running
    server accepts it within a second.
    """
    from .auth.key_file import add_key, make_key  # noqa: PLC0415 - for this command only
    from .logs import make_audit_logger  # noqa: PLC0415 - for this command only

    rights, now = _parse_rights(may), time.time()
    _check_name(user, "--user")
    if role is not None:
        _check_name(role, "--role")
    ends = None if expires is None else now + _parse_seconds(expires)
    path = _key_file(keys)
    made = make_key(user, now=now, rights=rights, role=role, expires=ends)
    add_key(path, made.key)
    log = make_audit_logger(load({"keys": path}))
    log.info(
        "key_created", credential=made.key.credential, user=user, rights=rights, expires=ends, account=_account_name()
    )
    typer.echo(made.text)
    until = "until it is revoked" if ends is None else f"until {_format_time(ends)}"
    typer.echo(f"This is the only time that the key is shown. Its hash is in {path}; it is valid {until}.", err=True)


@key.command("list")
def list_keys(keys: KeysOption = None) -> None:
    """List the keys of the file, by their ids; the keys themselves are in no file."""
    from .auth.key_file import read_keys  # noqa: PLC0415 - for this command only

    found = read_keys(_key_file(keys)).values()
    rows = [("ID", "USER", "MAY", "ROLE", "CREATED", "EXPIRES")]
    rows += [
        (
            each.id,
            each.user,
            ",".join(each.rights) or "-",
            each.role or "-",
            _format_time(each.created),
            "never" if each.expires is None else _format_time(each.expires),
        )
        for each in found
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        typer.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


@key.command("revoke")
def revoke_key(
    id: Annotated[str, typer.Argument(metavar="ID", help="Id of the key, as `askbot key list` shows it.")],
    keys: KeysOption = None,
) -> None:
    """Remove a key from the file.

    A running server refuses it within a second. It closes the connections that were opened with it when it next checks
    a key, or at once where it gets SIGHUP. The exit code is 1 where there is no such key.
    """
    from .auth.key_file import KEY_PATTERN, remove_key  # noqa: PLC0415 - for this command only
    from .logs import make_audit_logger  # noqa: PLC0415 - for this command only

    whole = KEY_PATTERN.fullmatch(id)
    path = _key_file(keys)
    removed = remove_key(path, whole[1] if whole else id)
    if removed is None:
        typer.echo(f"There is no such key in {path}; `askbot key list` shows all.", err=True)
        raise typer.Exit(1)
    log = make_audit_logger(load({"keys": path}))
    log.info("key_removed", credential=removed.credential, user=removed.user, account=_account_name())
    typer.echo(f"The key {removed.id} of {removed.user} is revoked; a running server closes its connections at SIGHUP.")


@ticket.command()
def print_ticket(
    user: UserOption,
    session: Annotated[
        str | None, typer.Option("--session", metavar="ID", help="The only session that may be used.")
    ] = None,
    expires: Annotated[
        str, typer.Option("--expires", metavar="1h", help="When the connection is closed, at most 24h.")
    ] = "1h",
    role: RoleOption = None,
    keys: KeysOption = None,
    *,
    read_only: Annotated[bool, typer.Option("--read-only", help="Sessions may only be read.")] = False,
) -> None:
    """Print a one-time ticket, with which a client connects within 30 seconds: `…/v1/chat?ticket=TICKET`.

    It is signed with the secret of the server's settings, ASKBOT_TICKET_SECRET or the one beside the file of keys, so
    no server needs to run.
    """
    from .auth.choose import ticket_secret  # noqa: PLC0415 - for this command only
    from .auth.tickets import make_ticket  # noqa: PLC0415 - for this command only
    from .logs import make_audit_logger  # noqa: PLC0415 - for this command only

    settings = load({"keys": keys})
    if settings.ticket_secret is None and settings.keys is None:
        raise ConfigError("Tickets are signed with a secret: set ASKBOT_TICKET_SECRET, or ASKBOT_KEYS (--keys).")
    try:
        ticket = make_ticket(
            user,
            secret=ticket_secret(settings),
            session=session,
            read_only=read_only,
            expires=_parse_seconds(expires),
            role=role,
        )
    except ValueError as error:
        name, _, what = str(error).partition(": ")
        raise typer.BadParameter(what, param_hint=f"--{name}") from None
    log = make_audit_logger(settings)
    log.info(
        "ticket_issued",
        credential=ticket.credential,
        user=user,
        session=session,
        read_only=read_only,
        expires=ticket.expires,
        account=_account_name(),
    )
    typer.echo(ticket.text)


def _account_name() -> str:
    """Return the account of this machine that runs the command, for the audit line."""
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # it has no name
        return "unknown"


def _key_file(given: Path | None) -> Path:
    """Return the file of keys. Raises `ConfigError` where none is named."""
    path = load({"keys": given}).keys
    if path is None:
        raise ConfigError("Which file has the keys? Set ASKBOT_KEYS, which the server reads too, or give --keys FILE.")
    return path


def _parse_rights(written: str) -> list[Right]:
    """Return the rights of a list like "admin, tickets". Raises BadParameter."""
    from .auth.principals import RIGHTS  # noqa: PLC0415 - for these commands only

    names = [name.strip() for name in written.split(",") if name.strip()]
    if any(name not in RIGHTS for name in names):
        raise typer.BadParameter(f"a right is {one_of(RIGHTS)}; several are separated by commas", param_hint="--may")
    return [right for right in RIGHTS if right in names]


def _parse_seconds(written: str) -> float:
    """Return a duration in seconds, more than 0. Raises BadParameter."""
    try:
        seconds = cast(float, parse_duration(written))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--expires") from None
    if not 0 < seconds <= 36_500 * 86_400:
        raise typer.BadParameter("it should be longer than 0, and at most 36500d", param_hint="--expires")
    return seconds


def _check_name(written: str, option: str) -> None:
    """Raise BadParameter for what can't be the name of a user or a role."""
    from .auth.principals import is_user  # noqa: PLC0415 - for these commands only

    if not is_user(written):
        message = "it should have 1 to 256 characters, none of them a control character, and no blank around it"
        raise typer.BadParameter(message, param_hint=option)


def _format_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
