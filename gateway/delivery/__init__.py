"""DICOM out: results go to the PACS by C-STORE, and what the PACS answers is understood."""
