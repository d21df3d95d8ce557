import re
from dataclasses import fields
from pathlib import Path

import pytest

from f2at.serving.settings import Settings, SettingsError


def test_the_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings.from_env({})
    assert settings.bundle is None
    assert settings.worker
    assert settings.state == tmp_path / ".f2at"
    assert settings.database_url == f"sqlite:///{tmp_path}/.f2at/audits.sqlite"
    assert settings.audit_threads >= 1


def test_every_setting_is_read_from_its_variable() -> None:
    env = {f"F2AT_{field.name.upper()}": "7" for field in fields(Settings)}
    env |= {"F2AT_WORKER": "off", "F2AT_METRICS": "key", "F2AT_LOG_FORMAT": "JSON"}
    settings = Settings.from_env(env)
    assert settings.bundle == Path("7").absolute()
    assert settings.database_url == "7"
    assert not settings.worker
    assert settings.log_format == "json"
    assert (settings.metrics, settings.key_digest) == ("key", "7")
    numbers = [getattr(settings, field.name) for field in fields(Settings) if field.type is int]
    assert set(numbers) == {7}


@pytest.mark.parametrize("value", ["", "x", "-1", "1.5", "0", "1e3"])
def test_a_bad_number_names_its_variable(value: str) -> None:
    if value == "":
        assert Settings.from_env({"F2AT_MAX_BATCH": value}).max_batch == Settings.max_batch
        return
    with pytest.raises(SettingsError, match=f"F2AT_MAX_BATCH.*at least 1.*{re.escape(value)}"):
        Settings.from_env({"F2AT_MAX_BATCH": value})


def test_folders_are_absolute_for_other_processes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings.from_env({"F2AT_SURROGATE": "other", "F2AT_STATE": "here"})
    assert settings.paths() == {"F2AT_SURROGATE": f"{tmp_path}/other", "F2AT_STATE": f"{tmp_path}/here"}
    assert Settings.from_env({**settings.paths()}) == settings


def test_words_are_checked() -> None:
    with pytest.raises(SettingsError, match=r"F2AT_LOG_FORMAT.*text or json.*'xml'"):
        Settings.from_env({"F2AT_LOG_FORMAT": "xml"})


def test_the_worker_is_on_or_off() -> None:
    with pytest.raises(SettingsError, match=r"F2AT_WORKER.*on or off.*maybe"):
        Settings.from_env({"F2AT_WORKER": "maybe"})
