from pathlib import Path

import pytest

from f2at.arguments import ArgumentError
from f2at.serving.settings import Settings
from f2at.serving.webhooks.receivers import Receivers, name_receiver, read_receivers
from f2at.serving.webhooks.signing import SecretError
from tests.receiver import webhook_settings

URL = "https://a.example/hooks/SECRET"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in webhook_settings(tmp_path, URL).items():
        monkeypatch.setenv(name, value)


def read(monkeypatch: pytest.MonkeyPatch, **changed: str) -> Receivers | None:
    for name, value in changed.items():
        monkeypatch.setenv(f"F2AT_WEBHOOK_{name}", value)
    return read_receivers(Settings())


def test_the_database_gets_no_url(monkeypatch: pytest.MonkeyPatch) -> None:
    other = "http://127.0.0.1:8080/"
    receivers = read(monkeypatch, URLS=f"{URL},{other}")
    assert receivers is not None
    assert receivers.urls == {name_receiver(URL): URL, name_receiver(other): other}
    assert all(name.isalnum() for name in receivers.urls)


def test_without_urls_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(monkeypatch, URLS="", SECRET="") is None


def test_what_cannot_work_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArgumentError, match=r"^F2AT_WEBHOOK_SECRET must be the file of the secrets"):
        read(monkeypatch, SECRET="")
    with pytest.raises(SecretError, match="No such file"):
        read(monkeypatch, SECRET="/none")


@pytest.mark.parametrize("host", ["10.0.0.1", "[::1]", "169.254.169.254", "[::ffff:10.0.0.1]"])
def test_urls_that_name_a_private_address_are_refused(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    with pytest.raises(ArgumentError, match="F2AT_WEBHOOK_URLS must be URLs of public addresses") as caught:
        read(monkeypatch, URLS=f"{URL},http://{host}/SECRET")
    assert "SECRET" not in str(caught.value)
    assert host in str(caught.value)


def test_a_name_is_judged_when_something_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(monkeypatch, URLS="http://localhost:1/") is not None


@pytest.mark.parametrize("urls", ["mailto:me@a.example", f"{URL},", "https://me:SECRET@a.example"])
def test_what_is_no_url_is_refused(monkeypatch: pytest.MonkeyPatch, urls: str) -> None:
    text = r"^F2AT_WEBHOOK_URLS must be http\(s\)://HOST\[:PORT\]/PATH, with commas between several; got 'number"
    with pytest.raises(ArgumentError, match=text) as caught:
        read(monkeypatch, URLS=urls)
    assert "SECRET" not in str(caught.value)


def test_private_addresses_are_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArgumentError, match=r"^F2AT_WEBHOOK_ALLOW_PRIVATE must be addresses and networks"):
        read(monkeypatch, ALLOW_PRIVATE="on")
