"""Data sets are split, or dealt into folds, so that no patient is on both sides."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tumorlens.data.duplicates import groups, linked_copies
from tumorlens.data.manifest import SPLITS, Record, read_manifest
from tumorlens.errors import DatasetError

_Stratum = tuple[str, str, str]


def split_by_fractions(
    records: Sequence[Record],
    fractions: tuple[float, float, float],
    *,
    seed: int = 0,
    links: Sequence[tuple[int, int]] = (),
    keep: Mapping[str, str] | None = None,
) -> list[Record]:
    """Deal a set out to training, validation and test.

    Parameters
    ----------
    records
        The set.
    fractions
        Shares of training, validation and test, summing to 1.
    seed
        The same seed deals the same way on every machine.
    links
        Pairs of positions that belong together besides those of one patient,
        such as copies.
    keep
        Whole sites, sources or kinds that go to one split, as name to split. They
        come on top of the fractions, which share out the rest.

    Returns
    -------
    list of Record
        Records in the order of `records`, every one with a split.

    Raises
    ------
    DatasetError
        If the fractions cannot be, a kept name or split is unknown, or a
        group would have to go to two splits.
    """
    if any(share < 0.0 for share in fractions) or abs(sum(fractions) - 1.0) > 1e-6:
        raise DatasetError(
            f"The fractions {fractions} are not shares that sum to 1.",
            "Give for example 0.7,0.15,0.15.",
        )
    members = members_of_groups(records, links)
    fixed_groups = _kept_groups(records, members, keep or {}, SPLITS)
    rest = {key: rows for key, rows in members.items() if key not in fixed_groups}
    parts = _deal(records, rest, fractions, seed)
    names = {key: SPLITS[part] for key, part in parts.items()} | fixed_groups
    result = list(records)
    for key, rows in members.items():
        for row in rows:
            result[row] = replace(records[row], split=names[key], fold=None)
    return result


def split_into_folds(
    records: Sequence[Record],
    folds: int,
    *,
    seed: int = 0,
    links: Sequence[tuple[int, int]] = (),
    keep: Mapping[str, str] | None = None,
) -> list[Record]:
    """Deal a set out to folds of about the same size.

    Parameters
    ----------
    records, seed, links
        The same as in `split_by_fractions`.
    folds
        Number of folds, from 2 to the number of patients.
    keep
        Whole sites, sources or kinds that stay in one fold, as name to its number
        written in digits. They count as that fold's share, so that a hospital
        left out of one fold's training is not joined there by patients of its
        own set.

    Returns
    -------
    list of Record
        Records in their order, every one with a fold and without a split.

    Raises
    ------
    DatasetError
        If there are fewer patients (or groups) than folds.
    """
    members = members_of_groups(records, links)
    if not 2 <= folds <= len(members):
        raise DatasetError(
            f"{folds} folds cannot be made of {len(members)} patients or groups.",
            f"Give a number from 2 to {len(members)}.",
        )
    names = [str(fold) for fold in range(folds)]
    fixed_groups = _kept_groups(records, members, keep or {}, names)
    fixed = {key: int(name) for key, name in fixed_groups.items()}
    parts = _deal(records, members, [1.0 / folds] * folds, seed, fixed)
    result = list(records)
    for key, rows in members.items():
        for row in rows:
            result[row] = replace(records[row], split="", fold=parts[key])
    return result


def split_slices_into_folds(
    records: Sequence[Record], folds: int, *, seed: int = 0
) -> list[Record]:
    """Deal single slices out to folds, as much of the field does: it leaks.

    Neighbouring slices of one patient land in training and in test, so the
    figures that follow are too good. For showing by how much.

    Parameters
    ----------
    records, folds, seed
        The same as in `split_into_folds`.

    Returns
    -------
    list of Record
        Records in their order, every one with a fold and without a split.

    Raises
    ------
    DatasetError
        If there are fewer slices than folds.
    """
    if not 2 <= folds <= len(records):
        raise DatasetError(
            f"{folds} folds cannot be made of {len(records)} slices.",
            f"Give a number from 2 to {len(records)}.",
        )
    order = sorted(
        range(len(records)),
        key=lambda row: (
            str(records[row].label),
            records[row].source,
            _draw(seed, f"{records[row].path.name}#{row}"),
        ),
    )
    result = list(records)
    for place, row in enumerate(order):
        result[row] = replace(records[row], split="", fold=place % folds)
    return result


def split_as_trained(
    records: Sequence[Record], patients: Mapping[str, Sequence[str]]
) -> list[Record]:
    """Deal a set out as it was dealt when a model was trained.

    Parameters
    ----------
    records
        The set.
    patients
        Patients by split, from a bundle's provenance.

    Returns
    -------
    list of Record
        Records in their order. A patient that the model never heard of
        goes to test.

    Raises
    ------
    DatasetError
        If no record is of a patient that the model knows.
    """
    splits = {patient: split for split, names in patients.items() for patient in names}
    if not any(record.patient in splits for record in records):
        raise DatasetError(
            "None of the patients is one that this model was trained or measured on.",
            "Every record is held out for it; split with --fractions instead.",
        )
    return [
        replace(record, split=splits.get(record.patient, "test"), fold=None)
        for record in records
    ]


def members_of_groups(
    records: Sequence[Record], links: Sequence[tuple[int, int]]
) -> dict[str, list[int]]:
    """List the rows that must stay together.

    Parameters
    ----------
    records, links
        The same as in `split_by_fractions`.

    Returns
    -------
    dict
        Positions by a name of the group that does not hang on their order.
    """
    first: dict[str, int] = {}
    same = [
        (first.setdefault(record.patient, row), row)
        for row, record in enumerate(records)
        if record.patient
    ]
    rows_of = defaultdict(list)
    for row, group in enumerate(groups(len(records), [*same, *links])):
        rows_of[group].append(row)
    return {min(_name(records[row]) for row in rows): rows for rows in rows_of.values()}


def _name(record: Record) -> str:
    # A file's name alone may stand in several folders, its path is not the
    # same on every machine; two folders are enough to tell and stay portable.
    place = "/".join(record.path.parts[-3:])
    return f"{record.source}\t{record.patient or place}"


def _kept_groups(
    records: Sequence[Record],
    members: dict[str, list[int]],
    keep: Mapping[str, str],
    parts: Sequence[str],
) -> dict[str, str]:
    names = {word for row in records for word in (row.site, row.source, row.kind)}
    for name, split in keep.items():
        if name not in names - {""}:
            raise DatasetError(
                f"No row has the site, source or kind {name!r}.",
                f"Known are: {', '.join(sorted(names - {''})) or 'none'}.",
            )
        if split not in parts:
            raise DatasetError(
                f"{name!r} cannot go to the split or fold {split!r}.",
                f"Use {', '.join(parts)}.",
            )
    fixed_groups = {}
    for key, rows in members.items():
        wanted = set()
        for row in rows:
            # The finer word has the say where several are kept.
            for word in (records[row].kind, records[row].site, records[row].source):
                if word and word in keep:
                    wanted.add(keep[word])
                    break
        if len(wanted) > 1:
            raise DatasetError(
                f"The patient or group of {records[rows[0]].path} would have to go "
                f"to {' and '.join(sorted(wanted))}.",
                "It lies in two of the kept sites, sources or kinds: keep both in one "
                "split.",
            )
        if wanted:
            fixed_groups[key] = wanted.pop()
    return fixed_groups


def _deal(
    records: Sequence[Record],
    members: dict[str, list[int]],
    shares: Sequence[float],
    seed: int,
    fixed: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """Give each group to the part that lacks its classes and sources most.

    Groups go largest first, so that the small ones can even out what the large
    ones leave; which of equals goes first, a hash of seed and name decides:
    it needs no random generator, and hangs on nothing but the data.
    """
    counts = {key: _strata(records, rows) for key, rows in members.items()}
    totals: Counter[_Stratum] = Counter()
    for count in counts.values():
        totals.update(count)
    filled: list[Counter[_Stratum]] = [Counter() for _ in shares]
    parts = dict(fixed or {})
    for key, part in parts.items():
        filled[part].update(counts[key])
    rest = counts.keys() - parts.keys()
    sizes = {key: count["all", "", ""] for key, count in counts.items()}
    for key in sorted(rest, key=lambda key: (-sizes[key], _draw(seed, key))):
        parts[key] = _neediest(counts[key], totals, filled, shares, (seed, key))
        filled[parts[key]].update(counts[key])
    return parts


def _strata(records: Sequence[Record], rows: list[int]) -> Counter[_Stratum]:
    """Count by class and source, by class, and in all.

    The wider counts keep small sets in balance, where each class of a source
    has only a few patients.
    """
    count: Counter[_Stratum] = Counter()
    for row in rows:
        if records[row].train_only:
            # Parts are to be even in what is measured.
            continue
        label, source = records[row].label or records[row].lesion, records[row].source
        count.update([("both", label, source), ("class", label, ""), ("all", "", "")])
    return count


def _neediest(
    count: Counter[_Stratum],
    totals: Counter[_Stratum],
    filled: list[Counter[_Stratum]],
    shares: Sequence[float],
    draw: tuple[int, str],
) -> int:
    def cost(part: int) -> tuple[float, str]:
        # How far past its share, over the strata that the group adds to.
        excess = 0.0
        # Sorted, so that rounding does not hang on the order of the rows.
        for stratum, number in sorted(count.items()):
            wanted = shares[part] * totals[stratum]
            after = filled[part][stratum] + number
            excess += number * (after - wanted) / max(wanted, 1e-9)
        return excess, _draw(draw[0], f"{draw[1]}\t{part}")

    return min((part for part, share in enumerate(shares) if share > 0.0), key=cost)


def _draw(seed: int, key: str) -> str:
    return hashlib.sha256(f"{seed}\t{key}".encode()).hexdigest()


USUAL_FOLDS = 5


def records_in_folds(
    manifest: Path,
    folds: int | None,
    *,
    include_flagged: bool = False,
    may_be_own: bool = False,
) -> list[Record]:
    """Read a manifest whose rows are in folds, or deal them out.

    Parameters
    ----------
    manifest
        Manifest with a fold for each row, or for none.
    folds
        Number of folds to make; None for as many as the manifest has, or
        `USUAL_FOLDS` where it has none.
    include_flagged
        True to use rows that the manifest flags, too.
    may_be_own
        The same as in `read_manifest`.

    Raises
    ------
    DatasetError
        The manifest is dealt to another number of folds, or not all of its
        rows are.
    """
    records = read_manifest(manifest, may_be_own=may_be_own)
    if all(row.fold is None for row in records):
        links = linked_copies(records)
        records = split_into_folds(records, folds or USUAL_FOLDS, links=links)
    dealt = {row.fold for row in records}
    count = folds or max(2, len(dealt - {None}))
    if dealt != set(range(count)):
        raise DatasetError(
            f"{manifest} is not dealt to the folds 0 to {count - 1}.",
            f"Run `tumorlens data split --folds {count}` on it.",
        )
    return [row for row in records if include_flagged or not row.flag]
