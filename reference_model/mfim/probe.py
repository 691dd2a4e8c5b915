"""The exchange probe: how much of the identity the source's levels can carry.

Two images of one generator differ in everything; exchange the codes from 32 px up and ask the supervisors whose face it
is. At stage one this says whether a frozen generator could ever swap; at stage two, what the trained model does.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from mfim.config import Config
from mfim.data import Faces
from mfim.encoder import TARGET_LIMIT
from mfim.generator import style_space
from mfim.model import MFIM
from mfim.supervision import Seen, Supervision
from mfim.training.gan import build
from mfim.training.guard import Validation
from mfim.training.run import read


def moved(swap: Seen, source: Seen, target: Seen) -> dict[str, float]:
    """How far the swap went from the target to the source, a term: 0 = the target's, 1 = the source's.

    The mean over rows of the projection of swap - target on source - target, relative to its length.
    """
    shares = {}
    for name in ("embedding", "shape", "expression", "pose"):
        a, s, t = (getattr(seen, name).double() for seen in (swap, source, target))
        way = s - t
        shares[name] = float((((a - t) * way).sum() / way.square().sum()).item())
    return shares


@torch.no_grad()
def exchange(
    config: Config,
    held_out: Faces,
    out: Path,
    stage: str,
    first: Path,
    device: str = "auto",
    count: int = 128,
    supervision: Supervision | None = None,
) -> dict[str, dict[str, float]]:
    """Measure, print, and write ``OUT/exchange-STAGE.json``: a row a lowest exchanged resolution, 8 px to the finest.

    At stage one on random latents of ``first``; at stage two on validation pairs with OUT/swap.pt.
    """
    place = torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
    supervision = supervision or Supervision.load(config.swap, config.model.size, place, "float32")
    if stage == "gan":
        state = read(first)
        mapping, synthesis, _ = (network.eval().to(place) for network in build(config))
        mapping.load_state_dict(state["mapping_ema"])
        synthesis.load_state_dict(state["synthesis_ema"])
        z = torch.randn(2 * count, config.model.z_size, generator=torch.Generator().manual_seed(config.seed))
        codes = mapping(z.to(place))
        source, target = [c[:count] for c in codes], [c[count:] for c in codes]
        maps: dict[int, Tensor] = {}
        images: list[Tensor] = [synthesis(source), synthesis(target)]
    else:
        model = MFIM(config.model).eval().to(place)
        model.load_state_dict(read(out / "swap.pt")["mfim_ema"])
        synthesis = model.synthesis
        pairs = Validation.build(held_out, supervision, count)
        images = [pairs.source.to(place), pairs.target.to(place)]
        source = model.encoder(images[0], maps=False).codes
        rest = model.encoder(images[1], maps=model.use_maps)
        target, maps = rest.codes, rest.maps
    space = style_space(config.model.size, config.model.channel_base, config.model.channel_limit)
    seen = [supervision.look(x)[0] for x in images]
    result = {}
    for lowest in [2**k for k in range(3, config.model.size.bit_length())]:
        codes = [s if spec.resolution >= lowest else t for spec, s, t in zip(space, source, target, strict=True)]
        made = synthesis(codes, maps)
        result[f"from {lowest} px"] = moved(supervision.look(made)[0], *seen) | {
            "l1_to_target": float((made - images[1]).abs().mean())
        }
    (out / f"exchange-{stage}.json").write_text(json.dumps(result, indent=1))
    for name, row in result.items():
        mark = " <- the source's levels" if name == f"from {2 * TARGET_LIMIT} px" else ""
        print(f"{name}: " + " ".join(f"{k}={v:.3f}" for k, v in row.items()) + mark)
    return result
