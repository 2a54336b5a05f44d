"""Contours for radiotherapy: an RT Structure Set (PS3.3 A.19) on the original slices.

`tracing` follows the structures' borders on a slice, `keyholes` joins holes to what is around them, `numbers`
writes points, `names` makes names that radiotherapy systems take, `document` puts it together.
"""
