"""From files to stacks of images with a place; `converter.series` is the door.

::

    header_file   one file's header, read fast           headers      one image's header, understood
    multiframe    a multi-frame image as single frames    mosaic       so a mosaic
    nuclear       so a nuclear tomogram                   copies        what is there twice
    scales        which values are taken                  verdicts      what is odd about a stack, in words
    refusals      why a file is no slice                  stacks       images put in order, and told apart
    layout        how stored values lie in memory
"""
