"""Evaluates models on the same labelled photos.

The result contains the answers, the metrics, the differences between models, the effect of disturbed photos, and the
worst mistakes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dermedge.edge.errors import DataError, OptionError, PictureError
from dermedge.edge.model.associated import read_associated
from dermedge.edge.model.classifier import Classifier, common_labels
from dermedge.edge.model.head import Head
from dermedge.edge.model.heat_map import heat_map
from dermedge.edge.model.manifest import CLOSE_UP, digest
from dermedge.edge.model.photo_view import ViewCalibration
from dermedge.edge.model.shipped import model_argument
from dermedge.edge.photos import read_picture
from dermedge.edge.preprocess import to_input
from dermedge.train.data.catalogue import NONE_OF_THESE
from dermedge.train.data.learned import LEARNED_NAME, find_learned
from dermedge.train.data.photo_names import bare_id
from dermedge.train.data.sampling import sample_evenly
from dermedge.train.data.scoring import LabelledPhoto
from dermedge.train.evaluation.coarser import merge_classes_of_all, reorder_classes
from dermedge.train.evaluation.intervals import share_score
from dermedge.train.evaluation.metrics import Score, lesion_draws
from dermedge.train.evaluation.scorecard import (
    Answers,
    Card,
    Comparison,
    ModelOutputs,
    Truth,
    compare,
    critical_class,
    gain,
    make_card,
)
from dermedge.train.evaluation.stress import PERTURBATIONS, perturbed
from dermedge.train.fit.run_folder import STAGES, RunFolder
from dermedge.train.tensorflow_start import load_tensorflow

__all__ = ["EvaluatedModel", "Evaluation", "Mistake", "Scored", "evaluate", "model_of_run", "models_of_files"]

# At most this many photos are in memory at the same time.
_CHUNK = 32
_MISTAKES_SHOWN = 8
_THUMBNAIL_PX, _THUMBNAIL_QUALITY = 168, 82
_HEAT_OPACITY = 0.6
_CONFIDENT, _MISSED = "most confident mistakes", "missed photos of the critical class"

_Frame = NDArray[np.uint8]
# A callback (done, total) that shows progress, and a function that makes such a callback for a named task.
_Show = Callable[[int, int], None]
_MakeShow = Callable[[str], _Show]


@dataclass(frozen=True)
class EvaluatedModel:
    """A model to score.

    Attributes:
        name: short name, unique among the models of a report.
        labels: labels of the classes.
        none_label: the label that stands for "none of these", or None.
        temperature: temperature that divides the logits. If the model predicts the view of a photo, this is the
            temperature for dermoscopic photos.
        thresholds: thresholds of the decision, as `dermedge.edge.model.decision` describes them. If the model predicts
            the view of a photo, these thresholds are for dermoscopic photos.
        facts: further properties of the model that the report shows: name -> value.
        learned: the training photos, as `dermedge.train.data.learned` packs them; None if the model file does not state
            them.
        outputs: a function that runs the model on a few uint8 [h, w, 3] BGR frames.
        heat: a function that returns the heat map of the centre square of a frame, float32 [h, w] from 0 to 1. It
            returns None if the model has no heat map.
        independent: whether the logits are the logarithms of independent probabilities. Such probabilities need not sum
            to 1.
        of_close_ups: temperature and thresholds for close-ups; None if the model does not predict the view.
        is_foreign: whether the model is a file without a manifest of dermedge.
    """

    name: str
    labels: tuple[str, ...]
    none_label: str | None
    temperature: float
    thresholds: Mapping[str, Any]
    facts: dict[str, str]
    learned: bytes | None
    outputs: Callable[[Sequence[_Frame]], ModelOutputs]
    heat: Callable[[_Frame], NDArray[np.float32] | None]
    independent: bool = False
    of_close_ups: ViewCalibration | None = None
    is_foreign: bool = False

    def answers(self, outputs: ModelOutputs) -> Answers:
        return Answers(
            outputs.logits,
            self.labels,
            self.none_label,
            self.temperature,
            self.thresholds,
            self.independent,
            outputs.close_up,
            self.of_close_ups,
            outputs.uncalibrated,
        )


@dataclass(frozen=True)
class Mistake:
    """A photo for which the answer of a model is wrong.

    Attributes:
        kind: why the photo is shown: "most confident mistakes" or "missed photos of the critical class".
        image_id: identifier of the photo.
        source: dataset that the photo comes from.
        truth: diagnosis of the photo.
        answer: answer of the model.
        probability: probability of the answer, 0 to 1.
        critical: probability of the critical class, 0 to 1, or None if there is no critical class.
        thumbnail: JPEG of the centre square that the network sees.
        heat: JPEG of this square with the heat map drawn over it, or None if the model has no heat map.
    """

    kind: str
    image_id: str
    source: str
    truth: str
    answer: str
    probability: float
    critical: float | None
    thumbnail: bytes
    heat: bytes | None


@dataclass(frozen=True)
class Scored:
    """One model with its answers, metrics and worst mistakes.

    Attributes:
        name: short name, unique among the models of a report.
        facts: further properties of the model that the report shows: name -> value.
        learned: number of the scored photos that the model was trained on; None if the model does not state this.
        answers: answers to the scored photos.
        card: metrics of the answers.
        mistakes: the most confident mistakes, and the missed photos of the critical class.
        is_foreign: whether the model is a file without a manifest of dermedge.
    """

    name: str
    facts: dict[str, str]
    learned: int | None
    answers: Answers
    card: Card
    mistakes: list[Mistake]
    is_foreign: bool = False


@dataclass(frozen=True)
class _Strain:
    """The effect of one perturbation at one severity on one model. It is measured on a sample of the photos.

    Attributes:
        model: name of the model.
        perturbation: a key of `PERTURBATIONS`.
        severity: severity as text, such as "quality 25".
        gain: balanced accuracy on the disturbed photos minus balanced accuracy on the unchanged photos.
        flips: share of the photos whose answer changes because of the perturbation.
    """

    model: str
    perturbation: str
    severity: str
    gain: Score
    flips: Score


@dataclass(frozen=True)
class Evaluation:
    """The results of one or more models on the same photos.

    Attributes:
        data: name of the photos in the report: the path of the data, and the split if one was chosen.
        photos: scored photos, in the order of the answers.
        unreadable: errors of the photos that could not be decoded. These photos are not scored.
        truth: true classes of the photos.
        models: results of each model, in the order in which the models were given.
        comparisons: the comparison of each further model with the first model.
        strains: effects of the perturbations; empty if none were requested.
        strained_photos: number of photos on which the perturbations were measured.
    """

    data: str
    photos: tuple[LabelledPhoto, ...]
    unreadable: tuple[PictureError, ...]
    truth: Truth
    models: tuple[Scored, ...]
    comparisons: tuple[Comparison, ...]
    strains: tuple[_Strain, ...]
    strained_photos: int


def models_of_files(
    classifiers: Sequence[Classifier], classes: Sequence[str] | None = None
) -> list[EvaluatedModel]:
    """Returns an `EvaluatedModel` for each classifier. The classifier must stay open, because it computes the outputs.

    Args:
        classifiers: open classifiers, each of a different file.
        classes: classes to score the models on, as in `merge_classes`; None for all classes of the models, in the order
            of the first model.

    Raises:
        OptionError: a file is given twice; or ``classes`` is None and the models have different classes; or
            ``classes`` has fewer than two names, the same name twice, or a name that is not a class of every model.
    """
    labels = classifiers[0].labels
    if classes is None and any(set(one.labels) != set(labels) for one in classifiers):
        common_labels(classifiers)
    files = [classifier.path.resolve() for classifier in classifiers]
    twice = next((file for index, file in enumerate(files) if file in files[:index]), None)
    if twice:
        raise OptionError(f"'{twice}' is given twice; give each model once")
    stems = [file.stem for file in files]
    models = [
        _model_of_file(classifier, file.stem if stems.count(file.stem) == 1 else str(classifier.path))
        for classifier, file in zip(classifiers, files, strict=True)
    ]
    if classes is not None:
        return merge_classes_of_all(models, classes)
    return [reorder_classes(model, labels) for model in models]


def _model_of_file(classifier: Classifier, name: str) -> EvaluatedModel:
    manifest = classifier.manifest
    # The labels of the user may differ from the labels in the manifest.
    given = dict(zip(manifest.labels, classifier.labels, strict=True)) if manifest else {}
    none_label = given.get(manifest.none_label or "") if manifest else NONE_OF_THESE
    facts = {
        "file": model_argument(classifier.path),
        "size": f"{classifier.path.stat().st_size / 1e6:.2f} MB",
        "input": f"{classifier.layout.height} x {classifier.layout.width} pixels",
        "SHA-256": digest(classifier.path),
        "runtime": classifier.runtime,
    }
    if manifest:
        facts |= {
            "quantization": manifest.quantization,
            "network": manifest.architecture,
            "temperature": f"{manifest.temperature:g}",
        }
    usual, of_close_ups = (
        ViewCalibration(one.temperature, _renamed(one.thresholds, given))
        for one in (classifier.calibration, classifier.close_up_calibration)
    )
    if classifier.tells_view:
        facts["temperature of close-ups"] = f"{of_close_ups.temperature:g}"
    return EvaluatedModel(
        name,
        classifier.labels,
        none_label if none_label in classifier.labels else None,
        usual.temperature,
        usual.thresholds,
        facts,
        read_associated(classifier.path, LEARNED_NAME),
        lambda frames: _outputs_of(classifier, frames),
        lambda frame: heat_map(classifier.predict(frame)) if classifier.has_heat_map else None,
        independent=manifest is None and classifier.head is Head.SIGMOID,
        of_close_ups=of_close_ups if classifier.tells_view else None,
        is_foreign=manifest is None,
    )


def _outputs_of(classifier: Classifier, frames: Sequence[_Frame]) -> ModelOutputs:
    predictions = [classifier.predict(frame) for frame in frames]
    close_up = np.array([one.view == CLOSE_UP for one in predictions]) if classifier.tells_view else None
    return ModelOutputs(np.array([one.logits for one in predictions]), close_up)


def _renamed(thresholds: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, Any]:
    """Returns the thresholds with the labels of the manifest replaced by the ``given`` labels."""
    renamed = dict(thresholds)
    if "alert" in thresholds:
        renamed["alert"] = thresholds["alert"] | {"label": given[thresholds["alert"]["label"]]}
    if "conformal" in thresholds:
        of_classes = thresholds["conformal"]["thresholds"]
        renamed["conformal"] = thresholds["conformal"] | {
            "thresholds": {given[label]: value for label, value in of_classes.items()}
        }
    return renamed


def model_of_run(run: RunFolder, stage: str, moved_to: Sequence[Path] = ()) -> EvaluatedModel:
    """Returns the Keras network of a run as a model to evaluate.

    The model has no temperature, no thresholds and no correction of the logits, because only `dermedge convert` adds
    these.

    Args:
        run: a run folder of `dermedge train`.
        stage: training stage after which the weights are used: a value of `STAGES`.
        moved_to: if the photos of the run have moved, the folders where they are now.

    Raises:
        OptionError: the stage is unknown.
        DataError: the stage has no weights yet.
    """
    load_tensorflow()
    from dermedge.train.fit.batches import predict_logits
    from dermedge.train.fit.parents import learned_by
    from dermedge.train.fit.run_networks import trained_network

    if stage not in STAGES:
        raise OptionError(f"unknown stage '{stage}'. Known: {', '.join(STAGES)}")
    config = run.config()
    network = trained_network(run, stage)

    def outputs(frames: Sequence[_Frame]) -> ModelOutputs:
        pixels = np.stack([to_input(frame, config.size) for frame in frames])
        return ModelOutputs(predict_logits(network, pixels).astype(np.float64))

    return EvaluatedModel(
        f"{run.path.absolute().name} ({stage})",
        config.classes,
        NONE_OF_THESE if NONE_OF_THESE in config.classes else None,
        1.0,
        {},
        {"run": str(run.path), "stage": stage, "network": config.architecture, "runtime": "Keras"},
        learned_by(run, moved_to),
        outputs,
        lambda frame: None,
    )


def evaluate(
    evaluated: Sequence[EvaluatedModel],
    photos: Sequence[LabelledPhoto],
    data: str,
    stress_photos: int | None = None,
    critical: str | None = None,
    progress: _MakeShow = lambda what: lambda done, total: None,
) -> Evaluation:
    """Scores models on the same photos. For the scores, every photo is decoded once and passed to all models.

    Args:
        evaluated: one or more models with the same labels.
        photos: photos whose labels are classes of the models, as `labelled_photos` returns them.
        data: name of the photos in reports, such as a path.
        stress_photos: number of photos on which the perturbations are measured, sampled evenly over the classes. With
            None, no perturbation is measured.
        critical: the class that must not be missed. With None, it is the class of the first model's alert. If the first
            model has no alert, it is melanoma, provided that melanoma is a class.
        progress: a function that returns a callback (done, total) for the task with the given name.

    Raises:
        DataError: no photo can be decoded.
        OptionError: ``critical`` is not a class of the models.
    """
    first = evaluated[0]
    no_photos = ModelOutputs(np.empty((0, len(first.labels))))
    critical = critical_class(first.labels, critical, [first.answers(no_photos)])
    unreadable: list[PictureError] = []
    outputs, photos = _outputs_of_readable(evaluated, photos, unreadable, progress("scoring"))
    truth = Truth.of(photos, first.labels, first.none_label, critical)
    answers = [one.answers(found) for one, found in zip(evaluated, outputs, strict=True)]
    models = tuple(_scored(one, found, truth, photos) for one, found in zip(evaluated, answers, strict=True))
    comparisons = tuple(
        compare((models[0].name, other.name), truth, models[0].answers, other.answers) for other in models[1:]
    )
    strained = sample_evenly(photos, stress_photos) if stress_photos else []
    place = {photo: index for index, photo in enumerate(photos)}
    chosen = np.array([place[photo] for photo in strained], np.intp)
    strains = _strains(evaluated, answers, truth, photos, chosen, progress("stress")) if strained else ()
    return Evaluation(
        data, tuple(photos), tuple(unreadable), truth, models, comparisons, tuple(strains), len(strained)
    )


def _scored(model: EvaluatedModel, answers: Answers, truth: Truth, photos: Sequence[LabelledPhoto]) -> Scored:
    learned = None
    if model.learned is not None:
        learned = len(find_learned(model.learned, [photo.entry for photo in photos]))
    mistakes = _mistakes(model, answers, truth, photos)
    card = make_card(truth, answers)
    return Scored(model.name, model.facts, learned, answers, card, mistakes, model.is_foreign)


def _outputs_of_readable(
    evaluated: Sequence[EvaluatedModel],
    photos: Sequence[LabelledPhoto],
    unreadable: list[PictureError],
    show: _Show,
) -> tuple[list[ModelOutputs], list[LabelledPhoto]]:
    """Returns the outputs of each model, and the photos that could be decoded.

    For each photo that cannot be decoded, the error is appended to ``unreadable``.

    Raises:
        DataError: no photo can be decoded.
    """
    parts: list[list[ModelOutputs]] = [[] for _ in evaluated]
    readable: list[LabelledPhoto] = []
    for start in range(0, len(photos), _CHUNK):
        frames = []
        for photo in photos[start : start + _CHUNK]:
            try:
                frames.append(read_picture(photo.path))
                readable.append(photo)
            except PictureError as error:
                unreadable.append(error)
        if frames:
            for model, part in zip(evaluated, parts, strict=True):
                part.append(model.outputs(frames))
        show(min(start + _CHUNK, len(photos)), len(photos))
    if not readable:
        raise DataError(f"none of the {len(photos)} photos can be decoded; the first error: {unreadable[0]}")
    return [ModelOutputs.joined(part) for part in parts], readable


def _disturbed_outputs(
    evaluated: Sequence[EvaluatedModel], photos: Sequence[LabelledPhoto], name: str, step: int
) -> list[ModelOutputs]:
    """Returns the outputs of each model for the photos after one perturbation at one severity."""
    parts: list[list[ModelOutputs]] = [[] for _ in evaluated]
    for start in range(0, len(photos), _CHUNK):
        frames = [
            perturbed(read_picture(photo.path), name, step, index)
            for index, photo in enumerate(photos[start : start + _CHUNK], start)
        ]
        for model, part in zip(evaluated, parts, strict=True):
            part.append(model.outputs(frames))
    return [ModelOutputs.joined(part) for part in parts]


def _strains(
    evaluated: Sequence[EvaluatedModel],
    answers: Sequence[Answers],
    truth: Truth,
    photos: Sequence[LabelledPhoto],
    chosen: NDArray[np.intp],
    show: _Show,
) -> list[_Strain]:
    """Returns the effect of every perturbation at every severity on every model."""
    part = truth.where(chosen)
    members = [photos[index] for index in chosen]
    draws = lesion_draws(part.groups.tolist())
    steps = [(name, step) for name, kind in PERTURBATIONS.items() for step in range(len(kind.severities))]
    strains = []
    for done, (name, step) in enumerate(steps, 1):
        changed = _disturbed_outputs(evaluated, members, name, step)
        kind = PERTURBATIONS[name]
        for model, before, outputs in zip(evaluated, answers, changed, strict=True):
            untouched, touched = before.where(chosen), model.answers(outputs)
            flips = share_score(touched.index != untouched.index, np.ones(len(members), bool), part.lesions)
            severity = kind.unit.format(kind.severities[step])
            strains.append(_Strain(model.name, name, severity, gain(part, untouched, touched, draws), flips))
        show(done, len(steps))
    return strains


def _mistakes(
    model: EvaluatedModel, answers: Answers, truth: Truth, photos: Sequence[LabelledPhoto]
) -> list[Mistake]:
    """Returns the most confident wrong answers, and the missed photos of the critical class.

    The missed photos are sorted by the probability of the critical class, the lowest first.
    """
    wrong = np.flatnonzero(answers.index != truth.index)
    confidence = answers.probabilities[np.arange(len(photos)), answers.index]
    worst = [(_CONFIDENT, index) for index in wrong[np.argsort(-confidence[wrong], kind="stable")]]
    worst = worst[:_MISTAKES_SHOWN]
    critical = truth.labels.index(truth.critical) if truth.critical else None
    if critical is not None:
        missed = wrong[truth.index[wrong] == critical]
        order = np.argsort(answers.probabilities[missed, critical], kind="stable")
        worst += [(_MISSED, index) for index in missed[order][:_MISTAKES_SHOWN]]
    return [_mistake(kind, model, answers, int(index), photos[index], critical) for kind, index in worst]


def _mistake(
    kind: str, model: EvaluatedModel, answers: Answers, index: int, photo: LabelledPhoto, critical: int | None
) -> Mistake:
    frame = read_picture(photo.path)
    seen = np.ascontiguousarray(to_input(frame, _THUMBNAIL_PX)[..., ::-1])
    heat = model.heat(frame)
    row, answer = answers.probabilities[index], answers.index[index]
    return Mistake(
        kind,
        bare_id(photo.path.stem),
        photo.entry.source,
        photo.entry.diagnosis,
        answers.labels[answer],
        float(row[answer]),
        None if critical is None else float(row[critical]),
        _jpeg(seen),
        None if heat is None else _jpeg(_heated(seen, heat)),
    )


def _heated(seen_bgr: _Frame, cells: NDArray[np.float32]) -> _Frame:
    """Returns the crop with the heat map drawn over it. Brighter colours mean more evidence."""
    heat = np.clip(cv2.resize(cells, seen_bgr.shape[1::-1], interpolation=cv2.INTER_CUBIC), 0, 1)
    colours = cv2.applyColorMap((255 * heat).astype(np.uint8), cv2.COLORMAP_INFERNO)
    opacity = (_HEAT_OPACITY * heat)[..., None]
    return (seen_bgr * (1 - opacity) + colours * opacity).astype(np.uint8)


def _jpeg(image_bgr: _Frame) -> bytes:
    _, content = cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, _THUMBNAIL_QUALITY])
    return content.tobytes()
