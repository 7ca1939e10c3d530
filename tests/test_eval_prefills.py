"""States that are kept after a prefill: taken again for the same prompt, for nothing else, and never when damaged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from art_local.errors import UsageError, UserError
from art_local.eval import decoder
from art_local.eval.decoder import LibraryDecoder
from art_local.eval.prefills import Prefills, State


class StandIn:
    """Its state is what it has read."""

    n_batch = 512

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.batches = 0

    def clear(self) -> None:
        self.seen = []

    def decode(self, tokens: Sequence[int]) -> None:
        self.batches += 1
        self.seen += tokens

    def save(self) -> State:
        return np.array(self.seen, dtype=np.uint8)

    def restore(self, state: State) -> None:
        self.seen = state.tolist()


@pytest.fixture(autouse=True)
def _without_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder.LibraryDecoder, "put", lambda self, setting: None)


def read(session: StandIn, prefills: Prefills | None, tokens: list[int]) -> LibraryDecoder:
    made = LibraryDecoder(session, prefills)  # type: ignore[arg-type]
    made.prefill(tokens)
    return made


def test_a_prompt_is_read_once_for_all_runs(tmp_path: Path) -> None:
    kept, again = Prefills(tmp_path / "new", "model cpu q8_0"), StandIn()
    first = read(StandIn(), kept, [1, 2, 3])
    second = read(again, kept, [1, 2, 3])
    assert again.batches == 0 and again.seen == [1, 2, 3]
    assert first.length == second.length == 3
    assert first.state is not None and second.state is not None and first.state.tolist() == second.state.tolist()


def test_the_prompt_that_was_read_last_is_not_read_again() -> None:
    """Nor kept twice: questions on one document follow each other."""
    session = StandIn()
    made = read(session, None, [1, 2, 3])
    made.prefill([1, 2, 3])
    assert session.batches == 1 and made.length == 3
    kept = made.keep()
    made.prefill([1, 2])
    assert session.batches == 2 and made.length == 2
    made.back(kept)
    made.cut = 1  # an eviction since: what was read must come back before it is decoded from
    made.prefill([1, 2, 3])
    assert made.cut == 1
    assert session.batches == 2 and made.length == 3 and session.seen == [1, 2, 3]


def test_a_prompt_that_was_read_in_part_is_read_again() -> None:
    session = StandIn()
    made = read(session, None, [1])

    def interrupted(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made.prefill([1, 2, 3], interrupted)
    made.prefill([1, 2, 3])
    assert session.batches == 3 and made.state is not None and made.state.tolist() == [1, 2, 3]


def test_another_prompt_model_or_type_has_a_state_of_its_own(tmp_path: Path) -> None:
    read(StandIn(), Prefills(tmp_path, "model cpu q8_0"), [1, 2, 3])
    for about, tokens in (("model cpu q8_0", [1, 2, 4]), ("model cpu q4_0", [1, 2, 3]), ("other cpu q8_0", [1, 2, 3])):
        other = StandIn()
        read(other, Prefills(tmp_path, about), tokens)
        assert other.batches, about


@pytest.mark.parametrize("content", [b"", b"abc", b"abcdefgh"])
def test_a_damaged_state_is_read_and_written_again(tmp_path: Path, content: bytes) -> None:
    kept = Prefills(tmp_path, "model cpu q8_0")
    kept.path([1, 2, 3]).write_bytes(content)
    session = StandIn()
    read(session, kept, [1, 2, 3])
    assert session.seen == [1, 2, 3] and session.batches
    found = kept.find([1, 2, 3])
    assert found is not None and found.tolist() == [1, 2, 3]


def test_a_state_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    kept = Prefills(tmp_path, "model")
    kept.path([1]).mkdir()
    session = StandIn()
    with pytest.raises(UserError, match="could not be read"):
        read(session, kept, [1])
    assert session.batches == 0, "before the prompt is read, not after it"


def test_a_place_that_takes_no_states_is_said_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="--prefills takes a folder; .*file is a file"):
        Prefills(tmp_path / "file", "").check()
    with pytest.raises(UserError, match="States cannot be kept in"):
        Prefills(tmp_path / "file" / "below", "").check()
    Prefills(tmp_path / "new", "").check()
    assert not list((tmp_path / "new").iterdir())
