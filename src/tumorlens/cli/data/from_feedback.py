"""`tumorlens data from-feedback`: what readers have marked becomes a manifest.

Tested in `tests/cli/data/test_from_feedback.py`.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tumorlens.cli._shared.options import store_option
from tumorlens.cli._shared.output_files import cannot_write, make_folder

if TYPE_CHECKING:
    from tumorlens.data.manifest import Record
    from tumorlens.report.feedback import MarkedResult

SOURCE = "feedback"
"""Name of the set, in the manifest's column ``source`` and as its file's name."""


@click.command("from-feedback")
@store_option
@click.option(
    "--database-url",
    envvar="TUMORLENS_DATABASE_URL",
    help="The server's database, where it is not in that folder. Environment: "
    "TUMORLENS_DATABASE_URL.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder for the pictures and their manifest, OUT/feedback.csv.",
)
@click.option(
    "--wrong",
    is_flag=True,
    help="Leave out what readers have marked as right.",
)
def from_feedback(
    store: Path, database_url: str | None, out: Path, wrong: bool
) -> None:
    """Write what readers have marked as pictures and a manifest.

    The store is a server's, or the folder of a DICOM node; either may be running
    meanwhile. A picture is written as it was judged, a series as one NIfTI file.
    Results of which no reader has said what they show are left out. The column
    `patient` names a group: of a server all results of one file or upload, and
    pictures that are equal, since what the files call the patient was never kept; of a
    node the patient, under a pseudonym.
    """
    from tumorlens.data.manifest import write_manifest
    from tumorlens.pacs.feedback import marked_series
    from tumorlens.report.words import counted
    from tumorlens.web.uploads.feedback import marked_results

    make_folder(out)
    records, unnamed, agreed = [], 0, 0
    # A node has its database in its folder.
    of_node = marked_series(store) if database_url is None else ()
    for result in chain(marked_results(store, database_url), of_node):
        if wrong and result.feedback.correct:
            agreed += 1
        elif result.feedback.finding is None:
            unnamed += 1
        else:
            records.append(_record(result, out))
    if unnamed:
        click.echo(
            f"Left out ({unnamed:,}): no reader has said what they show.", err=True
        )
    if agreed:
        click.echo(f"Left out ({agreed:,}): marked as right.", err=True)
    if not records:
        click.echo("No result is marked: nothing is written.", err=True)
        return
    write_manifest(records, out / f"{SOURCE}.csv")
    groups = {record.patient for record in records}
    wrong_ones = sum(record.extra["correct"] == "no" for record in records)
    click.echo(
        f"{counted(len(records), 'result')} of "
        f"{counted(len(groups), 'patient or group', 'patients or groups')}, "
        f"{wrong_ones:,} of them wrong, written to {out}."
    )


def _record(result: MarkedResult, out: Path) -> Record:
    """Write what was judged, and describe it as a row of a manifest."""
    from tumorlens.data.manifest import Record
    from tumorlens.imaging.study import MRSequence
    from tumorlens.taxonomy import Lesion, TumorClass

    finding = result.feedback.finding
    is_series = result.voxels.ndim == 3
    path = out / f"{result.name}{'.nii.gz' if is_series else '.png'}"
    try:
        if is_series:
            write_volume(result, path)
        else:
            _write_picture(result, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    return Record(
        path=path,
        label=finding if isinstance(finding, TumorClass) else None,
        lesion=finding.value if isinstance(finding, Lesion) else "",
        patient=f"{SOURCE}:{result.group}",
        source=SOURCE,
        plane=result.plane,
        sequence=MRSequence(result.sequence) if result.sequence else None,
        extra={
            "correct": "yes" if result.feedback.correct else "no",
            "said": result.decision,
            "model_version": result.model_version,
            "marked": result.feedback.at.date().isoformat(),
        },
    )


def _write_picture(result: MarkedResult, path: Path) -> None:
    import numpy as np

    from tumorlens.report.slice.overlay import encode_png

    path.write_bytes(encode_png(np.asarray(result.voxels, np.uint8)))


def write_volume(result: MarkedResult, path: Path) -> None:
    """Write a series as NIfTI, with the values of the files that were sent."""
    import nibabel
    import numpy as np

    voxels = np.transpose(result.voxels, (2, 1, 0))
    image = nibabel.nifti1.Nifti1Image(voxels, result.affine_ras)  # type: ignore[no-untyped-call]
    header: Any = image.header
    if result.affine_ras is None:
        header.set_zooms(result.spacing_mm[::-1])
    header.set_slope_inter(*result.scale)
    nibabel.loadsave.save(image, path)
