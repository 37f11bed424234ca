"""`dermedge doctor` as a user meets it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dermedge import cli
from dermedge.edge.cli import doctor
from dermedge.edge.doctor import FAULT, OK, WARNING, Finding


def test_one_line_a_check_and_json_tell_the_same(
    make_golden: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["doctor", "--model", str(make_golden())]
    status = cli.main(command)
    lines = capsys.readouterr().out.splitlines()
    assert cli.main([*command, "--json"]) == status
    values = json.loads(capsys.readouterr().out)
    findings = values["findings"]
    assert findings[-1]["status"] == OK
    for said, finding in zip(lines, findings, strict=True):
        assert said.split()[0] == finding["status"] in (OK, WARNING, FAULT)
        assert finding["check"] in said
        assert finding["text"] in said
        assert said.endswith(f"cure: {finding['cure']}" if finding["cure"] else finding["text"])
    assert status == int(any(one["status"] == FAULT for one in findings))


def test_a_fault_is_exit_status_1(
    make_golden: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["doctor", "--model", str(make_golden(pixels="0" * 64))]) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("fault    model golden")


def test_control_codes_in_the_name_of_a_camera_are_written_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "examine", lambda *_: [Finding("cameras", OK, "cam\x1b[2J (/dev/video0)")])
    assert cli.main(["doctor"]) == 0
    assert capsys.readouterr().out == "ok       cameras  cam\\x1b[2J (/dev/video0)\n"


@pytest.mark.parametrize("arguments", [["--model", "gone.tflite"], ["--runtime", "tpu"], ["--modle", "x"]])
def test_bad_input_is_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
