"""Conversation commands: `askbot chat` and `askbot ask`."""

from __future__ import annotations

import math
import sys
from typing import Annotated

import typer

from .command_options import TokenFileOption
from .command_variables import TOKEN_VARIABLE, URL_VARIABLE
from .decoding import is_text, recover_text
from .lazy_commands import make_typer

URL_HELP = f"URL of the server, or its host and port [env: {URL_VARIABLE}]."
DEFAULT_URL = "ws://127.0.0.1:8765/v1/chat"

chat, ask = make_typer(), make_typer()

SessionOption = Annotated[str | None, typer.Option("--session", metavar="ID", help="Session to resume.")]


@chat.command()
def hold_conversation(
    url: Annotated[
        str, typer.Argument(metavar="URL", help=URL_HELP, envvar=URL_VARIABLE, show_envvar=False)
    ] = DEFAULT_URL,
    session: SessionOption = None,
    *,
    token_file: TokenFileOption = None,
    new: Annotated[bool, typer.Option("--new", help="Start a new conversation.")] = False,
    history: Annotated[
        bool, typer.Option("--history/--no-history", help="Save questions and the list of sessions on this machine.")
    ] = True,
    plain: Annotated[
        bool, typer.Option("--plain", help="Show plain text instead of Markdown, and read plain lines.")
    ] = False,
) -> None:
    """Hold a conversation in the terminal.

    It resumes the last one from this machine with this server. /help shows the commands.
    """
    import asyncio  # noqa: PLC0415 - for this command only

    from .terminal.chat_command import ChatOptions  # noqa: PLC0415 - for this command only
    from .terminal.chat_command import chat as run_chat  # noqa: PLC0415 - for this command only
    from .terminal.token_option import TokenOption  # noqa: PLC0415 - for this command only

    options = ChatOptions(
        _check_url(url, name="URL"),
        session=session and _check_name(session, name="--session"),
        new=new,
        save_history=history,
        plain=plain,
        token=TokenOption(TOKEN_VARIABLE, token_file),
    )
    raise typer.Exit(asyncio.run(run_chat(options)))


@ask.command()
def ask_question(
    question: Annotated[
        list[str] | None,
        typer.Argument(metavar="QUESTION|-", help="The question; - is what stdin has, as without a question."),
    ] = None,
    url: Annotated[str, typer.Option(help=URL_HELP, envvar=URL_VARIABLE, show_envvar=False)] = DEFAULT_URL,
    session: SessionOption = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Model to ask.")] = None,
    timeout: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="Maximum time for everything, in seconds.")
    ] = None,
    *,
    token_file: TokenFileOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object when the answer has ended.")] = False,
    thinking: Annotated[bool, typer.Option("--thinking", help="Show the model's thinking, on stderr.")] = False,
) -> None:
    """Ask one question; the answer goes to stdout, as it comes.

    Stdin is read only where there is no question, or for -, as in `git diff | askbot ask "What does this change?" -`.
    Everything but the answer goes to stderr.

    The exit code is 0 where the answer is complete; 1 where it ended otherwise, or was refused; 2 for a wrong command
    line; 3 where the server can't be reached, or is away for too long; 4 where there is no such session; 124 after
    --timeout; 141 where nobody reads the output any more; 129, 130 or 143 after SIGHUP, Ctrl-C or SIGTERM. In the last
    three cases the answer is stopped at the server too.
    """
    import asyncio  # noqa: PLC0415 - for this command only

    from .terminal.ask_command import AskOptions  # noqa: PLC0415 - for this command only
    from .terminal.ask_command import ask as run_ask  # noqa: PLC0415 - for this command only
    from .terminal.token_option import TokenOption  # noqa: PLC0415 - for this command only

    limit = None if timeout is None else _seconds_of(timeout, name="--timeout")
    options = AskOptions(
        _question_words(question or []),
        _check_url(url, name="--url"),
        session=session and _check_name(session, name="--session"),
        model=model and _check_name(model, name="--model"),
        show_thinking=thinking,
        token=TokenOption(TOKEN_VARIABLE, token_file),
    )
    raise typer.Exit(asyncio.run(run_ask(options, timeout=limit, as_json=as_json)))


def _question_words(words: list[str]) -> tuple[str, ...]:
    """Return one question, one `-`, or both; without any where stdin has it. Raises BadParameter."""
    questions = [word for word in words if word != "-"]
    if len(questions) > 1 or len(words) - len(questions) > 1:
        raise typer.BadParameter("there is one question, in quotes, and at most one -", param_hint="QUESTION")
    if not words and (sys.stdin is None or sys.stdin.isatty()):
        raise typer.BadParameter("nothing was asked: give a question, or pipe one in", param_hint="QUESTION")
    return tuple(words)


def _seconds_of(written: str, *, name: str) -> float:
    """Return a number of seconds, 0 or more. Raises BadParameter."""
    try:
        seconds = float(written)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:  # nan is not, either
        raise typer.BadParameter("it has to be a number of seconds, 0 or more", param_hint=name)
    return seconds


def _check_url(written: str, *, name: str) -> str:
    """Return the complete URL. Raises BadParameter, with the name of the argument and nothing of the URL."""
    from .terminal.server_url import complete_url  # noqa: PLC0415 - for these commands only

    try:
        return complete_url(_check_name(written, name=name))
    except ValueError as error:
        raise typer.BadParameter(f"{error}, like localhost:8765 or wss://example.org", param_hint=name) from None


def _check_name(written: str, *, name: str) -> str:
    """Return a text from the command line or the environment. Raises BadParameter where it has bytes that are none."""
    text = recover_text(written)
    if not is_text(text):
        raise typer.BadParameter("there are bytes in it that are no text", param_hint=name)
    return text
