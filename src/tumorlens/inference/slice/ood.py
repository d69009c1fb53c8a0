"""Is this a brain MRI like those the model knows? A score from 0 to 1.

Three views of the network's pooled features, and the picture's colour, go
into one logistic score: the Mahalanobis distance to the training slices
within their main directions (Lee et al. 2018, arXiv:1807.03888), what is left
outside those directions (the residual of ViM, Wang et al. 2022,
arXiv:2203.10807), the energy of the logits (Liu et al. 2020,
arXiv:2010.03759), and a linear probe against pictures known to be foreign.

Tested in `tests/calibration/test_ood.py`.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import BundleError

FEATURES = ("distance", "residual", "energy", "probe", "colorfulness")
"""Columns of the score's features, in order."""


@dataclass(frozen=True)
class OodModel:
    """What a bundle knows of brain MRI.

    Parameters
    ----------
    center, scale
        Shape (E,): mean and standard deviation of the training embeddings.
    basis
        Shape (E, K): main directions of the standardised embeddings,
        orthonormal.
    spread
        Shape (K,): standard deviation along each of them.
    probe
        Shape (E + 1,): weights of the linear probe, then its offset.
    feature_center, feature_scale
        Shape (5,): of `FEATURES` over brain MRI.
    weights
        Shape (6,): of the standardised features, then the offset.
    cut
        The score below which a picture is refused, 0 to 1; shape ().
    """

    center: NDArray[np.float32]
    scale: NDArray[np.float32]
    basis: NDArray[np.float32]
    spread: NDArray[np.float32]
    probe: NDArray[np.float32]
    feature_center: NDArray[np.float32]
    feature_scale: NDArray[np.float32]
    weights: NDArray[np.float32]
    cut: NDArray[np.float32]

    @property
    def threshold(self) -> float:
        """Score below which a picture is refused."""
        return float(self.cut)

    def features(
        self,
        embedding: NDArray[np.float32],
        logits: NDArray[np.float32],
        colorfulness: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Compute the score's features.

        Parameters
        ----------
        embedding, logits, colorfulness
            Shapes (N, E), (N, 4) and (N,).

        Returns
        -------
        ndarray
            Shape (N, 5), float32, columns as `FEATURES`.
        """
        standard = (embedding - self.center) / self.scale
        along = standard @ self.basis
        # The directions are orthonormal, so what they leave is a difference.
        rest = np.square(standard).sum(axis=1) - np.square(along).sum(axis=1)
        rest = np.maximum(rest, 0.0) / standard.shape[1]
        top = logits.max(axis=1)
        energy = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
        columns = (
            np.log(np.square(along / self.spread).mean(axis=1) + 1e-6),
            np.log(rest + 1e-6),
            energy,
            standard @ self.probe[:-1] + self.probe[-1],
            colorfulness,
        )
        return np.stack(columns, axis=1).astype(np.float32)

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turn features (N, 5) into scores (N,), each 0 to 1."""
        standard = (features - self.feature_center) / self.feature_scale
        # A probe that is very sure must not outvote every other feature.
        standard = np.clip(standard, -12.0, 12.0)
        value = standard @ self.weights[:-1] + self.weights[-1]
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(value, -40.0, 40.0))))

    def score(
        self,
        embedding: NDArray[np.float32],
        logits: NDArray[np.float32],
        colorfulness: float,
    ) -> float:
        """Score one slice.

        Parameters
        ----------
        embedding, logits
            Shapes (E,) and (4,): the network's outputs for the slice.
        colorfulness
            Colourfulness of the slice, 0 to 1.

        Returns
        -------
        float
            0 to 1; 1 for a brain MRI like those the model knows.
        """
        color = np.array([colorfulness], np.float32)
        features = self.features(embedding[None], logits[None], color)
        return float(self.scores(features)[0])

    def distance(self, embedding: NDArray[np.float32]) -> float:
        """Tell how far a slice is from the training slices, beside other brain MRI.

        Parameters
        ----------
        embedding
            Shape (E,): the network's output for the slice.

        Returns
        -------
        float
            Standard deviations above the mean distance of the slices that the score was
            fitted on.
        """
        along = ((embedding - self.center) / self.scale) @ self.basis
        distance = np.log(np.square(along / self.spread).mean() + 1e-6)
        column = FEATURES.index("distance")
        center, scale = self.feature_center[column], self.feature_scale[column]
        return float((distance - center) / scale)

    def save(self, path: Path) -> None:
        """Write the arrays as ``.npz``."""
        np.savez_compressed(
            path, **{field.name: getattr(self, field.name) for field in fields(self)}
        )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        BundleError
            The file is damaged or of another make.
        """
        try:
            # Opened here: numpy leaves a damaged file open.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                arrays = {field.name: stored[field.name] for field in fields(cls)}
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise BundleError(f"{path} is damaged: {error}.") from error
        return cls(**arrays)
