"""Compares the speeds of `dermedge train` and of the bare training step of the network, in photos per second.

    python -m dermedge.benchmarks.lab training-speed [--imgsz 128] [--batch 32] [--rounds 5]

Training and bare steps run alternately in one process: after each epoch of a real training, `train_on_batch` runs the
same number of steps on one batch in memory. The difference is the cost of sampling, augmentation, mixup, the average of
the weights, and the training loop. The photos are generated, because their content has no influence on the time. All
photos are decoded before the first epoch. The first round is a warm-up and is not counted.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING

import cv2
import numpy as np

from dermedge.benchmarks.child import call_in_child
from dermedge.benchmarks.lab.cli import command_line, experiment_parser
from dermedge.benchmarks.lab.training_run import ARCHITECTURE, BATCH, SIZE, create_run
from dermedge.benchmarks.latency import median_interval
from dermedge.benchmarks.machine import describe_machine
from dermedge.benchmarks.report import hardware
from dermedge.edge.cli.arguments import positive_int
from dermedge.edge.files import check_writable, write_text

if TYPE_CHECKING:
    from dermedge.train.fit.run_folder import Config, RunFolder

__all__ = ["LEAST_SHARE", "SpeedRound", "main", "measure_rounds", "summary"]

# The limit is met if the training reaches at least this fraction of the speed of the bare step.
LEAST_SHARE = 0.85
_CLASSES, _PHOTOS_PER_CLASS, _PHOTO_SIDE = ("one", "two"), 48, 256
_WARMUP_STEPS = 3


@dataclass(frozen=True)
class SpeedRound:
    """The speeds of one round in photos per second.

    Attributes:
        training: speed of one epoch of training.
        bare: speed of the same number of bare steps after the epoch.
    """

    training: float
    bare: float

    @property
    def share(self) -> float:
        """The speed of the training divided by the speed of the bare step."""
        return self.training / self.bare


def main(argv: Sequence[str]) -> int:
    """Prints and writes the results. Returns the exit status: 0, or 1 if the training is too slow."""
    options = _parse(argv)
    if options.output:
        check_writable(options.output.parent)
    rounds = call_in_child(measure_rounds, options.rounds, options.imgsz, options.batch, options.steps)
    print("\n".join([*_circumstances(options), *summary(rounds)]))
    if options.output:
        content = {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": command_line("training-speed", argv),
            "machine": asdict(describe_machine("litert")),
            "architecture": ARCHITECTURE,
            "size": options.imgsz,
            "batch": options.batch,
            "steps": options.steps,
            "rounds": [asdict(one) for one in rounds],
        }
        write_text(options.output, json.dumps(content, indent=1) + "\n")
    return 0 if median(one.share for one in rounds) >= LEAST_SHARE else 1


def summary(rounds: Sequence[SpeedRound]) -> list[str]:
    """Returns lines with medians and 95 % confidence intervals. The last line compares the speed with LEAST_SHARE."""
    share = median(one.share for one in rounds)
    verdict = "met" if share >= LEAST_SHARE else "not met"
    return [
        f"training   {_described([one.training for one in rounds], '.1f')} photos/s",
        f"bare step  {_described([one.bare for one in rounds], '.1f')} photos/s",
        f"ratio      {_described([one.share for one in rounds], '.3f')} within a round",
        f"limit: at least {LEAST_SHARE:.0%} of the speed of the bare step: {verdict}, in {len(rounds)} rounds",
    ]


def measure_rounds(rounds: int, size: int, batch: int, steps: int) -> list[SpeedRound]:
    """Trains on generated photos, and runs the bare step after each epoch.

    Args:
        rounds: number of rounds that are counted. One more round is run first, as a warm-up.
        size: width and height of the network input in pixels.
        batch: number of photos per step.
        steps: number of steps per round.
    """
    from dermedge.train.fit.training import Trainer

    with TemporaryDirectory(prefix="dermedge-") as made:
        folder = _run_folder(Path(made), rounds + 1, size, batch, steps)
        bare, rates = _BareStep(folder.config(), steps), list[float]()

        def after_epoch(line: str) -> None:
            # the trainer also calls this function once before the first epoch; no bare steps run then
            if len(folder.history()) > len(rates):
                rates.append(bare.photos_per_second())

        Trainer(folder, say=after_epoch).fit()
        trained = [float(row["photos_per_second"]) for row in folder.history()]
    return [SpeedRound(*pair) for pair in zip(trained, rates, strict=True)][1:]


class _BareStep:
    """The bare training step: the network, optimizer and batch size of the training, without any other work."""

    def __init__(self, config: Config, steps: int) -> None:
        import tf_keras as keras

        from dermedge.train.fit.run_networks import start_network

        random = np.random.default_rng(0)
        shape = (config.batch_size, config.size, config.size, 3)
        self._images = random.standard_normal(shape, np.float32)
        self._targets = np.eye(len(config.classes), dtype=np.float32)[
            random.integers(0, len(config.classes), config.batch_size)
        ]
        self._steps = steps
        self._model = start_network(config)
        loss = keras.losses.CategoricalCrossentropy(from_logits=True)
        self._model.compile(keras.optimizers.AdamW(config.learning_rate), loss=loss)
        for _ in range(_WARMUP_STEPS):
            self._model.train_on_batch(self._images, self._targets)

    def photos_per_second(self) -> float:
        """Runs the bare steps of one round, and returns their speed."""
        began = perf_counter()
        for _ in range(self._steps):
            self._model.train_on_batch(self._images, self._targets)
        return self._steps * len(self._images) / (perf_counter() - began)


def _run_folder(made: Path, epochs: int, size: int, batch: int, steps: int) -> RunFolder:
    """Returns a run like a run of `dermedge train`, on generated photos."""
    from dermedge.train.data.build import build_catalogue
    from dermedge.train.fit.run_folder import RunFolder

    photos, folder = made / "photos", RunFolder(made / "run")
    random = np.random.default_rng(0)
    for label in _CLASSES:
        (photos / label).mkdir(parents=True)
        for number in range(_PHOTOS_PER_CLASS):
            pixels = random.integers(0, 256, (_PHOTO_SIDE, _PHOTO_SIDE, 3), np.uint8)
            cv2.imwrite(str(photos / label / f"{label}{number}.png"), pixels)
    catalogue = build_catalogue([photos], cache=folder.cache)
    create_run(
        folder,
        catalogue,
        photos,
        command_line("training-speed", []),
        epochs=epochs,
        photos_per_epoch=steps * batch,
        size=size,
        batch=batch,
    )
    return folder


def _described(values: Sequence[float], form: str) -> str:
    low, high = median_interval(list(values))
    return f"{median(values):{form}} (95 % {low:{form}} to {high:{form}})"


def _circumstances(options: argparse.Namespace) -> list[str]:
    machine = describe_machine("litert")
    load = "not measured" if machine.load is None else f"{machine.load:.2f}"
    return [
        f"{hardware(machine)}, load {load}",
        f"{ARCHITECTURE} at {options.imgsz} pixels, batch {options.batch}, {options.steps} steps per round",
    ]


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = experiment_parser(
        "training-speed",
        "Compare the speed of training with the speed of the bare training step, in photos per second.",
    )
    parser.add_argument(
        "--imgsz", type=positive_int, default=SIZE, help="train with this input size in pixels"
    )
    parser.add_argument(
        "--batch", type=positive_int, default=BATCH, help="train on this many photos per step"
    )
    parser.add_argument("--steps", type=positive_int, default=20, help="run this many steps per round")
    parser.add_argument(
        "--rounds", type=positive_int, default=5, help="measure this many rounds, after a warm-up round"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write the results of all rounds into this JSON file"
    )
    return parser.parse_args(argv)
