"""The server of a federation: rounds, checks, checkpoints, and what they came to.

It talks to sites through a `Grid` of Flower, whose strategies average the weights.
"""

from __future__ import annotations

import json
import os
import time
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Context,
    Message,
    MessageType,
    RecordDict,
)
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAdam, FedAvg, FedTrimmedAvg
from numpy.typing import NDArray

from tumorlens.errors import DatasetError, TrainingError
from tumorlens.scale.federation.copies import (
    SiteHashes,
    compare_hashes,
    rows_to_leave_out,
)
from tumorlens.scale.federation.plan import HISTORY, WEIGHTS, FederationPlan
from tumorlens.scale.federation.screening import (
    STATISTICS,
    Update,
    screen,
    trimmed_share,
)
from tumorlens.scale.federation.secure import secure_round
from tumorlens.scale.federation.site import (
    Arrays,
    check_first_weights,
    first_model,
    frozen_digest,
    put_arrays,
    shared_arrays,
)
from tumorlens.scale.federation.site_counts import merge_counts

CHECKPOINT = "checkpoint.npz"

ARRAYS, METRICS, CONFIG = "arrays", "metrics", "config"
AUDIT, LEAVE_OUT = "query.audit", "query.leave_out"

_ATTEMPTS = 3
"""How often a round is tried that too few sites finish."""

_SHORT = 600.0
"""Seconds to wait for what takes no training."""


