"""Surfaces of what a label map shows, for viewers in 3D: no DICOM objects, but GLB and OBJ files.

They are in the patient's space as NIfTI has it (RAS, mm), on the label map's own grid.
"""
