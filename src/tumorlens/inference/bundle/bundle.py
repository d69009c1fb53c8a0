"""The model bundle: a folder that holds a network and all that belongs to it.

`model.onnx` is the network, `domain.npz` the model that tells brain MRI from other
pictures, `model.weights.h5` (optional) the Keras weights for fine-tuning, and
`bundle.json` the facts, with the SHA-256 of every file and of itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast, get_args

from tumorlens.errors import BundleError, SettingError, warn_of_old_name
from tumorlens.imaging.preprocess.slice import Preprocessing
from tumorlens.imaging.preprocess.volume import block_shape
from tumorlens.imaging.study import MRSequence
from tumorlens.inference.bundle.facts import (
    TRAINED_ON,
    Calibration,
    CellCalibration,
    FastPath,
    OperatingPoint,
    Precision,
    PredictionSets,
    Reader,
    Rules,
    SequenceHead,
    SeriesModel,
    StudyModel,
    read_paths,
)
from tumorlens.taxonomy import (
    CLASSES,
    DECIDED,
    FINDINGS,
    Finding,
    OwnClass,
    TumorClass,
    own_class_error,
    own_classes,
)

FORMAT_NAME = "tumorlens-bundle"
FORMAT_VERSION = 1
FACTS_FILE = "bundle.json"

_MAX_FACTS_BYTES = 4 * 2**20
"""A bundle.json is half a megabyte, most of it the codes of its training pictures;
a much larger one is not ours."""

MODEL_FILE = "model.onnx"
OOD_FILE = "domain.npz"
CLINICAL_FILE = "clinical.json"
"""What the model has learned of clinical columns; most bundles have none."""
WEIGHTS_FILE = "model.weights.h5"
LICENCE_FILE = "LICENSE-WEIGHTS"
"""Plain text: on which datasets and licences the weights rest."""
InputKind = Literal["slices", "volumes"]
"""What a bundle's network takes as its input: one slice, or a whole series."""
_MOST_CELLS: dict[InputKind, Callable[[int], int]] = {
    "slices": lambda size: (size // 8) ** 2,
    "volumes": lambda size: block_shape(size)[0] * size**2 // 4**3,
}
"""Cells of the evidence grid, at most, for an input of that edge."""
_RATES = {"sensitivity", "specificity"}
"""A pair: of one set they are set side by side, of two they would be mixed."""

DEFAULT_BUNDLE = Path(__file__).parents[2] / "models" / "evidence-net"


@dataclass(frozen=True)
class Bundle:
    """A verified model bundle.

    Parameters
    ----------
    folder
        Where its files lie.
    name, version
        Name and version of the model.
    created
        When it was exported, ISO 8601 in UTC.
    classes
        The classes of every decision, in the taxonomy's order.
    preprocessing
        How a slice, or a series, becomes the model's input.
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
        What else makes a slice uncertain; none in bundles that state none.
    cells
        Calibration of the evidence map; in bundles that state none the raw odds
        count.
    series_model
        How slices become one probability of a whole series; None in bundles that
        were not calibrated on whole series.
    judges
        What the model takes as its input; slices in bundles that do not say.
    findings
        What every output of the network speaks of, in their order: the classes, and
        in bundles that state them other lesions after these.
    sequence_head
        Which MR sequences the network tells apart; None where it tells none.
    study_model
        How several sequences of one place become one probability; None in bundles
        that were not fitted on several sequences of the same patients.
    paths
        Faster graphs beside the network, by their arithmetic; none in bundles that
        list none.
    """

    folder: Path
    name: str
    version: str
    created: str
    classes: tuple[TumorClass, ...] | tuple[OwnClass, ...]
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
    series_model: SeriesModel | None = None
    judges: InputKind = "slices"
    findings: tuple[Finding, ...] = CLASSES
    sequence_head: SequenceHead | None = None
    study_model: StudyModel | None = None
    paths: Mapping[Precision, FastPath] = field(default_factory=dict)

    def weights_licence(self) -> str | None:
        """Read what the weights rest on, and whose licences; None where not stated."""
        path = self.folder / LICENCE_FILE
        return path.read_text(encoding="utf-8") if path.is_file() else None

    @property
    def has_own_classes(self) -> bool:
        """Whether its classes are a user's own, and not the four."""
        return isinstance(self.classes[0], OwnClass)

    def require_four_classes(self) -> None:
        """Refuse a bundle of a user's own classes where the four are spoken of.

        Raises
        ------
        BundleError
            Its classes are a user's own.
        """
        if self.has_own_classes:
            raise BundleError(
                f"The model in {self.folder} has classes of its own "
                f"({', '.join(self.classes)}); this knows the four classes alone.",
                "Use it with `tumorlens predict`, `scan`, `study`, `batch`, `serve`, "
                "`node`, `dicomweb` and `evaluate`, or from Python.",
            )

    @property
    def known_sequences(self) -> tuple[MRSequence, ...]:
        """MR sequences that the model was trained and measured on."""
        if self.sequence_head is None:
            return TRAINED_ON
        return self.sequence_head.measured

    @property
    def series_points(self) -> dict[str, OperatingPoint]:
        """Operating points on the probability of a whole series."""
        if self.series_model is None:
            return self.operating_points
        return self.series_model.operating_points

    @property
    def scans(self) -> SeriesModel | None:
        """Old name of `series_model`; it goes with the next release."""
        warn_of_old_name("bundle.scans", "bundle.series_model")
        return self.series_model

    @property
    def scan_points(self) -> dict[str, OperatingPoint]:
        """Old name of `series_points`; it goes with the next release."""
        warn_of_old_name("bundle.scan_points", "bundle.series_points")
        return self.series_points

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
    bundle = bundle_of_facts(read_document(folder), folder)
    check_digests(folder, bundle.files, required=(MODEL_FILE, OOD_FILE))
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
    judges: InputKind = "slices",
    findings: Sequence[Finding] = CLASSES,
    sequence_head: SequenceHead | None = None,
    study_model: StudyModel | None = None,
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
    judges, findings, sequence_head, study_model
        See `Bundle`.

    Returns
    -------
    Bundle
        The bundle, as `load_bundle` reads it back.

    Raises
    ------
    BundleError
        Where a file is missing or a fact is not what it has to be.
    """
    known = (MODEL_FILE, OOD_FILE, WEIGHTS_FILE)
    own = findings if isinstance(findings[0], OwnClass) else None
    document: dict[str, Any] = {
        "format": f"{FORMAT_NAME}/{FORMAT_VERSION}",
        "name": name,
        "version": version,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "classes": list(CLASSES if own is None else own),
        "preprocessing": preprocessing.to_json(),
        "calibration": calibration.to_json(),
        "operating_points": {
            key: point.to_json() for key, point in operating_points.items()
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
    if own is not None:
        document["tumor_classes"] = [
            item for item in own if isinstance(item, OwnClass) and item.is_tumor
        ]
    elif tuple(findings) != CLASSES:
        document["findings"] = list(findings)
    if sequence_head is not None:
        document["sequences"] = sequence_head.to_json()
    if study_model is not None:
        document["study"] = study_model.to_json()
    write_document(folder, document)
    return load_bundle(folder)


def bundle_of_facts(document: Mapping[str, Any], folder: Path) -> Bundle:
    """Read the facts of a bundle alone, whose files need not be there.

    Parameters
    ----------
    document
        Document that `read_document` has read.
    folder
        Where it lay, for messages.

    Raises
    ------
    BundleError
        Where it is foreign, of another version, changed, or a fact is wrong.
    """
    check_format(document, folder / FACTS_FILE)
    return _parse(document, folder)


def _parse(document: Mapping[str, Any], folder: Path) -> Bundle:
    facts = Reader(document, str(folder / FACTS_FILE))
    classes = _classes(facts)
    points = {
        name: OperatingPoint.read(point)
        for name, point in facts.objects("operating_points")
    }
    default = facts.text("default_operating_point")
    if default not in points:
        facts.refuse("default_operating_point", f"one of {sorted(points)}")
    facts.object("domain").number("threshold")
    files = facts.object("files")
    digests = {name: files.text(name) for name in files.fields}
    preprocessing = _preprocessing(facts.object("preprocessing"))
    judges = _judges(facts)
    findings = _findings(facts) if classes is CLASSES else classes
    if judges != "slices" and "paths" in document:
        facts.refuse("paths", "left out: networks of volumes have float32 alone")
    if classes is not CLASSES and judges != "slices":
        facts.refuse("classes", f"{[str(name) for name in CLASSES]} of volumes")
    head = (
        SequenceHead.read(facts.object("sequences"))
        if "sequences" in document
        else None
    )
    decided: Sequence[Finding] = DECIDED if findings == FINDINGS else classes
    return Bundle(
        folder=folder,
        name=facts.text("name"),
        version=facts.text("version"),
        created=facts.text("created"),
        classes=classes,
        preprocessing=preprocessing,
        calibration=Calibration.read(
            facts.object("calibration"),
            _MOST_CELLS[judges](preprocessing.size),
            len(findings),
            0 if head is None else len(head.sequences),
        ),
        operating_points=points,
        default_operating_point=default,
        prediction_sets=PredictionSets.read(facts.object("prediction_sets"), decided),
        domain=dict(facts.object("domain").fields),
        provenance=dict(facts.object("provenance").fields),
        metrics=dict(facts.object("metrics").fields),
        files=digests,
        rules=Rules.read(facts.object("rules")) if "rules" in document else Rules(),
        cells=CellCalibration.read(facts.object("cells"))
        if "cells" in document
        else CellCalibration(),
        series_model=SeriesModel.read(facts.object("scans"), points)
        if "scans" in document
        else None,
        judges=judges,
        findings=findings,
        sequence_head=head,
        study_model=StudyModel.read(facts.object("study"))
        if "study" in document
        else None,
        paths=read_paths(facts.object("paths"), digests) if "paths" in document else {},
    )


def _classes(facts: Reader) -> tuple[TumorClass, ...] | tuple[OwnClass, ...]:
    names = facts.strings("classes")
    if "tumor_classes" not in facts.fields:
        if names != tuple(CLASSES):
            raise BundleError(
                f"{facts.where} is for the classes {list(names)}; "
                f"this TumorLens knows {[str(name) for name in CLASSES]}.",
                "Use a bundle that was exported for these classes.",
            )
        return CLASSES
    tumors = facts.strings("tumor_classes")
    is_tumor = {name: name in tumors for name in names}
    classes = own_classes(is_tumor)
    is_whole = classes == names and set(tumors) <= set(names)
    if not is_whole or own_class_error(is_tumor) is not None:
        facts.refuse("tumor_classes", "some of the classes, which come first")
    return classes


def _findings(facts: Reader) -> tuple[Finding, ...]:
    if "findings" not in facts.fields:
        return CLASSES
    if facts.strings("findings") != tuple(FINDINGS):
        facts.refuse("findings", f"{[str(name) for name in FINDINGS]}")
    return FINDINGS


def _judges(facts: Reader) -> InputKind:
    if "judges" not in facts.fields:
        return "slices"
    stated = facts.text("judges")
    for known in get_args(InputKind):
        if stated == known:
            return cast(InputKind, known)
    return facts.refuse("judges", f"one of {get_args(InputKind)}")


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


def record_metrics(folder: Path, name: str, figures: Mapping[str, Any]) -> Bundle:
    """Put measured figures into a bundle, under a name; the model stays as it is.

    Where the figures are held out, and of both kinds of slices, the operating
    points' rates become the measured ones: those that a bundle is made with come
    from the patients on whom the thresholds were chosen, and flatter it.

    Parameters
    ----------
    folder
        Folder of the bundle.
    name
        What the figures were measured on, for example ``test``.
    figures
        Plain JSON; `operating_points` holds the rates by point, `held_out`
        whether no patient among them shaped the model.

    Raises
    ------
    BundleError
        Where the bundle does not verify, or a figure is no plain JSON.
    """
    load_bundle(folder)
    document = read_document(folder)
    document["metrics"] = {**document["metrics"], name: dict(figures)}
    for point, rates in figures.get("operating_points", {}).items():
        if figures.get("held_out") and set(rates) >= _RATES:
            document["operating_points"][point] |= rates
    write_document(folder, document)
    return load_bundle(folder)


def record_series_model(folder: Path, series_model: SeriesModel) -> Bundle:
    """Put into a bundle how it judges whole series; the network stays as it is.

    Parameters
    ----------
    folder
        Folder of the bundle.
    series_model
        Fitted on series of patients that networks trained alike had never seen.

    Raises
    ------
    BundleError
        Where the bundle does not verify, or the facts do not fit it.
    """
    load_bundle(folder)
    write_document(folder, {**read_document(folder), "scans": series_model.to_json()})
    return load_bundle(folder)


def record_path(
    folder: Path, precision: Precision, graph: Path, path: FastPath
) -> Bundle:
    """Put a faster graph with its figures into a bundle, or replace it there.

    Parameters
    ----------
    folder
        Folder of the bundle.
    precision
        Arithmetic of the graph.
    graph
        Where it was written; it is copied.
    path
        Its facts.

    Raises
    ------
    BundleError
        Where the bundle does not verify, the figures are of another file, or do not
        hold the limits; the bundle is then as it was.
    """
    load_bundle(folder)
    document = read_document(folder)
    document["files"] = {**document["files"], path.file: sha256_of(graph)}
    document["paths"] = {**document.get("paths", {}), precision: path.to_json()}
    _parse(document, folder)
    _write_file(folder / path.file, graph.read_bytes())
    write_document(folder, document)
    return load_bundle(folder)


def attach_file(folder: Path, name: str, content: bytes) -> Bundle:
    """Put a file into a bundle, or replace it there; the rest stays as it is.

    Parameters
    ----------
    folder
        Folder of the bundle.
    name, content
        Name and bytes of the file.

    Raises
    ------
    BundleError
        Where the bundle does not verify.
    OSError
        Where it cannot be written.
    """
    load_bundle(folder)
    document = read_document(folder)
    _write_file(folder / name, content)
    document["files"] = {**document["files"], name: sha256_of(folder / name)}
    write_document(folder, document)
    return load_bundle(folder)


def write_document(folder: Path, document: dict[str, Any]) -> None:
    """Write a bundle's facts with their digest; whole or not at all.

    Parameters
    ----------
    folder
        Folder of the bundle.
    document
        Plain JSON; an old digest in it is replaced.

    Raises
    ------
    BundleError
        Where a fact is no plain JSON.
    """
    document = {key: value for key, value in document.items() if key != "digest"}
    try:
        document["digest"] = digest_of(document)
    except (TypeError, ValueError) as error:
        raise BundleError(
            f"The facts of bundle {document['name']!r} are not plain JSON: {error}.",
            "Give numbers, text, lists and objects; no NaN and no arrays.",
        ) from error
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    _write_file(folder / FACTS_FILE, text.encode())


def _write_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(content)
    part.replace(path)


def read_document(folder: Path) -> dict[str, Any]:
    """Read a bundle's facts, unchecked.

    Parameters
    ----------
    folder
        Folder of the bundle.

    Raises
    ------
    BundleError
        Where there are none, or they are no JSON object of a fitting size.
    """
    path = folder / FACTS_FILE
    if not folder.is_dir():
        raise BundleError(
            f"There is no model bundle at {folder}.",
            "Give the folder of a bundle, or install TumorLens again.",
        )
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FACTS_BYTES + 1)
    except OSError as error:
        raise BundleError(
            f"{path} cannot be read: {error.strerror}.",
            "Give a folder that 'tumorlens export' has written.",
        ) from error
    if len(data) > _MAX_FACTS_BYTES:
        raise BundleError(f"{path} is larger than any bundle's facts.")
    try:
        document = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not valid JSON; it may be cut off.") from error
    if not isinstance(document, dict):
        raise BundleError(f"{path} holds no JSON object.")
    return document


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def check_format(document: Mapping[str, Any], path: Path) -> None:
    """Check that facts are of this format and unchanged since they were written.

    Parameters
    ----------
    document
        Document that `read_document` has read.
    path
        Where it was read, for the message.

    Raises
    ------
    BundleError
        Where they are foreign, of another version, or changed.
    """
    stated = document.get("format")
    name, _, version = str(stated).partition("/")
    if name != FORMAT_NAME or not version.isdecimal():
        raise BundleError(
            f"{path} is not a TumorLens bundle (its format is {stated!r}).",
            "Give a folder that 'tumorlens export' has written.",
        )
    if int(version) != FORMAT_VERSION:
        raise BundleError(
            f"{path} is of bundle format {version}; "
            f"this TumorLens reads format {FORMAT_VERSION}.",
            "Upgrade TumorLens."
            if int(version) > FORMAT_VERSION
            else "Export the bundle again with this version.",
        )
    rest = {key: value for key, value in document.items() if key != "digest"}
    if document.get("digest") != digest_of(rest):
        raise BundleError(f"{path} was changed after it was exported.")


def digest_of(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 of plain JSON, whatever the order of its keys.

    Raises
    ------
    TypeError, ValueError
        Where it is no plain JSON.
    """
    canonical = json.dumps(
        document, sort_keys=True, separators=(",", ":"), allow_nan=False
    )
    return hashlib.sha256(canonical.encode()).hexdigest()


def check_digests(
    folder: Path, files: Mapping[str, str], required: Sequence[str]
) -> None:
    """Check every file of a bundle against its digest.

    Parameters
    ----------
    folder
        Folder of the bundle.
    files
        SHA-256 in hexadecimal, by file name.
    required
        Names that must be among them.

    Raises
    ------
    BundleError
        Where a file is not listed, lies outside the bundle, cannot be read or is
        another one.
    """
    facts = folder / FACTS_FILE
    for name in required:
        if name not in files:
            raise BundleError(f"{facts} lists no {name}.")
    for name, digest in files.items():
        # A name with a folder in it could reach files outside the bundle.
        if name in {"", ".", ".."} or "/" in name or "\\" in name or "\0" in name:
            raise BundleError(
                f"{facts} lists {name!r}, which lies outside the bundle.",
                "Do not use this bundle; get it from where you trust.",
            )
        if sha256_of(folder / name) != digest:
            raise BundleError(
                f"{folder / name} is not the file that was exported "
                "(its SHA-256 differs)."
            )


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a bundle's file, in hexadecimal.

    Raises
    ------
    BundleError
        Where it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}.") from error
