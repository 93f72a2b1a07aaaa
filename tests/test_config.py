"""Settings: where they come from, and what is said of those that are wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from pydantic import ValidationError

from askbot_ws.config import API_KEY, FIELD_OF_VARIABLE, Settings, default_text, env_variable, flag, from_keywords, load
from askbot_ws.errors import ConfigError


def errors_of(
    cwd: Path, environ: Mapping[str, str] | None = None, flags: Mapping[str, object] | None = None
) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(flags or {}, environ or {}, cwd)
    return str(caught.value).splitlines()[1:]


# --- sources ---------------------------------------------------------------------------------------------------------


def test_nothing_has_to_be_set(tmp_path: Path) -> None:
    """One process with no configuration answers real questions."""
    settings = load({}, {}, tmp_path)

    assert (settings.host, settings.port, settings.loopback) == ("127.0.0.1", 8765, True)
    assert settings.store.startswith("sqlite:////")
    assert (settings.session_ttl, settings.memory) == (30 * 86400, 64 * 1024**2)


def test_the_stronger_source_wins(tmp_path: Path) -> None:
    """Flags over the environment over .env over askbot.toml over the defaults."""
    (tmp_path / "askbot.toml").write_text("port = 1\nretries = 1\nmax_turns = 1\nmax_waiting = 1\n")
    (tmp_path / ".env").write_text("ASKBOT_PORT=2\nASKBOT_RETRIES=2\nASKBOT_MAX_TURNS=2\n")
    environ = {"ASKBOT_PORT": "3", "ASKBOT_RETRIES": "3"}

    settings = load({"port": "4", "retries": None}, environ, tmp_path)

    assert (settings.port, settings.retries, settings.max_turns, settings.max_waiting) == (4, 3, 2, 1)
    assert settings.drain == 20


def test_a_file_can_be_named(tmp_path: Path) -> None:
    """ASKBOT_CONFIG is no setting, but says where settings are; .env may say it too."""
    (tmp_path / "other.toml").write_text('origins = ["https://a.example"]\nfsync = true\n')
    (tmp_path / ".env").write_text("ASKBOT_CONFIG=other.toml\nDATABASE_URL=not-ours\n")

    settings = load({}, {}, tmp_path)

    assert (settings.origins, settings.fsync) == (("https://a.example",), True)


def test_a_named_file_that_is_missing_is_a_fault(tmp_path: Path) -> None:
    """Without a name, the file is optional; with one, it was meant."""
    (fault,) = errors_of(tmp_path, {"ASKBOT_CONFIG": "nowhere.toml"})

    assert "nowhere.toml can't be read (No such file or directory)" in fault


def test_an_empty_variable_is_the_same_as_none(tmp_path: Path) -> None:
    """`OPENAI_API_KEY=` is how compose files leave a key out."""
    settings = load({}, {"OPENAI_API_KEY": "", "ASKBOT_MODEL": " ", "ASKBOT_PORT": ""}, tmp_path)

    assert (settings.openai_api_key, settings.model, settings.port) == (None, None, 8765)


def test_the_key_and_the_url_keep_their_own_names(tmp_path: Path) -> None:
    """What the openai package calls them, people have set already. The key is shown nowhere."""
    settings = load({}, {"OPENAI_API_KEY": "sk-secret", "OPENAI_BASE_URL": "http://localhost:1/v1"}, tmp_path)

    assert settings.openai_api_key
    assert settings.openai_api_key.get_secret_value() == "sk-secret"
    assert "sk-secret" not in repr(settings)


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "seconds"), [("20", 20), ("20s", 20), ("1.5m", 90), ("2h", 7200), ("30d", 2592000), ("250ms", 0.25)]
)
def test_durations_are_written_as_people_do(tmp_path: Path, written: str, seconds: float) -> None:
    """And are seconds inside."""
    assert load({"drain": written}, {}, tmp_path).drain == seconds


@pytest.mark.parametrize(
    ("written", "size"),
    [("65536", 65536), ("64KiB", 65536), ("1 MiB", 1048576), ("1.5mib", 1572864), ("1kB", 1000), (".5MB", 500000)],
)
def test_sizes_are_written_as_people_do(tmp_path: Path, written: str, size: int) -> None:
    """And are bytes inside."""
    assert load({"max_frame": written}, {}, tmp_path).max_frame == size


@pytest.mark.parametrize(("written", "fsync"), [("on", True), ("true", True), ("1", True), ("off", False)])
def test_switches_are_written_as_people_do(tmp_path: Path, written: str, *, fsync: bool) -> None:
    """On and off, as well as true and false."""
    assert load({}, {"ASKBOT_FSYNC": written}, tmp_path).fsync is fsync


def test_never_is_no_duration(tmp_path: Path) -> None:
    """Answers are not abandoned, unless somebody says after how long."""
    assert load({"abandon_after": "never"}, {}, tmp_path).abandon_after is None
    assert load({"abandon_after": "5m"}, {}, tmp_path).abandon_after == 300


def test_lists_are_separated_by_commas(tmp_path: Path) -> None:
    """Spaces and a last comma are nobody's fault."""
    assert load({"models": "a, b,"}, {}, tmp_path).models == ("a", "b")


