"""DICOM-SEG, part by part; `encoder` and `decoder` are the doors.

::

    settings      what a caller says: type, transfer syntax, names, dates
    segments      what is said of each segment          header   all of the object but its frames
    planes        what the frames show                  codecs   one plane as a compressed frame, and back
    writer        writes an object as a stream          file     reads one, frame by frame
    places        where frames lie on the source's slices
"""
