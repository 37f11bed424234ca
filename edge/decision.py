"""From quantized outputs to calibrated probabilities.

Plain Python floats, because the classes are few: right after an inference the caches hold the network, and
a handful of NumPy calls then takes longer than the whole of this (see benchmarks/).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log

# Half of a uint8 probability's step: what a quantized 0 may still stand for.
HALF_STEP = 0.5 / 256


def softmax(logits: Sequence[float], temperature: float = 1.0) -> tuple[float, ...]:
    """exp(z / T) / sum(exp(z / T)).

    Temperature scaling as in Guo et al., "On Calibration of Modern Neural Networks", 2017.
    """
    top = max(logits)
    exponents = [exp((one - top) / temperature) for one in logits]
    total = sum(exponents)
    return tuple(one / total for one in exponents)


def logits_of_outputs(outputs: Sequence[float]) -> tuple[float, ...]:
    """Logits, up to a constant, of one output per class, whether it is a probability or a logit already.

    Values that are nowhere negative and sum to 1 within the rounding of uint8 are taken as probabilities.
    """
    if min(outputs) >= 0 and abs(sum(outputs) - 1) < 0.1:
        return tuple(log(max(one, HALF_STEP)) for one in outputs)
    return tuple(outputs)
