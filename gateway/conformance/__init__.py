"""The DICOM conformance statement: tables of docs/conformance.md, made of what the other rooms go by.

`python -m gateway.conformance` writes them into the document (PS3.2 Annex N); a test compares them with it,
and with what real associations negotiate.
"""
