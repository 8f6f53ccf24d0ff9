"""The life of a task: whatever happens, a known state or IllegalTransition, and never out of an end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_tasks.tasks.state import TERMINAL, TRANSITIONS, IllegalTransition, TaskInput, TaskState, advance

WORKING, ASKING = TaskState.WORKING, TaskState.INPUT_REQUIRED
ENDS = {TaskInput.RETURN: TaskState.RETURNED, TaskInput.RAISE: TaskState.RAISED, TaskInput.STOP: TaskState.STOPPED}
requirement = pytest.mark.requirement


@requirement("T25-065")
@given(st.sampled_from(TaskState), st.sampled_from(TaskInput))
def test_any_input_leads_to_a_known_state_or_is_illegal(state, given):
    try:
        after = advance(state, given)
    except IllegalTransition as illegal:
        refused = illegal
    else:
        assert after is TRANSITIONS[state][given]
        return
    assert (refused.state, refused.given) == (state, given)
    assert given not in TRANSITIONS.get(state, {})


@requirement("T25-064")
@given(st.lists(st.sampled_from(TaskInput)))
def test_an_end_is_never_left(inputs):
    state, ended = WORKING, None
    for happened in inputs:
        try:
            state = advance(state, happened)
        except IllegalTransition:
            pass
        if ended is not None:
            assert state is ended
        elif state in TERMINAL:
            ended = state


@requirement("T25-062", "T25-063")
def test_the_table_is_that_of_the_specification():
    assert {(state, after) for state, moves in TRANSITIONS.items() for after in moves.values()} == {
        (WORKING, ASKING),
        (ASKING, ASKING),
        (ASKING, WORKING),
        *((state, end) for state in (WORKING, ASKING) for end in ENDS.values()),
    }
    assert frozenset(ENDS.values()) == TERMINAL


@pytest.mark.parametrize("state", [WORKING, ASKING])
@pytest.mark.parametrize(("given", "end"), ENDS.items())
def test_each_way_to_end_has_its_end(state, given, end):
    assert advance(state, given) is end


@pytest.mark.parametrize("state", sorted(TERMINAL, key=lambda state: state.value))
@pytest.mark.parametrize("given", TaskInput)
def test_nothing_happens_to_a_task_that_is_over(state, given):
    with pytest.raises(IllegalTransition):
        advance(state, given)


def test_nobody_answers_a_task_that_asks_nothing():
    with pytest.raises(IllegalTransition, match="answer is not possible when working"):
        advance(WORKING, TaskInput.ANSWER)


def test_the_table_cannot_be_changed():
    with pytest.raises(TypeError):
        TRANSITIONS[WORKING][TaskInput.ANSWER] = WORKING
