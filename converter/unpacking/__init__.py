"""From a volume's files to its voxels, by dcm2niix and by ourselves; `nifti.conversion` is the door.

::

    encoded_frames  frames as they are in their files     neutral         copies of them for dcm2niix
    pixels          stored values, read here              dcm2niix        runs it and understands it
    intensities     stored values rescaled, and compared  decoding        compressed ones, in child processes
    source_frames   intensities for who draws or measures straight        leaning and uneven stacks
"""
