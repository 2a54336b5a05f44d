"""From a volume's files to its voxels, by dcm2niix and by ourselves; `nifti.conversion` is the door.

::

    encoded_frames  frames as they are in their files     neutral         copies of them for dcm2niix
    layout          how stored values lie in memory       dcm2niix        runs it and understands it
    pixels          stored values, read here              decoding        compressed ones, in child processes
    intensities     stored values rescaled, and compared  straight        leaning and uneven stacks
    source_frames   intensities for who draws or measures
"""
