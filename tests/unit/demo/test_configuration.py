"""The configuration of the demo's gateway: what the demo must set, and lines of one's own."""

from pathlib import Path

import pytest

from gateway.adapters.dicom.peer import Peer
from gateway.config import load_config
from gateway.demo.children import DemoError
from gateway.demo.configuration import write_configuration

PACS = Peer("DEMOPACS", "127.0.0.1", 4242)


@pytest.mark.parametrize("name", ["plain", "with space", 'quote"and\\backslash', "Grüße"])
def test_configuration_in_any_folder_is_accepted_by_the_gateway(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    config = load_config(write_configuration(folder, Peer("DEMOPACS", "127.0.0.1", 4242)))
    assert config.data_dir == folder / "iris-data"
    assert (config.dicom.port, config.api.port) == (0, 0)
    assert [(d.ae_title, d.port) for d in config.destination] == [("DEMOPACS", 4242)]
    assert [(s.ae_title, s.address) for s in config.dicom.allow] == [("DEMOPACS", "127.0.0.1/32")]


def test_own_lines_stand_where_the_demo_does_not_have_to_set_something(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(
        """
        [site]
        name = "mine"
        data_dir = "/elsewhere"
        [dicom]
        port = 104
        ae_title = "MINE"
        allow = [{ ae_title = "OTHER", address = "192.0.2.0/24" }]
        [study]
        timeout_s = 7.5
        [[destination]]
        name = "pacs"
        ae_title = "REAL"
        host = "192.0.2.1"
        port = 104
        [[destination]]
        name = "second"
        ae_title = "SECOND"
        host = "192.0.2.2"
        port = 104
        [[rule]]
        name = "thin"
        when = { Modality = "CT", images = ">=20", SeriesDescription = ["!a\\"b", "~x"] }
        options = { fast = true }
        priority = 3
        [api]
        auth = "none"
        """
    )
    config = load_config(write_configuration(tmp_path, PACS, own))
    assert (config.site.name, config.site.low_water_mb, config.dicom.ae_title) == ("mine", 100, "MINE")
    assert (config.data_dir, config.dicom.port) == (tmp_path / "iris-data", 0)
    assert (config.study.quiet_s, config.study.timeout_s) == (1.0, 7.5)
    assert [(d.name, d.ae_title) for d in config.destination] == [("pacs", "DEMOPACS"), ("second", "SECOND")]
    assert [sender.ae_title for sender in config.dicom.allow] == ["DEMOPACS", "OTHER"]
    (rule,) = config.rule
    assert (rule.name, rule.options, rule.priority) == ("thin", {"fast": True}, 3)
    assert rule.when == {"Modality": "CT", "images": ">=20", "SeriesDescription": ['!a"b', "~x"]}
    assert config.api.auth == "token"  # the page's address is printed with it


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "No such file"), ("name = ", "is not valid TOML")],
    ids=["none", "broken"],
)
def test_own_file_that_cannot_be_read_is_refused(tmp_path: Path, content: str | None, sentence: str) -> None:
    own = tmp_path / "own.toml"
    if content is not None:
        own.write_text(content)
    with pytest.raises(DemoError, match=sentence):
        write_configuration(tmp_path, PACS, own)
