"""Both stages end to end on a tiny model: resume is exact, EMA is right, pairs are what they should be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mfim.config import Config
from mfim.data import Faces, Sampler, prepare
from mfim.export import export_checkpoint, load
from mfim.model import MFIM
from mfim.probe import exchange
from mfim.supervision import Supervision
from mfim.training import gan, swap
from mfim.training.guard import Collapsed
from mfim.training.run import Ema, learning_rate, read, save
from mfim_bench.errors import UsageError
from mfim_protocols.virtual_faces import shards


def same(a: object, b: object) -> bool:
    """Whether two checkpoints hold bit-equal values."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def test_stage_one_resumes_exactly(tiny: Config, data: Faces, tmp_path: Path) -> None:
    whole = gan.train(tiny, data, tmp_path / "whole", steps=8, device="cpu")
    gan.train(tiny, data, tmp_path / "parts", steps=4, device="cpu")
    with pytest.raises(UsageError, match="--resume"):
        gan.train(tiny, data, tmp_path / "parts", steps=8, device="cpu")
    parts = gan.train(tiny, data, tmp_path / "parts", steps=8, resume=True, device="cpu")
    first, second = read(whole), read(parts)
    assert first["step"] == 8
    assert same(first, second)
    assert not same(first["synthesis"], first["synthesis_ema"])
    assert (tmp_path / "whole" / "gan-000004.png").exists()
    other = tiny.model_copy(update={"model": tiny.model.model_copy(update={"w_size": 16})})
    with pytest.raises(UsageError, match="other model sizes"):
        gan.train(other, data, tmp_path / "parts", steps=9, resume=True, device="cpu")


def test_stage_two_begins_from_a_model_with_fewer_style_maps(
    tiny: Config, data: Faces, supervision: Supervision, tmp_path: Path
) -> None:
    first = gan.train(tiny, data, tmp_path, steps=1, device="cpu")
    training, held_out = data.split(0.3)
    trained = read(
        swap.train(tiny, training, held_out, tmp_path, first, steps=3, device="cpu", supervision=supervision)
    )
    finer = tiny.model_copy(update={"model": tiny.model.model_copy(update={"map_dividers": (1, 2, 4, 8)})})
    model, _ = swap.start(finer, tmp_path / "swap.pt")
    model.eval()
    learned = trained["mfim_ema"]
    again = MFIM(tiny.model)
    again.load_state_dict(learned)
    images = data.batch(np.array([0, 2, 4]))
    before, after = again.eval().encoder(images), model.encoder(images)
    # What the model reads anew comes on top; all that both read is equal.
    assert set(after.maps) > set(before.maps)
    assert all(torch.allclose(after.maps[k], before.maps[k], atol=1e-5) for k in before.maps)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(after.codes, before.codes, strict=True))
    fewer = tiny.model_copy(update={"model": tiny.model.model_copy(update={"map_dividers": (8,)})})
    with pytest.raises(UsageError, match="fewer style maps, not with more"):
        swap.start(fewer, tmp_path / "swap.pt")
    wider = tiny.model_copy(update={"model": tiny.model.model_copy(update={"encoder_width": 16})})
    with pytest.raises(UsageError, match="other model sizes"):
        swap.start(wider, tmp_path / "swap.pt")