def test_a_persona_may_be_a_file(tmp_path: Path) -> None:
    """The path is seen from where the settings are."""
    (tmp_path / "persona.txt").write_text("You are kind.\n")

    assert load({"persona": "@persona.txt"}, {}, tmp_path).persona == "You are kind."
    assert load({"persona": "Be brief."}, {}, tmp_path).persona == "Be brief."


@pytest.mark.parametrize("empty", ["", " ", "\n"])
def test_an_empty_persona_is_none(tmp_path: Path, empty: str) -> None:
    """From every source, it switches the system prompt off, and the default is not sent in its place."""
    assert load({}, {}, tmp_path).persona is None
    assert load({"persona": empty}, {}, tmp_path).persona == ""
    assert load({}, {"ASKBOT_PERSONA": empty}, tmp_path).persona == ""
    assert from_keywords({"persona": empty}).persona == ""
    (tmp_path / "persona.txt").write_text(empty)
    assert load({"persona": "@persona.txt"}, {}, tmp_path).persona == ""
    (tmp_path / "askbot.toml").write_text(f"persona = {json.dumps(empty)}\n")
    assert load({}, {}, tmp_path).persona == ""
    (tmp_path / "askbot.toml").write_text('persona = "You are kind."\n')
    (tmp_path / ".env").write_text(f'ASKBOT_PERSONA="{empty}"\nOPENAI_API_KEY=\n')
    assert load({}, {}, tmp_path).persona == ""


def test_an_embedded_model_is_a_file_that_exists(tmp_path: Path) -> None:
    """The path is seen from where the settings are, and a missing file is told with the others' errors."""
    (tmp_path / "model.gguf").touch()

    assert load({}, {"ASKBOT_EMBEDDED_MODEL": "model.gguf"}, tmp_path).embedded_model == tmp_path / "model.gguf"
    (fault,) = errors_of(tmp_path, {"ASKBOT_EMBEDDED_MODEL": "other.gguf"})
    assert fault.startswith("  ASKBOT_EMBEDDED_MODEL: 'other.gguf', in the environment: there is no such file")


def test_the_pages_module_is_a_file_that_exists(tmp_path: Path) -> None:
    """As with other files, a missing one is told at the start."""
    (tmp_path / "math.js").touch()

    assert load({}, {"ASKBOT_PAGE_MODULE": "math.js"}, tmp_path).page_module == tmp_path / "math.js"
    (fault,) = errors_of(tmp_path, {"ASKBOT_PAGE_MODULE": "other.js"})
    assert fault.endswith("there is no such file; give the path of a JavaScript module.")


@pytest.mark.parametrize(
    ("written", "guard"), [("on", "on"), ("OFF", "off"), ("true", "on"), ("0", "off"), (False, "off"), ("auto", "auto")]
)
def test_the_guard_is_a_switch_with_a_third_way(tmp_path: Path, written: object, guard: str) -> None:
    """Written as other switches are."""
    assert load({"guard": written}, {}, tmp_path).guard == guard
    (fault,) = errors_of(tmp_path, {"ASKBOT_GUARD": "maybe"})
    assert "auto, on or off" in fault


def test_the_default_store_is_in_the_users_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the desktop's convention says, and nothing is made there yet."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))

    assert load({}, {}, tmp_path).store == f"sqlite:///{tmp_path}/askbot-ws/askbot.db"
    assert not list(tmp_path.iterdir())


