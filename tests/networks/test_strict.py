"""Strict reading: what a file lacks, adds, bends or hides is named in one line, and nothing is half loaded."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import published_twins as twins
import pytest
import torch
from facenet_pytorch import InceptionResnetV1
from torch import Tensor, nn

from mfim_bench.errors import UsageError
from mfim_bench.networks.published import facenet, sphere
from mfim_bench.networks.published.strict import load_strictly

State = dict[str, Tensor]


def net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))


def without(state: State, *names: str) -> State:
    return {name: value for name, value in state.items() if name not in names}


ACCEPTED: dict[str, Callable[[State], State]] = {
    "as it is": lambda s: s,
    "module. prefix": lambda s: {f"module.{name}": value for name, value in s.items()},
    "half precision": lambda s: {n: v.half() if v.is_floating_point() else v for n, v in s.items()},
    "bfloat16": lambda s: {n: v.bfloat16() if v.is_floating_point() else v for n, v in s.items()},
    "double precision": lambda s: {n: v.double() if v.is_floating_point() else v for n, v in s.items()},
    "no counter": lambda s: without(s, "1.num_batches_tracked"),
}
REFUSED: dict[str, tuple[Callable[[State], State], str]] = {
    "missing": (lambda s: without(s, "0.bias"), "1 missing: 0.bias"),
    "unexpected": (lambda s: s | {"0.scale": torch.ones(4)}, "1 unexpected: 0.scale"),
    "mis-shaped": (lambda s: s | {"0.bias": torch.ones(5)}, r"1 mis-shaped: 0.bias \(5,\) for \(4,\)"),
    "broadcastable": (lambda s: s | {"0.bias": torch.ones(1)}, r"1 mis-shaped: 0.bias \(1,\) for \(4,\)"),
    "prefix on some": (lambda s: without(s, "0.bias") | {"module.0.bias": s["0.bias"]}, "1 missing.*1 unexpected"),
    "NaN": (lambda s: s | {"0.bias": torch.tensor([0, 1, 2, torch.nan])}, "not finite.*0.bias"),
    "infinite as float32": (
        lambda s: s | {"0.bias": torch.full((4,), 1e300, dtype=torch.float64)},
        "not finite.*0.bias",
    ),
    "integers": (lambda s: s | {"0.bias": torch.ones(4, dtype=torch.int64)}, "0.bias int64 for floating point"),
    "sparse": (lambda s: s | {"0.bias": torch.ones(4).to_sparse()}, "0.bias without plain values"),
    "nothing": (lambda s: {}, "6 missing"),
}


@pytest.mark.parametrize("on", ["cpu", "meta"])
@pytest.mark.parametrize("how", ACCEPTED)
def test_what_is_accepted(how: str, on: str) -> None:
    state = net().state_dict()
    with torch.device(on):
        module = net()
    load_strictly(module, ACCEPTED[how](state), "file.pth")
    loose = 1e-2 if how in ("half precision", "bfloat16") else 0
    for name, value in module.state_dict().items():
        assert value.device.type == "cpu"
        assert value.dtype == state[name].dtype
        torch.testing.assert_close(value, state[name], rtol=loose, atol=loose / 4)
    assert module.eval()(torch.zeros(1, 3, 2, 2)).isfinite().all()


@pytest.mark.parametrize("how", REFUSED)
def test_what_is_refused_changes_nothing(how: str) -> None:
    module = net()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    other = {name: value + 1 for name, value in before.items()}
    spoil, message = REFUSED[how]
    with pytest.raises(UsageError, match=f"^file.pth: .*{message}") as caught:
        load_strictly(module, spoil(other), "file.pth")
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_optional_and_dropped_keys() -> None:
    state = net().state_dict()
    module = net()
    kept = module.state_dict()["0.bias"].clone()
    load_strictly(module, without(state, "0.bias"), "f", optional=lambda name: name == "0.bias")
    assert torch.equal(module.state_dict()["0.bias"], kept)
    load_strictly(module, state | {"head.weight": torch.ones(2)}, "f", dropped=lambda name: name.startswith("head."))
    with pytest.raises(UsageError, match="1 unexpected: heads"):
        load_strictly(module, state | {"heads": torch.ones(2)}, "f", dropped=lambda name: name.startswith("head."))


# ---- whole files


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("import pathlib; pathlib.Path('ran').touch()",))


def test_files_of_other_kinds_are_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    narrow = twins.fill(twins.sphere20(6))
    torch.save(narrow, "narrow.pth")
    whole = Path("narrow.pth").read_bytes()
    Path("cut.pth").write_bytes(whole[: len(whole) // 2])
    torch.save({"fc.bias": Evil()}, "evil.pth")
    Path("evil.pkl").write_bytes(pickle.dumps(Evil()))
    torch.save({"net": narrow}, "nested.pth")
    refusals = {
        "narrow.pth": r"1 mis-shaped: fc.weight \(512, 21504\) for \(512, 25088\)",
        "cut.pth": "cannot be read safely",
        "evil.pth": "nothing was run",
        "evil.pkl": "cannot be read safely",
        "nested.pth": "46 missing.*46 unexpected",
        "none.pth": "no weights file",
    }
    for name, message in refusals.items():
        with pytest.raises(UsageError, match=message) as caught:
            sphere.load_square(Path(name))
        assert "\n" not in str(caught.value)
    assert not Path("ran").exists()
    assert not sphere.load(Path("narrow.pth")).training


def test_facenets_file_holds_a_classifier_which_is_dropped(tmp_path: Path) -> None:
    with torch.device("meta"):
        official = InceptionResnetV1(classify=True, num_classes=8631).state_dict()
    assert len(official) == 716
    assert official["logits.weight"].shape == (8631, 512)
    state = {name: torch.zeros(()).to(value.dtype).expand(value.shape) for name, value in official.items()}
    file = tmp_path / "20180402-114759-vggface2.pt"
    torch.save(state, file)  # zeros without room
    assert len(facenet.load(file).state_dict()) == 714
    torch.save(without(state, "last_bn.running_var"), file)
    with pytest.raises(UsageError, match=r"20180402-114759-vggface2.pt: 1 missing: last_bn.running_var$"):
        facenet.load(file)
