"""Runs one runtime of the experiment `peers` in a separate process and a separate environment.

    python -m dermedge.benchmarks.lab.children.peer PEER MODEL FRAMES.npy THREADS

A peer is a runtime, or a way to use a runtime. The process imports only NumPy, OpenCV and the packages of the peer. For
each line on standard input, the process runs the peer on all frames, and prints the times and the answers.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter_ns, process_time_ns
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["PEERS", "centre_square", "main", "shares"]

_Image = NDArray[np.uint8]
# A function that classifies a uint8 [h, w, 3] BGR frame. It returns the duration in nanoseconds, and a score for each
# class.
_Answer = Callable[[_Image], tuple[int, ArrayLike]]
# A function that opens a model. The arguments are the path of the model and the number of threads.
_Peer = Callable[[str, int], _Answer]


def main(argv: Sequence[str]) -> int:
    """Answers each line of standard input until the input ends."""
    name, model, saved, threads = argv
    cv2.setNumThreads(1)
    frames = np.load(saved)
    answer = PEERS[name](model, int(threads))
    arithmetic = _ARITHMETIC[name](model) if name in _ARITHMETIC else None
    for _ in sys.stdin:
        started_ns, used_ns = perf_counter_ns(), process_time_ns()
        answers = [answer(frame) for frame in frames]
        cores = (process_time_ns() - used_ns) / (perf_counter_ns() - started_ns)
        told = {
            "ns": [ns for ns, _ in answers],
            "probabilities": [shares(scores).tolist() for _, scores in answers],
            "arithmetic": arithmetic,
            "cores": cores,
            "peak_bytes": _peak_bytes(),
        }
        print(json.dumps(told), flush=True)
    return 0


def shares(scores: ArrayLike) -> NDArray[np.float64]:
    """Returns the probabilities of the classes, float64 [K], with the sum 1.

    Args:
        scores: the scores of K classes. Integers are the quantized outputs of a softmax.
    """
    values = np.asarray(scores)
    lowest = np.iinfo(values.dtype).min if values.dtype.kind == "i" else 0
    values = values.astype(np.float64).ravel() - lowest
    return values / values.sum()


def _largest_square(frame_bgr: _Image) -> _Image:
    """Returns the largest centred square of a frame."""
    height, width = frame_bgr.shape[:2]
    cut = min(height, width)
    top, left = (height - cut) // 2, (width - cut) // 2
    return frame_bgr[top : top + cut, left : left + cut]


def centre_square(frame_bgr: _Image, side: int, interpolation: int = cv2.INTER_AREA) -> _Image:
    """Returns the largest centred square of a BGR frame as a network input, uint8 [side, side, 3] RGB."""
    resized = cv2.resize(_largest_square(frame_bgr), (side, side), interpolation=interpolation)
    return cv2.cvtColor(resized, cv2.COLOR_BGR2RGB)  # type: ignore[return-value]


def _timed(decide: Callable[[_Image], tuple[Any, ArrayLike]]) -> _Answer:
    """Returns a function that calls and times ``decide``.

    Args:
        decide: a function that classifies a frame. It returns the index or name of the class, and the scores of the
            classes.
    """

    def answer(frame_bgr: _Image) -> tuple[int, ArrayLike]:
        started = perf_counter_ns()
        _, scores = decide(frame_bgr)
        return perf_counter_ns() - started, scores

    return answer


def _most_probable(scores: NDArray[Any]) -> tuple[int, NDArray[Any]]:
    """Returns the index of the most probable class, and the scores."""
    return int(np.argmax(scores)), scores


def _dermedge(model: str, threads: int) -> _Answer:
    from dermedge.edge.model.classifier import Classifier

    classifier = Classifier(model, num_threads=threads)

    def decide(frame_bgr: _Image) -> tuple[str, ArrayLike]:
        prediction = classifier.predict(frame_bgr)
        return prediction.label, prediction.probabilities

    return _timed(decide)


def _litert_invoke(model: str, threads: int) -> _Answer:
    from ai_edge_litert.interpreter import Interpreter

    interpreter, side, given, wanted = _opened(Interpreter(model_path=model, num_threads=threads))

    def answer(frame_bgr: _Image) -> tuple[int, ArrayLike]:
        interpreter.set_tensor(given, centre_square(frame_bgr, side)[None])
        started = perf_counter_ns()
        interpreter.invoke()
        return perf_counter_ns() - started, interpreter.get_tensor(wanted)

    return answer


def _litert(model: str, threads: int) -> _Answer:
    from ai_edge_litert.interpreter import Interpreter

    return _interpreter_answer(Interpreter(model_path=model, num_threads=threads))


def _litert_bilinear(model: str, threads: int) -> _Answer:
    """Opens LiteRT's interpreter. Frames are resized without averaging, which is faster, but skips pixels."""
    from ai_edge_litert.interpreter import Interpreter

    return _interpreter_answer(Interpreter(model_path=model, num_threads=threads), cv2.INTER_LINEAR)


