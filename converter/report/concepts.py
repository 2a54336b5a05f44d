"""The coded concepts of a report that are not the structures' own: DCM and SNOMED CT, as PS3.16 has them."""

from typing import Final

from converter.measures import HOUNSFIELD
from converter.results.comparison import NotCompared
from converter.terminology import PRIVATE_SCHEME, SNOMED_CT, Code

DCM: Final = "DCM"
UCUM: Final = "UCUM"

LATERALITIES: Final = frozenset({"7771000", "24028007", "51440002"})
"""Left, right, both (CID 244)."""

# -- the report ---------------------------------------------------------------------------------------------

IMAGING_MEASUREMENT_REPORT = Code("126000", DCM, "Imaging Measurement Report")
LANGUAGE = Code("121049", DCM, "Language of Content Item and Descendants")
ENGLISH = Code("en-US", "RFC5646", "English (United States)")
OBSERVER_TYPE = Code("121005", DCM, "Observer Type")
DEVICE = Code("121007", DCM, "Device")
DEVICE_UID = Code("121012", DCM, "Device Observer UID")
DEVICE_NAME = Code("121013", DCM, "Device Observer Name")
DEVICE_MANUFACTURER = Code("121014", DCM, "Device Observer Manufacturer")
DEVICE_MODEL_NAME = Code("121015", DCM, "Device Observer Model Name")
DEVICE_SERIAL_NUMBER = Code("121016", DCM, "Device Observer Serial Number")
PROCEDURE_REPORTED = Code("121058", DCM, "Procedure reported")
IMAGING_MEASUREMENTS = Code("126010", DCM, "Imaging Measurements")
QUALITATIVE_EVALUATIONS = Code("C0034375", "UMLS", "Qualitative Evaluations")

_IMAGING: Final = Code("363679005", SNOMED_CT, "Imaging procedure")
_PROCEDURES: Final = {
    "CT": Code("25045-6", "LN", "CT unspecified body region"),
    "MR": Code("25056-3", "LN", "MRI unspecified body region"),
    "PT": Code("44136-0", "LN", "PET unspecified body region"),
    "NM": Code("49118-3", "LN", "NM unspecified body region"),
}
"""CID 100."""


def procedure(modality: str) -> Code:
    """What was done to get the images."""
    return _PROCEDURES.get(modality, _IMAGING)


# -- the image library --------------------------------------------------------------------------------------

IMAGE_LIBRARY = Code("111028", DCM, "Image Library")
IMAGE_LIBRARY_GROUP = Code("126200", DCM, "Image Library Group")
SOURCE = Code("260753009", SNOMED_CT, "Source")
MODALITY = Code("121139", DCM, "Modality")
FRAME_OF_REFERENCE_UID = Code("112227", DCM, "Frame of Reference UID")
ROWS = Code("110910", DCM, "Pixel Data Rows")
COLUMNS = Code("110911", DCM, "Pixel Data Columns")
HORIZONTAL_SPACING = Code("111026", DCM, "Horizontal Pixel Spacing")
VERTICAL_SPACING = Code("111066", DCM, "Vertical Pixel Spacing")
_MODALITIES: Final = {
    "CT": "Computed Tomography",
    "MR": "Magnetic Resonance",
    "PT": "Positron emission tomography",
    "NM": "Nuclear Medicine",
}
"""CID 29; another one is called by its value."""
PIXELS = Code("{pixels}", UCUM, "pixels")
MILLIMETRE = Code("mm", UCUM, "millimeter")


def modality_code(modality: str) -> Code:
    """A modality, coded."""
    return Code(modality, DCM, _MODALITIES.get(modality, modality))


# -- a measurement group ------------------------------------------------------------------------------------

