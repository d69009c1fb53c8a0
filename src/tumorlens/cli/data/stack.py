"""`tumorlens data stack`: the slices of each patient become a scan.

Tested in `tests/data/test_series.py`.
"""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder for the series and their manifest, volumes.csv.",
)
@click.option(
    "--height-mm",
    type=click.FloatRange(10.0, 400.0),
    default=143.0,
    show_default=True,
    help="What a patient's slices span together, where nobody has stated it.",
)
@click.option(
    "--pixel-mm",
    type=click.FloatRange(0.1, 5.0),
    default=0.94,
    show_default=True,
    help="Edge of a pixel, where nobody has stated it.",
)
@click.option(
    "--slabs",
    type=click.IntRange(2),
    help="Also cut each series into so many slabs, with and without tumour.",
)
@click.option(
    "--also",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A manifest (CSV) of whole series to add.",
)
def stack(
    source: Path,
    out: Path,
    height_mm: float,
    pixel_mm: float,
    slabs: int | None,
    also: tuple[Path, ...],
) -> None:
    """Pile the slices of each patient up to a scan (NIfTI) with its outline.

    SOURCE is a manifest of axial slices, the front of the head on top, whose
    column `slice` counts from the feet upwards; or the folder of the set lgg.
    Slabs of one patient, with tumour and without, tell whether a model knows a
    tumour or only a scanner.
    """
    from tumorlens.data.manifest import read_manifest, write_manifest
    from tumorlens.data.series import MANIFEST, stack_slices
    from tumorlens.data.sources import read_lgg

    if (source / "lgg.csv").is_file():
        slices = list(read_lgg(source, every_slice=True))
    else:
        slices = read_manifest(source)
    records = stack_slices(
        slices, out, height_mm=height_mm, pixel_mm=pixel_mm, slabs=slabs
    )
    for other in also:
        records += read_manifest(other)
    write_manifest(records, out / MANIFEST)
    patients = len({record.patient for record in records})
    click.echo(
        f"{len(records):,} series and slabs of {patients:,} patients written to {out}."
    )
