"""The evaluation itself: prompts outside, settings inside, so that one exact prefill serves them all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from art_local.eval.decoder import Decoder, Logits, Watch
from art_local.eval.decoding import Outcome, along_text, exact_logits, on_task, prompt
from art_local.eval.plan import Plan, TaskPrompt, TextPrompt, task_prompts, text_prompts
from art_local.eval.results import Record, Results
from art_local.eval.setting import EXACT, Setting
from art_local.eval.texts import Text

Open = Callable[[str], AbstractContextManager[Decoder]]
SCALE = "f16"  # what a quantised cache is held against, to have a scale for every other loss


@dataclass(frozen=True)
class Step:
    done: int
    total: int
    what: str


@dataclass
class Evaluation:
    plan: Plan
    source: list[Text]
    results: Results
    watch: Callable[[Step], None] = lambda step: None
    say: Callable[[str], None] = lambda line: None
    done: int = 0
    total: int = 0
    scale: dict[str, list[Logits]] = field(default_factory=dict)  # exact on f16, by prompt
    told: bool = False

    def run(self, decoder: Decoder, kv: str, settings: Sequence[Setting]) -> None:
        """All prompts under all settings, the first of which is the baseline; what the results hold already is left out."""
        prompts: list[TextPrompt | TaskPrompt] = [
            *self.texts(decoder),
            *task_prompts(self.plan, decoder, self.source),
        ]
        self.total += len(prompts) * len(settings)
        for one in prompts:
            fitting = [setting for setting in settings if isinstance(one, TextPrompt) or not setting.alone]
            missing = [setting for setting in fitting if not self.results.has(one.name, kv, setting.label)]
            self.done += len(settings) - len(missing)
            scaled = self.is_to_scale(one.name, kv)
            if missing or scaled:
                chosen = missing if not missing or missing[0] == settings[0] else [settings[0], *missing]
                self.total += len(chosen) - len(missing) + scaled
                self.results.add(
                    self.text(decoder, one, kv, chosen) if isinstance(one, TextPrompt) else self.task(decoder, one, kv, chosen)
                )

    def text(self, decoder: Decoder, one: TextPrompt, kv: str, settings: Sequence[Setting]) -> list[Record]:
        positions = self.plan.positions
        decoder.prefill(one.tokens[: -positions - 1], self.reading(one.name, kv))
        records = []
        if self.is_to_scale(one.name, kv):
            outcomes = along_text(decoder, one.tokens, positions, 0, [EXACT], self.scale[one.name])
            records = [{**record, "kind": "scale"} for record in self.collect(against_scale(one.name), kv, outcomes)]
        if settings:
            outcomes = along_text(decoder, one.tokens, positions, self.plan.greedy, settings)
            records += [{**record, "kind": "text"} for record in self.collect(one.name, kv, outcomes)]
        return [{**record, "length": len(one.tokens)} for record in records]

    def task(self, decoder: Decoder, one: TaskPrompt, kv: str, settings: Sequence[Setting]) -> list[Record]:
        task = one.make()
        asked = prompt(decoder, task)
        decoder.prefill(asked.head, self.reading(one.name, kv))
        about = {"kind": one.kind, "family": task.family, "length": one.length, "answers": list(task.answers), **task.notes}
        return [{**record, **about} for record in self.collect(one.name, kv, on_task(decoder, asked, settings))]

    def collect(self, name: str, kv: str, outcomes: Iterable[Outcome]) -> list[Record]:
        records = []
        for outcome in outcomes:
            self.done += 1
            self.watch(Step(self.done, self.total, f"{kv} {name}: {outcome.setting.label}"))
            records.append({"prompt": name, "kv": kv, **outcome.as_dict()})
        return records

    def reading(self, name: str, kv: str) -> Watch:
        return lambda done, total: self.watch(Step(self.done, self.total, f"{kv} {name}: prefill {done} of {total} tokens"))

    def texts(self, decoder: Decoder) -> list[TextPrompt]:
        found = list(text_prompts(self.plan, decoder, self.source))
        if len(found) < self.plan.texts and not self.told:
            self.told = True
            self.say(f"The texts give {len(found)} of {self.plan.context} tokens, not {self.plan.texts}; these are measured.")
        return found

    def remember_scale(self, decoder: Decoder, kvs: Sequence[str]) -> None:
        """Exact attention on f16: its logits stay in memory until the quantised caches have been held against them."""
        prompts = [one for one in self.texts(decoder) if not all(self.has_scale(one.name, kv) for kv in kvs)]
        self.total += len(prompts)
        for one in prompts:
            decoder.prefill(one.tokens[: -self.plan.positions - 1], self.reading(one.name, SCALE))
            self.scale[one.name] = exact_logits(decoder, one.tokens, self.plan.positions)
            self.done += 1

    def has_scale(self, name: str, kv: str) -> bool:
        return self.results.has(against_scale(name), kv, EXACT.label)

    def is_to_scale(self, name: str, kv: str) -> bool:
        return name in self.scale and kv != SCALE and not self.has_scale(name, kv)

    def may_lack_scale(self, kv: str) -> bool:
        """By number: which texts there are only a tokenizer can tell."""
        kept = [record for record in self.results.records if record["kind"] == "scale" and record["kv"] == kv]
        return self.plan.scale and len(kept) < self.plan.texts


def against_scale(name: str) -> str:
    return f"{name} against {SCALE}"


def evaluate(evaluation: Evaluation, open_decoder: Open, kvs: Sequence[str], settings: Sequence[Setting]) -> None:
    """Each type of cache is a context of its own. The scale comes first: without it no other figure says much."""
    wanted = [kv for kv in kvs if kv != SCALE and evaluation.may_lack_scale(kv)]
    if wanted:
        with open_decoder(SCALE) as decoder:
            evaluation.remember_scale(decoder, wanted)
    for kv in kvs:
        with open_decoder(kv) as decoder:
            evaluation.run(decoder, kv, [setting for setting in settings if setting.kv in (None, kv)])
