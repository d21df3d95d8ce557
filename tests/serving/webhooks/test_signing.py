import json
import time
from pathlib import Path

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from f2at.serving.webhooks.signing import SecretError, read_secrets, signed

OLD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NEW = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


def file(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "secrets"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_the_example_of_standard_webhooks(tmp_path: Path) -> None:
    """Which its own libraries are held against."""
    headers = signed(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', read_secrets(file(tmp_path, OLD))
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_while_secrets_change_either_verifies_and_no_other(tmp_path: Path) -> None:
    body = json.dumps({"text": "Grüße"}).encode()
    headers = signed("id", int(time.time()), body, read_secrets(file(tmp_path, f"{NEW}\n\n{OLD}\n")))
    assert len(headers["webhook-signature"].split(" ")) == 2
    for secret in (OLD, NEW):
        assert Webhook(secret).verify(body, headers) == {"text": "Grüße"}
    for secret, content in [("whsec_" + "A" * 32, body), (OLD, body + b" ")]:
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(content, headers)


@pytest.mark.parametrize(
    "text", ["", "\n", OLD.removeprefix("whsec_"), "whsec_c2hvcnQ=", f"{OLD}\nwhsec_?", "whsec_" + "A" * 88, "Grüße"]
)
def test_what_is_no_secret_is_refused_and_not_repeated(tmp_path: Path, text: str) -> None:
    path = file(tmp_path, text)
    with pytest.raises(SecretError, match="one secret a line") as caught:
        read_secrets(path)
    assert OLD not in str(caught.value)


def test_a_file_that_is_missing_or_open_to_others_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="No such file"):
        read_secrets(tmp_path / "none")
    for mode in (0o604, 0o602, 0o620):
        with pytest.raises(SecretError, match="chmod 600"):
            read_secrets(file(tmp_path, OLD, mode))
    assert read_secrets(file(tmp_path, OLD, 0o440))  # as Kubernetes mounts it
