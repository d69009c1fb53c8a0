"""Each MR sequence may have its own odds of the kinds; tumour or none stays."""

import numpy as np
import pytest

from tumorlens.calibration.probabilities import fit_sequence_bias
from tumorlens.inference.bundle.facts import Calibration
from tumorlens.inference.slice.decision import calibrated_probabilities, class_view
from tumorlens.taxonomy import FINDINGS

PLAIN = Calibration(1.0, 0.0, (0.0,) * 6, 1)


def drawn(rng, count, kinds):
    """Draw slices of a sequence in which the network thinks all kinds as common."""
    shares = np.zeros(6)
    shares[list(kinds)] = list(kinds.values())
    labels = rng.choice(6, count, p=shares)
    logits = rng.normal(0.0, 1.0, (count, 6))
    logits[np.arange(count), labels] += 1.0
    return logits.astype(np.float32), labels


def fitted(parts):
    logits = np.concatenate([part[0] for part in parts])
    labels = np.concatenate([part[1] for part in parts])
    own = np.repeat(np.arange(len(parts)), [len(part[1]) for part in parts])
    shares = np.eye(len(parts))[own]
    pooled = np.zeros_like(logits)
    sources = [str(item) for item in own]
    found = fit_sequence_bias(PLAIN, logits, pooled, shares, labels, sources)
    return found, logits, shares, labels


def test_a_sequence_in_which_a_kind_is_common_makes_it_likelier():
    rng = np.random.default_rng(0)
    parts = [
        drawn(rng, 600, {0: 0.8, 1: 0.1, 3: 0.1}),
        drawn(rng, 600, {0: 0.1, 1: 0.8, 3: 0.1}),
    ]
    found, logits, shares, labels = fitted(parts)
    bias = np.array(found.sequence_bias)
    assert bias[0, 0] - bias[0, 1] > 1.0
    assert bias[1, 1] - bias[1, 0] > 1.0
    before = calibrated_probabilities(logits, logits * 0, found)
    after = calibrated_probabilities(logits, logits * 0, found, shares)
    rows = np.arange(len(labels))
    gain = np.log(after[rows, labels]).mean() - np.log(before[rows, labels]).mean()
    assert gain > 0.1


def test_which_kind_it_is_does_not_move_tumour_or_none():
    rng = np.random.default_rng(1)
    # The second sequence shows tumours alone, so its odds of none are not known.
    found, logits, shares, _ = fitted(
        [drawn(rng, 300, {0: 0.5, 3: 0.5}), drawn(rng, 300, {1: 0.9, 4: 0.1})]
    )
    bias = np.array(found.sequence_bias)
    none = FINDINGS.index("no_tumor")
    assert bias[0, none] != 0.0
    assert bias[1, none] == 0.0
    second = shares[:, 1] == 1.0
    before, after = (
        class_view(calibrated_probabilities(logits, logits * 0, found, item))
        for item in (None, shares)
    )
    np.testing.assert_allclose(after[second, 3], before[second, 3])
    assert not np.allclose(after[second, :3], before[second, :3])


def test_a_slice_that_may_be_of_either_is_moved_by_their_mean():
    rows = ((1.0, 0.0, 0.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0, 0.0, 0.0))
    facts = Calibration(1.0, 0.0, (0.0,) * 6, 1, rows)
    logits = np.zeros((1, 6), np.float32)
    found = calibrated_probabilities(logits, logits, facts, np.array([[0.5, 0.5]]))[0]
    assert found[0] == pytest.approx(found[1])
    assert found[0] > found[2]
    assert found.sum() == pytest.approx(1.0)
