import re
from pathlib import Path

import pytest

from f2at.arguments import ArgumentError
from f2at.serving.settings import Settings

VARIABLES = {f"F2AT_{name.upper()}" for name in Settings.model_fields}


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The current folder; no settings are in the environment."""
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Settings:
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    return Settings()


def test_the_defaults(folder: Path) -> None:
    settings = Settings()
    assert settings.bundle is None
    assert settings.worker
    assert settings.state == folder / ".f2at"
    assert settings.database_url == f"sqlite:///{folder}/.f2at/audits.sqlite"
    assert settings.audit_threads >= 1


def test_every_setting_is_read_from_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    env = dict.fromkeys(VARIABLES, "7")
    env |= {
        "F2AT_DATA": "/7",
        "F2AT_REPORTS": "/7",
        "F2AT_PROXIES": "10.0.0.7, fd00::/8",
        "F2AT_WEBHOOK_URLS": "https://a.example",
        "F2AT_WEBHOOK_ALLOW_PRIVATE": "10.0.0.7",
        "F2AT_WORKER": "off",
        "F2AT_METRICS": "key",
        "F2AT_LOG_FORMAT": "JSON",
    }
    settings = read(monkeypatch, **env)
    assert settings.bundle == Path("7").absolute()
    assert settings.database_url == "7"
    assert not settings.worker
    assert settings.log_format == "json"
    assert (settings.metrics, settings.key_digest) == ("key", "7")
    numbers = [getattr(settings, name) for name, field in Settings.model_fields.items() if field.annotation is int]
    assert set(numbers) == {7}
    assert len(numbers) == 32


def test_a_share_is_half_of_the_whole_unless_set(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch, F2AT_MAX_AUDITS="9", F2AT_MAX_STREAMS="1")
    assert (settings.max_audits_per_key, settings.max_streams_per_key) == (4, 1)
    assert read(monkeypatch, F2AT_MAX_AUDITS_PER_KEY="7").max_audits_per_key == 7
    with pytest.raises(ArgumentError, match=r"^F2AT_MAX_AUDITS must be an integer of at least 1; got 'x'$"):
        read(monkeypatch, F2AT_MAX_AUDITS="x")


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(monkeypatch, **dict.fromkeys(VARIABLES, "")) == Settings()
    assert read(monkeypatch, F2AT_MAX_BATCH="").max_batch == 32


@pytest.mark.parametrize("value", ["x", "-1", "1.5", "0", "1e3"])
def test_a_bad_number_names_its_variable(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    text = f"^F2AT_MAX_BATCH must be an integer of at least 1; got {re.escape(repr(value))}$"
    with pytest.raises(ArgumentError, match=text):
        read(monkeypatch, F2AT_MAX_BATCH=value)


def test_folders_are_absolute_for_other_processes(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    settings = read(monkeypatch, F2AT_SURROGATE="other", F2AT_STATE="here")
    assert settings.paths() == {"F2AT_SURROGATE": f"{folder}/other", "F2AT_STATE": f"{folder}/here"}
    assert read(monkeypatch, **settings.paths()) == settings


def test_words_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArgumentError, match=r"^F2AT_LOG_FORMAT must be text or json; got 'xml'$"):
        read(monkeypatch, F2AT_LOG_FORMAT="xml")


@pytest.mark.parametrize("value", ["*", "proxy.example", "10.0.0.1/8", "10.0.0.1,"])
def test_proxies_are_addresses(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    with pytest.raises(ArgumentError, match=r"^F2AT_PROXIES must be addresses and networks, with commas between them;"):
        read(monkeypatch, F2AT_PROXIES=value)


def test_the_source_of_webhooks_is_a_uri(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(monkeypatch, F2AT_WEBHOOK_SOURCE="https://models.example").webhook_source == "https://models.example"
    with pytest.raises(ArgumentError, match=r"^F2AT_WEBHOOK_SOURCE must be a URI or a path, without spaces; got 'my "):
        read(monkeypatch, F2AT_WEBHOOK_SOURCE="my models")


def test_the_worker_is_on_or_off(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArgumentError, match=r"^F2AT_WORKER must be on or off; got 'maybe'$"):
        read(monkeypatch, F2AT_WORKER="maybe")
