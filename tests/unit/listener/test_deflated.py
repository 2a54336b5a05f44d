"""Deflated data sets (PS3.5 A.5)."""

import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from gateway.listener.intake import header


@pytest.mark.parametrize("padding", [b"", b"\0"], ids=["bare", "padded"])
def test_deflated_data_set_longer_than_a_piece_ends_whether_it_is_padded_or_not(
    padding: bytes, tmp_path: Path
) -> None:
    content = bytes(header._CHUNK_BYTES + 1000)
    deflating = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    (tmp_path / "deflated").write_bytes(deflating.compress(content) + deflating.flush() + padding)
    program = (
        "import sys; from gateway.listener.intake.header import _inflate\n"
        "with open(sys.argv[1], 'rb') as stream, open(sys.argv[2], 'wb') as plain: _inflate(stream, 0, plain)"
    )
    # In a process of its own: it did not come to an end.
    command = [sys.executable, "-c", program, str(tmp_path / "deflated"), str(tmp_path / "plain")]
    subprocess.run(command, check=True, timeout=60)
    assert (tmp_path / "plain").read_bytes() == content
