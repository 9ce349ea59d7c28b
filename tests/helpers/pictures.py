"""Pictures as arrays."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def picture(png: bytes) -> np.ndarray:
    """Return a PNG as int64 [H, W, 3]."""
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
