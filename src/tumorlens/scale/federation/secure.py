"""A round with secure aggregation: the server reads the sum of updates, and none alone.

SecAgg+ (Bell et al. 2020, CCS) is Flower's, which still speaks its older messages; this
file keeps them to itself. Sites send what they moved by instead of weights, within the
plan's bound, and weigh alike, so that no site can outweigh the rest unseen.

Tested in `tests/scale/federation/test_server.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message
from flwr.client.mod import secaggplus_mod
from flwr.common import (
    Code,
    FitIns,
    FitRes,
    Parameters,
    Status,
    ndarrays_to_parameters,
    parameters_to_ndarrays,
)
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS
from flwr.compat.common import recorddict_compat
from flwr.server import ClientManager, LegacyContext
from flwr.server.compat.grid_client_proxy import GridClientProxy
from flwr.server.strategy import FedAvg
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.server.workflow.constant import (
    MAIN_CONFIGS_RECORD,
    MAIN_PARAMS_RECORD,
    Key,
)
from flwr.serverapp import Grid
from numpy.typing import NDArray

from tumorlens.errors import TrainingError
from tumorlens.scale.federation.plan import FederationPlan
from tumorlens.scale.federation.screening import scale_update, update_norm
from tumorlens.scale.federation.site import Arrays, Site

_NEEDED = 0.67
"""Share of the sites that have to stay until the end of a round."""


@dataclass(frozen=True)
class SecureOutcome:
    """What a secure round came to.

    Parameters
    ----------
    mean_update
        Mean of what the sites moved by; None where the protocol was given up.
    told
        What the sites in the mean say of their counts, by their numbers.
    bytes
        Bytes of weights and masked updates.
    """

    mean_update: Arrays | None
    told: dict[int, str]
    bytes: int


class _Bridge(FedAvg):
    """Flower's older strategy: hands out this round's weights, keeps the sum."""

    def __init__(self, grid: Grid, run_id: int, config: dict[str, Any]) -> None:
        super().__init__()
        self._grid = grid
        self._run_id = run_id
        self._config = config
        self.sites = 0
        self.told: dict[int, str] = {}
        self.mean: list[NDArray[Any]] | None = None

    def configure_fit(
        self,
        server_round: int,
        parameters: Parameters,
        client_manager: ClientManager,
    ) -> list[tuple[Any, FitIns]]:
        nodes = list(self._grid.get_node_ids())
        self.sites = len(nodes)
        return [
            (
                GridClientProxy(node, self._grid, self._run_id),
                FitIns(parameters, dict(self._config)),
            )
            for node in nodes
        ]

    def aggregate_fit(
        self, server_round: int, results: list[tuple[Any, FitRes]], failures: list[Any]
    ) -> tuple[Parameters | None, dict[str, Any]]:
        self.told = {
            proxy.node_id: str(result.metrics["counts"]) for proxy, result in results
        }
        if results:
            self.mean = parameters_to_ndarrays(results[0][1].parameters)
        return None, {}


def secure_round(
    grid: Grid,
    context: Context,
    arrays: Arrays,
    config: dict[str, Any],
    plan: FederationPlan,
) -> SecureOutcome:
    """Run the server's side of a secure round.

    Parameters
    ----------
    grid, context
        Flower's.
    arrays
        The weights that the sites start from.
    config
        What is sent beside them.
    plan
        Its `norm_bound` is also the range that updates are quantised in.
    """
    bridge = _Bridge(grid, context.run_id, config)
    legacy = LegacyContext(context, strategy=bridge)
    legacy.state[MAIN_CONFIGS_RECORD] = ConfigRecord(
        {Key.CURRENT_ROUND: int(config["round"])}
    )
    legacy.state[MAIN_PARAMS_RECORD] = ArrayRecord(list(arrays.values()))
    workflow = SecAggPlusWorkflow(
        1.0,
        _NEEDED,
        max_weight=1.0,
        clipping_range=float(plan.norm_bound or 1.0),
        timeout=plan.round_timeout,
    )
    workflow(grid, legacy)
    values = sum(item.size for item in arrays.values())
    # Weights are sent as float32; masked updates come back as 64-bit whole numbers.
    size = 4 * values * bridge.sites + 8 * values * len(bridge.told)
    if bridge.mean is None:
        return SecureOutcome(None, bridge.told, size)
    mean = {
        name: np.asarray(item, np.float32)
        for name, item in zip(arrays, bridge.mean, strict=True)
    }
    return SecureOutcome(mean, bridge.told, size)


def is_secure(message: Message) -> bool:
    """Tell whether a message is of the secure protocol."""
    return RECORD_KEY_CONFIGS in message.content.config_records


def answer_secure(message: Message, context: Context, site: Site) -> Message:
    """Answer a message of the secure protocol at a site.

    Raises
    ------
    TrainingError
        The site's update holds values that are no numbers.
    """

    def train(inner: Message, _: Context) -> Message:
        asked = recorddict_compat.recorddict_to_fitins(inner.content, keep_input=True)
        plan = FederationPlan.from_json(str(asked.config["plan"]))
        values = parameters_to_ndarrays(asked.parameters)
        start = dict(zip(site.shared_names(plan), values, strict=True))
        update = site.train(
            plan, int(asked.config["round"]), start, str(asked.config["digest"])
        )
        moved = bounded_update(start, update.arrays, float(plan.norm_bound or 1.0))
        answer = FitRes(
            Status(Code.OK, ""),
            ndarrays_to_parameters(list(moved.values())),
            num_examples=1,
            metrics={"counts": json.dumps(update.counts)},
        )
        content = recorddict_compat.fitres_to_recorddict(answer, keep_input=False)
        return Message(content, reply_to=inner)

    return secaggplus_mod(message, context, train)


def bounded_update(
    start: Mapping[str, NDArray[np.float32]],
    arrays: Mapping[str, NDArray[np.float32]],
    bound: float,
) -> Arrays:
    """Say what weights moved by, within a bound that the site itself keeps.

    Raises
    ------
    TrainingError
        Values are no numbers.
    """
    if not all(np.isfinite(item).all() for item in arrays.values()):
        raise TrainingError(
            "The round's weights hold values that are no numbers: nothing is sent.",
            "Lower the learning rate.",
        )
    norm = update_norm(start, arrays)
    kept = scale_update(start, arrays, min(1.0, bound / norm)) if norm else arrays
    return {
        name: np.asarray(item - start[name], np.float32) for name, item in kept.items()
    }
