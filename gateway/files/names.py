"""Names of the files in the data directory that more than one room knows."""

LEDGER_NAME = "ledger.sqlite"
API_ADDRESS_NAME = "api-address"
"""Where the API listens while the gateway runs, as http://HOST:PORT."""
DICOM_ADDRESS_NAME = "dicom-address"
"""Where the DICOM listener listens while the gateway runs, as AE@HOST:PORT."""
BACKFILL_FOLDER = "backfill"
"""Of the study that `iris backfill` has on its way, and its lock."""
