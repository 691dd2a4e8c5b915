"""Image files to uint8 RGB arrays and back.

Every reader goes through `read_image`, so two machines score the same pixels: EXIF rotation is applied,
16-bit, grey, palette, CMYK and transparent images become 8-bit RGB by the rules below, and a file that cannot be read
becomes a `RowError` with a reason instead of a traceback.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from mfim_bench.errors import RowError, UsageError

RGB: TypeAlias = NDArray[np.uint8]
"""uint8 (H, W, 3), red first."""

MAX_PIXELS = 50_000_000
"""Larger images are refused before they are decoded (a small file can ask for any amount of memory)."""

# Raster formats only: Pillow would hand EPS to an external program.
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM", "GIF", "JPEG2000")


def read_image(path: Path | str, max_pixels: int = MAX_PIXELS) -> RGB:
    """Read an image file as 8-bit RGB.

    - EXIF orientation is applied.
    - 16-bit grey is scaled by 255 / 65535 and rounded; of 16-bit colour Pillow keeps the high byte.
    - Floating-point images are read as [0, 1] when no value exceeds 1, else as [0, 255].
    - Grey is repeated to three channels; palettes are looked up; CMYK and YCbCr are converted by Pillow without a
      colour profile.
    - Transparency is composited over white.
    - Of an animation the first frame is read.

    Args:
        path: the file.
        max_pixels: refuse images of more pixels than this, before decoding them.

    Returns:
        uint8 (H, W, 3), RGB.

    Raises:
        RowError: the file is missing, empty, not an image, truncated or larger than ``max_pixels``.
    """
    path = Path(path)
    try:
        if path.stat().st_size == 0:
            raise RowError(f"empty file: {path.name}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit stands below
            image = Image.open(path, formats=_FORMATS)
    except FileNotFoundError:
        raise RowError(f"missing file: {path.name}") from None
    except Image.DecompressionBombError:
        raise RowError(f"image too large: {path.name} (limit {max_pixels} pixels)") from None
    except UnidentifiedImageError:
        raise RowError(f"not an image: {path.name}") from None
    except OSError as error:
        raise RowError(f"cannot read {path.name}: {error.strerror or error}") from None
    with image:
        if image.width * image.height > max_pixels:
            raise RowError(f"image too large: {path.name} ({image.width}x{image.height}, limit {max_pixels} pixels)")
        try:
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image))
        except Exception as error:  # broken files make decoders raise anything, from OSError to IndexError
            raise RowError(f"broken or truncated image: {path.name} ({error})") from None


def read_mask(path: Path | str, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Read a region mask: as `read_image`, then one channel, uint8 (H, W)."""
    return np.ascontiguousarray(read_image(path, max_pixels)[..., 0])


def _to_rgb(image: Image.Image) -> RGB:
    if image.mode.startswith("I"):  # I;16, I;16B, I;16L: 16-bit grey; I: the same in 32 bits
        grey = np.asarray(image).astype(np.float64)
        return _repeat(np.rint(grey.clip(0, 65535) * (255 / 65535)))
    if image.mode == "F":
        grey = np.nan_to_num(np.asarray(image).astype(np.float64))
        return _repeat(np.rint((grey * 255 if grey.max() <= 1 else grey).clip(0, 255)))
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, rgba)
    return np.array(image.convert("RGB"), dtype=np.uint8)


def _repeat(grey: NDArray[np.float64]) -> RGB:
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)


def read_profile(path: Path | str) -> bytes | None:
    """The colour profile (ICC) that the RGB values of `read_image` are meant in; None where there is none.

    Profiles of grey and CMYK images are left out: their values are converted without them.
    """
    with Image.open(path, formats=_FORMATS) as image:
        profile = image.info.get("icc_profile")
    return profile if isinstance(profile, bytes) and profile[16:20] == b"RGB " else None


def write_image(
    path: Path | str,
    image: NDArray[np.uint8],
    metadata: Mapping[str, str] | None = None,
    profile: bytes | None = None,
    level: int = 6,
) -> None:
    """Write a PNG file, complete or not at all.

    Args:
        path: the file; its folder must exist. A reader sees the old file or the new one, never a part.
        image: uint8 (H, W, 3) RGB, or (H, W) grey.
        metadata: text chunks, e.g. method and version (see `read_metadata`).
        profile: a colour profile (see `read_profile`).
        level: of compression, 0 to 9; for a file that is soon read and deleted, 0 or 1 saves most of the time.

    Raises:
        ValueError: the array is no 8-bit image.
        UsageError: the folder cannot be written.
    """
    if image.dtype != np.uint8 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)):
        raise ValueError(f"expected uint8 (H, W, 3) or (H, W), got {image.dtype} {image.shape}")
    path = Path(path)
    info = PngImagePlugin.PngInfo()
    for key, value in (metadata or {}).items():
        info.add_text(key, value)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                Image.fromarray(image).save(file, format="PNG", pnginfo=info, icc_profile=profile, compress_level=level)
            temporary.chmod(0o666 & ~_umask())  # mkstemp makes files that only their owner can read
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def read_metadata(path: Path | str) -> dict[str, str]:
    """The text chunks of a PNG file that `write_image` wrote."""
    with Image.open(path, formats=("PNG",)) as image:
        image.load()
        return {str(key): str(value) for key, value in image.info.items() if isinstance(value, str)}


def content_hash(image: NDArray[np.uint8]) -> str:
    """sha256 (hex) of an image's shape and pixels: the key of every cache, whatever the file is called."""
    digest = hashlib.sha256(repr((image.dtype.str, image.shape)).encode())
    digest.update(np.ascontiguousarray(image).tobytes())
    return digest.hexdigest()
