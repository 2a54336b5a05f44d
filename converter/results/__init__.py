"""What every result object says alike: whose it is, what made it and when, its series and its algorithm.

A segmentation, a report or a picture of the same job share `settings` (what a caller says) and `header`
(what of it, and of the source images, stands in each object); what is their own stands in their modules.
"""
