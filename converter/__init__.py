"""DICOM series to NIfTI and back: geometry, segmentations, codes, pictures. No network, no database.

::

    series        judges a series                         reading/    its parts
    nifti         volume to NIfTI                         unpacking/  its parts
    segmentation, segmentation_reader                     seg/        their parts
                  label map to DICOM-SEG, and back
    geometry, grid, axes, cut
                  where voxels lie, and labels carried from one grid to another
    terminology   what a structure is called              codes/      its tables
"""
