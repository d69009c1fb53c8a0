"""The model bundle: a folder that holds a network and all that belongs to it.

`model.onnx` is the network, `domain.npz` what it knows of brain MRI,
`model.weights.h5` (optional) the Keras weights for fine-tuning, and `bundle.json`
the facts, with the SHA-256 of every file and of itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast, get_args

from tumorlens.errors import BundleError, SettingError
from tumorlens.imaging.preprocess.slice import Preprocessing
from tumorlens.imaging.preprocess.volume import block_shape
from tumorlens.inference.bundle.calibration import Calibration as Calibration
from tumorlens.inference.bundle.calibration import CellCalibration as CellCalibration
from tumorlens.inference.bundle.calibration import PredictionSets as PredictionSets
from tumorlens.inference.bundle.digests import check_digests, sha256_of
from tumorlens.inference.bundle.json_file import (
    FACTS_FILE,
    FORMAT_NAME,
    FORMAT_VERSION,
    check_format,
    read_document,
    write_document,
)
from tumorlens.inference.bundle.operating_point import OperatingPoint as OperatingPoint
from tumorlens.inference.bundle.operating_point import Rate as Rate
from tumorlens.inference.bundle.rules import Rules
from tumorlens.inference.bundle.series_model import ScanModel
from tumorlens.inference.bundle.typed_values import Reader
from tumorlens.taxonomy import CLASSES, TumorClass

MODEL_FILE = "model.onnx"
DOMAIN_FILE = "domain.npz"
WEIGHTS_FILE = "model.weights.h5"
Judges = Literal["slices", "volumes"]
"""What a bundle's network takes as its input: one slice, or a whole scan."""
_MOST_CELLS: dict[Judges, Callable[[int], int]] = {
    "slices": lambda size: (size // 8) ** 2,
    "volumes": lambda size: block_shape(size)[0] * size**2 // 4**3,
}
"""Cells of the evidence grid, at most, for an input of that edge."""
DEFAULT_BUNDLE = Path(__file__).parents[2] / "models" / "evidence-net"


@dataclass(frozen=True)
class Bundle:
    """A verified model bundle.

    Parameters
    ----------
    folder
        Where its files lie.
    name, version
        Of the model.
    created
        When it was exported, ISO 8601 in UTC.
    classes
        The classes of every output, in the taxonomy's order.
    preprocessing
        How a slice, or a scan, becomes the model's input.
    calibration, operating_points, prediction_sets
        See there.
    default_operating_point
        A key of `operating_points`.
    domain
        Free facts on the out-of-domain score; `threshold` is always there.
    provenance, metrics
        Free facts on training data and on measured quality.
    files
        SHA-256 in hexadecimal, by file name.
    rules
        What else makes a slice inconclusive; none in bundles that state none.
    cells
        Of the evidence map; in bundles that state none the raw odds count.
    scans
        How slices become one probability of a whole scan; None in bundles that
        were not calibrated on whole scans.
    judges
        What the model takes as its input; slices in bundles that do not say.
    """

    folder: Path
    name: str
    version: str
    created: str
    classes: tuple[TumorClass, ...]
    preprocessing: Preprocessing
    calibration: Calibration
    operating_points: dict[str, OperatingPoint]
    default_operating_point: str
    prediction_sets: PredictionSets
    domain: dict[str, Any]
    provenance: dict[str, Any]
    metrics: dict[str, Any]
    files: dict[str, str]
    rules: Rules = field(default=Rules())
    cells: CellCalibration = field(default=CellCalibration())
    scans: ScanModel | None = None
    judges: Judges = "slices"

    @property
    def scan_points(self) -> dict[str, OperatingPoint]:
        """Operating points on the probability of a whole scan."""
        if self.scans is None:
            return self.operating_points
        return self.scans.operating_points

    def point(self, name: str | None) -> str:
        """Name an operating point; the bundle's own choice for None.

        Raises
        ------
        SettingError
            Where the bundle has none of that name.
        """
        if name is None:
            return self.default_operating_point
        if name not in self.operating_points:
            known = ", ".join(sorted(self.operating_points))
            raise SettingError(
                f"There is no operating point {name!r}.", f"Give one of: {known}."
            )
        return name


def load_bundle(folder: Path) -> Bundle:
    """Load and verify a bundle.

    Parameters
    ----------
    folder
        Holds `bundle.json` and the files it lists.

    Raises
    ------
    BundleError
        Where the bundle is missing, of another or a newer format, incomplete,
        or where any file is not the one that was exported.
    """
    document = read_document(folder)
    check_format(document, folder / FACTS_FILE)
    bundle = _parse(document, folder)
    check_digests(folder, bundle.files, required=(MODEL_FILE, DOMAIN_FILE))
    return bundle


def save_bundle(
    folder: Path,
    *,
    name: str,
    version: str,
    preprocessing: Preprocessing,
    calibration: Calibration,
    operating_points: Mapping[str, OperatingPoint],
    default_operating_point: str,
    prediction_sets: PredictionSets,
    domain: Mapping[str, Any],
    provenance: Mapping[str, Any],
    metrics: Mapping[str, Any],
    rules: Rules | None = None,
    cells: CellCalibration | None = None,
    judges: Judges = "slices",
) -> Bundle:
    """Write `bundle.json` beside the files of a bundle, and verify the whole.

    Parameters
    ----------
    folder
        Holds `model.onnx`, `domain.npz` and, if wanted, `model.weights.h5`.
    name, version, preprocessing, calibration, operating_points
        See `Bundle`.
    default_operating_point, prediction_sets, domain, provenance, metrics
        See `Bundle`.
    rules, cells
        See `Bundle`; left out of the file where None.
    judges
        See `Bundle`.

    Returns
    -------
    Bundle
        As `load_bundle` reads it back.

    Raises
    ------
    BundleError
        Where a file is missing or a fact is not what it has to be.
    """
    known = (MODEL_FILE, DOMAIN_FILE, WEIGHTS_FILE)
    document: dict[str, Any] = {
        "format": f"{FORMAT_NAME}/{FORMAT_VERSION}",
        "name": name,
        "version": version,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "classes": list(CLASSES),
        "preprocessing": preprocessing.to_json(),
        "calibration": asdict(calibration),
        "operating_points": {
            key: asdict(point) for key, point in operating_points.items()
        },
        "default_operating_point": default_operating_point,
        "prediction_sets": asdict(prediction_sets),
        "domain": dict(domain),
        "provenance": dict(provenance),
        "metrics": dict(metrics),
        "files": {
            item: sha256_of(folder / item) for item in known if (folder / item).exists()
        },
    }
    if rules is not None:
        document["rules"] = rules.to_json()
    if cells is not None:
        document["cells"] = asdict(cells)
    if judges != "slices":
        document["judges"] = judges
    write_document(folder, document)
    return load_bundle(folder)


def _parse(document: Mapping[str, Any], folder: Path) -> Bundle:
    facts = Reader(document, str(folder / FACTS_FILE))
    if facts.strings("classes") != tuple(CLASSES):
        raise BundleError(
            f"{folder / FACTS_FILE} is for the classes {document['classes']}; "
            f"this TumorLens knows {[str(name) for name in CLASSES]}.",
            "Use a bundle that was exported for these classes.",
        )
    points = {
        name: OperatingPoint.read(point)
        for name, point in facts.objects("operating_points")
    }
    default = facts.text("default_operating_point")
    if default not in points:
        facts.refuse("default_operating_point", f"one of {sorted(points)}")
    facts.object("domain").number("threshold")
    files = facts.object("files")
    preprocessing = _preprocessing(facts.object("preprocessing"))
    judges = _judges(facts)
    return Bundle(
        folder=folder,
        name=facts.text("name"),
        version=facts.text("version"),
        created=facts.text("created"),
        classes=CLASSES,
        preprocessing=preprocessing,
        calibration=Calibration.read(
            facts.object("calibration"), _MOST_CELLS[judges](preprocessing.size)
        ),
        operating_points=points,
        default_operating_point=default,
        prediction_sets=PredictionSets.read(facts.object("prediction_sets")),
        domain=dict(facts.object("domain").fields),
        provenance=dict(facts.object("provenance").fields),
        metrics=dict(facts.object("metrics").fields),
        files={name: files.text(name) for name in files.fields},
        rules=Rules.read(facts.object("rules")) if "rules" in document else Rules(),
        cells=CellCalibration.read(facts.object("cells"))
        if "cells" in document
        else CellCalibration(),
        scans=ScanModel.read(facts.object("scans"), points)
        if "scans" in document
        else None,
        judges=judges,
    )


def _judges(facts: Reader) -> Judges:
    if "judges" not in facts.fields:
        return "slices"
    stated = facts.text("judges")
    for known in get_args(Judges):
        if stated == known:
            return cast(Judges, known)
    return facts.refuse("judges", f"one of {get_args(Judges)}")


def _preprocessing(facts: Reader) -> Preprocessing:
    size = facts.whole("size", 32)
    if size % 32:
        facts.refuse("size", "a multiple of 32")
    return Preprocessing(
        size=size,
        margin=facts.share("margin"),
        foreground=facts.share("foreground"),
        low=facts.number("low"),
        high=facts.number("high"),
    )
