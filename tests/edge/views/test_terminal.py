"""The terminal: images, panels and plain lines."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dermedge.edge.quality import Defect
from dermedge.edge.results import Classification, FrameResult
from dermedge.edge.sources.frame import Frame
from dermedge.edge.states import State
from dermedge.edge.views import terminal
from dermedge.edge.views.jsonlines import to_json
from dermedge.edge.views.open import open_jsonlines, open_terminal
from dermedge.edge.views.terminal import TerminalView, half_blocks, plain_line, render

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.mark.parametrize("size", [(80, 24), (110, 40), (200, 60), (60, 20), (40, 10), (20, 5), (12, 2)])
def test_the_terminal_view_fits_the_terminal(
    size: tuple[int, int], make_result: Callable[..., FrameResult]
) -> None:
    columns, rows = size
    lines = [ESCAPES.sub("", line) for line in render(make_result(), columns, rows).split("\r\n")]
    assert len(lines) <= rows
    # A line must be shorter than the terminal is wide. If it were full, erasing the rest of the line would erase its
    # last character.
    assert max(map(len, lines)) < max(columns, 30)


def test_the_terminal_view_tells_label_probabilities_rate_age_drops_and_latency(
    make_result: Callable[..., FrameResult],
) -> None:
    text = ESCAPES.sub("", render(make_result(), 110, 40))
    for part in (
        "nevus  70%",
        "melanoma",
        "none of these",
        "29.5",
        "6.2 ms",
        "3",
        "12.5 ms",
        "1.5 ms",
        "2.5 ms",
    ):
        assert part in text
    for name in (
        "frame age",
        "dropped",
        "capture",
        "preprocess",
        "invoke",
        "postprocess",
        "not a medical device",
    ):
        assert name in text


@pytest.mark.parametrize("columns", [110, 60])
def test_the_terminal_view_tells_what_is_uncertain_and_the_alert(
    columns: int, make_result: Callable[..., FrameResult], noted_classification: Classification
) -> None:
    noted = ESCAPES.sub("", render(make_result(classification=noted_classification), columns, 40))
    assert "█ uncertain" in noted
    assert "nearest: nevus  70%, melanoma alert" in noted
    plain = ESCAPES.sub("", render(make_result(), columns, 40))
    assert "uncertain" not in plain
    assert "alert" not in plain


@pytest.mark.parametrize("columns", [110, 60, 30])
def test_notes_that_do_not_fit_in_one_line_go_on_in_the_next(
    columns: int, make_result: Callable[..., FrameResult], noted_classification: Classification
) -> None:
    prediction = replace(noted_classification.prediction, view="close-up")
    result = make_result(classification=replace(noted_classification, prediction=prediction))
    text = " ".join(ESCAPES.sub("", render(result, columns, 40)).replace("▀", "").split())
    assert "nearest: nevus 70%, melanoma alert, close-up: less certain" in text


def test_half_blocks_hold_two_pixels_a_cell() -> None:
    image = np.zeros((2, 1, 3), np.uint8)
    image[0], image[1] = (0, 0, 252), (252, 0, 0)  # red over blue
    assert half_blocks(image, 1, 1) == ["\x1b[38;2;252;0;0m\x1b[48;2;0;0;252m▀"]


@pytest.mark.parametrize("is_of_photo", [True, False])
def test_a_line_in_a_pipe_is_written_at_once(
    is_of_photo: bool, make_result: Callable[..., FrameResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(pipe, encoding="utf-8"))
    result = make_result()
    assert result.frame is not None
    result = replace(result, frame=replace(result.frame, is_photo=True)) if is_of_photo else result
    assert result.is_of_photo == is_of_photo
    with TerminalView() as view:
        view.show(result)
        assert pipe.getvalue().decode().endswith("\n")


def test_a_terminal_is_restored_also_after_an_error(
    make_result: Callable[..., FrameResult],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr("dermedge.edge.views.terminal._terminal_size", lambda: (80, 24))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)

    def show() -> None:
        with TerminalView() as view:
            assert view.show(make_result())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        show()
    output = capsys.readouterr().out
    assert output.startswith("\x1b[?1049h\x1b[?25l")
    assert output.endswith("\x1b[?25h\x1b[?1049l")


@pytest.mark.parametrize(("name", "value"), [("TERM", "dumb"), ("NO_COLOR", "1")])
def test_a_terminal_that_is_asked_to_be_plain_gets_plain_lines(
    name: str,
    value: str,
    make_result: Callable[..., FrameResult],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv(name, value)
    with TerminalView() as view:
        view.show(make_result())
    output = capsys.readouterr().out
    assert "nevus" in output
    assert "\x1b" not in output


@pytest.mark.parametrize("is_terminal", [True, False])
def test_each_photo_of_a_folder_is_a_plain_line(
    is_terminal: bool,
    make_result: Callable[..., FrameResult],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: is_terminal, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    with TerminalView() as view:
        for number in range(3):
            photo = Frame(np.zeros((48, 64, 3), np.uint8), number, 0.0, f"{number}.jpg", is_photo=True)
            assert view.show(make_result(frame=photo))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines] == ["0.jpg", "1.jpg", "2.jpg"]
    assert all(line.isprintable() for line in lines)


def test_without_a_terminal_it_prints_plain_lines_and_not_one_a_frame(
    make_result: Callable[..., FrameResult],
    make_classification: Callable[..., Classification],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with open_terminal() as view:
        for number in range(20):
            view.show(make_result(classification=make_classification(number=number)))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "frame 0  nevus  70%  29.5 fps  age 6 ms  dropped 3  a camera"
    assert len(lines) < 20


@pytest.mark.parametrize(("is_live", "step_s", "told"), [(False, 0.25, 4), (True, 1 / 32, 33)])
def test_there_is_one_plain_line_a_second_and_at_most_15_pictures(
    is_live: bool,
    step_s: float,
    told: int,
    make_result: Callable[..., FrameResult],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The run takes 3 s. Of 32 frames a second, every third is drawn.

    Two frames take less than a 15th of a second, so the frame after two others is the first that may be drawn.
    """
    monkeypatch.setattr("sys.stdout.isatty", lambda: is_live, raising=False)
    monkeypatch.setattr("dermedge.edge.views.terminal._terminal_size", lambda: (80, 24))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    now = [100.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now[0])
    with TerminalView() as view:
        while now[0] <= 103:
            view.show(make_result())
            now[0] += step_s
    output = capsys.readouterr().out
    assert (output.count("\x1b[?2026h") if is_live else len(output.splitlines())) == told


