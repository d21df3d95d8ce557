import pytest

from f2at.serving.webhooks.addresses import is_allowed, networks, shown, split_urls

PUBLIC = ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"]
PRIVATE = {
    "loopback": ["127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1"],
    "private": ["10.0.0.1", "172.16.0.1", "192.168.1.1", "fc00::1", "::ffff:10.0.0.1", "2002:a00:1::1", "fec0::1"],
    "link-local": ["169.254.169.254", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254"],
    "shared": ["100.64.0.1"],
    "nowhere": ["0.0.0.0", "::", "240.0.0.1", "255.255.255.255", "192.0.2.1", "2001:db8::1"],
    "many": ["224.0.0.1", "ff02::1"],
}


@pytest.mark.parametrize("address", PUBLIC)
def test_the_internet_may_be_sent_to(address: str) -> None:
    assert is_allowed(address, ())


@pytest.mark.parametrize("address", [address for addresses in PRIVATE.values() for address in addresses])
def test_nothing_else_may(address: str) -> None:
    assert not is_allowed(address, ())


def test_but_what_is_named() -> None:
    allowed = networks("10.1.0.0/16, fd00::/8, 127.0.0.1")
    assert all(is_allowed(address, allowed) for address in ("10.1.2.3", "::ffff:10.1.2.3", "fd00::7", "127.0.0.1"))
    assert not any(is_allowed(address, allowed) for address in ("10.2.0.1", "fc00::1", "127.0.0.2", "169.254.169.254"))
    assert networks(None) == ()


def test_urls_are_split_and_each_is_kept_once() -> None:
    text = "https://a.example/x?y=z, http://[2606:4700::1111]:8080,https://a.example/x?y=z"
    assert split_urls(text) == ("https://a.example/x?y=z", "http://[2606:4700::1111]:8080")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://a.example/SECRET", "no http"),
        ("a.example/SECRET", "no http"),
        ("https:///SECRET", "no http"),
        ("https://a.example:0/SECRET", "no http"),
        ("https://a.example:99999/SECRET", "no URL"),
        ("https://[::1/SECRET", "no URL"),
        ("", "no http"),
        ("https://me:SECRET@a.example/", "user name or password"),
        ("https://a.example/#SECRET", "fragment"),
        ("https://a.example/SECRET\N{SNOWMAN}", "be escaped"),
        ("https://a.example/SECRET x", "be escaped"),
    ],
)
def test_what_is_no_url_is_named_by_its_place(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=rf"^number 2 of 3: .*{reason}") as caught:
        split_urls(f"https://a.example,{url},https://b.example")
    assert "SECRET" not in str(caught.value)


def test_a_path_is_not_shown() -> None:
    assert shown("https://a.example:8443/SECRET?SECRET") == "https://a.example:8443"
