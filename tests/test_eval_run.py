"""The evaluation over a small stand-in: it notices a broken mode, goes on where it was, and writes what can be read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from eval_stand_in import StandIn, spoken

from art_local.cli import app
from art_local.errors import UserError
from art_local.eval import options, picture, session, summary
from art_local.eval.decoding import along_text, first_difference
from art_local.eval.labels import Labels
from art_local.eval.metrics import Comparison
from art_local.eval.plan import Plan
from art_local.eval.results import Results, check_name, read
from art_local.eval.run import Evaluation, Step, evaluate
from art_local.eval.session import check_context, plain, policy_settings, told, write
from art_local.eval.setting import EXACT, Setting, settings
from art_local.eval.summary import Row, rows
from art_local.eval.texts import Text, prose
from art_local.library import Session
from art_local.tune.profile import Profile

SOURCE = [Text("prose", prose(3, 60))]
SPOKEN = [Text(f"spoken {seed}", spoken(420, seed)) for seed in range(2)]
PLAN = Plan(420, positions=64, texts=2, greedy=8)
BETTER, WORSE = Setting(policy="oracle", budget=0.4), Setting(policy="worst tiles (test)", budget=0.4)
HEAD = {
    "model": {"name": "tiny", "sha256": "0" * 64},
    "plan": PLAN.as_dict(),
    "source": "prose",
    "build": "none",
    "commit": "0123456789abcdef",
}


def evaluated(
    path: Path | None,
    decoder: StandIn,
    plan: Plan = PLAN,
    chosen: tuple[Setting, ...] = (EXACT, BETTER, WORSE),
    source: list[Text] = SOURCE,
) -> Results:
    results = Results.start(path, {**HEAD, "plan": plan.as_dict()}, resume=True)
    Evaluation(plan, source, results).run(decoder, "f16", chosen)
    return results


@pytest.fixture(scope="module")
def found() -> list[Row]:
    return rows(evaluated(None, StandIn(), source=SPOKEN).records)


def test_the_baseline_costs_nothing(found: list[Row]) -> None:
    exact = found[0]
    assert exact.label == "exact" and exact.text
    assert exact.text.positions == 128
    assert exact.text.kld_max == 0.0 and exact.text.same_top.value == 1.0 and exact.text.perplexity_ratio.value == 1.0
    assert exact.diverged == [None, None] and exact.byte_share == 1.0


def test_a_mode_that_reads_the_wrong_tiles_is_worse_in_every_metric(found: list[Row]) -> None:
    """The same share of the cache, the worst tiles instead of the best: no figure may miss it."""
    _, good, bad = found
    assert good.text and bad.text and good.read_share == pytest.approx(bad.read_share, abs=0.02)
    assert bad.text.kld_mean.low > good.text.kld_mean.high
    assert bad.text.kld_p99.value > 2 * good.text.kld_p99.value
    assert bad.text.kld_max > 2 * good.text.kld_max
    assert bad.text.same_top.value < good.text.same_top.value - 0.1
    assert bad.text.perplexity_ratio.low > max(1.0, good.text.perplexity_ratio.value)
    late = [one if one is not None else 99 for one in good.diverged]
    early = [one if one is not None else 99 for one in bad.diverged]
    assert sum(early) < sum(late)


def test_one_prefill_serves_all_settings() -> None:
    decoder = StandIn()
    evaluated(None, decoder)
    assert decoder.prefills == 2


def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path) -> None:
    def interrupt(number: int) -> None:
        if number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluated(tmp_path / "r.json", StandIn(interrupt))
    assert len(read(tmp_path / "r.json").records) == 3
    decoder = StandIn()
    whole = evaluated(tmp_path / "r.json", decoder)
    assert decoder.prefills == 1
    straight = evaluated(None, StandIn())
    assert [without_time(one) for one in whole.records] == [without_time(one) for one in straight.records]
    more = StandIn()
    assert len(evaluated(tmp_path / "r.json", more, chosen=(EXACT, Setting(policy="sink and window", budget=0.5))).records) == 8
    assert more.prefills == 2
    done = StandIn()
    evaluated(tmp_path / "r.json", done)
    assert done.prefills == 0


def without_time(record: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in json.loads(json.dumps(record)).items() if name != "seconds"}


def test_results_of_another_question_are_not_mixed(tmp_path: Path) -> None:
    Results.start(tmp_path / "r.json", HEAD, resume=False).write()
    with pytest.raises(UserError, match="--resume"):
        Results.start(tmp_path / "r.json", HEAD, resume=False)
    with pytest.raises(UserError, match="another plan"):
        Results.start(tmp_path / "r.json", {**HEAD, "plan": Plan(100).as_dict()}, resume=True)
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(UserError, match="no results file"):
        read(tmp_path / "other.json")
    with pytest.raises(UserError, match="could not be written"):
        Results.start(tmp_path / "r.json" / "below.json", HEAD, resume=False)


@pytest.mark.parametrize("name", ["r.md", "r.SVG"])
def test_a_summary_does_not_take_the_place_of_its_results(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["eval", "no-such-model.gguf", "--out", str(tmp_path / name)]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: --out takes a JSON file, not {name}") and told.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_what_somebody_wrote_is_no_summary_to_be_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "README.md").write_text("# Mine\n")
    assert app.run(["eval", "no-such-model.gguf", "--out", str(tmp_path / "README.json")]) == 1
    assert "README.md is there, and 'art-local' did not make it" in capsys.readouterr().err
    results = Results.start(tmp_path / "r.json", HEAD, resume=False)
    write(results, "art-local eval")
    check_name(tmp_path / "r.json")


def test_a_folder_is_no_results_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["eval", "no-such-model.gguf", "--out", str(tmp_path), "--resume"]) == 2
    assert capsys.readouterr().err == f"error: --out takes a file; {tmp_path} is a folder.\n"


def test_two_that_go_on_with_one_file_do_not_lose_each_others_records(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    Results.start(path, HEAD, resume=False)
    one, other = (Results.start(path, HEAD, resume=True) for _ in range(2))
    record = {"prompt": "text a", "kv": "f16", "kind": "text", "setting": EXACT.as_dict()}
    one.add([record])
    one.add([{**record, "prompt": "text b"}])
    with pytest.raises(UserError, match="changed by somebody else"):
        other.add([{**record, "prompt": "text c"}])
    assert [kept["prompt"] for kept in json.loads(path.read_text())["records"]] == ["text a", "text b"]


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    results = Results.start(tmp_path / "r.json", HEAD, resume=False)
    assert not list(tmp_path.iterdir()), "nothing but what was measured"
    results.write()
    before = (tmp_path / "r.json").read_bytes()
    with pytest.raises(ValueError):
        results.write(share=float("nan"))
    (tmp_path / "r.svg").mkdir()
    with pytest.raises(UserError, match=r"could not be written to .*r\.svg"):
        write(results, "art-local eval")
    assert (
        sorted(path.name for path in tmp_path.iterdir()) == ["r.json", "r.svg"] and before[:40] == (tmp_path / "r.json").read_bytes()[:40]
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda one: one["comparison"]["kld"].__setitem__(1, float("nan")), "record 1 cannot be read, its kld holds NaN, not a number"),
        (lambda one: one["comparison"].update(nll="1.0"), "its comparison is not lists of kld, nll, nll_exact, same_top"),
        (lambda one: one["comparison"]["nll"].pop(), "the lists of its comparison are not equally long"),
        (lambda one: one["comparison"]["same_top"].__setitem__(0, "yes"), 'its same_top holds "yes", not true or false'),
        (lambda one: one.update(byte_share="a third"), 'its byte_share is "a third", not a number'),
        (lambda one: one.update(read_share=float("inf")), "its read_share is Infinity, not a number"),
        (lambda one: one.update(by_head=[1.0]), "its by_head is not a list of numbers"),
        (lambda one: one.update(kv=8), "its kv is 8, not a word"),
        (lambda one: one.update(kind="needle"), "its score is null, not a number"),
        (lambda one: one.update(setting="exact"), "it has no setting"),
    ],
)
def test_what_is_no_number_does_not_become_a_figure(tmp_path: Path, change: Callable[[dict[str, object]], object], sentence: str) -> None:
    plan = Plan(420, positions=4, texts=1, greedy=0)
    one = evaluated(tmp_path / "r.json", StandIn(), plan, (EXACT,)).records[0]
    assert read(tmp_path / "r.json").records
    change(one)
    (tmp_path / "r.json").write_text(json.dumps({"format": 1, "made by": "art-local eval 0", **HEAD, "records": [one]}))
    with pytest.raises(UserError) as caught:
        read(tmp_path / "r.json")
    assert sentence in str(caught.value) and len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("records", ["none", ["one"], 3])
def test_records_that_are_none_are_one_sentence(tmp_path: Path, records: object, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps({"format": 1, "made by": "art-local eval 0", **HEAD, "records": records}))
    assert app.run(["report", str(path)]) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"error: {path} is damaged: ") and told.count("\n") == 1


def test_every_text_counts_for_going_on():
    first = [Text("a.txt", "one"), Text("b.txt", "two")]
    other = [Text("a.txt", "one"), Text("b.txt", "three")]
    assert told(first) == told(list(first)) != told(other)
    assert told(first[:1]).startswith("a.txt (crc32 ") and told(first).startswith("2 texts, the first a.txt")


def test_tasks_are_asked_token_by_token_and_scored(tmp_path: Path) -> None:
    plan = Plan(700, positions=4, texts=0, needle_lengths=(500, 700), needle_depths=(0.2, 0.8), families=("single needle",))
    results = evaluated(tmp_path / "r.json", StandIn(), plan, (EXACT, WORSE))
    assert [one["kind"] for one in results.records] == ["needle"] * 8 + ["task"] * 2
    exact, bad = rows(results.records)
    assert set(exact.needles) == {(500, 0.2), (500, 0.8), (700, 0.2), (700, 0.8)}
    assert exact.asked and bad.asked and exact.asked.kld_max == 0.0 < bad.asked.kld_mean.value
    assert all(one["answers"] and isinstance(one["output"], str) for one in results.records)
    page = summary.markdown(results.head, results.records, "art-local eval", [])
    assert "| depth | 500 tokens | 700 tokens |" in page


def test_the_summary_and_the_picture_hold_every_setting(tmp_path: Path) -> None:
    plan = Plan(420, positions=6, texts=1, greedy=4, needle_lengths=(420,), needle_depths=(0.5,))
    results = evaluated(tmp_path / "r.json", StandIn(), plan)
    written = write(results, "art-local eval MODEL --seed 0")
    assert [path.name for path in written] == ["r.json", "r.md", "r.svg"]
    page = (tmp_path / "r.md").read_text()
    drawn = (tmp_path / "r.svg").read_text()
    ElementTree.fromstring(drawn)
    for row in rows(results.records):
        assert row.label in page
        assert (row.label in drawn) == (row.label != "exact" or bool(row.needles))
    assert "art-local eval MODEL --seed 0" in page and "numpy reference" in page
    kept = json.loads((tmp_path / "r.json").read_text())
    assert kept["summary"] == json.loads(json.dumps([plain(row) for row in rows(results.records)]))
    assert rows(read(tmp_path / "r.json").records) == rows(results.records)


@pytest.mark.parametrize(("value", "refused"), [("1", True), ("no", True), ("0", False), ("", False), (None, False)])
def test_the_kill_switch_is_read_as_the_library_reads_it(value: str | None, refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Further(Exception):
        pass

    def further(preset: str | None) -> None:
        raise Further

    monkeypatch.delenv("GGML_ART_DISABLE", raising=False)
    if value is not None:
        monkeypatch.setenv("GGML_ART_DISABLE", value)
    monkeypatch.setattr(session.presets, "built", further)
    with pytest.raises(UserError if refused else Further):
        session.prepare(session.Request(Path("m.gguf"), PLAN), Path("m.gguf"), "ab" * 32)


def test_threads_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    assert Session(None, Path("m.gguf"), 256).threads == 3  # type: ignore[arg-type]


def test_tasks_are_drawn_beside_each_other() -> None:
    families = ("variable tracking", "common words & more")
    settings = [(f"ranked eps {number}", dict.fromkeys(families, number / 10)) for number in range(10)]
    drawn = picture.draw("tasks", [Row("q8_0", label, "kernel", None, None, None, None, scores=scores) for label, scores in settings], {})
    marks = list(ElementTree.fromstring(drawn).iter())
    width, height = map(float, marks[0].attrib["viewBox"].split()[2:])
    titles = [mark.text for mark in marks if mark.tag.endswith("title")]
    assert sorted(filter(None, titles)) == sorted(f"{family}: {number * 10}%" for family in families for number in range(10))
    for box in (mark for mark in marks if mark.tag.endswith("rect")):
        x, y, wide, tall = (float(box.get(name, 0)) for name in ("x", "y", "width", "height"))
        assert x + wide <= width and y + tall <= height


def test_labels_stand_by_their_dots_and_on_no_other() -> None:
    """The crowd of a real picture: names of 10 and 25 % of a method at much the same loss, and what lies between them."""
    dots = [(100.0, 130.0), (200.0, 135.0), (102.0, 337.0), (167.0, 351.0), (185.0, 375.0), (200.0, 428.0), (250.0, 455.0), (700.0, 398.0)]
    labels = Labels(0, 900)
    labels.keep_free(dots)
    placed = [labels.place(x, y, "a name of some length (numpy)") for x, y in dots]
    for number, (box, (x, y)) in enumerate(zip(placed, dots, strict=True)):
        assert not any(box.meets(other) for other in placed[:number])
        assert not any(box.left < dot_x < box.right and box.top < dot_y < box.bottom for dot_x, dot_y in dots)
        assert abs((box.top + box.bottom) / 2 - y) <= 24 and min(abs(box.left - x), abs(box.right - x)) < 12
    assert placed[-1].left == 709 and min(box.left for box in placed) >= 0
    assert labels.place(890, 398, "a name of some length (numpy)").right <= 890  # there is no room to the right


def test_an_empty_summary_is_still_a_picture() -> None:
    ElementTree.fromstring(picture.draw("nothing yet", [], {}))


def test_the_scale_is_what_the_cache_type_costs() -> None:
    class Rounded(StandIn):
        def step(self, token: int):  # type: ignore[no-untyped-def]
            return super().step(token).round(0)

    opened: list[str] = []
    decoders: list[StandIn] = []

    @contextmanager
    def opener(kv: str) -> Iterator[StandIn]:
        opened.append(kv)
        decoders.append(StandIn() if kv == "f16" else Rounded())
        yield decoders[-1]

    steps: list[Step] = []
    evaluation = Evaluation(PLAN, SOURCE, Results.start(None, HEAD, False), steps.append)
    evaluate(evaluation, opener, ("q8_0",), (EXACT,))
    assert steps and all(step.total for step in steps), "nothing is done of nothing"
    assert opened == ["f16", "q8_0"] and decoders[1].prefills == 2 and evaluation.done == evaluation.total
    scale = summary.scales(evaluation.results.records)["q8_0"]
    assert scale.positions == 128 and 0 < scale.kld_mean.value < 1
    assert rows(evaluation.results.records)[0].text.kld_max == 0.0  # type: ignore[union-attr]
    again = Evaluation(PLAN, SOURCE, evaluation.results)
    evaluate(again, opener, ("q8_0",), (EXACT,))
    assert opened == ["f16", "q8_0", "q8_0"], "the scale is known, f16 is not needed again"
    evaluate(Evaluation(replace(PLAN, scale=False), SOURCE, Results.start(None, HEAD, False)), opener, ("q8_0",), (EXACT,))
    assert opened[3:] == ["q8_0"], "nobody asked for the scale"


def test_fewer_texts_than_were_asked_for_are_said_and_read_once() -> None:
    decoders: list[StandIn] = []

    @contextmanager
    def opener(kv: str) -> Iterator[StandIn]:
        decoders.append(StandIn())
        yield decoders[-1]

    plan, said = Plan(420, positions=4, texts=3, greedy=0), []
    results = Results.start(None, {**HEAD, "plan": plan.as_dict()}, False)
    for _ in range(2):
        evaluate(Evaluation(plan, SPOKEN[:1], results, say=said.append), opener, ("q8_0", "q4_0"), (EXACT,))
    assert said == ["The texts give 1 of 420 tokens, not 3; these are measured."] * 2, "once a run"
    assert [one.prefills for one in decoders] == [1, 1, 1, 0, 0, 0], "f16 and the two types; nothing again"
    assert "the last 4 of 1 text(s)" in summary.markdown(results.head, results.records, "", [])


def test_a_step_alone_goes_on_from_what_exact_left() -> None:
    decoder, tokens = StandIn(), StandIn().tokens(SPOKEN[0].content)[:120]
    window = Setting(policy="sink and window", budget=0.2)
    decoder.prefill(tokens[:-7])
    exact, alone = along_text(decoder, tokens, 6, 4, [EXACT, replace(window, alone=True)])
    assert (exact.greedy, alone.greedy) == (4, 0) and len(alone.comparison.kld) == 6
    for number, loss in enumerate(alone.comparison.kld):
        decoder.start(EXACT)
        for token in tokens[-7 : -7 + number]:
            decoder.step(token)
        decoder.put(window)
        other, found = Comparison(), decoder.step(tokens[-7 + number])
        decoder.start(EXACT)
        right = [decoder.step(token) for token in tokens[-7 : -6 + number]][-1]
        other.add(right, found, tokens[-6 + number])
        assert loss == other.kld[0] > 0, number


def test_only_texts_are_measured_step_by_step() -> None:
    plan = Plan(420, positions=4, texts=1, greedy=0, needle_lengths=(900,), needle_depths=(0.5,), scale=False)
    alone = Setting(policy="sink and window", budget=0.2, alone=True)
    results = evaluated(None, StandIn(), plan, (EXACT, alone))
    measured = [(record["kind"], record["setting"]["alone"]) for record in results.records]
    assert measured == [("text", False), ("text", True), ("needle", False)]
    assert alone.label == "sink and window 20%, each token alone"


def test_settings_are_named_apart() -> None:
    chosen = settings(("exact", "ranked", "stability"), (0.01, 0.02), (16, 256), (0.25,), alone=True)
    labels = [one.label for one in chosen]
    assert labels[0] == "exact" and len(set(labels)) == len(labels) == 14
    assert "ranked eps 0.01" in labels and "stability tau 1e-07 phi 0.001" in labels and "exact after eviction 16+256" in labels
    assert {one.where for one in chosen} == {"kernel"}
    assert [one.label for one in policy_settings(("oracle",), (0.1, 0.25))] == ["numpy exact", "oracle 10%", "oracle 25%"]


def test_options_explain_themselves() -> None:
    assert options.lengths("ctx/2,ctx", 4096) == (2048, 4096) and options.lengths("none", 4096) == ()
    assert options.lengths("ctx/2", 400) == () and options.lengths("1k, ctx", 4096) == (1024, 4096)
    assert options.percents("10,50%", "--depths") == (0.1, 0.5)
    assert options.families("multi-k,common") == ("multi-key needles", "common words")
    assert options.evicted("16+2048") == (16, 2048)
    for wrong in (
        lambda: options.percents("ten", "--depths"),
        lambda: options.families("multi"),
        lambda: options.named_policies("nothing"),
        lambda: options.evicted("2048"),
        lambda: options.check_alone(0, settings(("ranked",), alone=True)),
        lambda: options.check_alone(1, settings(("exact",), alone=True)),
        lambda: check_context(Plan(8000), 4096),
        lambda: check_context(Plan(64, positions=64), None),
    ):
        with pytest.raises(UserError) as caught:
            wrong()
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--resume"], "--resume needs the file to go on with"),
        (["--documents", "no-such-folder"], "--documents takes a folder with *.jsonl files; no-such-folder holds none"),
        (["--budgets", "x"], "--budgets takes percents from 0 to 100"),
        (["--budgets", "0,10"], "--budgets takes shares above 0"),
        (["--text", "no-such-file.txt"], "no-such-file.txt could not be read"),
        (["--force", "10,0"], "--force takes percents from 0.1 to 100"),
        (["--eps", "0.1,1.5"], "--eps takes numbers from 0 to 1"),
        (["--out", ""], "--out takes the name of a file"),
        (["--documents", ""], "--documents takes the name of a folder"),
        (["--prefills", ""], "--prefills takes the name of a folder"),
        (["--threads", "1000000"], "Invalid value for '--threads': Input should be less than or equal to 512"),
        (["--texts", "0", "--needles", "none"], "There is nothing to measure"),
        (["--kinds", "verse"], "--kinds knows prose, code, recall, not 'verse'"),
        (["--kinds", "code", "--text", "pyproject.toml"], "--kinds chooses among the texts that come along"),
    ],
)
def test_nonsense_is_refused_before_the_model_is_looked_at(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("too late")

    monkeypatch.setattr(session, "measure", never)
    assert app.run(["eval", "model.gguf", *arguments]) in (1, 2)
    told = capsys.readouterr().err
    assert told.startswith(f"error: {sentence}") and told.count("\n") == 1


def test_a_mode_that_did_not_run_is_named() -> None:
    silent = Row("q8_0", "ranked", "kernel", 1.0, 1.0, None, None, fallbacks=720)
    assert "ranked: 720 attention ops ran on the stock kernels" in summary.fallen_back([silent])
    assert summary.fallen_back([]) == ""


def test_the_first_difference() -> None:
    assert first_difference([1, 2, 3], [1, 2, 4]) == 2
    assert first_difference([1, 2, 3], [1, 2]) is None


def measured_until(stop: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> session.Measured:
    """Ctrl-C during the prefill of that number."""

    def interrupt(number: int) -> None:
        if number == stop:
            raise KeyboardInterrupt

    class Opener:
        layers = 2

        @contextmanager
        def __call__(self, kv: str) -> Iterator[StandIn]:
            yield StandIn(interrupt)

    class Model:
        path = tmp_path / "tiny.gguf"

        def facts(self, say: object) -> dict[str, object]:
            return {"name": "tiny.gguf", "sha256": "ab" * 32, "architecture": "tiny", "trained_context": 4096}

    monkeypatch.setenv("ART_LOCAL_CACHE", str(tmp_path))
    monkeypatch.setattr(session, "resolve", lambda path: Model())
    monkeypatch.setattr(session, "prepare", lambda *_: (Opener(), {"build": "none", "commit": "0" * 40, "series": "abc"}))
    monkeypatch.setattr(session, "texts", lambda file, say, kinds: SOURCE)
    request = session.Request(Model.path, PLAN, ("f16",), (EXACT, WORSE), out=tmp_path / "r.json", command="art-local eval tiny.gguf")
    return session.measure(request)


def test_ctrl_c_ends_the_run_and_not_the_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = measured_until(2, tmp_path, monkeypatch)
    assert measured.interrupted and len(measured.rows) == 2
    assert [path.name for path in measured.written] == ["r.json", "r.md", "r.svg"] and all(path.exists() for path in measured.written)


def test_a_run_that_measured_nothing_leaves_nothing_to_stumble_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = measured_until(1, tmp_path, monkeypatch)
    assert measured.interrupted and not measured.rows and not measured.written
    assert not list(tmp_path.glob("r.*"))


def test_a_profile_for_another_number_of_layers_is_refused_or_left_out() -> None:
    made = Profile("one.gguf", "ab" * 32, "q8_0", 4096, 0.002, (0.1, 0.2), {}, {"byte_share": 0.25})
    assert session.fits(made, 2, None)
    with pytest.raises(UserError, match="has tolerances for 2 layers, this model has 3"):
        session.fits(made, 3, None)
    said: list[str] = []
    assert not session.fits(made, 3, said.append) and said[0].endswith("it is left out.")