def test_settings_do_not_change() -> None:
    """What was checked at the start stays."""
    with pytest.raises(ValidationError):
        setattr(Settings(), "port", 1)  # noqa: B010 - the type checkers know that it can't be


# --- errors ----------------------------------------------------------------------------------------------------------


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    """Each with the setting, what was given and where, and the fix; whoever repairs them all can start."""
    (tmp_path / "askbot.toml").write_text('heartbeat = "soon"\ncolour = "red"\n')
    (tmp_path / ".env").write_text("ASKBOT_RETRIES=many\n")
    environ = {"ASKBOT_HSOT": "::", "ASKBOT_HOST": "0.0.0.0", "ASKBOT_MAX_TOKENS": "0"}

    told = errors_of(tmp_path, environ, {"port": "70000"})

    assert [fault.strip().split(",")[0].split(": ")[0] for fault in told] == [
        "colour",
        "ASKBOT_HSOT",
        "--port",
        "ASKBOT_HOST",
        "ASKBOT_MAX_TOKENS",
        "ASKBOT_RETRIES",
        "heartbeat",
    ]
    assert told[2] == "  --port: '70000', on the command line: it should be a whole number from 0 to 65535."
    assert "in .env" in told[5]
    assert "in askbot.toml" in told[6]


@pytest.mark.parametrize(
    ("name", "value", "fix"),
    [
        ("ASKBOT_HOST", "http://localhost", "a name or an address alone"),
        ("ASKBOT_PORT", "http", "it should be a whole number from 0 to 65535"),
        ("ASKBOT_STORE", "valkey://host", "write redis://"),
        ("ASKBOT_STORE", "postgres://host", "sqlite:////absolute/path"),
        ("ASKBOT_STORE", "sqlite://", "sqlite:////absolute/path"),
        ("ASKBOT_FSYNC", "perhaps", "it should be on or off"),
        ("ASKBOT_SESSION_TTL", "3 weeks", '"30d"'),
        ("ASKBOT_SESSION_TTL", "0", "longer than 0"),
        ("ASKBOT_MEMORY", "64 potatoes", '"64KiB"'),
        ("ASKBOT_MEMORY", "64,000", '"64KiB"'),
        ("ASKBOT_MEMORY", "1MiB a day", '"64KiB"'),
        ("ASKBOT_MEMORY", "-1", '"64KiB"'),
        ("ASKBOT_MAX_FRAME", "0", "more than 0"),
        ("ASKBOT_UPSTREAM", "gpt", "package.module:function"),
        ("ASKBOT_TEMPERATURE", "3", "it should be a number from 0 to 2"),
        ("ASKBOT_MAX_TOKENS", "0", "it should be a whole number from 1 to 1000000"),
        ("ASKBOT_PERSONA", "@nowhere", "the file can't be read"),
        ("ASKBOT_CONTEXT_TOKENS", "-1", "it should be a whole number from 1"),
        ("ASKBOT_TRANSPORT", "pigeon", "it should be auto, direct or openai"),
        ("ASKBOT_ABANDON_AFTER", "soon", "it should be a duration"),
        ("ASKBOT_ORIGINS", "https://a.example/path", "without a path"),
        ("ASKBOT_ORIGINS", "https://*.example", "without a path"),
        ("ASKBOT_HOSTS", "https://a.example", "without a scheme"),
        ("ASKBOT_HOSTS", "a.example, *", "without a scheme"),
        ("ASKBOT_HOSTS", "a.example:port", "without a scheme"),
        ("ASKBOT_HOSTS", "a.example:99999", "from 1 to 65535"),
        ("ASKBOT_HOSTS", "a.example:0", "from 1 to 65535"),
        ("ASKBOT_LOG_LEVEL", "loud", "it should be debug, info"),
        ("OPENAI_BASE_URL", "localhost:11434", "it should be a URL"),
    ],
)
def test_a_fault_says_what_to_do(tmp_path: Path, name: str, value: str, fix: str) -> None:
    """The setting and what was given stand first, the fix last."""
    (fault,) = errors_of(tmp_path, {name: value})

    assert fault.strip().startswith(f"{name}: '{value}', in the environment: ")
    assert fix in fault


