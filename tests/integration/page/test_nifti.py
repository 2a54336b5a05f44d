"""The page makes a NIfTI anew before it leaves the browser; nibabel reads what comes out."""

import base64
import functools
import gzip
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from playwright.sync_api import Browser, Error

from gateway.api.page_routes import FOLDER

pytestmark = pytest.mark.peer("chromium")

TELLTALE = b"DOE^JANE"
CLEAN = """async (text) => {
  const { cleaned } = await import("/upload/nifti.js");
  const bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  const made = new Uint8Array(await (await cleaned(new File([bytes], "DOE^JANE.nii.gz"))).arrayBuffer());
  let out = "";
  for (const byte of made) out += String.fromCharCode(byte);
  return btoa(out);
}"""
Cleaned = Callable[[bytes], bytes]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def cleaned(browser: Browser) -> Iterator[Cleaned]:
    """The page's function, in a browser."""
    handler = functools.partial(_Quiet, directory=str(FOLDER))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    page = browser.new_page()
    page.goto(f"http://127.0.0.1:{server.server_port}/icon.svg")
    yield lambda content: base64.b64decode(page.evaluate(CLEAN, base64.b64encode(content).decode()))
    page.close()
    server.shutdown()
    server.server_close()


def _image(kind: type[nib.Nifti1Image], order: str, shape: tuple[int, ...] = (40, 30, 20)) -> nib.Nifti1Image:
    """An image whose header tells of the patient wherever it can."""
    voxels = np.random.default_rng(7).integers(-1000, 1000, shape).astype(np.dtype("i2").newbyteorder(order))
    affine = np.array([[-0.7, 0.1, 0, 80], [0.1, 0.8, 0, -90], [0, 0, 2.5, -300], [0, 0, 0, 1]])
    header = (nib.Nifti2Header if kind is nib.Nifti2Image else nib.Nifti1Header)(endianness=order)
    for name in ("descrip", "aux_file", "db_name", "intent_name", "data_type", "unused_str"):
        if name in header.keys():  # noqa: SIM118 - a header is no dictionary
            header[name] = TELLTALE
    header.set_data_dtype(voxels.dtype)
    header["intent_code"], header["toffset"], header["cal_max"] = 1005, 20260131, 19700101
    image = kind(voxels, affine, header)
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_slope_inter(0.5, -10)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", TELLTALE * 400))
    return image


@pytest.mark.parametrize("packed", [True, False], ids=["gz", "plain"])
@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image], ids=["NIfTI-1", "NIfTI-2"])
def test_cleaned_file_has_the_image_and_nothing_else(
    cleaned: Cleaned, kind: type[nib.Nifti1Image], order: str, packed: bool
) -> None:
    image = _image(kind, order)
    content = image.to_bytes() + TELLTALE
    made = cleaned(gzip.compress(content) if packed else content)
    assert made[:2] == b"\x1f\x8b"
    assert made[3:8] == bytes(5)  # neither a name nor a time (RFC 1952, 2.3)
    plain = gzip.decompress(made)
    assert TELLTALE in content
    assert TELLTALE not in plain
    back, was = kind.from_bytes(plain), kind.from_bytes(content)
    assert np.array_equal(back.dataobj.get_unscaled(), was.dataobj.get_unscaled())
    assert np.array_equal(back.affine, was.affine)
    assert len(back.header.extensions) == 0
    assert len(plain) == back.dataobj.offset + image.dataobj.nbytes
    kept = ("dim", "pixdim", "datatype", "bitpix", "scl_slope", "scl_inter", "xyzt_units", "sform_code",
            "qform_code", "srow_x", "quatern_b", "qoffset_x", "magic")  # fmt: skip
    made_header, given_header = _header(kind, plain), _header(kind, content)
    assert [made_header[name].tobytes() for name in kept] == [given_header[name].tobytes() for name in kept]
    assert [made_header[name].item() for name in ("intent_code", "toffset", "cal_max")] == [0, 0, 0]


def _header(kind: type[nib.Nifti1Image], content: bytes) -> nib.Nifti1Header:
    """The header as it stands in the file; nibabel's images forget some of it."""
    size = kind.header_class.sizeof_hdr
    return kind.header_class(content[:size], check=False)


def test_real_image_stays_as_it_is(cleaned: Cleaned) -> None:
    path = Path(__file__).parents[2] / "data" / "mr-3mm" / "mr.nii.gz"
    was, back = nib.load(path), nib.Nifti1Image.from_bytes(gzip.decompress(cleaned(path.read_bytes())))
    assert np.array_equal(np.asarray(back.dataobj), np.asarray(was.dataobj))
    assert np.array_equal(back.affine, was.affine)


def test_image_of_one_voxel_is_cleaned_too(cleaned: Cleaned) -> None:
    image = nib.Nifti1Image(np.full((1, 1, 1), 7, np.uint8), np.eye(4))
    back = nib.Nifti1Image.from_bytes(gzip.decompress(cleaned(image.to_bytes())))
    assert np.asarray(back.dataobj).tolist() == [[[7]]]


def test_file_that_is_no_whole_image_is_refused_in_a_sentence(cleaned: Cleaned) -> None:
    whole = _image(nib.Nifti1Image, "<").to_bytes()
    packed = gzip.compress(whole)
    without_place = whole[:108] + bytes(4) + whole[112:]
    for content, words in (
        (b"", "no NIfTI image"),
        (b"no image" * 200, "no NIfTI image"),
        (whole[:344] + b"ni1\0" + whole[348:], "no NIfTI image"),
        (whole[:-20_000], "ends before its last voxel"),
        (packed[: len(packed) // 2], "damaged"),
        (packed[:100] + b"\xff" * 100 + packed[200:], "damaged"),
        (without_place, "where its voxels are"),
    ):
        with pytest.raises(Error, match=words):
            cleaned(content)
