"""Makes golden.npz again: runs the official code on the twins' weights; see README.md here.

python tests/networks/official_published/make.py --treb1en DIR --curricularface DIR --cosface DIR --insightface DIR
    --survey DIR
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from skimage import data
from torch import nn

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
import published_twins as twins  # noqa: E402

POINTS = np.array([[202.3, 106.1], [247.2, 104.9], [224.1, 138.4], [207.8, 161.2], [246.6, 160.1]])
"""Five points in skimage's astronaut, near those that MTCNN finds."""


def module(path: Path, name: str = "") -> types.ModuleType:
    """A file as a module."""
    name = name or path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    found = importlib.util.module_from_spec(spec)
    sys.modules[name] = found
    spec.loader.exec_module(found)
    return found


@torch.no_grad()
def said(official: nn.Module, layout: twins.Layout, width: int = 112) -> np.ndarray:
    """What the official network says; its own names and shapes must be the layout's."""
    shapes = {name: tuple(value.shape) for name, value in official.state_dict().items()}
    assert shapes == layout, set(shapes.items()) ^ set(layout.items())
    official.load_state_dict(twins.fill(layout), strict=True)
    output = official.eval()(twins.picture(112, width))
    return np.asarray(output[0] if isinstance(output, tuple) else output)


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("treb1en", "curricularface", "cosface", "insightface", "survey"):
        parser.add_argument(f"--{name}", type=Path, required=True, help="a checkout of its repository")
    where = parser.parse_args()
    arcface_torch = where.insightface / "recognition/arcface_torch/backbones/iresnet.py"
    iresnet = module(arcface_torch)
    curricularface = module(where.curricularface / "backbone/model_irse.py")
    treb1en = module(where.treb1en / "model.py", "treb1en_model")
    cosface = module(where.cosface / "net.py")
    makers: dict[str, Callable[[], np.ndarray]] = {
        "irse50": lambda: said(treb1en.Backbone(50, 0.4, "ir_se"), twins.ir(twins.BY_STAGE_50, True, True)),
        "curricularface": lambda: said(curricularface.IR_101([112, 112]), twins.ir(twins.BY_STAGE_101, False, False)),
        "iresnet50": lambda: said(iresnet.iresnet50(), twins.iresnet(twins.BY_STAGE_50)),
        "iresnet100": lambda: said(iresnet.iresnet100(), twins.iresnet(twins.BY_STAGE_101)),
        "sphere20": lambda: said(cosface.sphere(20), twins.sphere20(6), 96),
    }
    golden = {}
    for name, make in makers.items():
        start = time.perf_counter()
        golden[name] = make()
        print(f"{name}: {time.perf_counter() - start:.1f} s", flush=True)

    astronaut = data.astronaut()
    align = module(where.insightface / "python-package/insightface/utils/face_align.py")
    golden["insightface_crop"] = align.norm_crop(astronaut, POINTS)
    sys.path.insert(0, str(where.treb1en))
    from mtcnn_pytorch.src import align_trans

    reference = align_trans.get_reference_facial_points(default_square=True)
    golden["treb1en_crop"] = align_trans.warp_and_crop_face(astronaut, POINTS, reference, (112, 112))
    survey = module(where.survey / "eval_faceswap/face_recognition/face_align.py", "survey_align")
    golden["survey_crop"] = survey.face_align.align(astronaut, POINTS)
    np.savez_compressed(HERE / "golden.npz", **golden)


main()