def test_a_plain_line_and_a_json_line_tell_what_is_uncertain_and_the_alert(
    make_result: Callable[..., FrameResult],
    noted_classification: Classification,
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = make_result(classification=noted_classification)
    assert plain_line(result).startswith("frame 7  uncertain; nearest: nevus  70%  melanoma alert  29.5 fps")
    with open_jsonlines() as view:
        view.show(result)
    values = json.loads(capsys.readouterr().out)
    assert (values["label"], values["uncertain"], values["alert"]) == ("nevus", True, "melanoma")


def test_a_prediction_set_is_told_by_lines_and_marks_the_names_of_its_classes(
    make_result: Callable[..., FrameResult], make_classification: Callable[..., Classification]
) -> None:
    result = make_result(classification=make_classification(prediction_set=("melanoma", "nevus")))
    assert "set {melanoma, nevus}" in plain_line(result)
    assert to_json(result)["set"] == ["melanoma", "nevus"]
    for columns in (40, 80):
        drawn = ESCAPES.sub("", render(result, columns, 24))
        for part in ("* not ruled out", "* melanoma ", "* nevus ", "none of these "):
            assert part in drawn
        assert "* none of these" not in drawn
    assert "set {}" in plain_line(make_result(classification=make_classification(prediction_set=())))


def test_a_frame_that_was_not_classified_has_a_state_a_hint_and_no_label(
    make_result: Callable[..., FrameResult], capsys: pytest.CaptureFixture[str]
) -> None:
    result = make_result(classification=None, state=State.HOLD_STILL, hint="hold still", defect=Defect.MOVING)
    with open_jsonlines() as view:
        view.show(result)
    values = json.loads(capsys.readouterr().out)
    assert (values["state"], values["hint"], values["defect"]) == ("hold still", "hold still", "moving")
    assert (values["label"], values["probabilities"], values["frame"]) == (None, None, 7)
    assert plain_line(result).startswith("frame 7  hold still  hold still  29.5 fps  dropped 3")
    for columns in (110, 60):
        text = ESCAPES.sub("", render(result, columns, 40))
        assert "hold still" in text
        assert "nevus" not in text


@pytest.mark.parametrize("columns", [110, 60])
def test_while_pictures_settle_the_terminal_names_no_answer(
    columns: int, make_result: Callable[..., FrameResult]
) -> None:
    text = ESCAPES.sub("", render(make_result(state=State.READING), columns, 40))
    assert "█ reading" in text
    assert "█ nevus" not in text


@pytest.mark.parametrize("size", [(100, 30), (40, 20)])
def test_the_last_frame_of_a_lost_camera_is_darkened_as_in_the_other_views(
    size: tuple[int, int], make_result: Callable[..., FrameResult]
) -> None:
    # all levels of the frame are 120, and the terminal clears the lowest two bits of each level
    live = render(make_result(), *size)
    lost = render(make_result(state=State.CAMERA_LOST, classification=None, hint="'0' stopped"), *size)
    assert "38;2;120;120;120m" in live
    assert "38;2;40;40;40m" in lost
    assert "120;120;120" not in lost


def test_a_lost_camera_is_told_before_the_first_frame_too(make_lost: Callable[..., FrameResult]) -> None:
    result = make_lost()
    assert plain_line(result).startswith("camera lost  '0' stopped")
    for size in ((110, 40), (60, 20), (20, 5)):
        assert "camera lost" in ESCAPES.sub("", render(result, *size))


def test_the_temperature_is_told_where_it_is_known(make_result: Callable[..., FrameResult]) -> None:
    warm = make_result(temperature_c=61.4)
    assert "61 C" in plain_line(warm)
    assert "61 °C" in render(warm, 110, 40)


def test_the_journal_of_a_service_gets_a_line_for_each_change_alone(
    make_result: Callable[..., FrameResult],
    make_classification: Callable[..., Classification],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    now = [100.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now[0])
    nevus, melanoma = (make_classification(label=label) for label in ("nevus", "melanoma"))
    with open_terminal() as view:
        for result in (
            *[make_result(state=State.SEARCHING, classification=None)] * 5,
            *[make_result(classification=nevus)] * 5,
            *[make_result(classification=melanoma)] * 5,
        ):
            view.show(result)
            now[0] += 2
    searching, first, second = capsys.readouterr().out.splitlines()
    assert "searching" in searching
    assert "nevus" in first
    assert "melanoma" in second


PINNED = Path(__file__).with_name("terminal.json")


def test_every_screen_is_drawn_as_it_was(
    make_result: Callable[..., FrameResult], noted_classification: Classification
) -> None:
    """If you change a screen on purpose, pin all anew: PIN_SCREENS=1 pytest tests/edge/views/test_terminal.py"""
    noted = replace(noted_classification, prediction_set=("melanoma", "nevus"))
    plain = make_result().classification
    assert plain is not None
    many = replace(
        plain,
        labels=tuple(f"class {index}" for index in range(12)),
        prediction=replace(plain.prediction, probabilities=tuple(index / 66 for index in range(12))),
    )
    searching = make_result(classification=None, state=State.SEARCHING, hint="hold it still", fps=None)
    results = {
        "answer": make_result(temperature_c=61.5),
        "notes": make_result(classification=noted, hint="turn the light until nothing shines"),
        "many classes": make_result(classification=many),
        "reading": make_result(state=State.READING),
        "searching": searching,
        "before the first frame": replace(searching, frame=None, crop=None),
    }
    sizes = ((110, 30), (80, 24), (60, 20), (20, 5))
    found = {
        f"{name} {columns} x {rows}": render(result, columns, rows).split("\r\n")
        for name, result in results.items()
        for columns, rows in sizes
    } | {f"{name} in a line": [plain_line(result)] for name, result in results.items()}
    if os.environ.get("PIN_SCREENS"):
        PINNED.write_text(json.dumps(found, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")
    assert found == json.loads(PINNED.read_text(encoding="utf-8"))
