"""What is answered: statuses of C-STORE (PS3.4 B.2.3), of N-services (PS3.7 C), of STOW-RS (PS3.18
I.2.2).
"""

from typing import Final

SUCCESS: Final = 0x0000
KEPT_ASIDE: Final = 0xB007
"""Warning: data set does not match SOP class; here: kept, a person will look at it."""
CANNOT_UNDERSTAND: Final = 0xC000
NOT_OF_THIS_STUDY: Final = 0xC409
"""A failure of STOW-RS: PS3.18 leaves its code to us, dcm4chee has this one."""
OUT_OF_RESOURCES: Final = 0xA700
TOO_LONG: Final = 0xA710
"""A failure of STOW-RS for want of resources: the object is longer than `dicom.max_object_mb`."""

# N-ACTION, N-CREATE and N-EVENT-REPORT
INVALID_ATTRIBUTE_VALUE: Final = 0x0106
PROCESSING_FAILURE: Final = 0x0110
NO_SUCH_INSTANCE: Final = 0x0112
NO_SUCH_EVENT: Final = 0x0113
INVALID_ARGUMENT_VALUE: Final = 0x0115
NO_SUCH_CLASS: Final = 0x0118
MISSING_ATTRIBUTE: Final = 0x0120
NO_SUCH_ACTION: Final = 0x0123
NOT_AUTHORIZED: Final = 0x0124
UNRECOGNIZED_OPERATION: Final = 0x0211
RESOURCE_LIMITATION: Final = 0x0213