@dataclass
class Round:
    """One round, as the log keeps it.

    Parameters
    ----------
    number
        Number of the round, from 1.
    sites
        What each site whose weights were used says of its round.
    problems
        What was wrong, by the site's name.
    bytes
        Bytes of weights that were sent to sites and came back.
    seconds
        Time the round took.
    validation
        Figures, on the sites' validation patients, of the weights that the round
        started from; empty where nobody sent any.
    """

    number: int
    sites: dict[str, dict[str, float]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    bytes: int = 0
    seconds: float = 0.0
    validation: dict[str, Any] = field(default_factory=dict)


def to_record(arrays: Mapping[str, NDArray[np.float32]]) -> ArrayRecord:
    """Pack weights for sending."""
    return ArrayRecord(
        {name: Array(np.ascontiguousarray(item)) for name, item in arrays.items()}
    )


def counts_record(counts: Mapping[str, Any] | None) -> ConfigRecord:
    """Pack a site's counts for sending."""
    return ConfigRecord({"counts": json.dumps(counts)})


def from_record(record: ArrayRecord) -> dict[str, NDArray[Any]]:
    """Unpack weights."""
    return {name: np.asarray(item.numpy()) for name, item in record.items()}


class FederationServer:
    """Runs a federation, or goes on with one.

    Parameters
    ----------
    grid
        Flower's way to the sites.
    context
        Flower's context of the run.
    folder
        Holds the plan; receives checkpoint, log, weights and report.
    weights
        Keras weights to start from; None for the network's own.
    say
        Receives lines of progress.
    """

    def __init__(
        self,
        grid: Grid,
        context: Context,
        folder: Path,
        weights: Path | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        self._grid = grid
        self._context = context
        self._folder = folder
        self._say = say
        self.plan = FederationPlan.read(folder)
        if weights is not None:
            check_first_weights(self.plan, weights)
        model = first_model(self.plan.training, self.plan.batch_norm, weights)
        self._digest = frozen_digest(model)
        self.arrays: Arrays = shared_arrays(model, self.plan.batch_norm)
        self._strategy = self._make_strategy()
        self.rounds: list[Round] = []
        self.copies: list[dict[str, str | int]] = []
        if (folder / CHECKPOINT).exists():
            self._load_checkpoint()

    def run(self) -> None:
        """Run what is left of the federation.

        Raises
        ------
        TrainingError
            Too few sites finish a round, several times over.
        """
        plan = self.plan
        if self.rounds:
            self._say(f"Going on after round {len(self.rounds)} of {plan.rounds}.")
        else:
            if plan.audit:
                self._audit()
            self._save_checkpoint()
        while len(self.rounds) < plan.rounds:
            done = self._round(len(self.rounds) + 1)
            self.rounds.append(done)
            self._save_checkpoint()
            self._say(_line(done, plan.rounds))
        model = first_model(plan.training, plan.batch_norm)
        put_arrays(model, self.arrays)
        model.save_weights(self._folder / WEIGHTS)
        self._report()

    # --- Sites ---

    def _names(self) -> dict[int, str]:
        """Name the sites that are there: as registered, else by their number."""
        return {
            int(node.node_id): str(node.name) or f"site-{node.node_id}"
            for node in self._grid.get_nodes()
        }

    def _wait(self) -> dict[int, str]:
        said = False
        while len(names := self._names()) < self.plan.min_sites:
            if not said:
                self._say(
                    f"Waiting for sites: {len(names)} of {self.plan.min_sites} are "
                    "there."
                )
                said = True
            time.sleep(0.5)
        return names

    def _ask(
        self,
        kind: str,
        content: RecordDict | Mapping[str, RecordDict],
        timeout: float,
    ) -> dict[str, Message | None]:
        """Ask all sites that are there; by name, what each answers, if it does."""
        names = self._wait()
        messages = [
            Message(
                content if isinstance(content, RecordDict) else content[name],
                dst_node_id=node,
                message_type=kind,
            )
            for node, name in names.items()
            if isinstance(content, RecordDict) or name in content
        ]
        replies = self._send(messages, names, timeout)
        asked = [names[item.metadata.dst_node_id] for item in messages]
        return {name: replies.get(name) for name in asked}

    def _send(
        self, messages: Sequence[Message], names: Mapping[int, str], timeout: float
    ) -> dict[str, Message]:
        """Send messages, and return what comes back in time, by the site's name."""
        replies = list(self._grid.send_and_receive(messages, timeout=timeout))
        # Where a site is gone, Flower answers in its place.
        asked = {
            item.metadata.message_id: item.metadata.dst_node_id for item in messages
        }
        reply_by_site = {}
        for reply in replies:
            node = reply.metadata.src_node_id
            if node not in names:
                node = asked.get(reply.metadata.reply_to_message_id, node)
            reply_by_site[names.get(node, "unknown")] = reply
        return reply_by_site

    def _config(self, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - scalars
        return {"plan": self.plan.to_json(), "digest": self._digest, **more}

    # --- Copies ---

    def _audit(self) -> None:
        asked = RecordDict({CONFIG: ConfigRecord(self._config())})
        replies = self._ask(AUDIT, asked, self.plan.round_timeout)
        hashes = {}
        for name, reply in replies.items():
            if reply is None or reply.has_error():
                raise DatasetError(
                    f"{name} cannot be compared with the others: {_reason(reply)}",
                    "Give it the sites' --audit-key, or leave --audit out.",
                )
            hashes[name] = SiteHashes(**from_record(reply.content[ARRAYS]))
        shared_copies = compare_hashes(hashes)
        self.copies = [pair.counts() for pair in shared_copies]
        left_out = rows_to_leave_out(shared_copies)
        for name, rows in left_out.items():
            self._say(f"{name} leaves {len(rows)} pictures to other sites.")
        orders = {
            name: RecordDict(
                {CONFIG: ConfigRecord({"rows": [int(row) for row in rows]})}
            )
            for name, rows in left_out.items()
        }
        done = self._ask(LEAVE_OUT, orders, _SHORT) if orders else {}
        for name in orders:
            reply = done.get(name)
            if reply is None or reply.has_error():
                raise DatasetError(
                    f"{name} does not leave its copies out: {_reason(reply)}",
                    "Mend the site, then start the server with --resume.",
                )

    # --- Rounds ---

    def _make_strategy(self) -> FedAvg:
        sites = {
            "min_train_nodes": self.plan.min_sites,
            "min_available_nodes": self.plan.min_sites,
        }
        if self.plan.strategy == "fedadam":
            return FedAdam(eta=self.plan.server_rate, **sites)
        if self.plan.aggregation == "trimmed-mean":
            return FedTrimmedAvg(**sites)
        return FedAvg(**sites)

    def _round(self, number: int) -> Round:
        started = time.monotonic()
        done = Round(number)
        for attempt in range(1, _ATTEMPTS + 1):
            took_part = (
                self._secure_attempt(done) if self.plan.secure else self._attempt(done)
            )
            if took_part:
                done.seconds = time.monotonic() - started
                return done
            self._say(
                f"Round {number}, attempt {attempt}: fewer than "
                f"{self.plan.min_sites} sites finished it. {_problems(done)}"
            )
        raise TrainingError(
            f"Fewer than {self.plan.min_sites} sites finished round {number}, "
            f"{_ATTEMPTS} times over. {_problems(done)}",
            "Mend the sites, then start the server with --resume.",
        )

    def _attempt(self, done: Round) -> bool:
        """Try a round; False where too few sites finish it."""
        names = self._wait()
        asked = list(
            self._strategy.configure_train(
                done.number,
                to_record(self.arrays),
                ConfigRecord(self._config(round=done.number)),
                self._grid,
            )
        )
        names |= self._names()
        size = sum(item.nbytes for item in self.arrays.values())
        done.bytes += size * len(asked)
        replies = self._send(asked, names, self.plan.round_timeout)
        done.problems = {
            names.get(item.metadata.dst_node_id, "unknown"): "sent nothing in time"
            for item in asked
        }
        updates: dict[str, Update] = {}
        for name, reply in replies.items():
            done.problems.pop(name, None)
            try:
                if reply.has_error():
                    raise ValueError(_reason(reply))
                metrics = reply.content[METRICS]
                weight = float(metrics["num-examples"])
                updates[name] = Update(from_record(reply.content[ARRAYS]), weight)
                done.bytes += sum(i.nbytes for i in updates[name].arrays.values())
            except (KeyError, TypeError, ValueError) as error:
                done.problems[name] = f"left out: {error}"
        kept, problems = screen(self.arrays, updates, self.plan.norm_bound)
        done.problems |= problems
        if len(kept) < self.plan.min_sites:
            return False
        done.sites = {
            name: {
                key: float(value)
                for key, value in replies[name].content[METRICS].items()
            }
            for name in kept
        }
        done.validation = _validation(
            {name: str(replies[name].content[CONFIG]["counts"]) for name in kept}
        )
        averaged = self._average(
            done.number, [(replies[name], kept[name]) for name in sorted(kept)]
        )
        if not all(np.isfinite(item).all() for item in averaged.values()):
            return False
        self.arrays = averaged
        return True

    def _average(self, number: int, updates: list[tuple[Message, Update]]) -> Arrays:
        for reply, update in updates:
            reply.content[ARRAYS] = to_record(update.arrays)
            reply.content[METRICS]["num-examples"] = update.weight
        if isinstance(self._strategy, FedTrimmedAvg):
            self._strategy.beta = trimmed_share(len(updates))
        record, _ = self._strategy.aggregate_train(
            number, [reply for reply, _ in updates]
        )
        if record is None:
            return self.arrays
        averaged = {
            name: item.astype(np.float32) for name, item in from_record(record).items()
        }
        if self.plan.strategy == "fedadam":
            # Statistics are measured, not learned: a step of Adam means nothing there.
            names = [name for name in averaged if name.endswith(STATISTICS)]
            averaged |= _weighted_mean([update for _, update in updates], names)
        return {name: averaged[name] for name in self.arrays}

    def _secure_attempt(self, done: Round) -> bool:
        names = self._wait()
        outcome = secure_round(
            self._grid,
            self._context,
            self.arrays,
            self._config(round=done.number),
            self.plan,
        )
        done.bytes += outcome.bytes
        told = {names.get(node, "unknown"): text for node, text in outcome.told.items()}
        done.problems = {
            name: "dropped out; its weights are in no sum"
            for name in names.values()
            if name not in told
        }
        if outcome.mean_update is None or len(told) < self.plan.min_sites:
            return False
        done.sites = {name: {} for name in sorted(told)}
        done.validation = _validation(told)
        self.arrays = {
            name: (item + outcome.mean_update[name]).astype(np.float32)
            for name, item in self.arrays.items()
        }
        return True

    # --- Figures ---

    def _report(self) -> None:
        from tumorlens.scale.federation.report import write_federated_report

        asked = RecordDict(
            {ARRAYS: to_record(self.arrays), CONFIG: ConfigRecord(self._config())}
        )
        replies = self._ask(MessageType.EVALUATE, asked, self.plan.round_timeout)
        counts = _told_counts(
            {
                name: str(reply.content[CONFIG]["counts"])
                for name, reply in replies.items()
                if reply is not None and not reply.has_error()
            }
        )
        history = self._history()
        if counts:
            metrics = merge_counts(counts)
            metrics["model"] = {
                "name": self.plan.training.network,
                "version": f"federated, {self.plan.rounds} rounds",
                "operating_point": "one half",
                "stated_coverage": None,
            }
            write_federated_report(metrics, history, self._folder / "report")
            self._say(f"Figures of all sites written to {self._folder / 'report'}.")

    # --- What is kept ---

    def _history(self) -> dict[str, Any]:
        return {
            "schema": "tumorlens-federation/1",
            "plan": json.loads(self.plan.to_json()),
            "copies": self.copies,
            "rounds": [asdict(item) for item in self.rounds],
        }

    def _save_checkpoint(self) -> None:
        arrays: dict[str, Any] = {f"now/{k}": v for k, v in self.arrays.items()}
        if isinstance(self._strategy, FedAdam):
            for kind, moments in (("m", self._strategy.m_t), ("v", self._strategy.v_t)):
                arrays |= {f"{kind}/{k}": v for k, v in (moments or {}).items()}
        history = self._history()
        arrays["history"] = np.frombuffer(json.dumps(history).encode(), np.uint8)
        part = self._folder / "checkpoint.part"
        with part.open("wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._folder / CHECKPOINT)
        (self._folder / HISTORY).write_text(
            json.dumps(history, indent=1) + "\n", encoding="utf-8"
        )

    def _load_checkpoint(self) -> None:
        path = self._folder / CHECKPOINT
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                kinds = {
                    kind: {
                        name.removeprefix(f"{kind}/"): stored[name]
                        for name in stored.files
                        if name.startswith(f"{kind}/")
                    }
                    for kind in ("now", "m", "v")
                }
                history = json.loads(stored["history"].tobytes())
            if set(kinds["now"]) != set(self.arrays):
                raise ValueError("it is of another network")
            self.rounds = [Round(**item) for item in history["rounds"]]
            self.copies = history["copies"]
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise TrainingError(
                f"The checkpoint {path} cannot be used: {error}.",
                "Start again in an empty folder.",
            ) from error
        self.arrays = {name: kinds["now"][name] for name in self.arrays}
        if isinstance(self._strategy, FedAdam):
            self._strategy.m_t = kinds["m"] or None
            self._strategy.v_t = kinds["v"] or None


def _told_counts(told: Mapping[str, str]) -> dict[str, Any]:
    """Read what sites say of their counts; some have too few patients to say it."""
    counts = {name: json.loads(text) for name, text in sorted(told.items())}
    return {name: item for name, item in counts.items() if item is not None}


def _validation(told: Mapping[str, str]) -> dict[str, Any]:
    counts = _told_counts(told)
    if not counts:
        return {}
    merged = merge_counts(counts)
    return {
        "sites": sorted(counts),
        **{
            key: merged[key]
            for key in ("slices", "patients", "accuracy", "auroc_tumor")
        },
    }


def _weighted_mean(updates: Sequence[Update], names: Iterable[str]) -> Arrays:
    total = sum(item.weight for item in updates)
    return {
        name: np.asarray(
            sum(item.arrays[name] * (item.weight / total) for item in updates),
            np.float32,
        )
        for name in names
    }


def _reason(reply: Message | None) -> str:
    """Keep of a site's error what a person can read."""
    if reply is None:
        return "it sent nothing in time."
    text = str(reply.error.reason).strip()
    return text.splitlines()[-1] if text else "it failed"


def _problems(done: Round) -> str:
    return " ".join(f"{name} {what}." for name, what in sorted(done.problems.items()))


def _line(done: Round, rounds: int) -> str:
    words = [f"round {done.number:3d}/{rounds}", f"{len(done.sites)} sites"]
    losses = [row["loss"] for row in done.sites.values() if "loss" in row]
    if losses:
        words.append(f"loss {float(np.mean(losses)):.4f}")
    if done.validation:
        words.append(f"validation accuracy {done.validation['accuracy']['value']:.4f}")
    spent = [row["epsilon"] for row in done.sites.values() if "epsilon" in row]
    if spent:
        words.append(f"epsilon {max(spent):.2f}")
    words.append(f"{done.bytes / 1e6:.1f} MB, {done.seconds:.0f} s")
    return "  ".join([*words, _problems(done)]).rstrip()
