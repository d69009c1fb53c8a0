"""A queue of fetched series, and a worker that sends results to a real Orthanc."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.samples.orthanc import PASSWORD, USER, Orthanc
from tumorlens.inference.series.classifier import load_series_classifier
from tumorlens.pacs.analysis import analysis_with
from tumorlens.pacs.dicomweb import client
from tumorlens.pacs.dicomweb.client import Archive, open_session
from tumorlens.pacs.dicomweb.fetch_queue import FetchQueue, delivery_to
from tumorlens.pacs.worker import SeriesWorker


def connect(orthanc: Orthanc, password: str = PASSWORD) -> Archive:
    environment = {client.USER: USER, client.PASSWORD: password}
    return Archive(orthanc.url, open_session(environment))


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[FetchQueue]:
    with closing(FetchQueue(tmp_path / "queue")) as made:
        yield made


@pytest.fixture
def worker(
    orthanc: Orthanc, queue: FetchQueue, tiny_bundle: Path
) -> Iterator[SeriesWorker]:
    analyse = analysis_with(load_series_classifier(tiny_bundle, threads=1), None)
    with closing(connect(orthanc)) as destination:
        made = SeriesWorker(queue, analyse, delivery_to(destination), 0.0)
        with closing(made):
            made.start()
            yield made
