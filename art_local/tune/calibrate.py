"""Tuning as one call: losses on calibration text, a search, a check on text and needles held out, a profile."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from art_local.art import ArtParams
from art_local.errors import UserError
from art_local.eval.decoder import KeepingDecoder, Logits
from art_local.eval.decoding import along_text, exact_logits, on_task, prompt
from art_local.eval.metrics import Comparison, quality
from art_local.eval.plan import Plan, TextPrompt, task_prompts, text_prompts
from art_local.eval.setting import EXACT, Setting
from art_local.eval.texts import Text
from art_local.tune.profile import Profile
from art_local.tune.search import LADDER, Eps, Loss, Search

Say = Callable[[str], None]


def setting(eps: Eps, name: str) -> Setting:
    if len(set(eps)) == 1:
        return Setting(ArtParams(mode="ranked", eps=eps[0]), name=name)
    return Setting(ArtParams(mode="ranked"), layer_eps=eps, name=name)


@dataclass
class Stretch:
    """One text, read once; its state is kept to come back to."""

    text: TextPrompt
    kept: Any
    exact: list[Logits]


@dataclass
class Calibration:
    """All choices are measured on the same stretches of text."""

    decoder: KeepingDecoder
    positions: int
    stretches: list[Stretch]
    rounding: float = 0.0  # what two kernels differ by that both read everything: no tolerance can remove it

    @classmethod
    def start(cls, decoder: KeepingDecoder, found: Sequence[TextPrompt], positions: int) -> Calibration:
        begun = cls(decoder, positions, [])
        for text in found:
            decoder.prefill(text.tokens[: -positions - 1])
            begun.stretches.append(Stretch(text, decoder.keep(), exact_logits(decoder, text.tokens, positions)))
        begun.rounding = begun.loss(Setting(ArtParams(mode="off"))).measured
        return begun

    def measure(self, eps: Eps) -> Loss:
        return self.loss(setting(eps, "tried"))

    def loss(self, tried: Setting) -> Loss:
        losses: list[float] = []
        shares: list[list[float]] = []
        for stretch in self.stretches:
            self.decoder.back(stretch.kept)
            (outcome,) = along_text(self.decoder, stretch.text.tokens, self.positions, 0, [tried], stretch.exact)
            losses += outcome.comparison.kld
            shares += [outcome.counters.bytes_by_layer] if outcome.counters else []
        by_layer = tuple(sum(layer) / len(shares) for layer in zip(*shares, strict=True))
        return Loss(statistics.fmean(losses), by_layer, self.rounding, statistics.stdev(losses) / len(losses) ** 0.5)


@dataclass(frozen=True)
class Tuned:
    profile: Profile
    uniform: tuple[Eps, Loss]  # the best with one tolerance for all layers


@dataclass
class Tuning:
    decoder: KeepingDecoder
    source: Sequence[Text]
    plan: Plan
    layers: int
    target: float
    by_layer: bool
    ladder: Sequence[float] = LADDER
    say: Say = lambda text: None

    def run(self, model: str, sha256: str, kv: str) -> Tuned:
        calibrating, held_out = self.texts()
        self.say(f"calibrating on {named(calibrating)}")
        calibration = Calibration.start(self.decoder, calibrating, self.plan.positions)
        self.say(f"rounding alone: KLD {calibration.rounding:.5f} (off against exact); the target is on top of it")
        search = Search(calibration.measure, self.layers, self.target, self.ladder, self.by_layer, self.say)
        eps, loss = search.run()
        found = {
            "text": named(calibrating),
            "kld": loss.kld,
            "kld_error": loss.error,
            "byte_share": loss.byte_share,
            "rounding_kld": calibration.rounding,
        }
        self.say(f"checking on {named(held_out)}")
        check = self.check(held_out, eps)
        return Tuned(Profile(model, sha256, kv, self.plan.context, self.target, eps, found, check), search.best_uniform())

    def texts(self) -> tuple[list[TextPrompt], list[TextPrompt]]:
        """Of each kind the first, third ... calibrate and the others check; they share nothing."""
        found = list(text_prompts(self.plan, self.decoder, list(self.source)))
        kinds = [[text for text in found if text.kind == kind] for kind in dict.fromkeys(text.kind for text in found)]
        calibrating = [text for one in kinds for text in one[::2]]
        held_out = [text for one in kinds for text in one[1::2]]
        if not held_out:
            raise UserError(f"Tuning needs a second text of {self.plan.context} tokens to check on; take a longer one or a shorter --ctx.")
        return calibrating, held_out

    def check(self, held_out: Sequence[TextPrompt], eps: Eps) -> dict[str, Any]:
        chosen = setting(eps, "chosen")
        compared, shares = Comparison(), []
        for text in held_out:
            self.decoder.prefill(text.tokens[: -self.plan.positions - 1])
            _, outcome = along_text(self.decoder, text.tokens, self.plan.positions, self.plan.greedy, [EXACT, chosen])
            compared.extend(outcome.comparison)
            shares += [outcome.counters.byte_share] if outcome.counters else []
        found = quality(compared)
        asked = Comparison()
        scores: dict[str, list[float]] = {"exact": [], "chosen": []}
        for one in task_prompts(self.plan, self.decoder, list(self.source)):
            question = prompt(self.decoder, one.make())
            self.decoder.prefill(question.head)
            exact, mine = on_task(self.decoder, question, [EXACT, chosen])
            asked.extend(mine.comparison)
            for name, each in (("exact", exact), ("chosen", mine)):
                scores[name].append(each.score or 0.0)
        return {
            "text": named(held_out),
            "kld": found.kld_mean.value,
            "kld_p99": found.kld_p99.value,
            "same_top": found.same_top.value,
            "byte_share": mean(shares),
            "tasks": len(scores["exact"]),
            "tasks_exact": mean(scores["exact"]),
            "tasks_chosen": mean(scores["chosen"]),
            "tasks_kld": quality(asked).kld_mean.value if len(asked) else None,
        }


def named(found: Sequence[TextPrompt]) -> str:
    return ", ".join(text.name for text in found)


def mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
