"""An output of the tests' own, as somebody would add one: what was found, as text that a PACS keeps.

`converter.results` gives all that is not its own; the catalogue's line is put in by the test.
"""

from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

from converter.results.file import write_object
from converter.results.header import ObjectKind, result_header
from converter.results.settings import ResultSettings, WrittenObject, made_with
from converter.source_header import source_header
from gateway.config import Config
from gateway.config.outputs import Output
from gateway.making.makers import Making

KIND = ObjectKind(EncapsulatedPDFStorage, "DOC", ExplicitVRLittleEndian)
NOTE = Output("note", "what was found, in words", "tests.note_output:NoteMaker")


class NoteMaker:
    def __init__(self, config: Config) -> None:
        self._base = config.seg.series_number

    def make(self, making: Making) -> tuple[WrittenObject]:
        settings = ResultSettings(**making.said("note", made_with("1")))
        note = result_header(source_header(making.volume), settings, KIND)
        note.MIMETypeOfEncapsulatedDocument = "text/plain"
        note.EncapsulatedDocument = ", ".join(making.manifest.labels.values()).encode()
        written = write_object(note, making.path_of(settings.sop_instance_uid), ("a note",))
        return (written,)