def test_stage_two_begins_from_exported_weights_and_teaches_the_discriminator_first(
    tiny: Config, data: Faces, supervision: Supervision, tmp_path: Path
) -> None:
    first = gan.train(tiny, data, tmp_path, steps=1, device="cpu")
    training, held_out = data.split(0.3)

    def run(config: Config, out: Path, begin: Path, steps: int) -> dict[str, Any]:
        done = swap.train(config, training, held_out, out, begin, steps=steps, device="cpu", supervision=supervision)
        return read(done)

    trained = run(tiny, tmp_path, first, 3)
    weights = tmp_path / "weights.safetensors"
    export_checkpoint(tmp_path / "swap.pt", tiny, weights)
    model, discriminator = swap.start(tiny, weights)
    assert same(dict(model.state_dict()), dict(load(weights, torch.device("cpu")).state_dict()))
    assert not same(dict(discriminator.state_dict()), trained["discriminator"])
    patient = tiny.model_copy(update={"swap": tiny.swap.model_copy(update={"critic_first": 2})})
    waiting = run(patient, tmp_path / "patient", weights, 2)
    parameters = dict(model.named_parameters())
    assert all(torch.equal(waiting["mfim"][name], value) for name, value in parameters.items())
    assert not same(waiting["discriminator"], dict(discriminator.state_dict()))
    gone = run(patient, tmp_path / "gone", weights, 3)
    assert not all(torch.equal(gone["mfim"][name], value) for name, value in parameters.items())
    wider = tiny.model_copy(update={"model": tiny.model.model_copy(update={"encoder_width": 16})})
    with pytest.raises(UsageError, match="other model sizes"):
        swap.start(wider, weights)


def test_stage_two_resumes_exactly_and_probes(
    tiny: Config, data: Faces, supervision: Supervision, tmp_path: Path
) -> None:
    first = gan.train(tiny, data, tmp_path, steps=2, device="cpu")
    training, held_out = data.split(0.3)

    def run(out: Path, steps: int, resume: bool) -> Path:
        return swap.train(
            tiny, training, held_out, out, first, steps=steps, resume=resume, device="cpu", supervision=supervision
        )

    whole = run(tmp_path / "whole", 8, False)
    run(tmp_path / "parts", 4, False)
    parts = run(tmp_path / "parts", 8, True)
    assert same(read(whole), read(parts))
    assert (tmp_path / "whole" / "swap-000008.png").exists()
    lines = [json.loads(line) for line in (tmp_path / "whole" / "swap.jsonl").read_text().splitlines()]
    checked = [line for line in lines if "val_id_progress" in line]
    assert [line["step"] for line in checked] == [4, 8]
    (tmp_path / "whole" / "gan.pt").write_bytes(first.read_bytes())
    for stage in ("gan", "swap"):
        rows = exchange(tiny, held_out, tmp_path / "whole", stage, first, "cpu", 6, supervision)
        assert list(rows) == ["from 8 px", "from 16 px", "from 32 px"]
        assert all(np.isfinite(list(row.values())).all() for row in rows.values())
    # Exchanging more levels changes the image more.
    moved = [
        row["l1_to_target"] for row in exchange(tiny, held_out, tmp_path, "gan", first, "cpu", 6, supervision).values()
    ]
    assert moved[0] > moved[1] > moved[2] > 0


def test_frozen_generator_stays_and_finetuned_moves(
    tiny: Config, data: Faces, supervision: Supervision, tmp_path: Path
) -> None:
    first = gan.train(tiny, data, tmp_path, steps=1, device="cpu")
    start = read(first)["synthesis_ema"]
    for kind in ("frozen", "finetune"):
        settings = tiny.model_copy(update={"swap": tiny.swap.model_copy(update={"generator": kind})})
        out = swap.train(
            settings, *data.split(0.3), tmp_path / kind, first, steps=2, device="cpu", supervision=supervision
        )
        made = {k.removeprefix("synthesis."): v for k, v in read(out)["mfim"].items() if k.startswith("synthesis.")}
        changed = {k for k, v in made.items() if not torch.equal(v, start[k])}
        assert any(k.endswith("map_strength") for k in changed)
        assert any(not k.endswith("map_strength") for k in changed) == (kind == "finetune")
        assert not any(k.endswith("noise_strength") for k in changed)