def _tflite_runtime(model: str, threads: int) -> _Answer:
    from tflite_runtime.interpreter import Interpreter

    return _interpreter_answer(Interpreter(model_path=model, num_threads=threads))


def _tensorflow(model: str, threads: int) -> _Answer:
    import tensorflow as tf

    return _interpreter_answer(tf.lite.Interpreter(model_path=model, num_threads=threads))


def _litert_compiled_model(model: str, threads: int) -> _Answer:
    from ai_edge_litert.compiled_model import CompiledModel, CpuOptions, HardwareAccelerator, Options
    from ai_edge_litert.interpreter import Interpreter

    _, side, _, wanted = _opened(Interpreter(model_path=model))
    cpu = CpuOptions(num_threads=threads)
    options = Options(hardware_accelerators=HardwareAccelerator.CPU, cpu_options=cpu)
    compiled = CompiledModel.from_file(model, options=options)
    given, results = compiled.create_input_buffers(0), compiled.create_output_buffers(0)
    details = Interpreter(model_path=model).get_output_details()
    place = [one["index"] for one in details].index(wanted)
    classes, dtype = int(details[place]["shape"][-1]), details[place]["dtype"]

    def decide(frame_bgr: _Image) -> tuple[int, ArrayLike]:
        given[0].write(centre_square(frame_bgr, side)[None])
        compiled.run_by_index(0, given, results)
        return _most_probable(results[place].read(classes, dtype))

    return _timed(decide)


def _mediapipe(model: str, threads: int) -> _Answer:
    """Opens MediaPipe, which resizes the images and chooses the number of threads by itself."""
    import mediapipe as mp
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_path=model))
    classifier = vision.ImageClassifier.create_from_options(options)

    def decide(frame_bgr: _Image) -> tuple[int, list[Any]]:
        # the frame is cropped to a square, because MediaPipe would distort a frame that is not square
        rgb = np.ascontiguousarray(cv2.cvtColor(_largest_square(frame_bgr), cv2.COLOR_BGR2RGB))
        found = classifier.classify(mp.Image(image_format=mp.ImageFormat.SRGB, data=rgb))
        # MediaPipe returns a list of categories for each output. The probability of a close-up has one category, and
        # the heat map has more categories than there are classes. So the shortest of the other lists has the scores.
        heads = [one for one in found.classifications if len(one.categories) > 1]
        head = min(heads, key=lambda one: len(one.categories))
        return int(head.categories[0].index), head.categories

    answer = _timed(decide)

    def sorted_answer(frame_bgr: _Image) -> tuple[int, ArrayLike]:
        ns, categories = answer(frame_bgr)
        return ns, [one.score for one in sorted(categories, key=lambda one: one.index)]  # type: ignore

    return sorted_answer


def _opencv_dnn(model: str, threads: int) -> _Answer:
    from ai_edge_litert.interpreter import Interpreter

    _, side, _, _ = _opened(Interpreter(model_path=model))
    network = cv2.dnn.readNetFromTFLite(model)
    names = network.getUnconnectedOutLayersNames()
    cv2.setNumThreads(threads)

    def decide(frame_bgr: _Image) -> tuple[int, ArrayLike]:
        planes = np.ascontiguousarray(centre_square(frame_bgr, side).transpose(2, 0, 1)[None])
        network.setInput(planes)
        return _most_probable(next(one for one in network.forward(names) if _gives_classes(one.shape)))

    return _timed(decide)


def _onnxruntime(model: str, threads: int) -> _Answer:
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = threads
    session = InferenceSession(model, options, providers=["CPUExecutionProvider"])
    [given] = session.get_inputs()
    [wanted] = [one.name for one in session.get_outputs() if _gives_classes(one.shape)]
    side = int(given.shape[1])

    def decide(frame_bgr: _Image) -> tuple[int, ArrayLike]:
        [scores] = session.run([wanted], {given.name: centre_square(frame_bgr, side)[None]})
        return _most_probable(scores)

    return _timed(decide)


