"""Why somebody is turned away or aborted, in a word: what the metrics count by. Sentences are for the log."""

from enum import StrEnum


class Cause(StrEnum):
    """In a word."""

    UNKNOWN_SENDER = "unknown_sender"
    CALLED_AE_TITLE = "called_ae_title"
    NO_ROOM = "no_room"  # the disk is under its low-water mark
    NO_PLACE = "no_place"  # dicom.max_associations are open
    LEDGER_DAMAGED = "ledger_damaged"
    NO_TOKEN = "no_token"
    TOO_SLOW = "too_slow"  # it did not ask for an association in time
    LIMIT = "limit"  # an object came too slowly, or is too long
    CROWD = "crowd"  # too many connections wait without asking
    TLS = "tls"
    NO_DICOM = "no_dicom"
    OUT_OF_ORDER = "out_of_order"  # PS3.8 9.3.8: unexpected PDU
    INVALID = "invalid"  # PS3.8 9.3.8: invalid PDU parameter value
    BROKEN_OFF = "broken_off"
    COMMITMENT = "commitment"  # storage commitment is asked for, and off
