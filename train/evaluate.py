"""Scores of a trained run, or of a .tflite by the code that runs on the device."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.classifier import Classifier
from edge.errors import OptionError
from edge.files import write_text
from edge.pictures import read_picture
from edge.preprocess import to_input
from train.catalogue import LabelledPhoto, labelled_photos
from train.metrics import Report, balanced_accuracy, confusion_matrix, f1, make_report, precision, recall
from train.run_folder import STAGES, RunFolder

BATCH = 64

Show = Callable[[int, int], None]


@dataclass(frozen=True)
class Evaluation:
    """The scores of one model on one set of photos.

    Attributes:
        model: the file or the run and its stage.
        data: the set, and the split of it.
        report: every score.
        sources: source -> (photos, balanced accuracy).
    """

    model: str
    data: str
    report: Report
    sources: dict[str, tuple[int, float]]

    def to_json(self) -> str:
        """All scores as indented JSON."""
        values = {
            "schema": "dermedge-evaluation/1",
            "model": self.model,
            "data": self.data,
            **self.report.to_json(),
            "sources": {
                name: {"photos": photos, "balanced_accuracy": score}
                for name, (photos, score) in self.sources.items()
            },
        }
        return json.dumps(values, indent=1) + "\n"

    def to_text(self) -> str:
        """A table for the terminal."""
        values = self.report.to_json()
        lines = [
            f"{self.model} on {self.data}: {values['photos']} photos of {self.report.lesions} lesions",
            "",
        ]
        for name in ("accuracy", "balanced_accuracy", "macro_precision", "macro_recall", "macro_f1"):
            ends = self.report.intervals.get(name)
            interval = f"  (95 % interval {ends[0]:.3f} to {ends[1]:.3f})" if ends else ""
            lines.append(f"{name.replace('_', ' '):<18} {values[name]:.3f}{interval}")
        return "\n".join(
            [*lines, "", *self._class_lines(), "", *self._matrix_lines(), "", *self._source_lines()]
        )

    def _class_lines(self) -> list[str]:
        matrix = self.report.matrix
        width = max(map(len, self.report.labels))
        rows = zip(
            self.report.labels, precision(matrix), recall(matrix), f1(matrix), matrix.sum(axis=1), strict=True
        )
        return [
            f"{'class':<{width}}  precision  recall     F1  photos",
            *(
                f"{name:<{width}} {_cell(p, 10)} {_cell(r, 7)} {_cell(f, 6)} {n:>7}"
                for name, p, r, f, n in rows
            ),
        ]

    def _matrix_lines(self) -> list[str]:
        labels = self.report.labels
        width = max(map(len, labels))
        head = " ".join(f"{label[:10]:>10}" for label in labels)
        return [
            f"{'true, predicted':<{width}} {head}",
            *(
                f"{label:<{width}} " + " ".join(f"{count:>10}" for count in row)
                for label, row in zip(labels, self.report.matrix, strict=True)
            ),
        ]

    def _source_lines(self) -> list[str]:
        return [
            f"source {name}: balanced accuracy {score:.3f} on {photos} photos"
            for name, (photos, score) in self.sources.items()
        ]

    def save(self, folder: Path) -> None:
        """Writes evaluation.json and confusion.png into ``folder``; raises StorageError."""
        from train.plots import plot_confusion

        write_text(folder / "evaluation.json", self.to_json())
        plot_confusion(
            self.report.matrix, self.report.labels, folder / "confusion.png", f"{self.model}\non {self.data}"
        )


def _cell(value: float, width: int) -> str:
    return f"{'-':>{width}}" if np.isnan(value) else f"{value:>{width}.3f}"


def evaluate_file(
    classifier: Classifier, data: Path, split: str | None, progress: Show = lambda done, total: None
) -> Evaluation:
    """Scores a .tflite through the device runtime, from the photos' own files.

    Args:
        classifier: the open model.
        data: a folder with a folder per class, or a run's catalogue.csv.
        split: of a catalogue.

    Raises:
        DataError: nothing to score, or classes that the model does not know.
        PictureError: a photo cannot be decoded.
    """
    photos = labelled_photos(data, classifier.labels, split)
    predicted = []
    for done, photo in enumerate(photos, 1):
        predicted.append(classifier.predict(read_picture(photo.path)).index)
        progress(done, len(photos))
    return _evaluation(str(classifier.path), _name(data, split), classifier.labels, photos, predicted)


def evaluate_run(
    run: RunFolder, stage: str, split: str, progress: Show = lambda done, total: None
) -> Evaluation:
    """Scores the Keras network of a run's stage on one of its splits.

    Raises:
        OptionError: an unknown stage or split.
        DataError: the stage has no weights yet.
    """
    from train.feed import predict_logits
    from train.fit import trained_network

    if stage not in STAGES:
        raise OptionError(f"unknown stage '{stage}'. Known: {', '.join(STAGES)}")
    config = run.config()
    photos = labelled_photos(run.catalogue_path, config.classes, split)
    network = trained_network(run, stage)
    predicted: list[int] = []
    for start in range(0, len(photos), BATCH):
        batch = [to_input(read_picture(photo.path), config.size) for photo in photos[start : start + BATCH]]
        predicted += predict_logits(network, np.stack(batch)).argmax(axis=1).tolist()
        progress(len(predicted), len(photos))
    return _evaluation(
        f"{run.path} ({stage})", _name(run.catalogue_path, split), config.classes, photos, predicted
    )


def _name(data: Path, split: str | None) -> str:
    return f"{data}, split {split}" if split else str(data)


def _evaluation(
    model: str, data: str, labels: Sequence[str], photos: Sequence[LabelledPhoto], answers: Sequence[int]
) -> Evaluation:
    truth = np.array([photo.label_index for photo in photos])
    predicted = np.array(answers)
    report = make_report(labels, truth, predicted, [photo.group for photo in photos])
    sources = np.array([photo.source for photo in photos])
    return Evaluation(
        model,
        data,
        report,
        {
            name: _source_score(truth, predicted, sources == name, len(labels))
            for name in sorted(set(sources))
        },
    )


def _source_score(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], chosen: NDArray[np.bool_], classes: int
) -> tuple[int, float]:
    matrix = confusion_matrix(truth[chosen], predicted[chosen], classes)
    return int(chosen.sum()), balanced_accuracy(matrix)
