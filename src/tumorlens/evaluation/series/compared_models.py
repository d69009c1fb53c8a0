"""Who judges scans in a comparison: a bundle, or those of a cross-validation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tumorlens.data.manifest import Record
from tumorlens.errors import DatasetError, SettingError
from tumorlens.inference.bundle.bundle import FACTS_FILE, Bundle
from tumorlens.inference.series.classifier import (
    SeriesClassifier,
    load_series_classifier,
)


@dataclass(frozen=True)
class _Member:
    classifier: SeriesClassifier

    @property
    def bundle(self) -> Bundle:
        """The model's facts."""
        return self.classifier.bundle

    def has_seen(self, record: Record) -> bool:
        """Tell whether the scan's patient shaped the bundle."""
        return bool(record.patient) and record.patient in self._shaped

    def can_tell(self, record: Record) -> bool:
        """Tell whether `has_seen` can know: both name their patients."""
        return bool(record.patient and self._shaped)

    @property
    def _shaped(self) -> set[str]:
        known = self.bundle.provenance.get("patients", {})
        return {*known.get("train", ()), *known.get("validation", ())} - {""}


@dataclass(frozen=True)
class Contestant:
    """A bundle, or the bundles of a cross-validation, that judge scans.

    Parameters
    ----------
    name
        For tables.
    members
        Its bundles.
    """

    name: str
    members: tuple[_Member, ...]

    def member(self, record: Record) -> _Member:
        """Find the bundle that is to judge a scan: one that has not seen the patient.

        Raises
        ------
        DatasetError
            Every fold of the cross-validation has.
        """
        if len(self.members) == 1:
            return self.members[0]
        for item in self.members:
            if not item.has_seen(record):
                return item
        raise DatasetError(
            f"Every bundle of {self.name} has seen the patient of {record.path.name}.",
            "Name all folds of the cross-validation, or take one bundle.",
        )


def load_contestant(folder: Path) -> Contestant:
    """Load a bundle, or the folds of a cross-validation.

    Parameters
    ----------
    folder
        A bundle, for slices or for whole scans; or the folder of `tumorlens
        train --folds`, each of whose bundles judges the patients it left out.

    Raises
    ------
    SettingError
        It is neither.
    BundleError
        A bundle does not verify.
    """
    if (folder / FACTS_FILE).exists():
        member = _Member(load_series_classifier(folder))
        bundle = member.bundle
        return Contestant(f"{bundle.name} {bundle.version}", (member,))
    places = sorted(place.parent for place in folder.glob(f"fold*/bundle/{FACTS_FILE}"))
    if not places:
        raise SettingError(
            f"{folder} holds neither a bundle nor a cross-validation.",
            "Give the folder of a bundle, or that of `tumorlens train --folds`.",
        )
    members = tuple(_Member(load_series_classifier(place)) for place in places)
    return Contestant(f"{members[0].bundle.name}, {len(members)} folds", members)
