"""The strongest cells speak for a slice, as serving pools them."""

import numpy as np

from tumorlens.inference.slice.decision import pool_evidence
from tumorlens.training.networks.evidence_net import StrongestCells


def test_cells_are_pooled_as_serving_does():
    evidence = np.random.default_rng(0).normal(size=(2, 6, 6, 6)).astype(np.float32)
    found = np.array(StrongestCells(4)(evidence))
    np.testing.assert_allclose(found, pool_evidence(evidence, 4), atol=1e-5)
    assert (found[:, 3] == 0).all()


def test_it_can_be_made_again_from_its_config():
    layer = StrongestCells(4, name="strongest")
    assert StrongestCells.from_config(layer.get_config()).cells == 4
