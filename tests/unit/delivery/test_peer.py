"""A peer is written AE@HOST:PORT."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.delivery.peer import NotReached, Peer, echo, parse_peer

TITLES = st.text(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"), min_size=1, max_size=16)


@given(TITLES, st.sampled_from(["127.0.0.1", "pacs.example", "[::1]"]), st.integers(1, 65535))
def test_peer_as_text_reads_back_as_itself(title: str, host: str, port: int) -> None:
    assert parse_peer(f"{title}@{host}:{port}") == Peer(title, host.strip("[]"), port)


@pytest.mark.parametrize(
    "text",
    ["", "ORTHANC", "ORTHANC@host", "@host:104", "A@host:0", "A@host:65536", "A" * 17 + "@h:1", "A@h:1:2"],
)
def test_text_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="AE@HOST:PORT"):
        parse_peer(text)


def test_echo_where_nobody_listens_says_what_to_check() -> None:
    with pytest.raises(NotReached, match="cannot be reached; check"):
        echo(Peer("NOBODY", "127.0.0.1", 1), "IRIS")
