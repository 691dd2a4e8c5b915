"""What a rewritten video keeps: sound, times, colours, rotation, pixel shape, size."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import heard, make, packets, times_of

from mfim_bench.errors import RowError
from mfim_bench.media.pictures import _planes
from mfim_bench.media.video import VideoWriter, read_frames, read_pictures, video_info


def _frames(count: int, size: tuple[int, int] = (48, 64)) -> list[np.ndarray]:
    """Colours that move; no two frames are alike."""
    y, x = np.mgrid[: size[0], : size[1]]
    return [
        np.stack([(4 * x + 9 * i) % 200 + 28, 5 * y % 256, np.full_like(x, 7 * i % 256)], -1)
        .clip(0, 255)
        .astype(np.uint8)
        for i in range(count)
    ]


def _rewrite(source: Path, output: Path, crf: int = 12, change: slice | None = None) -> list[str]:
    """Frame by frame, inverted in the square ``change``; the notes."""
    with VideoWriter(output, video_info(source).rate, crf=crf, sound=source) as writer:
        for picture in read_pictures(source):
            image = picture.rgb.copy()
            if change is not None:
                image[change, change] = 255 - image[change, change]
            writer.write(image, picture)
    return writer.notes


# Sound --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "codec", "output"),
    [
        ("a.mp4", "aac", "o.mp4"),
        ("a.mkv", "aac", "o.mp4"),
        ("a.mkv", "libopus", "o.mp4"),
        ("a.mov", "pcm_s16le", "o.mkv"),
        ("a.avi", "libmp3lame", "o.mov"),
    ],
)
def test_sound_is_copied_byte_by_byte(tmp_path: Path, source: str, codec: str, output: str) -> None:
    make(tmp_path / source, _frames(25), sound=codec, base=Fraction(1, 25))
    assert _rewrite(tmp_path / source, tmp_path / output) == []
    before, after = packets(tmp_path / source, "audio"), packets(tmp_path / output, "audio")
    assert before[0] == after[0]
    assert len(before[0]) > 10
    assert packets(tmp_path / source, "video")[0] != packets(tmp_path / output, "video")[0]


def _late(t: np.ndarray) -> np.ndarray:
    return np.where(t >= 0.6, 16000 * np.sin(2 * np.pi * 440 * t), 0)


@pytest.mark.parametrize(
    ("source", "codec", "output", "name"),
    [
        ("a.mkv", "libopus", "o.mov", "opus"),
        ("a.mkv", "flac", "o.mov", "flac"),
        ("a.avi", "pcm_u8", "o.mp4", "pcm_u8"),
    ],
)
def test_sound_that_the_container_cannot_hold_is_encoded_again_in_time(
    tmp_path: Path, source: str, codec: str, output: str, name: str
) -> None:
    make(tmp_path / source, _frames(25), sound=codec, tone=_late, base=Fraction(1, 25))
    (note,) = _rewrite(tmp_path / source, tmp_path / output)
    assert note == f"sound stream 1 is encoded again as AAC: {output[2:]} holds no {name}"
    with av.open(str(tmp_path / output)) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
    onsets = []
    for path in (tmp_path / source, tmp_path / output):
        time, value = heard(path)
        assert np.abs(value).max() > 0.4
        onsets.append(time[np.argmax(np.abs(value) > 0.2)])
    assert onsets[1] == pytest.approx(onsets[0], abs=0.012)
    assert onsets[1] == pytest.approx(0.6, abs=0.02)


def test_pictures_that_start_late_stay_late_against_the_sound(tmp_path: Path) -> None:
    times = [500 + 40 * number for number in range(25)]
    make(tmp_path / "a.mkv", _frames(25), times=times, sound="aac", seconds=2)
    for name in ("o.mp4", "o.mkv"):
        _rewrite(tmp_path / "a.mkv", tmp_path / name)
        shown, (_, sound) = times_of(tmp_path / name), packets(tmp_path / name, "audio")
        _, sound_before = packets(tmp_path / "a.mkv", "audio")
        assert shown[0] - sound == pytest.approx(0.5 - sound_before, abs=0.025)
        assert len(shown) == 25


def test_every_sound_stream_is_kept_with_its_language(tmp_path: Path) -> None:
    for name in ("eng", "ces"):
        make(tmp_path / f"{name}.mkv", _frames(25), sound="aac")
    with (
        av.open(str(tmp_path / "two.mkv"), "w") as output,
        av.open(str(tmp_path / "eng.mkv")) as one,
        av.open(str(tmp_path / "ces.mkv")) as other,
    ):
        video = output.add_stream_from_template(one.streams.video[0], opaque=True)
        sounds = {
            name: output.add_stream_from_template(c.streams.audio[0]) for name, c in (("eng", one), ("ces", other))
        }
        for name, stream in sounds.items():
            stream.metadata["language"] = name
        for container, name in ((one, "eng"), (other, "ces")):
            for packet in container.demux():
                if packet.size and (packet.stream.type == "audio" or name == "eng"):
                    packet.stream = sounds[name] if packet.stream.type == "audio" else video
                    output.mux(packet)
    _rewrite(tmp_path / "two.mkv", tmp_path / "o.mp4")
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert [stream.metadata["language"] for stream in container.streams.audio] == ["eng", "ces"]


def test_sound_and_pictures_lie_side_by_side_in_the_file(tmp_path: Path) -> None:
    # There the sound comes last: after 20 s, more than FFmpeg would sort by itself.
    make(tmp_path / "a.mkv", _frames(100), times=list(range(0, 20_000, 200)), sound="aac", seconds=20)
    _rewrite(tmp_path / "a.mkv", tmp_path / "o.mkv")
    with av.open(str(tmp_path / "o.mkv")) as container:
        times = {"video": 0.0, "audio": 0.0}
        for packet in container.demux():
            if packet.size:
                times[packet.stream.type] = float(packet.pts * packet.time_base)
                assert abs(times["video"] - times["audio"]) < 1


# Times --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", ["o.mp4", "o.mkv", "o.mov"])
def test_variable_frame_rates_keep_every_time(tmp_path: Path, output: str) -> None:
    times = [0, 33, 66, 300, 340, 341, 700, 1000, 1500, 1533, 2400]
    make(tmp_path / "a.mkv", _frames(len(times)), times=times)
    _rewrite(tmp_path / "a.mkv", tmp_path / output)
    assert times_of(tmp_path / "a.mkv") == pytest.approx(np.array(times) / 1000)
    assert times_of(tmp_path / output) == pytest.approx(np.array(times) / 1000, abs=1e-6)


@pytest.mark.parametrize("base", [Fraction(1001, 30000), Fraction(1, 90000), Fraction(1, 50)])
def test_time_base_rate_and_length_are_kept(tmp_path: Path, base: Fraction) -> None:
    step = max(round(1001 / 30000 / base), 1)
    make(tmp_path / "a.mp4", _frames(31), times=[step * number for number in range(31)], base=base)
    _rewrite(tmp_path / "a.mp4", tmp_path / "o.mp4")
    with av.open(str(tmp_path / "a.mp4")) as before, av.open(str(tmp_path / "o.mp4")) as after:
        was, now = before.streams.video[0], after.streams.video[0]
        assert now.frames == was.frames == 31
        assert now.average_rate == was.average_rate
        # The source's edit list counts in milliseconds.
        assert float(now.duration * now.time_base) == pytest.approx(float(was.duration * was.time_base), abs=0.0011)
    assert times_of(tmp_path / "o.mp4") == times_of(tmp_path / "a.mp4")


@pytest.mark.parametrize("output", ["o.mp4", "o.mkv"])
def test_a_last_frame_that_stands_long_is_kept_long(tmp_path: Path, output: str) -> None:
    def plain(stream: object) -> None:
        stream.codec_context.max_b_frames = 0  # type: ignore[attr-defined]

    # In a clip the last frame lasts as long as the one before: a second.
    make(tmp_path / "a.mp4", _frames(20), times=[*range(0, 760, 40), 1720], before=plain)
    _rewrite(tmp_path / "a.mp4", tmp_path / output)
    for name in ("a.mp4", output):
        with av.open(str(tmp_path / name)) as container:
            assert container.duration == pytest.approx(2_720_000, abs=1000), name


def test_avi_whose_times_ffmpeg_guesses_wrong(tmp_path: Path) -> None:
    make(tmp_path / "a.avi", _frames(50), base=Fraction(1, 25), options={})
    raw = times_of(tmp_path / "a.avi")
    assert raw != sorted(raw), "no B-frames: this shows nothing"
    _rewrite(tmp_path / "a.avi", tmp_path / "o.mp4")
    assert times_of(tmp_path / "o.mp4") == pytest.approx(np.arange(50) / 25)


def test_the_number_of_frames_is_foretold_without_a_count_in_the_file(tmp_path: Path) -> None:
    make(tmp_path / "a.mkv", _frames(50), base=Fraction(1, 25))
    assert video_info(tmp_path / "a.mkv").frames == pytest.approx(50, abs=1)


# Colours ------------------------------------------------------------------------------------------------------------

MATRICES = {"bt709": 1, "bt601": 6, "bt2020": 9, "untagged": 2}


@pytest.mark.parametrize("form", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le"])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", MATRICES)
def test_samples_outside_the_change_are_kept_bit_by_bit(tmp_path: Path, form: str, full: bool, matrix: str) -> None:
    tags = {"colorspace": MATRICES[matrix], "color_range": 2 if full else 1, "color_trc": 1, "color_primaries": 1}
    make(tmp_path / "a.mp4", _frames(3), form=form, tags=tags)
    _rewrite(tmp_path / "a.mp4", tmp_path / "o.mp4", crf=0, change=slice(16, 32))
    pairs = zip(read_pictures(tmp_path / "a.mp4"), read_pictures(tmp_path / "o.mp4"), strict=True)
    for before, after in pairs:
        assert after.frame.format.name.replace("yuvj", "yuv") == form
        for name in tags:
            assert getattr(after.frame, name) == getattr(before.frame, name), name
        image = before.rgb.copy()
        image[16:32, 16:32] = 255 - image[16:32, 16:32]
        planes = (_planes(frame) for frame in (before.frame, before.with_pixels(image), after.frame))
        for old, new, stored in zip(*planes, strict=True):
            high, wide = old.shape[0] // 3, old.shape[1] // 4
            outside = np.ones(old.shape, bool)
            outside[high : 2 * high, wide : 2 * wide] = False
            assert np.array_equal(old[outside], new[outside])
            assert (old[~outside] != new[~outside]).mean() > 0.5
            # Of 10 bits libx264 has no lossless constant quality: there half a level of 255, on average.
            assert np.abs(new.astype(int) - stored).mean() <= (2 if form.endswith("10le") else 0)
        assert np.abs(after.rgb.astype(int) - image)[18:30, 18:30].mean() < (2 if form == "yuv444p" else 4)


def test_at_the_usual_quality_colours_do_not_shift(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 6, (8, 120, 160, 1))
    frames = [(frame + noise[i]).clip(0, 255).astype(np.uint8) for i, frame in enumerate(_frames(8, (120, 160)))]
    make(tmp_path / "a.mp4", frames)
    _rewrite(tmp_path / "a.mp4", tmp_path / "o.mp4")
    before, after = (np.stack(list(read_frames(tmp_path / name))).astype(int) for name in ("a.mp4", "o.mp4"))
    assert np.abs((after - before).mean((0, 1, 2))).max() < 0.25  # no shift
    assert np.abs(after - before).mean() < 2  # in noise of 6 levels


@pytest.mark.parametrize(
    ("name", "codec", "form", "becomes"),
    [
        ("a.mkv", "libx265", "yuv420p10le", "yuv420p10le"),
        ("a.mkv", "libx265", "yuv422p10le", "yuv422p10le"),
        ("a.mkv", "ffv1", "yuv420p16le", "yuv420p10le"),
        ("a.mkv", "ffv1", "gray", "yuv420p"),
        ("a.mkv", "ffv1", "bgr0", "yuv420p"),
        ("a.avi", "mjpeg", "yuvj422p", "yuv422p"),
        ("a.mov", "prores_ks", "yuv422p10le", "yuv422p10le"),
    ],
)
def test_other_depths_and_layouts(tmp_path: Path, name: str, codec: str, form: str, becomes: str) -> None:
    make(tmp_path / name, _frames(3), codec=codec, form=form, base=Fraction(1, 25))
    _rewrite(tmp_path / name, tmp_path / "o.mp4")
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert container.streams.video[0].pix_fmt.replace("yuvj", "yuv") == becomes
    before, after = (np.stack(list(read_frames(tmp_path / file))).astype(int) for file in (name, "o.mp4"))
    assert np.abs(before - after).mean() < 3
    assert np.abs((before - after).mean((0, 1, 2))).max() < 1.5  # range and matrix are the same


# Shape --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_a_turned_video_is_seen_upright_and_stays_turned(tmp_path: Path, degrees: int) -> None:
    frames = _frames(3)
    make(tmp_path / "a.mp4", frames, before=lambda stream: stream.set_display_rotation(degrees))
    _rewrite(tmp_path / "a.mp4", tmp_path / "o.mp4", crf=0, change=slice(8, 24))
    for number, after in enumerate(read_pictures(tmp_path / "o.mp4")):
        upright = np.rot90(frames[number], degrees // 90).copy()
        upright[8:24, 8:24] = 255 - upright[8:24, 8:24]
        assert after.frame.rotation in ({180, -180} if degrees == 180 else {degrees})
        assert after.rgb.shape == upright.shape
        assert np.abs(after.rgb.astype(int) - upright).mean() < 4
    assert video_info(tmp_path / "o.mp4").width == 64, "stored as it was"


def test_pixel_shape_is_kept(tmp_path: Path) -> None:
    def wide(stream: object) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(64, 45)  # type: ignore[attr-defined]

    make(tmp_path / "a.mp4", _frames(3), before=wide)
    _rewrite(tmp_path / "a.mp4", tmp_path / "o.mp4")
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(64, 45)


@pytest.mark.parametrize(("form", "size"), [("yuv420p", (48, 64)), ("yuv444p", (47, 63))])
def test_odd_sizes_grow_where_chroma_is_halved(tmp_path: Path, form: str, size: tuple[int, int]) -> None:
    make(tmp_path / "a.mkv", _frames(3, (47, 63)), codec="ffv1", form=form)
    _rewrite(tmp_path / "a.mkv", tmp_path / "o.mp4", crf=0)
    for before, after in zip(read_pictures(tmp_path / "a.mkv"), read_pictures(tmp_path / "o.mp4"), strict=True):
        assert after.rgb.shape == (*size, 3)
        old, new = _planes(before.frame), _planes(after.frame)
        assert np.array_equal(old[0], new[0][:47, :63])
        assert np.array_equal(old[1], new[1])


# Broken files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.mkv", "a.webm", "a.mp4"])
def test_a_truncated_video_is_told_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    codec = {"a.webm": "libvpx-vp9"}.get(name, "libx264")
    sound = {"a.webm": "libopus"}.get(name, "aac")
    frames = [np.random.default_rng(i).integers(0, 255, (48, 64, 3), dtype=np.uint8) for i in range(100)]
    options = {"movflags": "faststart"} if name == "a.mp4" else {}
    make(tmp_path / name, frames, codec=codec, sound=sound, seconds=4, options=options)
    whole = (tmp_path / name).read_bytes()
    for share in (0.4, 0.7):
        (tmp_path / name).write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(RowError, match="truncated") as caught:
            _rewrite(tmp_path / name, tmp_path / "o.mp4")
        assert "\n" not in str(caught.value)
        assert [path.name for path in tmp_path.iterdir()] == [name]
    (tmp_path / name).write_bytes(whole)
    _rewrite(tmp_path / name, tmp_path / "o.mp4")


def test_a_video_that_changes_its_size_is_told(tmp_path: Path) -> None:
    for name, size in (("a.mkv", (48, 64)), ("b.mkv", (64, 96))):
        make(tmp_path / name, _frames(2, size), codec="mjpeg", form="yuvj420p")
    with av.open(str(tmp_path / "both.mkv"), "w") as output, av.open(str(tmp_path / "a.mkv")) as small:
        stream = output.add_stream_from_template(small.streams.video[0], opaque=True)
        for number, data in enumerate(
            packets(tmp_path / "a.mkv", "video")[0] + packets(tmp_path / "b.mkv", "video")[0]
        ):
            packet = av.Packet(data)
            packet.pts = packet.dts = 40 * number
            packet.time_base, packet.stream = Fraction(1, 1000), stream
            output.mux(packet)
    with pytest.raises(RowError, match=r"changes its size from \(64, 48\) to \(96, 64\)"):
        _rewrite(tmp_path / "both.mkv", tmp_path / "o.mp4")
    assert not (tmp_path / "o.mp4").exists()