def test_collapsed_run_stops(tiny: Config, data: Faces, supervision: Supervision, tmp_path: Path) -> None:
    first = gan.train(tiny, data, tmp_path, steps=1, device="cpu")
    # A bar of 1.01 no model can reach: identity progress is at most 1.
    strict = tiny.swap.model_copy(
        update={"guard_from": 0, "guard_progress": 1.01, "guard_patience": 2, "validate_every": 1}
    )
    settings = tiny.model_copy(update={"swap": strict})
    with pytest.raises(Collapsed, match="step 2"):
        swap.train(settings, *data.split(0.3), tmp_path, first, steps=6, device="cpu", supervision=supervision)


def test_time_limit_leaves_a_checkpoint(tiny: Config, data: Faces, tmp_path: Path) -> None:
    state = read(gan.train(tiny, data, tmp_path, minutes=0.0, device="cpu"))
    assert state["step"] == 0


def test_ema_by_hand() -> None:
    module = nn.BatchNorm1d(2)
    average = Ema(module, 0.9)
    with torch.no_grad():
        module.weight.fill_(2.0)
        module.running_mean.fill_(10.0)
        module.num_batches_tracked.fill_(5)
    average.update(module, 1000)
    torch.testing.assert_close(average.module.weight, torch.full((2,), 1.1))
    torch.testing.assert_close(average.module.running_mean, torch.full((2,), 1.0))
    assert int(average.module.num_batches_tracked) == 5
    average.update(module, 0)  # at the start the decay is 1/10
    torch.testing.assert_close(average.module.weight, torch.full((2,), 0.11 + 1.8))


def test_checkpoints_are_whole_or_absent(tmp_path: Path) -> None:
    save(tmp_path / "a.pt", {"step": 1})
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]
    with pytest.raises(UsageError, match="no checkpoint"):
        read(tmp_path / "b.pt")
    (tmp_path / "b.pt").write_bytes((tmp_path / "a.pt").read_bytes()[:40])
    with pytest.raises(UsageError, match="not a readable checkpoint"):
        read(tmp_path / "b.pt")


def test_rates_fall_at_the_end() -> None:
    assert [learning_rate(s, 100, 0.5) for s in (0, 50, 75, 100)] == pytest.approx([1, 1, 0.55, 0.1])


