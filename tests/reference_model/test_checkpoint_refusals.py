"""Public checkpoints that are hostile, broken or of another kind: one line each, and nothing in them is run."""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from official.twins import twin
from torch import Tensor

from mfim.checkpoints import irse, stylegan2
from mfim.checkpoints.conversion import import_gan, load_body, load_recogniser
from mfim.checkpoints.pickles import networks, parse
from mfim.checkpoints.stylegan2 import NVLABS, ROSINALITY, Sizes
from mfim.config import Config
from mfim.encoder import Body
from mfim_bench.errors import UsageError


class Payload:
    """Would create a file when unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (f"touch {self.mark}",)


def small(kind: str, config: Config) -> dict[str, Tensor]:
    return twin(stylegan2.generator(kind, Sizes.generator(config.model)))


def refused(file: Path, config: Config, tmp_path: Path, wanted: str) -> None:
    with pytest.raises(UsageError) as error:
        import_gan(file, config, tmp_path / "out")
    message = str(error.value)
    assert wanted in message, message
    assert str(file) in message
    assert "\n" not in message
    assert len(message) < 500
    assert not (tmp_path / "out").exists()


def test_pickles_that_would_run_code_are_refused_and_run_nothing(
    tiny: Config, tmp_path: Path, persistence: Callable[..., bytes]
) -> None:
    mark, file = tmp_path / "ran", tmp_path / "hostile.pkl"
    g = small(NVLABS, tiny)
    for protocol in (0, 2, 4):
        file.write_bytes(pickle.dumps(Payload(mark), protocol))
        refused(file, tiny, tmp_path, "nothing was run")
    file.write_bytes(persistence({"G_ema": g}, D=Payload(mark)))
    refused(file, tiny, tmp_path, "it names posix.system, which no pickle of networks does; nothing was run")
    for name in ("builtins.eval", "builtins.exec", "importlib.import_module", "subprocess.Popen"):
        module, _, function = name.rpartition(".")
        file.write_bytes(b"\x80\x02c" + f"{module}\n{function}\n".encode() + b"(X\x01\x00\x00\x001tR.")
        refused(file, tiny, tmp_path, f"it names {name}")
    file = tmp_path / "hostile.pt"
    for zipped in (True, False):
        torch.save(
            {"g_ema": small(ROSINALITY, tiny), "args": Payload(mark)}, file, _use_new_zipfile_serialization=zipped
        )
        refused(file, tiny, tmp_path, "it names posix.system, which is no tensor and no plain value; nothing was run")
    # Inside the bytes of one tensor.
    inner = io.BytesIO()
    torch.save(Payload(mark), inner, _use_new_zipfile_serialization=False)
    honest = persistence({"G_ema": g})
    storage = next(arg for op, arg, _ in pickletools.genops(honest) if op.name == "BINBYTES" and len(arg) > 300)
    content = inner.getvalue() + b"\0" * (len(storage) - len(inner.getvalue()))
    file = tmp_path / "inner.pkl"
    file.write_bytes(honest.replace(storage, content))
    refused(file, tiny, tmp_path, "a weight's bytes cannot be read without running code")
    assert not mark.exists()


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_pickles_of_any_protocol_give_their_tensors(
    tiny: Config, tmp_path: Path, persistence: Callable[..., bytes], protocol: int
) -> None:
    g, file = small(NVLABS, tiny), tmp_path / "file.pkl"
    shared = {"G_ema": g, "G": g}
    file.write_bytes(persistence(shared, protocol))
    found = networks(file)
    assert found.keys() == shared.keys()
    for tensors in found.values():
        assert tensors.keys() == g.keys()
        assert all(torch.equal(value, g[key]) for key, value in tensors.items())


def test_pickles_that_are_broken_or_of_another_kind_are_refused(
    tiny: Config, tmp_path: Path, persistence: Callable[..., bytes]
) -> None:
    g = small(NVLABS, tiny)
    file, honest = tmp_path / "file.pkl", persistence({"G_ema": g})
    file.write_bytes(honest)
    assert isinstance(parse(file), dict)
    for share in (0.01, 0.5, 0.9999):
        file.write_bytes(honest[: int(len(honest) * share)])
        refused(file, tiny, tmp_path, "is no whole pickle")
    file.write_bytes(b"\x80\x04\x8e" + (1 << 60).to_bytes(8, "little") + b"short")
    refused(file, tiny, tmp_path, "is no whole pickle")
    file.write_bytes(b"\x80\x04h\x07.")
    refused(file, tiny, tmp_path, "is no whole pickle")
    file.write_bytes(b"\x80\x04.")
    refused(file, tiny, tmp_path, "is no whole pickle")
    file.write_bytes(b"\x80\x04})" + b"\x85" * 1_000_000 + b"K\x01s.")  # hashing this key overflows a stack
    refused(file, tiny, tmp_path, "a key that is no plain value")
    file.write_bytes(b"\x80\x04\x82\x01.")
    refused(file, tiny, tmp_path, "opcode EXT1 at this place")
    file.write_bytes(pickle.dumps({"a": [1, 2.5, (None, True)]}))
    refused(file, tiny, tmp_path, "a pickle without networks of StyleGAN2")
    file.write_bytes(b"\x80\x04(" + 3 * b"cdnnlib.tflib.network\nNetwork\n)\x81" + b"t.")
    refused(file, tiny, tmp_path, "TensorFlow versions")
    # A module that holds itself.
    file.write_bytes(
        b"\x80\x04}X\x05\x00\x00\x00G_emactorch.nn\nModule\n)\x81q\x01}X\x08\x00\x00\x00_modules"
        b"}X\x01\x00\x00\x00ah\x01ssbs."
    )
    refused(file, tiny, tmp_path, "without end")
    file.write_bytes(persistence({"G_ema": g}).replace(b"_rebuild_tensor_v2", b"_rebuild_tensor_v9"))
    refused(file, tiny, tmp_path, "_rebuild_tensor_v9, not by torch")


def test_files_of_the_wrong_kind_size_or_values_are_refused(tiny: Config, tmp_path: Path) -> None:
    g, file = small(ROSINALITY, tiny), tmp_path / "file.pt"

    def case(wanted: str, content: object) -> None:
        torch.save(content, file)
        refused(file, tiny, tmp_path, wanted)

    refused(tmp_path / "none.pt", tiny, tmp_path, "there is no checkpoint")
    torch.save({"g_ema": g}, file)
    whole = file.read_bytes()
    for size in (0, 10, len(whole) // 2):
        file.write_bytes(whole[:size])
        refused(file, tiny, tmp_path, "cannot be read safely as weights")
    case("is of no layout known here", {"weight": torch.zeros(2)})
    case("holds no averaged generator", {"d": {"convs.0.0.weight": torch.zeros(2)}})
    case("is no generator of StyleGAN2", {"g_ema": {"layer.weight": torch.zeros(2, 2)}})
    for value in (float("nan"), float("inf")):
        case(
            "1 not finite, or another filter: conv1.activate.bias",
            {"g_ema": g | {"conv1.activate.bias": torch.full((16,), value)}},
        )
    case(
        "1 not finite, or another filter: convs.0.conv.blur.kernel",
        {"g_ema": g | {"convs.0.conv.blur.kernel": torch.ones(4, 4)}},
    )
    case("1 mis-shaped: conv1.activate.bias (3,) for (16,)", {"g_ema": g | {"conv1.activate.bias": torch.zeros(3)}})
    case("int64 for floating point", {"g_ema": g | {"conv1.activate.bias": torch.zeros(16, dtype=torch.int64)}})
    case(
        "conv1.activate.bias without plain values", {"g_ema": g | {"conv1.activate.bias": torch.zeros(16).to_sparse()}}
    )
    empty = torch.zeros(16, device="meta")
    case("conv1.activate.bias without plain values", {"g_ema": g | {"conv1.activate.bias": empty}})
    case("1 not finite", {"g_ema": g | {"conv1.activate.bias": torch.full((16,), 1e300, dtype=torch.float64)}})
    less = {k: v for k, v in g.items() if ".conv.modulation.bias" not in k}
    case(
        "11 missing: conv1.conv.modulation.bias, to_rgb1.conv.modulation.bias, convs.0.conv.modulation.bias and 8 more",
        {"g_ema": less},
    )
    case("2 unexpected: a, b.c", {"g_ema": g | {"a": torch.zeros(1), "b": {"c": torch.zeros(1)}}})
    case("does not fit its layout", {"g_ema": g, "d": {}, "g": g | {"a": torch.zeros(1)}})
    larger = Sizes(64, 256, 16, 8, 2)
    case(
        "is a generator of 64 px, channels 256/16, 2 mapping layers of 8; configuration virtual-64 has 32 px",
        {"g_ema": twin(stylegan2.generator(ROSINALITY, larger))},
    )
    critic = twin(stylegan2.discriminator(ROSINALITY, larger))
    case("is a discriminator of 64 px", {"g_ema": g, "d": critic})
    uneven = tiny.model_copy(update={"model": tiny.model.model_copy(update={"z_size": 4})})
    torch.save({"g_ema": g}, file)
    with pytest.raises(UsageError, match="z and w of one size"):
        import_gan(file, uneven, tmp_path / "out")


def test_other_files_are_no_ir_se50(little: Path, tiny: Config, tmp_path: Path) -> None:
    whole = torch.load(little, weights_only=True)
    file = tmp_path / "file.pth"
    body = Body(irse.WIDTHS, irse.UNITS)

    def case(wanted: str, content: object) -> None:
        torch.save(content, file)
        for load in (lambda: load_body(body, file), lambda: load_recogniser(file, torch.device("cpu"))):
            with pytest.raises(UsageError, match=wanted):
                load()

    # The two counters of its twelve keys may be absent.
    case("10 missing: output_layer.0.weight", {k: v for k, v in whole.items() if not k.startswith("output_layer")})
    case("holds no IR-SE50.*, but rosinality", {"g_ema": small(ROSINALITY, tiny)})
    broken = whole["body.0.res_layer.1.weight"].clone()
    broken[0] = torch.nan
    case("not finite, or another filter: body.0.res_layer.1.weight", whole | {"body.0.res_layer.1.weight": broken})
    # Files of old versions of torch have no counters.
    torch.save({k: v for k, v in whole.items() if not k.endswith("num_batches_tracked")}, file)
    load_body(body, file)
    load_recogniser(file, torch.device("cpu"))
    with pytest.raises(UsageError, match="holds no averaged generator"):
        import_gan(little, tiny, tmp_path)
