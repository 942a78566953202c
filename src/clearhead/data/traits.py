"""What each picture shows besides its content: one record per row, measured in one more reading.

The probes of the audit read the label from these; nothing of a tumour should be in most of them.
"""

from __future__ import annotations

import numpy as np

GRID = 16
"""Rows and columns of the coarse pictures."""

PLACES: dict[str, tuple[str, ...]] = {
    "border": ("mean of the top edge", "mean of the bottom edge"),
    "background": ("mean outside the head",),
    "rim": ("mean of scalp and skull",),
    "intensity": ("mean intensity",),
    "sharpness": ("share of fine detail",),
    "shape": ("width of the head over its height",),
    "silhouette": tuple(
        f"head in cell {row},{column}" for row in range(16) for column in range(16)
    ),
    "thumbnail": tuple(f"cell {row},{column}" for row in range(16) for column in range(16)),
}
"""Where a view is looked at, and what each number says of it."""

VIEWS = ("stretch", "canvas")
"""How a picture is drawn before it is looked at: as the report does, and as the nets here do."""

VIEW = np.dtype([(place, "f4", (len(names),)) for place, names in PLACES.items()])
FILE = np.dtype(
    [
        ("quality", "f4"),  # of JPEG by its luminance table, 1–100; NaN where there is none
        ("quantisation", "u4"),  # checksum of the quantisation tables; 0 where there are none
        ("subsampling", "i1"),  # 0 4:4:4, 1 4:2:2, 2 4:2:0; -1 unknown
        ("progressive", "?"),
        ("dpi", "f4"),  # NaN where the file doesn't say
        ("exif", "?"),
        ("icc", "?"),
        ("comment", "?"),
    ]
)
TRAITS = np.dtype([("seen", "?"), ("key", "u8"), ("file", FILE), *((view, VIEW) for view in VIEWS)])
