"""The two apps that Flower runs, one at the server and one at each site.

Both are named in the bundle of `deployment`; what a site is asked for is one function
here each. A simulation calls the same apps in this process.

Tested in `tests/scale/federation/test_server.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import (
    ConfigRecord,
    Context,
    Error,
    Message,
    MetricRecord,
    RecordDict,
    UserConfig,
)
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode
from flwr.common.logger import LOGGER_NAME
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from tumorlens.errors import SettingError, TumorLensError
from tumorlens.scale.federation.copies import hash_records, read_key
from tumorlens.scale.federation.deployment import (
    AUDIT_KEY,
    FOLDER,
    MANIFEST,
    MAX_EPSILON,
    SITE,
)
from tumorlens.scale.federation.plan import FederationPlan
from tumorlens.scale.federation.secure import answer_secure, is_secure
from tumorlens.scale.federation.server import (
    ARRAYS,
    CONFIG,
    METRICS,
    FederationServer,
    counts_record,
    from_record,
    to_record,
)
from tumorlens.scale.federation.site import Site

site_app = ClientApp()
server_app = ServerApp()


@lru_cache(maxsize=32)
def _site(name: str, manifest: str, folder: str, max_epsilon: float | None) -> Site:
    return Site(name, Path(manifest), Path(folder), max_epsilon)


def _site_of(context: Context) -> Site:
    facts = context.node_config
    limit = facts.get(MAX_EPSILON)
    return _site(
        str(facts[SITE]),
        str(facts[MANIFEST]),
        str(facts[FOLDER]),
        None if limit is None else float(limit),
    )


def _asked(message: Message) -> tuple[ConfigRecord, FederationPlan]:
    config = message.content[CONFIG]
    return config, FederationPlan.from_json(str(config["plan"]))


@site_app.train()
def train(message: Message, context: Context) -> Message:
    """Take a round's steps."""
    site = _site_of(context)
    if is_secure(message):
        return answer_secure(message, context, site)
    config, plan = _asked(message)
    update = site.train(
        plan,
        int(config["round"]),
        from_record(message.content[ARRAYS]),
        str(config["digest"]),
    )
    told = {
        "num-examples": float(update.weight),
        "slices": float(update.slices),
        "seconds": update.seconds,
    }
    if update.loss is not None:
        told["loss"] = update.loss
    if update.epsilon is not None:
        told["epsilon"] = update.epsilon
    content = RecordDict(
        {
            ARRAYS: to_record(update.arrays),
            METRICS: MetricRecord(told),
            CONFIG: counts_record(update.counts),
        }
    )
    return Message(content, reply_to=message)


@site_app.evaluate()
def finish(message: Message, context: Context) -> Message:
    """Keep the final network, and count how it fares on the site's own patients."""
    _, plan = _asked(message)
    counts = _site_of(context).finish(plan, from_record(message.content[ARRAYS]))
    content = RecordDict({CONFIG: counts_record(counts)})
    return Message(content, reply_to=message)


@site_app.query("audit")
def audit(message: Message, context: Context) -> Message:
    """Hash the site's pictures with the sites' key."""
    if not context.node_config.get(AUDIT_KEY):
        raise SettingError("This site has no key.", "Give it --audit-key.")
    key = read_key(Path(str(context.node_config[AUDIT_KEY])))
    hashes = hash_records(_site_of(context).audited(), key)
    content = RecordDict({ARRAYS: to_record(vars(hashes))})
    return Message(content, reply_to=message)


@site_app.query("leave_out")
def leave_out(message: Message, context: Context) -> Message:
    """Leave pictures to another site that has them too."""
    rows = message.content[CONFIG]["rows"]
    _site_of(context).leave_out([int(row) for row in np.atleast_1d(rows)])
    return Message(RecordDict(), reply_to=message)


@server_app.main()
def main(grid: Grid, context: Context) -> None:
    """Run a federation in the folder that the run names."""
    weights = str(context.run_config.get("weights") or "")
    FederationServer(
        grid,
        context,
        Path(str(context.run_config[FOLDER])),
        Path(weights) if weights else None,
        say=lambda line: print(line, flush=True),
    ).run()


class LocalGrid(Grid):
    """Sites in this process, asked one after the other: a simulation.

    Parameters
    ----------
    sites
        What `site_facts` gives of each site, by its name.
    """

    def __init__(self, sites: Mapping[str, Mapping[str, Any]]) -> None:
        # Messages carry whose they are; Flower sets it in the processes it starts.
        TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
        self._names = dict(enumerate(sites, start=1))
        self._contexts = {
            node: Context(1, node, UserConfig(sites[name]), RecordDict(), UserConfig())
            for node, name in self._names.items()
        }
        self._answers: dict[str, Message] = {}

    def set_run(self, run: Run) -> None:
        """Do nothing: there is one run."""

    @property
    def run(self) -> Run:
        """The only run."""
        raise NotImplementedError("A simulation has no run of Flower's.")

    def create_message(self, *_: Any, **__: Any) -> Message:  # noqa: ANN401
        """Refuse: messages are made by their class."""
        raise NotImplementedError("Use the class Message.")

    def get_nodes(self) -> Iterable[NodeInfo]:
        """List the sites."""
        return [NodeInfo(node_id=node, name=name) for node, name in self._names.items()]

    def get_node_ids(self) -> Iterable[int]:
        """List the sites' numbers."""
        return list(self._names)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Let the sites work, and keep what they answer."""
        numbers = []
        for message in messages:
            number = str(len(self._answers))
            self._answers[number] = self._answer(message)
            numbers.append(number)
        return numbers

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Hand out what the sites answered."""
        return [self._answers.pop(number) for number in message_ids]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Ask sites, one after the other."""
        return [self._answer(message) for message in messages]

    def _answer(self, message: Message) -> Message:
        node = message.metadata.dst_node_id
        # A site that is elsewhere gets a copy, and may change it.
        message.content = deepcopy(message.content)
        try:
            return site_app(message, self._contexts[node])
        except (TumorLensError, ValueError, KeyError, TypeError) as error:
            return Message(
                Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, str(error)),
                reply_to=message,
            )


def simulate(
    sites: Mapping[str, Mapping[str, Any]], folder: Path, weights: Path | None = None
) -> None:
    """Run, or go on with, a federation whose sites are all in this process.

    Parameters
    ----------
    sites
        What `site_facts` gives of each site, by its name.
    folder
        Holds the plan; see `FederationServer`.
    weights
        Keras weights to start from.
    """
    # Its lines tell less than ours do, in colours that no file takes.
    logging.getLogger(LOGGER_NAME).setLevel(logging.WARNING)
    context = Context(1, 0, UserConfig(), RecordDict(), UserConfig())
    try:
        FederationServer(LocalGrid(sites), context, folder, weights).run()
    finally:
        # Sites hold their slices in memory; a study would hold those of every arm.
        _site.cache_clear()