def test_pairs_keep_to_identities(data: Faces) -> None:
    assert data.onto is not None
    sampler = Sampler(data.identity, 3, onto=data.onto)
    seen: set[int] = set()
    for step in range(60):
        drawn = sampler.pairs(step, 8, 3, 2)
        a, b, c = (data.identity[index // 2] for index in (drawn.source, drawn.target, drawn.wanted))
        assert (a[:3] == b[:3]).all()
        assert (a[3:] != b[3:]).all()
        assert (drawn.source[:5] // 2 != drawn.wanted[:5] // 2).all()
        assert (a[:5] == c[:5]).all()
        true = drawn.wanted[3:5] // 2
        assert (data.onto[true] == drawn.target[3:5] // 2).all()  # the swap's target, mirrored as it is
        assert (drawn.wanted % 2 == drawn.target % 2).all()
        assert (drawn.wanted[[0, 1, 2, 5, 6, 7]] == drawn.target[[0, 1, 2, 5, 6, 7]]).all()
        seen |= set(drawn.source.tolist()) | set(drawn.target.tolist())
    assert seen == set(range(2 * len(data)))
    again = Sampler(data.identity, 3, onto=data.onto).pairs(59, 8, 3, 2)
    assert (again.source == drawn.source).all()
    assert (again.wanted == drawn.wanted).all()
    assert (Sampler(data.identity, 3, process=1, onto=data.onto).pairs(59, 8, 3, 2).target != drawn.target).any()


def test_pairs_of_sets_without_true_swaps_or_second_images() -> None:
    alone = Sampler(np.arange(6), 0)
    drawn = alone.pairs(0, 6, 6)
    assert (drawn.source // 2 == drawn.target // 2).all()
    with pytest.raises(UsageError, match="no true swaps"):
        alone.pairs(0, 6, 1, 1)
    one_has_two = Sampler(np.array([0, 1, 1, 2]), 0).pairs(0, 40, 40)
    assert set(one_has_two.target // 2) == {1, 2}
    assert (one_has_two.source // 2 != one_has_two.target // 2).all()


def test_a_true_swap_that_lost_its_target_is_a_picture_like_any_other(data: Faces) -> None:
    assert data.onto is not None
    few = data.subset(data.identity < 3, "few")  # person 2's true swap was onto person 3
    assert few.onto is not None
    assert few.onto.tolist() == [-1, -1, 3, -1, -1, 6, -1, -1, -1]
    assert (few.onto[few.onto >= 0] == data.onto[:6][data.onto[:6] >= 0]).all()


def test_true_swaps_are_cut_where_their_targets_are(tmp_path: Path) -> None:
    shards.render_shards(tmp_path / "a", 140_000, 2, 2, size=48, samples=1, hosts=True)
    shards.render_shards(tmp_path / "b", 140_000, 1, 2, size=48, samples=1)
    faces = prepare([tmp_path / "a", tmp_path / "b", tmp_path / "a"], 32, tmp_path / "cache")
    assert faces.onto is not None
    assert faces.onto.tolist() == [-1, -1, 1, -1, -1, 4, -1, -1, -1, -1, 9, -1, -1, 12]
    swaps = np.flatnonzero(faces.onto >= 0)
    apart = np.abs(faces.images[swaps].astype(float) - faces.images[faces.onto[swaps]])
    ring = np.ones((32, 32), bool)
    ring[3:-3, 3:-3] = False
    # The background does not move: cut by points of their own, with the detector's error, it would.
    assert np.median(apart[:, ring]) <= 1.0 < np.median(apart[:, 12:20, 12:20])


def test_mirrored_variants_and_range(data: Faces) -> None:
    plain, mirrored = data.batch(np.array([4, 5]))
    torch.testing.assert_close(plain.flip(-1), mirrored)
    assert float(plain.min()) >= -1
    assert float(plain.max()) <= 1
    assert torch.equal(((plain + 1) * 127.5).round().byte().permute(1, 2, 0), torch.from_numpy(data.images[2]))


def test_crops_come_from_shards_and_are_cached(tmp_path: Path) -> None:
    from mfim_protocols.virtual_faces.shards import write_part

    random = np.random.default_rng(0)
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        points = np.array([[50, 55], [78, 55], [64, 72], [53, 88], [75, 88]], np.float32)
        labels = {
            "identity": np.array([7, 7, 9], np.int64),
            "shape": np.zeros((3, 80), np.float32),
            "expression": np.zeros((3, 52), np.float32),
            "pose": np.zeros((3, 3), np.float32),
            "points5": np.repeat(points[None], 3, 0),
            "points68": np.zeros((3, 68, 2), np.float32),
            "dense": np.zeros((3, 4, 2), np.float32),
        }
        write_part(folder, 0, random.integers(0, 255, (3, 128, 128, 3), dtype=np.uint8), labels)
        (folder / "meta.json").write_text("{}")
    made = prepare([tmp_path / "one", tmp_path / "two"], 32, tmp_path / "cache")
    assert made.images.shape == (6, 32, 32, 3)
    assert len(set(made.identity.tolist())) == 4  # the same number in two folders is two people
    (crops,) = (tmp_path / "cache").glob("crops-*.npy")
    before = crops.stat().st_mtime_ns
    assert (prepare([tmp_path / "one", tmp_path / "two"], 32, tmp_path / "cache").images == made.images).all()
    assert crops.stat().st_mtime_ns == before
    with pytest.raises(UsageError, match="no such folder"):
        prepare([tmp_path / "none"], 32, tmp_path / "cache")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no shards"):
        prepare([tmp_path / "empty"], 32, tmp_path / "cache")
