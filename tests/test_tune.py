"""Tuning: fewer bytes than one tolerance for all at the same loss, checked elsewhere, and kept for the one model it was made for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from eval_stand_in import SHAPE, StandIn, spoken

from art_local.cli import app
from art_local.cli.tune import report
from art_local.errors import UsageError, UserError
from art_local.eval import session
from art_local.eval.plan import Plan
from art_local.eval.policies import POLICIES, Reading
from art_local.eval.results import Results
from art_local.eval.run import Evaluation, evaluate
from art_local.eval.setting import EXACT, Setting, settings
from art_local.eval.texts import Text
from art_local.eval.transformer import Array
from art_local.model.hollow import gguf, info
from art_local.tune import profile
from art_local.tune.calibrate import Tuning
from art_local.tune.profile import Profile
from art_local.tune.search import LADDER, ROUNDS, Eps, Loss, Search


class Model:
    """Losses that add up, nearly all of them in three layers of 24: what was seen in a real one."""

    def __init__(self, crosstalk: float = 0.0, rounding: float = 0.0) -> None:
        self.weight = [1.0 if layer in (9, 11, 16) else 0.01 for layer in range(24)]
        self.crosstalk, self.rounding, self.calls = crosstalk, rounding, 0

    def measure(self, eps: Eps) -> Loss:
        self.calls += 1
        losses = [weight * one**1.5 for weight, one in zip(self.weight, eps, strict=True)]
        kld = sum(losses) + self.crosstalk * sum(losses) ** 0.5 * max(losses, default=0.0) ** 0.5 + self.rounding
        return Loss(kld, tuple(1.05 if one == 0 else max(0.1, 1 / (1 + 30 * one)) for one in eps))


def test_the_sensitive_layers_are_spared_and_the_others_pay() -> None:
    model = Model()
    search = Search(model.measure, 24, target=0.02)
    eps, loss = search.run()
    uniform = search.best_uniform()
    assert loss.kld <= 0.02 and uniform[1].kld <= 0.02
    assert loss.byte_share < 0.8 * uniform[1].byte_share, "at least a fifth fewer bytes"
    assert max(eps[layer] for layer in (9, 11, 16)) < min(one for layer, one in enumerate(eps) if layer not in (9, 11, 16))
    assert model.calls <= len(LADDER) + 24 + ROUNDS


@pytest.mark.parametrize("crosstalk", [0.5, 2.0])
def test_losses_that_do_not_add_up_still_meet_the_target(crosstalk: float) -> None:
    search = Search(Model(crosstalk).measure, 24, target=0.02)
    eps, loss = search.run()
    assert loss.kld <= 0.02 and loss.byte_share <= search.best_uniform()[1].byte_share
    assert Model(crosstalk).measure(eps) == loss


def test_rounding_in_every_measurement_does_not_hide_which_layers_are_sensitive() -> None:
    """As with 4-bit weights: any change at all, of however few layers, costs the same on top."""
    plain = Model()

    def measure(eps: Eps) -> Loss:
        found = plain.measure(eps)
        floor = 0.005 if any(eps) else 0.0
        return Loss(found.measured + floor, found.bytes_by_layer, rounding=0.005)

    assert Search(measure, 24, target=0.02).run()[0] == Search(plain.measure, 24, target=0.02).run()[0]


def test_a_choice_that_may_have_been_lucky_is_not_taken() -> None:
    """A few positions say little: with their error on top it has to meet the target, which leaves less to skip."""

    def measure(eps: Eps) -> Loss:
        found = Model().measure(eps)
        return Loss(found.measured, found.bytes_by_layer, error=0.3 * found.measured)

    _, sure = Search(Model().measure, 24, target=0.02).run()
    _, careful = Search(measure, 24, target=0.02).run()
    assert careful.bound <= 0.02 and sure.byte_share < careful.byte_share


def test_a_position_that_a_smaller_tolerance_loses_by_chance_is_no_reason_against_it() -> None:
    search = Search(Model().measure, 24, target=0.02)
    search.uniform = {eps: Loss(kld, ()) for eps, kld in zip(LADDER, (0.0, 0.1, 0.6, 0.2, 0.3, 0.9, 1.0), strict=True)}
    assert search.growth() == pytest.approx([0.0, 0.1, 1.1 / 3, 1.1 / 3, 1.1 / 3, 0.9, 1.0])


def test_a_target_that_nothing_meets_leaves_all_layers_exact() -> None:
    eps, _ = Search(Model(rounding=0.5).measure, 24, target=0.001).run()
    assert set(eps) == {0.0}


def test_a_length_at_which_nothing_is_skipped_is_no_length_to_tune_at() -> None:
    """Its profile would say 'read everything' at every other length as well."""
    with pytest.raises(UserError, match="reads everything at this length"):
        Search(lambda eps: Loss(0.0, (1.0,) * 24), 24, target=0.02).run()


def test_one_tolerance_for_all_where_the_build_takes_no_more() -> None:
    model = Model()
    eps, loss = Search(model.measure, 24, target=0.2, by_layer=False).run()
    assert len(set(eps)) == 1 and eps[0] > 0 and loss.kld <= 0.2
    assert model.calls == len(LADDER)


class Tolerant(StandIn):
    """eps of a layer as the share of its cells that is left out, best tiles kept."""

    def start(self, setting: Setting) -> None:
        super().start(setting)
        eps: Sequence[float] = setting.layer_eps or (setting.params.eps or 0.0,) * SHAPE.layers
        readings = [Reading(POLICIES["oracle"], 1 - one, len(self.prompt)) for one in eps]
        first = readings[0]

        def attend(layer: int, q: Array, keys: Array, values: Array) -> Array:
            out = readings[layer](layer, q, keys, values)
            first.kept = [readings[number].kept[number] for number in range(SHAPE.layers) if len(readings[number].kept) > number]
            return out

        self.attend, self.reading = attend, first

    def step(self, token: int) -> Array:
        return self.model.step(token, self.attend)


def test_from_texts_to_a_profile() -> None:
    source = [Text(f"spoken {seed}", spoken(420, seed)) for seed in range(2)]
    said: list[str] = []
    plan = Plan(420, positions=48, greedy=0)
    tuning = Tuning(Tolerant(), source, plan, SHAPE.layers, 0.05, True, (0.0, 0.2, 0.4, 0.6), said.append)
    tuned = tuning.run("tiny.gguf", "ab" * 32, "q8_0")
    made = tuned.profile
    assert len(made.eps) == SHAPE.layers and max(made.eps) > 0
    assert made.calibration["kld"] <= 0.05 and made.calibration["byte_share"] < 1
    assert made.calibration["text"] != made.held_out["text"]
    assert 0 < made.calibration["kld_error"] < 0.05
    assert made.calibration["rounding_kld"] == 0 and "rounding" in said[1]
    assert 0 < made.held_out["kld"] < 0.5 and made.held_out["byte_share"] < 1
    assert "layer 1 alone" in " ".join(said)
    words = report(tuned, Path("p.json"))
    assert "tiny.gguf" in words and "held out" in words and "written: p.json" in words


def test_each_kind_of_text_calibrates_and_checks() -> None:
    kinds = ["prose", "code", "recall"] * 2
    source = [Text(f"{kind} {number}", spoken(420, number), kind) for number, kind in enumerate(kinds)]
    tuning = Tuning(Tolerant(), source, Plan(400, positions=48, texts=6), SHAPE.layers, 0.05, True)
    calibrating, held_out = tuning.texts()
    assert [text.kind for text in calibrating] == [text.kind for text in held_out] == kinds[:3]
    assert not {text.name for text in calibrating} & {text.name for text in held_out}


MADE = Profile("one.gguf", "ab" * 32, "q8_0", 4096, 0.002, (0.0, 0.07, 0.2), {"kld": 0.001}, {"byte_share": 0.25})


def test_a_profile_is_kept_and_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ART_LOCAL_CACHE", str(tmp_path))
    assert profile.found(MADE.sha256, ("q8_0",), pytest.fail) == []
    profile.write(MADE, profile.default_path(MADE.sha256, "q8_0"))
    assert profile.found(MADE.sha256, ("f16", "q8_0"), pytest.fail) == [MADE]
    assert MADE.dense_layers == (0,)
    assert MADE.flags() == ["--art", "ranked", "--art-layer-eps", "0,0.07,0.2"]
    assert Profile("m", "", "q8_0", 1, 0.1, (0.07,) * 3).flags() == ["--art", "ranked", "--art-eps", "0.07"]
    assert "25%" in MADE.describe() and "1 of 3 layers exact" in MADE.describe()


def asked(**more: object) -> session.Request:
    return session.Request(Path("one.gguf"), Plan(420), settings=tuple(settings(("ranked",))), **more)  # type: ignore[arg-type]


def test_two_profiles_of_a_model_are_two_settings() -> None:
    other = replace(MADE, eps=(0.0, 0.07, 0.4))
    assert MADE.setting().label == replace(MADE).setting().label != other.setting().label
    assert re.fullmatch("ranked tuned [0-9a-f]{8}", other.setting().label)


def test_a_profile_is_for_its_own_type_of_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ART_LOCAL_CACHE", str(tmp_path))
    path = profile.default_path(MADE.sha256, "q8_0")
    profile.write(MADE, path)
    never = lambda text: pytest.fail(text)  # noqa: E731
    assert session.chosen_profiles(asked(kvs=("f16", "q8_0")), MADE.sha256, never) == [MADE]
    assert session.chosen_profiles(asked(kvs=("q4_0", "f16")), MADE.sha256, never) == []
    with pytest.raises(UsageError, match=r"was made for KV type q8_0, which --kv does not ask for"):
        session.chosen_profiles(asked(kvs=("q4_0", "f16"), profile=path), MADE.sha256, never)
    with pytest.raises(UsageError, match="mode ranked"):
        session.chosen_profiles(replace(asked(profile=path), settings=(EXACT,)), MADE.sha256, never)


def test_each_type_of_cache_has_a_profile_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ART_LOCAL_CACHE", str(tmp_path))
    other = replace(MADE, kv="q4_0", eps=(0.0, 0.02, 0.1))
    for one in (MADE, other):
        profile.write(one, profile.default_path(one.sha256, one.kv))
    assert session.chosen_profiles(asked(kvs=("q8_0", "q4_0")), MADE.sha256, pytest.fail) == [MADE, other]
    profile.write(other, profile.default_path(MADE.sha256, "q8_0"))
    said: list[str] = []
    assert session.chosen_profiles(asked(kvs=("q8_0",)), MADE.sha256, said.append) == []
    assert "was made for KV type q4_0, not q8_0" in said[0]


def test_tuned_tolerances_run_on_their_own_type_of_cache_alone() -> None:
    @contextmanager
    def opener(kv: str) -> Iterator[StandIn]:
        yield StandIn()

    plan = Plan(420, positions=4, texts=1, greedy=0, scale=False)
    evaluation = Evaluation(plan, [Text("spoken", spoken(420, 0))], Results(None, {}))
    evaluate(evaluation, opener, ("f16", "q8_0"), [EXACT, replace(EXACT, name="tuned", kv="q8_0")])
    ran = [(one["kv"], one["setting"]["label"]) for one in evaluation.results.records]
    assert ran == [("f16", "exact"), ("q8_0", "exact"), ("q8_0", "tuned")]


def test_a_profile_of_another_series_is_told() -> None:
    said: list[str] = []
    session.tuned([replace(MADE, series="abc")], "abc", said.append)
    assert len(said) == 1 and said[0].startswith("KV q8_0: profile for one.gguf")
    session.tuned([replace(MADE, series="abc")], "def", said.append)
    assert "series abc, this build is of def" in said[2] and session.tuned([], "def", said.append) == []


def test_a_profile_of_before_is_not_guessed_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named it is refused; one that was only found is left out, and that is said."""
    monkeypatch.setenv("ART_LOCAL_CACHE", str(tmp_path))
    path = profile.default_path(MADE.sha256, "q8_0")
    profile.write(MADE, path)
    kept = json.loads(path.read_text())
    assert kept["format"] == 4, "the only one that the patched server takes"
    del kept["series"]
    path.write_text(json.dumps(kept))
    with pytest.raises(UserError, match="run 'art-local tune' again"):
        session.chosen_profiles(asked(profile=path), MADE.sha256, pytest.fail)
    said: list[str] = []
    assert session.chosen_profiles(asked(), MADE.sha256, said.append) == []
    assert len(said) == 1 and said[0].startswith("The profile of this model is left out: ")


