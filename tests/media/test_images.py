"""Images: every kind of file becomes 8-bit RGB, every broken one a reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mfim_bench.errors import RowError, UsageError
from mfim_bench.media.images import content_hash, read_image, read_mask, read_metadata, write_image


@pytest.fixture
def picture() -> np.ndarray:
    """Every channel and axis differs: 12 wide, 7 high."""
    y, x = np.mgrid[:7, :12]
    return np.stack([20 * x, 30 * y, 255 - 10 * (x + y)], axis=-1).astype(np.uint8)


def test_png_round_trip_is_exact_and_carries_metadata(tmp_path: Path, picture: np.ndarray) -> None:
    file = tmp_path / "a.png"
    write_image(file, picture, {"method": "mfim 1", "name": "Žofie"})
    assert np.array_equal(read_image(file), picture)
    assert read_metadata(file) == {"method": "mfim 1", "name": "Žofie"}
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"], "no temporary file stays"


def test_red_is_first(tmp_path: Path) -> None:
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 255
    write_image(tmp_path / "red.png", red)
    assert Image.open(tmp_path / "red.png").getpixel((0, 0)) == (255, 0, 0)
    Image.new("RGB", (16, 16), "red").save(tmp_path / "red.jpg", quality=95)
    assert read_image(tmp_path / "red.jpg")[8, 8, 0] > 240
    assert read_image(tmp_path / "red.jpg")[8, 8, 2] < 15


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(tmp_path: Path, picture: np.ndarray, orientation: int) -> None:
    # How the stored pixels must be turned to be seen upright, from the Exif 2.3 standard, table 6.
    stored_to_seen = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
        8: lambda a: np.rot90(a, 1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "a.png"), stored_to_seen[orientation](picture))


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path: Path) -> None:
    deep = np.array([[0, 257 * 100, 65535, 257 * 7 + 128]], np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    Image.fromarray(deep).save(tmp_path / "deep.tif")
    for name in ("deep.png", "deep.tif"):
        assert read_image(tmp_path / name).tolist() == [[[0] * 3, [100] * 3, [255] * 3, [7] * 3]]


def test_sixteen_bit_colour(tmp_path: Path, picture: np.ndarray) -> None:
    import cv2

    assert cv2.imwrite(str(tmp_path / "deep.png"), picture[..., ::-1].astype(np.uint16) * 257)
    assert np.array_equal(read_image(tmp_path / "deep.png"), picture)


def test_grey_palette_bilevel_and_float(tmp_path: Path, picture: np.ndarray) -> None:
    grey = Image.fromarray(picture[..., 0])
    grey.save(tmp_path / "grey.png")
    assert np.array_equal(read_image(tmp_path / "grey.png"), np.repeat(picture[..., :1], 3, axis=2))
    assert np.array_equal(read_mask(tmp_path / "grey.png"), picture[..., 0])
    Image.fromarray(picture).quantize(256).save(tmp_path / "palette.png")
    assert np.abs(read_image(tmp_path / "palette.png").astype(int) - picture).max() <= 8
    grey.convert("1").save(tmp_path / "bilevel.png")
    assert set(np.unique(read_image(tmp_path / "bilevel.png"))) == {0, 255}
    Image.fromarray((picture[..., 0] / 255).astype(np.float32)).save(tmp_path / "float.tif")
    assert np.array_equal(read_image(tmp_path / "float.tif")[..., 1], picture[..., 0])


def test_cmyk_jpeg(tmp_path: Path) -> None:
    Image.new("RGB", (32, 32), (200, 60, 30)).convert("CMYK").save(tmp_path / "a.jpg", quality=98)
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - (200, 60, 30)).max() <= 4


def test_transparency_shows_white_not_hidden_colours(tmp_path: Path) -> None:
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0, 0] = (10, 20, 30, 255)
    rgba[0, 1] = (10, 20, 30, 0)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png")[0].tolist() == [[10, 20, 30], [255, 255, 255]]
    Image.fromarray(rgba).convert("LA").save(tmp_path / "la.png")
    assert read_image(tmp_path / "la.png")[0, 1].tolist() == [255, 255, 255]


def test_broken_files_become_reasons(tmp_path: Path, picture: np.ndarray) -> None:
    whole = tmp_path / "whole.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(whole)
    (tmp_path / "half.jpg").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "page.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    (tmp_path / "folder.png").mkdir()
    write_image(tmp_path / "big.png", np.zeros((101, 100, 3), np.uint8))
    reasons = {
        "half.jpg": "truncated",
        "empty.png": "empty file",
        "text.png": "not an image",
        "page.eps": "not an image",
        "folder.png": "folder.png",
        "gone.png": "missing file",
        "big.png": "too large",
    }
    for name, reason in reasons.items():
        with pytest.raises(RowError, match=reason) as caught:
            read_image(tmp_path / name, max_pixels=10_000)
        assert "\n" not in str(caught.value)
    assert read_image(tmp_path / "big.png", max_pixels=10_100).shape == (101, 100, 3)


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    (tmp_path / "bomb.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    )
    with pytest.raises(RowError, match="too large"):
        read_image(tmp_path / "bomb.png")


def test_writing_where_one_cannot_is_a_usage_error(tmp_path: Path, picture: np.ndarray) -> None:
    with pytest.raises(UsageError, match="cannot write"):
        write_image(tmp_path / "nowhere" / "a.png", picture)
    with pytest.raises(ValueError, match="uint8"):
        write_image(tmp_path / "a.png", picture / 255)
    assert list(tmp_path.iterdir()) == []


def test_content_hash_knows_pixels_and_shape_not_names(tmp_path: Path, picture: np.ndarray) -> None:
    write_image(tmp_path / "a.png", picture)
    write_image(tmp_path / "b.png", picture, {"k": "v"})
    assert content_hash(read_image(tmp_path / "a.png")) == content_hash(read_image(tmp_path / "b.png"))
    write_image(tmp_path / "a.png", picture[::-1])
    assert content_hash(read_image(tmp_path / "a.png")) != content_hash(picture)
    assert content_hash(picture.reshape(12, 7, 3)) != content_hash(picture)
    assert content_hash(np.asfortranarray(picture)) == content_hash(picture)
