import hashlib
import json
import threading
from pathlib import Path

import pytest

from f2at.__main__ import main
from f2at.serving.access.keys import Key, Keyring, KeysError, add_key, read_keys, revoke_key


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def test_the_file_holds_no_key_and_is_the_owners(path: Path) -> None:
    token = add_key(path, "ci", ["predict", "audit", "predict"])
    assert len(token) > 43, "256 bits, in base64"
    assert token not in path.read_text()
    assert hashlib.sha256(token.encode()).hexdigest() in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    (key,) = read_keys(path)
    assert (key.name, key.scopes) == ("ci", ("predict", "audit"))


def test_a_ring_finds_keys_and_nothing_else(path: Path) -> None:
    tokens = {name: add_key(path, name, ["predict"]) for name in ("a", "b", "c")}
    ring = Keyring(path)
    for name, token in tokens.items():
        found = ring.find(token)
        assert found is not None
        assert found.name == name
        for wrong in (token[:-1], token + "x", token.upper(), found.sha256, name):
            assert ring.find(wrong) is None
    assert ring.find("") is None
    assert ring.find("\udcff\u00e9") is None


def test_changes_are_seen_at_once(path: Path) -> None:
    first = add_key(path, "first", ["predict"])
    ring = Keyring(path)
    second = add_key(path, "second", ["audit"])
    assert ring.find(second) is not None
    revoke_key(path, "first")
    assert ring.find(first) is None
    assert ring.find(second) is not None


def test_an_unchanged_file_is_not_read_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = add_key(path, "a", ["predict"])
    ring = Keyring(path)

    def read(_: Path) -> list[Key]:
        raise AssertionError

    monkeypatch.setattr("f2at.serving.access.keys.read_keys", read)
    assert ring.find(token) is not None


@pytest.mark.parametrize("damage", ["gone", "broken", "writable"])
def test_no_key_is_good_while_the_file_is_unusable(path: Path, damage: str) -> None:
    token = add_key(path, "a", ["predict"])
    ring, content = Keyring(path), path.read_bytes()
    match damage:
        case "gone":
            path.unlink()
        case "broken":
            path.write_text("[{]")
        case "writable":
            path.chmod(0o620)
    for _ in range(2):
        with pytest.raises(KeysError):
            ring.find(token)
    with pytest.raises(KeysError):
        Keyring(path)
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    path.chmod(0o600)
    assert ring.find(token) is not None


def test_what_others_can_read_is_warned_of(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    add_key(path, "a", ["predict"])
    Keyring(path)
    assert not any(record.levelname == "WARNING" for record in caplog.records)
    path.chmod(0o644)
    Keyring(path)
    assert "is readable by others" in caplog.text


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[]", None),
        ("{}", "JSON list"),
        ('{"a": 1}', "JSON list"),
        ("[1]", "JSON list"),
        ('[{"name": "a", "scopes": ["predict"]}]', "JSON list"),
        ('[{"name": "a", "scopes": ["predict"], "sha256": 5}]', "digest of key a"),
        ('[{"name": "a", "scopes": ["predict"], "sha256": "ABC"}]', "digest of key a"),
        (f'[{{"name": "a", "scopes": [], "sha256": "{"0" * 64}"}}]', "scopes of key a"),
        (f'[{{"name": "a", "scopes": [5], "sha256": "{"0" * 64}"}}]', "scopes of key a"),
        (f'[{{"name": "a/b", "scopes": ["predict"], "sha256": "{"0" * 64}"}}]', "name of a key"),
        (f"[{','.join([json.dumps({'name': 'a', 'scopes': ['predict'], 'sha256': '0' * 64})] * 2)}]", "names must"),
        ("[" * 100_000, "JSON list"),
    ],
)
def test_a_file_that_is_no_list_of_keys_is_refused(path: Path, content: str, reason: str | None) -> None:
    path.write_text(content)
    path.chmod(0o600)
    if reason is None:
        assert read_keys(path) == []
        return
    with pytest.raises(KeysError, match=reason):
        read_keys(path)


def test_the_key_of_the_environment_is_one_more(path: Path) -> None:
    key, token = Key.create("box", ["predict", "examples"])
    assert Key.from_text(key.to_text()).scopes == key.scopes
    ring = Keyring(None, Key.from_text(key.to_text()))
    assert ring.configured
    assert ring.find(token) is not None
    other = add_key(path, "a", ["audit"])
    both = Keyring(path, Key.from_text(key.to_text()))
    assert both.find(token) is not None
    assert both.find(other) is not None
    assert not Keyring(None).configured


def test_a_key_where_its_digest_belongs_is_refused_and_not_shown() -> None:
    _, token = Key.create("a", ["predict"])
    for text in (token, f"a:predict:{token}"):
        with pytest.raises(KeysError) as refusal:
            Key.from_text(text)
        assert token not in str(refusal.value)


def test_two_commands_at_once_lose_no_key(path: Path) -> None:
    def add(number: int) -> None:
        while True:
            try:
                add_key(path, f"key-{number}", ["predict"])
            except KeysError:  # another command holds the lock: retry, as it says
                continue
            return

    threads = [threading.Thread(target=add, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {key.name for key in read_keys(path)} == {f"key-{number}" for number in range(8)}


def test_the_commands(path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("F2AT_KEYS", str(path))
    assert main(["keys", "add", "--name", "ci", "--scope", "predict", "--scope", "audit"]) == 0
    printed = capsys.readouterr()
    token = printed.out.strip()
    assert token not in printed.err
    assert Keyring(path).find(token) is not None
    assert main(["keys", "list"]) == 0
    listed = capsys.readouterr().out
    assert "ci" in listed
    assert "predict,audit" in listed
    assert token not in listed
    assert main(["keys", "add", "--name", "ci", "--scope", "admin"]) == 2
    assert "already a key 'ci'" in capsys.readouterr().err
    assert main(["keys", "revoke", "ic"]) == 2
    assert "its keys are ci" in capsys.readouterr().err
    assert main(["keys", "revoke", "ci"]) == 0
    assert read_keys(path) == []


def test_without_a_file_a_key_is_for_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("F2AT_KEYS", raising=False)
    assert main(["keys", "add", "--name", "box", "--scope", "predict"]) == 0
    printed = capsys.readouterr()
    text = next(line for line in printed.err.splitlines() if line.startswith("F2AT_KEY_DIGEST="))
    ring = Keyring(None, Key.from_text(text.partition("=")[2]))
    assert ring.find(printed.out.strip()) is not None
    assert main(["keys", "list"]) == 2
    assert "F2AT_KEYS must name" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_to_is_one_line(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path.touch()
    monkeypatch.setenv("F2AT_KEYS", str(path / "below"))
    assert main(["keys", "add", "--name", "a", "--scope", "predict"]) == 2
    assert capsys.readouterr().err.startswith(f"f2at keys: {path}")
