"""Pictures of labels on their images, as every viewer shows them: Secondary Capture and Encapsulated PDF.

::

    settings      what a caller says: which planes, transfer syntax, how large a series may get
    grey          the images' pixels as brightness      planes     where pictures lie in the patient
    contours      labels as lines over the grey         legend     the strip beside a picture
    instances     a picture as a DICOM object           codecs     its pixels, compressed
    overlay       the series of all slices with contours

    views         the planes and the projection of a summary
    sheet         a page as a picture               pdf_sheet  a page as PDF
    page          the layout of a summary           summary    its objects

No patient's name is drawn: who it is stands in the header, as the PACS has it.
"""
