"""Fitting a linear head model to dense 2D landmarks: what the open 3DMM judge does after its network.

The model. A vertex of a head is ``X = mean + shape_basis·a + expression_basis·e`` (mm); x points to image right for a
frontal face, y up, z to the viewer. The image shows ``u = tx + s·Yx/(1 - k·Yz)`` and ``v = ty - s·Yy/(1 - k·Yz)`` with
``Y = R·X``: a pinhole camera whose axis meets the head, ``s`` in image units per mm, ``k`` one over its distance.
``R = Rz(roll)·Rx(pitch)·Ry(yaw)``: positive yaw turns the nose to image right, positive pitch lifts it, positive roll
tilts the head counter-clockwise in the image.

The fit is a maximum a posteriori estimate (Levenberg-Marquardt on the Gaussian posterior, as in Wood et al., "3D Face
Reconstruction with Dense Landmarks", ECCV 2022): each landmark is weighed by the deviation its network states, the
coefficients by their prior: the spread of the training faces, or the network's own guess with the spread of its
errors. What the landmarks do not show therefore falls back to the prior's mean, and a component that is half seen comes
out half as large: the distance weighs a component by what can be observed of it.

What is reported. No photograph shows a head's absolute size, and "turned down" and "chin drawn in" are one motion of
the shape model. `HeadFit.aligned` therefore moves the neutral face onto the mean face by the similarity that brings
their vertices nearest (Procrustes; Umeyama 1991), the front of the face counting most: shape is what is left, and the
pose of a face is that of its aligned self.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mfim_bench.networks.rotations import angles_of, rotation_of, rotation_vector, small_rotation

CAMERA = 7
"""Unknowns before the coefficients: rotation increment (3), log s, tx, ty, k."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted head: rotation (B, 3, 3), camera (B, 4) = log s, tx, ty, k; shape (B, S), expression (B, E)."""

    rotation: Tensor
    camera: Tensor
    shape: Tensor
    expression: Tensor

    def to(self, dtype: torch.dtype) -> Fit:
        return Fit(self.rotation.to(dtype), self.camera.to(dtype), self.shape.to(dtype), self.expression.to(dtype))


@dataclass(frozen=True, slots=True)
class Face:
    """What is reported of a head: ``neutral`` (B, K, 3) mm, moved onto the mean face; ``expression`` (B, K, 3) mm, its
    displacement in the same axes and scale; ``rotation`` (B, 3, 3) of the face so moved.
    """

    neutral: Tensor
    expression: Tensor
    rotation: Tensor

    @property
    def angles(self) -> Tensor:
        """(B, 3) yaw, pitch, roll in radians."""
        return angles_of(self.rotation)


class Prior(NamedTuple):
    """Mean (B or 1, P) and precision (P, P) of the fit's unknowns."""

    mean: Tensor
    precision: Tensor