def _openvino(model: str, threads: int) -> _Answer:
    compiled = _compiled_by_openvino(model, {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1})
    request = compiled.create_infer_request()
    wanted = next(one for one in compiled.outputs if _gives_classes(one.shape))
    side = int(compiled.input(0).shape[1])

    def decide(frame_bgr: _Image) -> tuple[int, ArrayLike]:
        request.infer({0: centre_square(frame_bgr, side)[None]})
        return _most_probable(request.get_tensor(wanted).data.copy())

    return _timed(decide)


def _compiled_by_openvino(model: str, settings: dict[str, int]) -> Any:
    from openvino import Core

    return Core().compile_model(model, "CPU", {"PERFORMANCE_HINT": "LATENCY", **settings})


def _openvino_arithmetic(model: str) -> str:
    """Tells the user how many convolutions OpenVINO computes in each data type, such as int8 or float32.

    OpenVINO chooses the data types to suit the processor.
    """
    told = [node.get_rt_info() for node in _compiled_by_openvino(model, {}).get_runtime_model().get_ops()]
    kinds = Counter(str(one["runtimePrecision"].value) for one in told if "Conv" in one["layerType"].value)
    return "convolutions in " + ", ".join(f"{kind}: {count}" for kind, count in kinds.most_common())


# The key is the name of a peer. The value is a function that describes the data types in which the peer computes.
_ARITHMETIC: dict[str, Callable[[str], str]] = {"openvino": _openvino_arithmetic}


def _ncnn(model: str, threads: int) -> _Answer:
    """Opens a ``.param`` file of NCNN.

    The folder of the ``.param`` file must also hold the ``.bin`` file of the network, and a ``.json`` file with the
    normalization.
    """
    import ncnn

    normalization = json.loads(Path(model.removesuffix(".ncnn.param") + ".json").read_text())
    means, scales = [[normalization[key]] * 3 for key in ("mean", "scale")]
    network = ncnn.Net()
    network.opt.num_threads = threads
    network.load_param(model)
    network.load_model(model.removesuffix(".param") + ".bin")
    [given], [wanted] = network.input_names(), network.output_names()
    side = normalization["side"]

    def decide(frame_bgr: _Image) -> tuple[int, ArrayLike]:
        image = ncnn.Mat.from_pixels(centre_square(frame_bgr, side), ncnn.Mat.PixelType.PIXEL_RGB, side, side)
        image.substract_mean_normalize(means, scales)
        extractor = network.create_extractor()
        extractor.input(given, image)
        return _most_probable(np.array(extractor.extract(wanted)[1]))

    return _timed(decide)


PEERS: dict[str, _Peer] = {
    "dermedge": _dermedge,
    "litert-invoke": _litert_invoke,
    "litert": _litert,
    "litert-bilinear": _litert_bilinear,
    "litert-compiled-model": _litert_compiled_model,
    "tensorflow": _tensorflow,
    "tflite-runtime": _tflite_runtime,
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "ncnn": _ncnn,
    "mediapipe": _mediapipe,
    "opencv-dnn": _opencv_dnn,
}


def _interpreter_answer(opened: Any, interpolation: int = cv2.INTER_AREA) -> _Answer:
    interpreter, side, given, wanted = _opened(opened)

    def decide(frame_bgr: _Image) -> tuple[int, ArrayLike]:
        interpreter.set_tensor(given, centre_square(frame_bgr, side, interpolation)[None])
        interpreter.invoke()
        return _most_probable(interpreter.get_tensor(wanted))

    return _timed(decide)


def _gives_classes(shape: Sequence[Any]) -> bool:
    """Tells whether an output with this shape holds the scores of the classes.

    The scores of K classes have the shape [1, K]. The output with the probability of a close-up has the shape [1, 1].
    """
    return len(shape) == 2 and shape[1] > 1


def _opened(interpreter: Any) -> tuple[Any, int, int, int]:
    """Allocates the tensors of an interpreter.

    Returns:
        The interpreter, the input size in pixels, the index of the input tensor, and the index of the tensor of class
        scores.
    """
    interpreter.allocate_tensors()
    given = interpreter.get_input_details()[0]
    wanted = next(one for one in interpreter.get_output_details() if _gives_classes(one["shape"]))
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