def test_a_profile_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "p.json").mkdir()
    with pytest.raises(UserError, match="The profile could not be written to"):
        profile.write(MADE, tmp_path / "p.json")
    assert [path.name for path in tmp_path.iterdir()] == ["p.json"]


@pytest.mark.parametrize("size", [0, 5, 65536, 1_000_003])
def test_a_fingerprint_tells_models_apart(tmp_path: Path, size: int) -> None:
    one, other, longer = (tmp_path / name for name in ("one", "other", "longer"))
    one.write_bytes(bytes(size))
    longer.write_bytes(bytes(size + 1))
    found = profile.fingerprint(one)
    assert found == profile.fingerprint(one) != profile.fingerprint(longer)
    for place in {0, size // 2, size - 1} if size else ():
        changed = bytearray(size)
        changed[place] = 1
        other.write_bytes(changed)
        assert profile.fingerprint(other) != found, place


def test_a_profile_for_another_model_is_refused(tmp_path: Path) -> None:
    profile.write(MADE, tmp_path / "p.json")
    with pytest.raises(UserError, match=r"made for one\.gguf .* not for this model"):
        profile.read(tmp_path / "p.json", "cd" * 32)


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", "null", '{"format": 1}', json.dumps({"format": 9, "made by": "x"}), '{"format": 4, "made by": "", "eps": [-1]}'],
)
def test_what_is_no_profile_is_one_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "p.json").write_text(content)
    with pytest.raises(UserError) as caught:
        profile.read(tmp_path / "p.json", "ab" * 32)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--out", ""], "--out takes the name of a file, not an empty word."),
        (["--kv", "q8_0,q4_0"], "--kv takes one type here: a profile belongs to one."),
        (["--kv", "q9"], "--kv knows q8_0, q4_0, f16, not 'q9'."),
        (
            ["--texts", "3"],
            "--texts takes 4 or more here, unless --text names texts of your own: one of each kind comes first, the next checks.",
        ),
        (
            ["--texts", "2", "--kinds", "code,recall"],
            "--texts takes 3 or more here, unless --text names texts of your own: one of each kind comes first, the next checks.",
        ),
        (["--kinds", "verse"], "--kinds knows prose, code, recall, not 'verse'."),
        (["--prefills", ""], "--prefills takes the name of a folder, not an empty word."),
    ],
)
def test_what_makes_no_sense_is_refused_before_the_model_is_looked_at(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run(["tune", "no-such-model.gguf", *arguments]) == 2
    assert capsys.readouterr().err == f"error: {sentence}\n"


@pytest.mark.parametrize("place", ["", "file/profile.json"])
def test_a_place_that_cannot_be_written_is_said_before_the_work(tmp_path: Path, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder, and a folder that is a file: no build is needed to learn it."""
    (tmp_path / "file").write_text("")
    head = gguf({"general.architecture": "llama", "llama.context_length": 8192}, [info("token_embd.weight", [32], 0, 0)])
    (tmp_path / "m.gguf").write_bytes(head + bytes(-len(head) % 32 + 128))
    assert app.run(["tune", str(tmp_path / "m.gguf"), "--out", str(tmp_path / place)]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: The profile could not be written to ") and told.count("\n") == 1
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]
