"""Rotations, angles and rotation vectors, batched; the convention of angles is that of `face3d_fit`."""

from __future__ import annotations

import torch
from torch import Tensor


def rotation_of(angles: Tensor) -> Tensor:
    """(B, 3) yaw, pitch, roll in radians -> (B, 3, 3)."""
    (cy, cp, cr), (sy, sp, sr) = torch.cos(angles).unbind(-1), torch.sin(angles).unbind(-1)
    zero, one = torch.zeros_like(cy), torch.ones_like(cy)

    def matrix(*rows: Tensor) -> Tensor:
        return torch.stack(rows, -1).reshape(-1, 3, 3)

    yaw = matrix(cy, zero, sy, zero, one, zero, -sy, zero, cy)
    pitch = matrix(one, zero, zero, zero, cp, sp, zero, -sp, cp)
    roll = matrix(cr, -sr, zero, sr, cr, zero, zero, zero, one)
    return roll @ pitch @ yaw


def angles_of(rotation: Tensor) -> Tensor:
    """(B, 3, 3) -> (B, 3) yaw, pitch, roll in radians; the inverse of `rotation_of` for |pitch| < 90°."""
    yaw = torch.atan2(-rotation[:, 2, 0], rotation[:, 2, 2])
    pitch = torch.asin(-rotation[:, 2, 1].clamp(-1, 1))
    roll = torch.atan2(-rotation[:, 0, 1], rotation[:, 1, 1])
    return torch.stack([yaw, pitch, roll], -1)


def small_rotation(omega: Tensor) -> Tensor:
    """(B, 3) rotation vector -> (B, 3, 3), by the exponential map."""
    x, y, z = omega.unbind(-1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(-1, 3, 3)
    out: Tensor = torch.linalg.matrix_exp(skew)
    return out


def rotation_vector(rotation: Tensor) -> Tensor:
    """(B, 3, 3) -> (B, 3), the inverse of `small_rotation` for turns of less than 180°."""
    skew = rotation - rotation.transpose(1, 2)
    twice = torch.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], -1)
    cosine = ((rotation.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).clamp(-0.9999, 1 - 1e-7)
    angle = cosine.acos()
    return (angle / (2 * angle.sin()))[:, None] * twice