class HeadFit(nn.Module):
    """The head model at the K landmark vertices, its priors, and the fit.

    Args:
        mean: (K, 3) mm.
        shape_basis: (S, K, 3) mm per unit of a whitened coefficient (prior: see ``shape_deviation``).
        expression_basis: (E, K, 3) mm at action 1.
        expression_mean: (E,) and
        expression_covariance: (E, E): the prior of the actions.
        weights: (K,) how much a vertex counts when faces are aligned; None = all alike.
    """

    mean: Tensor
    basis: Tensor
    expression_mean: Tensor
    expression_covariance: Tensor
    shape_deviation: Tensor
    inverse_distance: Tensor
    noise_vectors: Tensor
    noise_gains: Tensor
    noise_floor: Tensor
    guess_covariance: Tensor
    sight: Tensor
    blend: Tensor
    shares: Tensor
    weights: Tensor
    twin: Tensor
    mirrored: Tensor
    points5: Tensor

    def __init__(
        self,
        mean: Tensor,
        shape_basis: Tensor,
        expression_basis: Tensor,
        expression_mean: Tensor,
        expression_covariance: Tensor,
        weights: Tensor | None = None,
        rank: int = 96,
    ) -> None:
        super().__init__()
        self.shapes, self.actions = len(shape_basis), len(expression_basis)
        self.register_buffer("mean", mean)
        self.register_buffer("basis", torch.cat([shape_basis, expression_basis]))
        self.register_buffer("expression_mean", expression_mean)
        self.register_buffer("expression_covariance", expression_covariance)
        self.register_buffer("shape_deviation", torch.ones(self.shapes))
        self.register_buffer("weights", torch.ones(len(mean)) if weights is None else weights)
        # Mean and deviation of one over the camera's distance (1/mm); calibration replaces it.
        self.register_buffer("inverse_distance", torch.tensor([1 / 800, 1 / 1600]))
        # How the network's errors hang together, in units of the deviations it states; calibration replaces it.
        self.register_buffer("noise_vectors", torch.zeros(2 * len(mean), rank))
        self.register_buffer("noise_gains", torch.zeros(rank))
        self.register_buffer("noise_floor", torch.tensor(1.0))
        # Of the coefficients the network guesses, around the true ones; calibration replaces it.
        self.register_buffer("guess_covariance", torch.eye(len(self.basis)))
        # From the line of sight to a head, along which a crop puts the camera, to its real axis; calibration sets it.
        self.register_buffer("sight", torch.eye(3))
        # How far the pose goes from the fitted to the guessed one, an axis each in the camera's; calibration sets it.
        self.register_buffer("blend", torch.zeros(3, 3))
        # How far shape and expression go from the guessed to the fitted ones; calibration sets it.
        self.register_buffer("shares", torch.ones(2))
        # Eyes, nose and mouth corners as sums of the vertices, (5, K).
        self.register_buffer("points5", torch.zeros(5, len(mean)))
        twin, mirrored = self._mirror()
        self.register_buffer("twin", twin)
        self.register_buffer("mirrored", mirrored)

    @property
    def shape_basis(self) -> Tensor:
        return self.basis[: self.shapes]

    @property
    def expression_basis(self) -> Tensor:
        return self.basis[self.shapes :]

    @property
    def guesses(self) -> int:
        """Numbers that a network guesses: coefficients, then yaw, pitch and roll of the aligned face."""
        return len(self.basis) + 3

    def _mirror(self) -> tuple[Tensor, Tensor]:
        """What becomes of a head in a mirror.

        Returns:
            (K,) the vertex that takes a vertex's place, -1 where there is none within 1 mm; (G, G) the matrix that
            turns a guess (see `guesses`) into that of the mirrored head. Bases are not exactly symmetric, so it is
            least squares: it misses 1 % of shape and 2 % of expression.
        """
        flip = self.mean.new_tensor([-1.0, 1.0, 1.0])
        near, twin = torch.cdist(self.mean * flip, self.mean).min(1)
        paired = near < 1
        blocks = []
        for basis in (self.shape_basis.double(), self.expression_basis.double()):
            here, there = basis[:, paired].flatten(1), (basis[:, twin] * flip)[:, paired].flatten(1)
            gram = here @ here.T
            unit = gram.diagonal().clamp_min(1e-9).rsqrt()[:, None]
            normal = unit * gram * unit.T + 1e-3 * torch.eye(len(gram), dtype=gram.dtype)
            blocks.append(unit * torch.linalg.solve(normal, unit * (here @ there.T)))
        angles = torch.tensor([-1.0, 1.0, -1.0], dtype=torch.float64)
        matrix: Tensor = torch.block_diag(*blocks, torch.diag(angles))  # type: ignore[no-untyped-call]
        return twin.where(paired, -1), matrix.float()

    def calibrate_noise(self, errors: Tensor) -> None:
        """Learn the correlation of the network's errors.

        Args:
            errors: (N, 2K) landmark errors divided by their stated deviations, on images the network was not trained
            on.
        """
        errors = errors.double().cpu()
        values, vectors = torch.linalg.eigh(errors.T @ errors / len(errors))
        rank = min(len(self.noise_gains), max(len(errors) // 4, 1))
        top, rest = values[-rank:], values[:-rank]
        floor = rest.mean().clamp_min(0.02)
        gains = top.clamp_min(float(floor)).rsqrt() - floor.rsqrt()
        self.noise_vectors.zero_()[:, :rank] = vectors[:, -rank:].to(self.noise_vectors)
        self.noise_gains.zero_()[:rank] = gains.to(self.noise_gains)
        self.noise_floor.fill_(float(floor.rsqrt()))

    def calibrate_guess(self, errors: Tensor) -> None:
        """Learn the covariance of ``errors`` (N, S + E), guessed minus true coefficients on images not trained on."""
        errors = errors.double().cpu()
        covariance = errors.T @ errors / len(errors)
        diagonal = torch.diag(covariance.diagonal())
        share = min(1.0, len(self.basis) / (4 * len(errors)))  # few images do not tell all correlations
        self.guess_covariance.copy_((1 - share) * covariance + share * diagonal)

    def calibrate_sight(self, found: Tensor, true: Tensor) -> None:
        """Learn the mean rotation from ``found`` to ``true`` (N, 3, 3): heads sit below the middle of a photograph."""
        u, _, vt = torch.linalg.svd((true @ found.transpose(1, 2)).double().sum(0))
        self.sight.copy_(u @ torch.diag(torch.tensor([1, 1, float(torch.det(u @ vt))], dtype=u.dtype)) @ vt)

    def calibrate_blend(self, found: Tensor, guessed: Tensor, true: Tensor) -> None:
        """Learn how far to follow a guessed pose: least squares on rotations (N, 3, 3) and angles (N, 3)."""
        back = found.double().transpose(1, 2)
        towards, wanted = rotation_vector(rotation_of(guessed.double()) @ back), rotation_vector(true.double() @ back)
        self.blend.copy_(torch.linalg.lstsq(towards, wanted).solution.T)

    def calibrate_shares(self, found: Fit, guess: Tensor, shape: Tensor, expression: Tensor) -> None:
        """Learn how far to go from ``guess`` (N, G) to the fitted ``found``: least squares on vertices, in 0…1."""
        tangent, _ = self.tangents()
        at = self.shapes, len(self.basis)
        sides = (
            (tangent, found.shape, guess[:, : at[0]], shape),
            (self.expression_basis, found.expression, guess[:, at[0] : at[1]], expression),
        )
        for k, (basis, fitted, guessed, true) in enumerate(sides):
            flat = basis.flatten(1).to(fitted)
            towards, wanted = (fitted - guessed) @ flat, (true - guessed) @ flat
            self.shares[k] = ((towards * wanted).sum() / towards.square().sum().clamp_min(1e-12)).clamp(0, 1)

    def face(self, fit: Fit, guess: Tensor | None = None) -> Face:
        """What is reported of a fit; with the network's ``guess`` (B, G) both are heard."""
        rotation = self.sight.to(fit.rotation) @ fit.rotation
        if guess is None:
            return self.aligned(rotation, fit.shape, fit.expression)
        shape, expression, angles = torch.split(guess.to(fit.shape), [self.shapes, self.actions, 3], 1)
        face = self.aligned(
            rotation,
            torch.lerp(shape, fit.shape, float(self.shares[0])),
            torch.lerp(expression, fit.expression, float(self.shares[1])),
        )
        # The pose of the fit as it is: what its shape holds of a turn belongs to its rotation.
        fitted = self.aligned(rotation, fit.shape, fit.expression).rotation
        towards = rotation_vector(rotation_of(angles) @ fitted.transpose(1, 2))
        return Face(face.neutral, face.expression, small_rotation(towards @ self.blend.to(towards).T) @ fitted)

    def aligned(self, rotation: Tensor, shape: Tensor, expression: Tensor) -> Face:
        """The face of a head: (B, 3, 3), (B, S), (B, E) -> `Face`; differentiable."""
        moved = torch.einsum("bk,kvc->bvc", expression, self.expression_basis.to(expression))
        return self.onto_mean(rotation, self.vertices(shape, torch.zeros_like(expression)), moved)

    def onto_mean(self, rotation: Tensor, neutral: Tensor, moved: Tensor) -> Face:
        """As `aligned`, of any neutral head (B, K, 3) mm and the displacement (B, K, 3) mm of its expression."""
        mean, weights = self.mean.to(neutral), (self.weights / self.weights.sum()).to(neutral)[:, None]
        centre = (weights * mean).sum(0)
        solid = neutral - (weights * neutral).sum(1, keepdim=True)
        u, values, vt = torch.linalg.svd(torch.einsum("kc,bkd->bcd", weights * (mean - centre), solid))
        sign = torch.ones_like(values)
        sign[:, 2] = torch.det(u @ vt).sign()
        turn = u @ (sign[..., None] * vt)
        scale = ((values * sign).sum(1) / (weights * solid.square()).sum((1, 2)))[:, None, None]
        back = turn.transpose(1, 2)
        return Face(scale * solid @ back + centre, scale * moved @ back, rotation @ back)

    def tangents(self) -> tuple[Tensor, Tensor]:
        """`aligned`, linearised at the mean face.

        Returns:
            (S, K, 3) mm: the shape basis without what a similarity can do; (S, 3) radians: the rotation it held.
        """
        weights = (self.weights / self.weights.sum())[:, None]
        x, y, z = (self.mean - (weights * self.mean).sum(0)).T
        zero, one = torch.zeros_like(x), torch.ones_like(x)
        turns = [torch.stack(v, -1) for v in ((zero, -z, y), (z, zero, -x), (-y, x, zero))]
        moves = [torch.stack([one if k == c else zero for k in range(3)], -1) for c in range(3)]
        span = torch.stack([v.flatten() for v in [*turns, *moves, torch.stack([x, y, z], -1)]], 1)
        flat = self.shape_basis.flatten(1)
        root = weights.sqrt().repeat_interleave(3, 0)
        part = torch.linalg.lstsq(root * span, root * flat.T).solution
        return (flat - (span @ part).T).unflatten(1, (-1, 3)), part[:3].T

    def camera_of(self, landmarks: Tensor, pose: Tensor, shape: Tensor, expression: Tensor) -> Fit:
        """The fit of a known head: only the camera is sought, by least squares on the true landmarks (B, K, 2)."""
        rotation = rotation_of(pose)
        turned = self.vertices(shape, expression) @ rotation.transpose(1, 2)
        flat = torch.stack([turned[..., 0], -turned[..., 1]], -1)
        shift = landmarks.mean(1)
        solution = shift.new_zeros(len(landmarks), 4, 1)
        one, zero = torch.ones_like(turned[..., 0]), torch.zeros_like(turned[..., 0])
        constant = torch.stack([torch.stack([one, zero], -1), torch.stack([zero, one], -1)], -1)
        for _ in range(4):  # u = tx + s·Yx + k·(u - tx)·Yz is linear once tx on the right side is known
            by_inverse = (landmarks - shift[:, None]) * turned[..., 2:]
            design = torch.cat([flat[..., None] / 100, by_inverse[..., None] / 100, constant], -1).flatten(1, 2)
            normal = design.transpose(1, 2) @ design
            solution = torch.linalg.solve(normal, design.transpose(1, 2) @ landmarks.flatten(1)[..., None])
            shift = solution[:, 2:, 0]
        scale, inverse = solution[:, 0] / 100, solution[:, 1] / 100
        return Fit(rotation, torch.cat([scale.clamp_min(1e-6).log(), shift, inverse], 1), shape, expression)

    def whiten(self, values: Tensor) -> Tensor:
        """Multiply (B, 2K, ·), already divided by the deviations, by the inverse root of the errors' covariance."""
        vectors = self.noise_vectors.to(values)
        across = vectors.T @ values
        return self.noise_floor.to(values) * values + vectors @ (self.noise_gains.to(values)[:, None] * across)

    def vertices(self, shape: Tensor, expression: Tensor) -> Tensor:
        """(B, S) and (B, E) -> (B, K, 3) mm, at zero pose."""
        coefficients = torch.cat([shape, expression], 1)
        return self.mean.to(shape) + torch.einsum("bk,kvc->bvc", coefficients, self.basis.to(shape))

    def project(self, fit: Fit) -> Tensor:
        """(B, K, 2) landmarks of a fitted head."""
        turned = self.vertices(fit.shape, fit.expression) @ fit.rotation.transpose(1, 2)
        depth = 1 / (1 - fit.camera[:, 3:] * turned[..., 2])
        scale = fit.camera[:, :1].exp()
        return torch.stack(
            [
                fit.camera[:, 1:2] + scale * turned[..., 0] * depth,
                fit.camera[:, 2:3] - scale * turned[..., 1] * depth,
            ],
            -1,
        )

    def jacobian(self, fit: Fit) -> Tensor:
        """(B, 2K, 7 + S + E) derivative of the landmarks (u and v alternating) by the unknowns."""
        turned = self.vertices(fit.shape, fit.expression) @ fit.rotation.transpose(1, 2)
        x, y, z = turned.unbind(-1)
        zero, one = torch.zeros_like(x), torch.ones_like(x)
        scale, inverse = fit.camera[:, 0].exp()[:, None], fit.camera[:, 3:]
        depth = 1 / (1 - inverse * z)
        near, far = scale * depth, scale * inverse * depth**2
        by_point = torch.stack(  # (B, K, 2, 3): how u and v follow a vertex of the turned head
            [torch.stack([near, zero, far * x], -1), torch.stack([zero, -near, -far * y], -1)], 2
        )
        rotation = torch.stack(  # a left increment ω moves Y by ω × Y
            [torch.stack([zero, z, -y], -1), torch.stack([-z, zero, x], -1), torch.stack([y, -x, zero], -1)], 2
        )
        along = scale * depth**2 * z
        camera = torch.stack(
            [
                torch.stack([near * x, one, zero, along * x], -1),
                torch.stack([-near * y, zero, one, -along * y], -1),
            ],
            2,
        )
        out = x.new_empty(*x.shape, 2, CAMERA + len(self.basis))
        out[..., :3] = by_point @ rotation
        out[..., 3:CAMERA] = camera
        in_head = by_point @ fit.rotation[:, None]
        # One product a vertex: (2B, 3) by (3, S + E).
        out[..., CAMERA:] = torch.einsum("bvdc,kvc->bvdk", in_head, self.basis.to(x))
        return out.flatten(1, 2)

    def prior(self, like: Tensor, guess: Tensor | None) -> Prior:
        """Of the unknowns; rotation, scale and shift are left free."""
        size = CAMERA + self.shapes + self.actions
        mean, precision = like.new_zeros(1 if guess is None else len(guess), size), like.new_zeros(size, size)
        mean[:, CAMERA - 1] = self.inverse_distance[0]
        precision[CAMERA - 1, CAMERA - 1] = self.inverse_distance[1].to(like) ** -2
        at = CAMERA + self.shapes
        eye = torch.eye(size, dtype=torch.float64, device=like.device)
        if guess is None:
            mean[:, at:] = self.expression_mean
            precision[range(CAMERA, at), range(CAMERA, at)] = self.shape_deviation.to(like) ** -2
            covariance = self.expression_covariance.double() + 1e-4 * eye[at:, at:]
            precision[at:, at:] = torch.linalg.inv(covariance).to(like)
        else:
            mean[:, CAMERA:] = guess[:, : len(self.basis)]
            covariance = self.guess_covariance.double() + 1e-5 * eye[CAMERA:, CAMERA:]
            precision[CAMERA:, CAMERA:] = torch.linalg.inv(covariance).to(like)
        return Prior(mean, precision)

    def start(self, landmarks: Tensor, deviations: Tensor) -> Fit:
        """The mean head under the scaled-orthographic camera nearest to the weighted least-squares affine one."""
        weights = deviations**-2
        weights = weights / weights.sum(1, keepdim=True)
        points = self.mean.to(landmarks)
        centre2 = (weights[..., None] * landmarks).sum(1)
        centre3 = (weights[..., None] * points).sum(1)
        flat = landmarks - centre2[:, None]
        solid = points - centre3[:, None]
        weighted = solid * weights[..., None]
        gram = weighted.transpose(1, 2) @ solid
        affine = torch.linalg.solve(gram, weighted.transpose(1, 2) @ flat).transpose(1, 2)  # (B, 2, 3)
        affine = affine * landmarks.new_tensor([1.0, -1.0])[:, None]
        u, values, vt = torch.linalg.svd(affine, full_matrices=False)
        rows = u @ vt
        rotation = torch.cat([rows, torch.linalg.cross(rows[:, 0], rows[:, 1])[:, None]], 1)
        scale = values.mean(1, keepdim=True)
        turned = (rotation @ centre3[..., None])[..., 0]
        shift = centre2 - scale * turned[:, :2] * landmarks.new_tensor([1.0, -1.0])
        batch = len(landmarks)
        inverse = self.inverse_distance[0].to(landmarks).expand(batch, 1)
        return Fit(
            rotation,
            torch.cat([scale.log(), shift, inverse], 1),
            landmarks.new_zeros(batch, self.shapes),
            self.expression_mean.to(landmarks).expand(batch, -1),
        )

    def unknowns(self, fit: Fit) -> Tensor:
        zero = torch.zeros_like(fit.camera[:, :3])
        return torch.cat([zero, fit.camera, fit.shape, fit.expression], 1)

    def step(self, fit: Fit, delta: Tensor) -> Fit:
        at = CAMERA + self.shapes
        return Fit(
            small_rotation(delta[:, :3]) @ fit.rotation,
            fit.camera + delta[:, 3:CAMERA],
            fit.shape + delta[:, CAMERA:at],
            fit.expression + delta[:, at:],
        )

    def newton(
        self, fit: Fit, landmarks: Tensor, deviations: Tensor, prior: Prior, damping: Tensor | None = None
    ) -> Tensor:
        """(B, P) Gauss-Newton increment; differentiable by landmarks and the prior's mean (not by deviations)."""
        vectors = self.noise_vectors.to(landmarks)
        # W'W = floor² + V (2 floor G + G²) V' for the orthonormal V of `whiten`, so W need not meet the Jacobian.
        extra = (2 * self.noise_floor + self.noise_gains) * self.noise_gains
        floor = self.noise_floor.square()
        with torch.no_grad():
            inverse = (1 / deviations).repeat_interleave(2, 1)[..., None]
            # The direction needs few digits, the right side (where the optimum lies) and the solution need them.
            jacobian = self.jacobian(fit.to(torch.float32)) * inverse.float()
            across = self.noise_vectors.T @ jacobian
            normal = floor * (jacobian.transpose(1, 2) @ jacobian)
            normal = normal + across.transpose(1, 2) @ (extra[:, None] * across)
            normal = normal.to(prior.precision) + prior.precision
            jacobian = jacobian.to(prior.precision)
            # Unknowns differ by orders of magnitude in unit; a unit diagonal keeps the digits.
            unit = normal.diagonal(dim1=1, dim2=2).rsqrt()
            normal = normal * unit[:, :, None] * unit[:, None]
            if damping is not None:
                normal.diagonal(dim1=1, dim2=2).add_(damping[:, None])
            factor = torch.linalg.cholesky(normal)
        pull = (prior.mean - self.unknowns(fit).detach()) @ prior.precision
        residual = (landmarks - self.project(fit).detach()).flatten(1)[..., None] * inverse
        residual = floor.to(residual) * residual + vectors @ (extra.to(residual)[:, None] * (vectors.T @ residual))
        right = (jacobian.transpose(1, 2) @ residual)[..., 0] + pull
        return unit * torch.cholesky_solve((unit * right)[..., None], factor)[..., 0]

    def cost(self, fit: Fit, landmarks: Tensor, deviations: Tensor, prior: Prior) -> Tensor:
        """(B,) negative log posterior up to a constant."""
        inverse = (1 / deviations).repeat_interleave(2, 1)[..., None]
        residual = self.whiten((landmarks - self.project(fit)).flatten(1)[..., None] * inverse)
        off = self.unknowns(fit) - prior.mean
        return 0.5 * residual.square().sum((1, 2)) + 0.5 * ((off @ prior.precision) * off).sum(1)

    @torch.no_grad()
    def solve(self, landmarks: Tensor, deviations: Tensor, guess: Tensor | None = None, iterations: int = 8) -> Fit:
        """Fit heads to landmarks; every row on its own.

        Args:
            landmarks: (B, K, 2) in any unit (the camera's scale follows it).
            deviations: (B, K) standard deviation of each landmark, in the same unit.
            guess: (B, S + E or more) coefficients to take for the prior's mean; None = the training faces' mean.
            iterations: Levenberg-Marquardt steps; a step that does not help is not taken.
        """
        fit = self.start(landmarks, deviations)
        prior = self.prior(landmarks, guess)
        cost = self.cost(fit, landmarks, deviations, prior)
        damping = torch.full_like(cost, 1e-5)
        for _ in range(iterations):
            trial = self.step(fit, self.newton(fit, landmarks, deviations, prior, damping))
            trial_cost = self.cost(trial, landmarks, deviations, prior)
            better = trial_cost < cost
            column = better[:, None]
            fit = Fit(
                torch.where(column[..., None], trial.rotation, fit.rotation),
                torch.where(column, trial.camera, fit.camera),
                torch.where(column, trial.shape, fit.shape),
                torch.where(column, trial.expression, fit.expression),
            )
            cost = torch.where(better, trial_cost, cost)
            damping = torch.where(better, damping / 10, damping * 100)
        return fit

    def forward(self, landmarks: Tensor, deviations: Tensor, guess: Tensor | None = None, iterations: int = 8) -> Fit:
        """`solve`, then one step that carries gradients: the implicit derivative of the optimum."""
        still = None if guess is None else guess.detach()
        fit = self.solve(landmarks.detach(), deviations.detach(), still, iterations)
        if not (torch.is_grad_enabled() and landmarks.requires_grad):
            return fit
        return self.step(fit, self.newton(fit, landmarks, deviations, self.prior(landmarks, guess)))
