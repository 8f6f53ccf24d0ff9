"""The commands on a terminal: questions, and what Ctrl-C offers."""

from __future__ import annotations

import json
from pathlib import Path

from mcp_tasks.cli.exits import Exit

from ._run import EVERYTHING, Keyboard

SESSION = ["--revision", "2025-11-25"]
CTRL_C, CTRL_D = "\x03", "\x04"
CHOICE = "(c)ancel it, (d)etach, or (w)ait on? "


def test_a_question_is_asked_until_the_answer_fits() -> None:
    keyboard = Keyboard(["call", EVERYTHING, "confirm_delete", "filename=x", "--task"])
    keyboard.expect("everything 1.0 asks: Delete x?")
    keyboard.expect("confirm (yes or no): ")
    keyboard.type("maybe\n")
    keyboard.expect("yes or no?")
    keyboard.expect("confirm (yes or no): ")
    keyboard.type("yes\n")
    assert keyboard.finish() == Exit.OK
    assert "deleted x" in keyboard.shown


def test_a_question_without_an_answer() -> None:
    for typed, action in (("/decline\n", "decline"), ("/cancel\n", "cancel"), (CTRL_D, "cancel")):
        keyboard = Keyboard(["call", EVERYTHING, "drive_elicitation", "message=Well?", *SESSION])
        keyboard.expect("answer: ")
        keyboard.type(typed)
        assert keyboard.finish() == Exit.OK
        assert f"no answer: {action}" in keyboard.shown


def test_two_questions_at_once_are_asked_one_after_the_other() -> None:
    keyboard = Keyboard(["call", EVERYTHING, "multi_input", "--task"])
    for _ in range(2):
        question = keyboard.expect(": ")
        while not question.endswith(("name: ", "age (optional, a whole number): ")):
            question += keyboard.expect(": ")
        keyboard.type("Ada\n" if question.endswith("name: ") else "36\n")
    assert keyboard.finish() == Exit.OK
    assert "Ada is 36" in keyboard.shown


def test_the_user_plays_the_model() -> None:
    keyboard = Keyboard(["call", EVERYTHING, "drive_sampling", "prompt=How are you?", *SESSION])
    keyboard.expect("user: How are you?")
    keyboard.expect("says no): ")
    keyboard.type("Very well\n")
    assert keyboard.finish() == Exit.OK
    assert keyboard.shown.rstrip().endswith("Very well")


def test_ctrl_c_cancels() -> None:
    keyboard = Keyboard(["call", EVERYTHING, "slow_compute", "seconds=60", "--task"])
    keyboard.expect("working")
    keyboard.type(CTRL_C)
    keyboard.expect(CHOICE)
    keyboard.type("c\n")
    assert keyboard.finish() == Exit.CANCELLED
    assert "mcp-tasks: The task was cancelled" in keyboard.shown


def test_ctrl_c_detaches(tmp_path: Path) -> None:
    path = tmp_path / "saved"
    keyboard = Keyboard(["call", EVERYTHING, "slow_compute", "seconds=60", "--task", "--save", str(path)])
    keyboard.expect("working")
    keyboard.type(CTRL_C)
    keyboard.expect(CHOICE)
    keyboard.type("d\n")
    assert keyboard.finish() == Exit.DETACHED
    saved = json.loads(path.read_text())
    assert (saved["server"], saved["peer"], saved["method"]) == (EVERYTHING, "everything 1.0", "tools/call")
    assert saved["id"] in keyboard.shown


def test_ctrl_c_during_a_question_and_waiting_on() -> None:
    keyboard = Keyboard(["call", EVERYTHING, "confirm_delete", "filename=x", "--task"])
    keyboard.expect("confirm (yes or no): ")
    keyboard.type(CTRL_C)
    keyboard.expect(CHOICE)
    keyboard.type("w\n")
    keyboard.expect("confirm (yes or no): ")  # asked again
    keyboard.type("no\n")
    assert keyboard.finish() == Exit.OK
    assert "kept x" in keyboard.shown


def test_ctrl_c_twice_ends_it() -> None:
    keyboard = Keyboard(["call", EVERYTHING, "slow_compute", "seconds=60", "--task"])
    keyboard.expect("working")
    keyboard.type(CTRL_C)
    keyboard.expect(CHOICE)
    keyboard.type(CTRL_C)
    assert keyboard.finish() == Exit.INTERRUPTED


def test_ctrl_c_ends_a_plain_call() -> None:
    keyboard = Keyboard(["call", EVERYTHING, "confirm_delete", "filename=x", *SESSION])
    keyboard.expect("confirm (yes or no): ")
    keyboard.type(CTRL_C)
    assert keyboard.finish() == Exit.INTERRUPTED


def test_the_demo_on_a_terminal() -> None:
    keyboard = Keyboard(["demo", "--ask"])
    keyboard.expect("region [north]: ")
    keyboard.type("2\n")
    keyboard.expect("express")
    keyboard.type("yes\n")
    keyboard.expect("shipped the bell south by express")
    keyboard.expect("region [north]: ")
    keyboard.type("\n")
    keyboard.expect("express")
    keyboard.type("\n")
    keyboard.expect("shipped another bell north")
    assert keyboard.finish() == Exit.OK
