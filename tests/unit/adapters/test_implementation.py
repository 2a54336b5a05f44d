"""Who a peer is, by what it says of itself, and how that one is made to take more."""

import re

import pytest

from gateway.adapters.dicom.implementation import Implementation, class_name
from gateway.config.outputs import Form
from gateway.taken import Taken

DCMTK, LABEL_MAP, RLE = "1.2.276.0.7230010.3.0.3.6.7", "1.2.840.10008.5.1.4.1.1.66.7", "1.2.840.10008.1.2.5"


@pytest.mark.parametrize(
    ("by", "syntaxes", "said"),
    [
        (
            Implementation(DCMTK, "OFFIS_DCMTK_367", True),
            [],
            'PACS, Orthanc, .*"UnknownSopClassAccepted": true',
        ),
        (Implementation(DCMTK, "OFFIS_DCMTK_367", True), [RLE], 'RLE Lossless .*"AcceptedTransferSyntaxes"'),
        (Implementation(DCMTK, "OFFIS_DCMTK_367", False), [], "PACS, dcmqrscp, .*no setting adds one"),
        (Implementation(DCMTK), [], "PACS, a program made with dcmtk.*in Orthanc set.*dcmqrscp takes"),
        (Implementation("1.2.40.0.13.1.3", "dcm4che-5.31"), [], "PACS, dcm4chee, .*Transfer Capability"),
        (Implementation("1.2.3", "OTHER"), [RLE], r"PACS does not take .* in RLE Lossless \(.*\); allow it"),
        (Implementation(), [], "PACS does not take Label Map Segmentation Storage .*; allow it there"),
    ],
)
def test_refusal_names_class_uid_and_syntax_and_the_way_out_of_that_peer(
    by: Implementation, syntaxes: list[str], said: str
) -> None:
    syntax = "".join(syntaxes)
    taken = Taken(frozenset([Form(LABEL_MAP, "1.2.3")] if syntax else []), by)
    sentence = taken.refusal(Form(LABEL_MAP, syntax)).by("PACS")
    assert f"Label Map Segmentation Storage ({LABEL_MAP})" in sentence
    assert re.search(said, sentence)


def test_class_without_a_name_is_named_by_its_uid() -> None:
    assert class_name("1.2.3.4") == "1.2.3.4"


def test_implementation_as_text_is_what_it_most_likely_is_and_what_it_said() -> None:
    said = str(Implementation(DCMTK, "OFFIS_DCMTK_367", True))
    assert said == f"Orthanc (OFFIS_DCMTK_367 {DCMTK})"
    assert str(Implementation("1.2.3")) == "1.2.3"
