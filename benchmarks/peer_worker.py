"""One peer in its own process and environment, started by `benchmarks.peers`; imports NumPy, OpenCV, and it.

    python -m benchmarks.peer_worker PEER MODEL FRAMES.npy

For each line on standard input it shows the peer all frames, and prints what it took and answered.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]
# Of a uint8 [h, w, 3] BGR frame: nanoseconds, and the index of the most probable class.
Answer = Callable[[Frame], tuple[int, int]]


def main(argv: Sequence[str]) -> int:
    """Answers until standard input ends."""
    name, model, saved = argv
    cv2.setNumThreads(1)
    frames = np.load(saved)
    answer = PEERS[name](model)
    for _ in sys.stdin:
        answers = [answer(frame) for frame in frames]
        told = {
            "ns": [ns for ns, _ in answers],
            "classes": [index for _, index in answers],
            "peak_bytes": _peak_bytes(),
        }
        print(json.dumps(told), flush=True)
    return 0


def centre_square(frame_bgr: Frame, side: int) -> Frame:
    """The network's picture as most examples make it: uint8 [side, side, 3] RGB."""
    height, width = frame_bgr.shape[:2]
    cut = min(height, width)
    top, left = (height - cut) // 2, (width - cut) // 2
    square = frame_bgr[top : top + cut, left : left + cut]
    resized = cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(resized, cv2.COLOR_BGR2RGB)  # type: ignore[return-value]


def timed(decide: Callable[[Frame], int]) -> Answer:
    """Frame to decision, timed as a whole."""

    def answer(frame_bgr: Frame) -> tuple[int, int]:
        started = perf_counter_ns()
        index = decide(frame_bgr)
        return perf_counter_ns() - started, index

    return answer


def dermedge(model: str) -> Answer:
    from edge.classifier import Classifier

    classifier = Classifier(model)
    return timed(lambda frame: int(np.argmax(classifier.predict(frame).probabilities)))


def litert_invoke(model: str) -> Answer:
    from ai_edge_litert.interpreter import Interpreter

    interpreter, side, given, wanted = _opened(Interpreter(model_path=model, num_threads=1))

    def answer(frame_bgr: Frame) -> tuple[int, int]:
        interpreter.set_tensor(given, centre_square(frame_bgr, side)[None])
        started = perf_counter_ns()
        interpreter.invoke()
        return perf_counter_ns() - started, int(np.argmax(interpreter.get_tensor(wanted)))

    return answer


def litert(model: str) -> Answer:
    from ai_edge_litert.interpreter import Interpreter

    return _interpreter_answer(Interpreter(model_path=model, num_threads=1))


def tflite_runtime(model: str) -> Answer:
    from tflite_runtime.interpreter import Interpreter

    return _interpreter_answer(Interpreter(model_path=model, num_threads=1))


def litert_compiled_model(model: str) -> Answer:
    from ai_edge_litert.compiled_model import CompiledModel, CpuOptions, HardwareAccelerator, Options
    from ai_edge_litert.interpreter import Interpreter

    _, side, _, wanted = _opened(Interpreter(model_path=model))
    options = Options(hardware_accelerators=HardwareAccelerator.CPU, cpu_options=CpuOptions(num_threads=1))
    compiled = CompiledModel.from_file(model, options=options)
    given, results = compiled.create_input_buffers(0), compiled.create_output_buffers(0)
    details = Interpreter(model_path=model).get_output_details()
    place = [one["index"] for one in details].index(wanted)
    classes = int(details[place]["shape"][-1])

    def decide(frame_bgr: Frame) -> int:
        given[0].write(centre_square(frame_bgr, side)[None])
        compiled.run_by_index(0, given, results)
        return int(np.argmax(results[place].read(classes, np.uint8)))

    return timed(decide)


def mediapipe(model: str) -> Answer:
    import mediapipe as mp
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_path=model))
    classifier = vision.ImageClassifier.create_from_options(options)

    def decide(frame_bgr: Frame) -> int:
        # it resizes by itself, and would squash what is not square
        height, width = frame_bgr.shape[:2]
        cut = min(height, width)
        top, left = (height - cut) // 2, (width - cut) // 2
        square = frame_bgr[top : top + cut, left : left + cut]
        rgb = np.ascontiguousarray(cv2.cvtColor(square, cv2.COLOR_BGR2RGB))
        found = classifier.classify(mp.Image(image_format=mp.ImageFormat.SRGB, data=rgb))
        # the heads come in the file's order; a heat map has more numbers than classes
        head = min(found.classifications, key=lambda one: len(one.categories))
        return int(head.categories[0].index)

    return timed(decide)


def opencv_dnn(model: str) -> Answer:
    from ai_edge_litert.interpreter import Interpreter

    _, side, _, _ = _opened(Interpreter(model_path=model))
    network = cv2.dnn.readNetFromTFLite(model)
    names = network.getUnconnectedOutLayersNames()

    def decide(frame_bgr: Frame) -> int:
        picture = np.ascontiguousarray(centre_square(frame_bgr, side).transpose(2, 0, 1)[None])
        network.setInput(picture)
        return next(int(np.argmax(one)) for one in network.forward(names) if one.ndim == 2)

    return timed(decide)


PEERS: dict[str, Callable[[str], Answer]] = {
    "dermedge": dermedge,
    "litert-invoke": litert_invoke,
    "litert": litert,
    "litert-compiled-model": litert_compiled_model,
    "opencv-dnn": opencv_dnn,
    "tflite-runtime": tflite_runtime,
    "mediapipe": mediapipe,
}


def _interpreter_answer(opened: Any) -> Answer:
    interpreter, side, given, wanted = _opened(opened)

    def decide(frame_bgr: Frame) -> int:
        interpreter.set_tensor(given, centre_square(frame_bgr, side)[None])
        interpreter.invoke()
        return int(np.argmax(interpreter.get_tensor(wanted)))

    return timed(decide)


def _opened(interpreter: Any) -> tuple[Any, int, int, int]:
    """It, the side of its input, and the indices of its input and of its output of one number a class."""
    interpreter.allocate_tensors()
    given = interpreter.get_input_details()[0]
    wanted = next(one for one in interpreter.get_output_details() if len(one["shape"]) == 2)
    return interpreter, int(given["shape"][1]), int(given["index"]), int(wanted["index"])


def _peak_bytes() -> int | None:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