WRONG = ["x y", "-1", "1.5", "nan", "9" * 5000, "\udce9"]
WRONG_TOML = ["true", "-3", "1.5", "nan", "inf", "[1]", "{a = 1}", "1979-05-27", '""']


def test_every_kind_of_wrong_value_is_told_in_our_words(tmp_path: Path) -> None:
    """Of every setting, from a variable and from a file: none of pydantic's, and the setting as it was written."""
    told = list[str]()
    for field in Settings.model_fields:
        for value in WRONG:
            with suppress(ConfigError):
                load({}, {env_variable(field): value}, tmp_path)
                continue
            told += errors_of(tmp_path, {env_variable(field): value})
            assert told[-1].startswith(f"  {env_variable(field)}: ")
        for value in WRONG_TOML:
            (tmp_path / "askbot.toml").write_text(f"{field} = {value}\n")
            with suppress(ConfigError):
                load({}, {}, tmp_path)
                continue
            told += errors_of(tmp_path)
            assert told[-1].startswith(f"  {field}: ")
        (tmp_path / "askbot.toml").unlink()

    assert len(told) > 300
    begins = r"it (should be|has bytes|can be reached)|there is no such file|the (file|key)|an origin is|a host is"
    for fault in told:
        assert re.search(rf": ({begins})\b", fault), fault
        assert not re.search("Input|valid |parse|pydantic|string|integer|boolean|instance", fault), fault


def test_roles_are_tables_in_a_file_and_json_elsewhere(tmp_path: Path) -> None:
    """What is wrong in one is named, with what it should be."""
    (tmp_path / "askbot.toml").write_text('[roles.guest]\nmodels = "a, b"\nmax_session_size = "1MiB"\n')
    guest = load({}, {}, tmp_path).roles["guest"]
    assert (guest.models, guest.max_session_size, guest.temperature) == (("a", "b"), 1024**2, None)
    given = '{"guest": {"temperature": false, "tokens_per_day": 0}}'
    assert load({}, {"ASKBOT_ROLES": given}, tmp_path).roles["guest"].tokens_per_day == 0
    for wrong, fault in {
        '{"guest": {"max_tokens": 0}}': "guest.max_tokens should be a whole number from 1 to 1000000",
        '{"guest": {"models": []}}': "guest.models should be a list",
        '{"guest": {"models": ["a", ""]}}': "none of them empty",
        '{"guest": {"tokens_per_day": true}}': "guest.tokens_per_day should be a whole number",
        '{"a": {"max_tokens": 0}, "guest": {"tokens_per_day": -1, "colour": 1}}': "1000000; "
        "it should be right in each role: guest.tokens_per_day should be a whole number from 0 to 9007199254740991; "
        "it should be without guest.colour",
        '{"guest": {"colour": 1}}': "without guest.colour: a role may have models,",
        '{"guest": 1}': "a table of tables",
        "guest": "JSON like",
    }.items():
        assert fault in errors_of(tmp_path, {"ASKBOT_ROLES": wrong})[0]


def test_on_and_off_are_no_numbers(tmp_path: Path) -> None:
    """`port = true` is a mistake, not port 1."""
    (tmp_path / "askbot.toml").write_text("port = true\n")
    assert errors_of(tmp_path) == ["  port: 'true', in askbot.toml: it should be a whole number from 0 to 65535."]


def test_the_item_that_is_wrong_is_named_and_equal_faults_are_one(tmp_path: Path) -> None:
    """Of a list with more than one."""
    told = errors_of(tmp_path, {"ASKBOT_HOSTS": "a.example, https://b, https://c"})
    assert [fault.split("environment: ")[1].split(" is wrong")[0] for fault in told] == ["'https://b'", "'https://c'"]
    (tmp_path / "askbot.toml").write_text("models = [1, 1]\n")
    assert errors_of(tmp_path) == ["  models: '[1, 1]', in askbot.toml: '1' is wrong: it should be a text."]


def test_bytes_of_another_encoding_are_text(tmp_path: Path) -> None:
    """Where they are UTF-8, whatever the locale is."""
    written = "카페".encode().decode("ascii", "surrogateescape")
    assert load({"persona": written}, {}, tmp_path).persona == "카페"