MEASUREMENT_GROUP = Code("125007", DCM, "Measurement Group")
TRACKING_IDENTIFIER = Code("112039", DCM, "Tracking Identifier")
TRACKING_UID = Code("112040", DCM, "Tracking Unique Identifier")
FINDING_CATEGORY = Code("276214006", SNOMED_CT, "Finding category")
FINDING = Code("121071", DCM, "Finding")
FINDING_SITE = Code("363698007", SNOMED_CT, "Finding Site")
LATERALITY = Code("272741003", SNOMED_CT, "Laterality")
ALGORITHM_NAME = Code("111001", DCM, "Algorithm Name")
ALGORITHM_VERSION = Code("111003", DCM, "Algorithm Version")
ALGORITHM_PARAMETERS = Code("111002", DCM, "Algorithm Parameters")
ALGORITHM_FAMILY = Code("111000", DCM, "Algorithm Family")
REFERENCED_SEGMENT = Code("121191", DCM, "Referenced Segment")
SOURCE_SERIES = Code("121232", DCM, "Source Series for Segmentation")
SOURCE_IMAGE = Code("121112", DCM, "Source of Measurement")

# -- figures ------------------------------------------------------------------------------------------------

VOLUME = Code("118565006", SNOMED_CT, "Volume")
MILLILITRE = Code("ml", UCUM, "milliliter")
DERIVATION = Code("121401", DCM, "Derivation")
MEAN = Code("373098007", SNOMED_CT, "Mean")
STANDARD_DEVIATION = Code("386136009", SNOMED_CT, "Standard Deviation")
NO_UNIT = Code("1", UCUM, "no units")
HOUNSFIELD_UNIT = Code("[hnsf'U]", UCUM, "Hounsfield unit")

_INTENSITY: Final = Code("INTENSITY", PRIVATE_SCHEME, "Image intensity")
_INTENSITIES: Final = {
    "CT": Code("112031", DCM, "Attenuation Coefficient"),
    "MR": Code("110852", DCM, "MR signal intensity"),
}


def intensity(modality: str) -> Code:
    """What the intensities of a modality are."""
    return _INTENSITIES.get(modality, _INTENSITY)


def intensity_unit(unit: str) -> Code:
    """A measurement's unit, coded."""
    return HOUNSFIELD_UNIT if unit == HOUNSFIELD else NO_UNIT


# -- what was noticed ---------------------------------------------------------------------------------------

TRUNCATED = Code("TRUNCATED", PRIVATE_SCHEME, "Truncated at the edge of the scan")
FLAG = Code("FLAG", PRIVATE_SCHEME, "Quality flag")
NOTHING_FOUND = Code("NOTHING_FOUND", PRIVATE_SCHEME, "No structure was found")
COMMENT = Code("121106", DCM, "Comment")
YES = Code("373066001", SNOMED_CT, "Yes")
NO = Code("373067005", SNOMED_CT, "No")


# -- over time ----------------------------------------------------------------------------------------------

COMPARISON = Code("111424", DCM, "Comparison to previous studies")
PRIOR_REPORT = Code("122075", DCM, "Prior report for current patient")
INTERVAL = Code("INTERVAL", PRIVATE_SCHEME, "Interval since the prior study")
VOLUME_THEN = Code("VOLUME_THEN", PRIVATE_SCHEME, "Volume in the prior study")
VOLUME_CHANGE = Code("VOLUME_CHANGE", PRIVATE_SCHEME, "Change in volume since the prior study")
RELATIVE_CHANGE = Code("RELATIVE_CHANGE", PRIVATE_SCHEME, "Relative change in volume since the prior study")
NOT_COMPARED = Code("NOT_COMPARED", PRIVATE_SCHEME, "Not compared with the prior study")
DAY = Code("d", UCUM, "day")
PERCENT = Code("%", UCUM, "percent")


def why_not_compared(why: NotCompared) -> Code:
    """Why a structure's volumes are not set against each other."""
    return Code(why.value, PRIVATE_SCHEME, why.in_words.capitalize())


def flag_value(code: str) -> Code:
    """A quality flag's code of `docs/quality.md`."""
    return Code(code, PRIVATE_SCHEME, code.replace("_", " ").capitalize()[:64])
