"""Reads GStreamer pipelines through the loop's own source: `gstreamer_frames.py PIPELINE SECONDS`.

It prints a JSON line for each frame, for the end, and for each time that the camera is said to be lost.
"""

import json
import sys
import time

from dermedge.edge.errors import SourceError
from dermedge.edge.sources.latest import Arrival, LatestFrame, Outage
from dermedge.edge.sources.open import open_source


def main(spec: str, seconds: float) -> None:
    """Reads frames until the pipeline ends, an error occurs, or the time limit in seconds is over."""
    until = time.monotonic() + seconds
    try:
        with open_source(spec) as source, LatestFrame(source) as latest:
            while time.monotonic() < until and (arrival := latest.read()) is not None:
                tell(arrival)
    except SourceError as error:
        say("error", text=str(error))
    say("end")


def tell(arrival: Arrival | Outage) -> None:
    if isinstance(arrival, Outage):
        say("lost", text=arrival.reason)
    else:
        image = arrival.frame.image_bgr
        say("frame", number=arrival.frame.number, shape=image.shape, mean=image.mean(axis=(0, 1)).tolist())


def say(event: str, **values: object) -> None:
    print(
        json.dumps({"event": event, "after_s": round(time.monotonic() - started_s, 2), **values}), flush=True
    )


if __name__ == "__main__":
    started_s = time.monotonic()
    main(sys.argv[1], float(sys.argv[2]))