def test_a_setting_that_does_not_exist_is_a_fault(tmp_path: Path) -> None:
    """A typing error must not be the same as the default."""
    assert "Did you mean ASKBOT_LOG_LEVEL?" in errors_of(tmp_path, {"ASKBOT_LOGLEVEL": "debug"})[0]
    assert "Did you mean OPENAI_API_KEY" in errors_of(tmp_path, {"ASKBOT_OPENAI_API_KEY": "k"})[0]
    assert "OPENAI_API_KEY?" in errors_of(tmp_path, {"ASKBOT_API_KEY": "k"})[0]
    assert "Did you mean ASKBOT_CONFIG?" in errors_of(tmp_path, {"ASKBOT_CONFG": "a.toml"})[0]
    assert "askbot serve --help" in errors_of(tmp_path, {"ASKBOT_QQQQ": "1"})[0]
    assert load({}, {"ASKBOT_URL": "localhost:8765"}, tmp_path)  # which is for clients
    for name, near in {
        "max-turns": "max_turns",
        "ASKBOT_PORT": "port",
        "modle": "model",
        "OPENAI_API_KEY": API_KEY,
    }.items():
        (tmp_path / "askbot.toml").write_text(f'{name} = "1"\n')
        assert f"{name}, in askbot.toml: there is no such setting. Did you mean {near}" in errors_of(tmp_path)[0]


def test_secrets_are_not_in_faults(tmp_path: Path) -> None:
    """Logs of failed starts are read by many."""
    for url in (
        "redis://me:pass@host",
        "redis://me:p/pass@host@b",
        "me:pass@host",
        "http://host/?key=pass",
        "x://h#pass",
    ):
        told = "\n".join(errors_of(tmp_path, {"OPENAI_API_KEY": "sk bad", "ASKBOT_STORE": url}))
        assert "OPENAI_API_KEY" in told
        assert "sk bad" not in told
        assert "pass" not in told


def test_broken_files_are_faults(tmp_path: Path) -> None:
    """With the place, as the parser tells it; and the other faults too."""
    (tmp_path / "askbot.toml").write_text("port = \n")
    (tmp_path / ".env").write_bytes(b"ASKBOT_MODEL=\xff")

    told = errors_of(tmp_path, {"ASKBOT_PORT": "x"})

    assert len(told) == 3
    assert "at line 1" in told[1]


def test_anonymous_use_is_for_loopback(tmp_path: Path) -> None:
    """Bound to another address, the server refuses to start and says what to set."""
    for host in ("0.0.0.0", "::", "192.168.1.2", "example.com"):
        (fault,) = errors_of(tmp_path, {"ASKBOT_HOST": host})
        assert "ASKBOT_ALLOW_ANONYMOUS=true" in fault
        assert not load({"host": host, "allow_anonymous": True}, {}, tmp_path).loopback
    for host in ("127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"):
        assert load({"host": host}, {}, tmp_path).loopback


def test_openai_needs_a_key_or_a_url(tmp_path: Path) -> None:
    """Else the first question would be the one to find out."""
    assert "needs OPENAI_API_KEY" in errors_of(tmp_path, {"ASKBOT_UPSTREAM": "openai"})[0]
    for name, value in (("OPENAI_API_KEY", "k"), ("OPENAI_BASE_URL", "http://localhost:1")):
        assert load({"upstream": "openai"}, {name: value}, tmp_path).upstream == "openai"


# --- names -----------------------------------------------------------------------------------------------------------


def test_every_setting_has_a_name_a_flag_and_a_text() -> None:
    """The help and the docs are made of these."""
    assert env_variable("max_frame") == "ASKBOT_MAX_FRAME"
    assert env_variable("openai_base_url") == "OPENAI_BASE_URL"
    assert flag("max_frame") == "--max-frame"
    assert [*FIELD_OF_VARIABLE.values()] == [*Settings.model_fields]
    assert all(info.description and info.description.endswith(".") for info in Settings.model_fields.values())


@pytest.mark.parametrize(
    ("field", "written"),
    [("session_ttl", "30d"), ("memory", "64MiB"), ("fsync", "off"), ("limits", "on"), ("stall_timeout", "1m")],
)
def test_defaults_are_shown_as_people_write_them(tmp_path: Path, field: str, written: str) -> None:
    """And can be given just so."""
    assert default_text(field) == written
    assert load({field: written}, {}, tmp_path) == load({}, {}, tmp_path)
