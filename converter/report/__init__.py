"""Measurements as a structured report: TID 1500 (PS3.16) in a Comprehensive 3D SR (PS3.3 A.35.13).

`concepts` has the codes, `groups` says what is measured of each structure, `library` which images there are,
`document` puts the report together and writes it.
"""
