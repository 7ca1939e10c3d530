"""Two or more results side by side: what is the same in both is divided, what is not is refused with a reason."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from art_local.bench.configuration import MODES
from art_local.bench.facts import machine_name
from art_local.bench.interval import Ratio, paired, ratio
from art_local.bench.prediction import read_prediction, same_model
from art_local.bench.results import Line, Say, read
from art_local.bench.summary import Key, Row, number, summarize
from art_local.bench.tested import is_eval
from art_local.errors import UsageError, UserError


@dataclass(frozen=True)
class Result:
    """One results file, as a side of a comparison."""

    name: str
    lines: list[Line]
    rows: list[Row]
    bandwidth: float | None = None  # bytes/s
    price: float | None = None

    @property
    def measured(self) -> list[Row]:
        return [row for row in self.rows if row.samples]

    def fact(self, *path: str) -> Any:
        return next((found for line in self.lines if (found := line.get("facts", *path)) is not None), None)

    def card(self, name: str) -> Any:
        """A fact about the first card."""
        cards = self.fact("machine", "cards")
        first = cards[0] if isinstance(cards, list) and cards else None
        return first.get(name) if isinstance(first, dict) else None

    @property
    def model(self) -> str:
        return self.rows[0].key.model if self.rows else "unknown model"

    @property
    def machine(self) -> str:
        machine = self.fact("machine")
        return machine_name(machine) if isinstance(machine, dict) else "unknown machine"

    @property
    def commands(self) -> list[str]:
        """Every command line once, in order, without the folders of whoever ran it."""
        found = [line.get("command") for line in self.lines]
        return list(dict.fromkeys(shlex.join(Path(str(word)).name for word in one) for one in found if isinstance(one, list) and one))


@dataclass(frozen=True)
class Pair:
    base: Row
    other: Row
    base_name: str
    other_name: str
    ratio: Ratio
    method: str = ""
    per_bandwidth: float | None = None
    per_price: float | None = None

    @property
    def predicted(self) -> bool:
        return self.base.predicted or self.other.predicted

    @property
    def key(self) -> Key:
        """What both are about; a prediction is for any number of tokens, a measurement for its own."""
        return replace(self.other.key, test=self.base.key.test) if self.other.predicted else self.other.key

    @property
    def verdict(self) -> str:
        return "a prediction is part of it" if self.predicted else self.ratio.verdict

    def as_dict(self) -> dict[str, Any]:
        key = self.key
        return {
            "base": side(self.base_name, self.base),
            "other": side(self.other_name, self.other),
            "test": key.test,
            "kv": key.kv,
            "depth": key.depth,
            "batch": key.batch,
            "eps": key.eps,
            "ratio": self.ratio.value,
            "interval": [self.ratio.low, self.ratio.high],
            "ratio_is": self.method,
            "verdict": self.verdict,
            "per_bandwidth": self.per_bandwidth,
            "per_price": self.per_price,
        }


def side(name: str, row: Row) -> dict[str, Any]:
    return {
        "file": name,
        "mode": row.key.mode,
        "tokens_per_second": row.median,
        "samples": row.samples,
        "read_share": row.read_share,
        "predicted": row.predicted,
    }


def load(path: Path, bandwidth: float | None = None, price: float | None = None, say: Say = lambda text: None) -> Result:
    if is_eval(path):
        raise UsageError(f"{path} is of 'art-local eval', which measures quality, not speed: 'art-local report' shows it.")
    lines = read_prediction(path) or read(path, say)
    rows = summarize(lines)
    result = Result(path.stem, lines, rows, bandwidth, price)
    if not result.measured:
        raise UsageError(f"{path} holds no speed: every run in it failed." if rows else f"{path} holds no results of a bench.")
    models = {row.key.model for row in result.measured}
    if len(models) > 1:
        raise UserError(f"{path} is about several models ({', '.join(sorted(models))}); compare one at a time.")
    return replace(result, bandwidth=bandwidth or number(result.fact("machine", "bandwidth")))


def refuse_repeated(files: Sequence[Path]) -> None:
    """A file beside itself shows that nothing differs, whatever was measured."""
    for place, file in enumerate(files):
        for other in files[:place]:
            if file.resolve() == other.resolve():
                raise UsageError(f"{file} is named twice.")
            if file.is_file() and other.is_file() and file.read_bytes() == other.read_bytes():
                raise UserError(f"{file} is a copy of {other}.")


def within(result: Result) -> list[Pair]:
    """One file: its modes against its own baseline."""
    rows = {row.key: row for row in result.measured}
    pairs = []
    for key, row in rows.items():
        base = rows.get(key.baseline)
        if base is not None and key.mode != "off":
            pairs.append(pair(result, base, result, row))
    if not pairs:
        raise UserError(f"{result.name} holds nothing to compare: no mode beside its baseline 'off' at the same depth and KV type.")
    return pairs


def between(results: Sequence[Result], modes: tuple[str, str] | None = None) -> list[Pair]:
    """The first file against each other one, where their configurations are the same (but for the mode, when two are named)."""
    first, pairs = results[0], []
    for other in results[1:]:
        refuse_strangers(first, other)
        found = aligned(first, other, modes)
        if not found:
            raise UserError(f"{first.name} and {other.name} have no configuration in common: {difference(first, other, modes)}.")
        pairs += found
    return pairs


def aligned(first: Result, other: Result, modes: tuple[str, str] | None) -> list[Pair]:
    loose = is_predicted(first) or is_predicted(other)
    base = {common(row.key, modes, loose): row for row in first.measured if modes is None or row.key.mode == modes[0]}
    theirs = [row for row in other.measured if modes is None or row.key.mode == modes[1]]
    return [pair(first, base[key], other, row) for row in theirs if (key := common(row.key, modes, loose)) in base]


def common(key: Key, modes: tuple[str, str] | None, any_test: bool) -> Key:
    """The model is compared by its hash elsewhere: people rename files. A prediction is for any number of tokens."""
    loose = replace(key, model="", test=key.test[:2]) if any_test else replace(key, model="")
    return replace(loose, mode="", eps=None, force=None, layer_eps=()) if modes else loose


def refuse_strangers(first: Result, other: Result) -> None:
    hashes = [result.fact("model", "sha256") for result in (first, other)]
    if all(hashes):
        if hashes[0] != hashes[1]:
            raise UserError(
                f"{first.name} is about {first.model} (sha256 {str(hashes[0])[:12]}), {other.name} about {other.model} "
                f"(sha256 {str(hashes[1])[:12]}): speeds of different models say nothing about the machines."
            )
    elif first.model != other.model and not ((is_predicted(first) or is_predicted(other)) and same_model(first.model, other.model)):
        raise UserError(f"{first.name} is about {first.model}, {other.name} about {other.model}: different models are not compared.")


def is_predicted(result: Result) -> bool:
    return all(row.predicted for row in result.measured)


def difference(first: Result, other: Result, modes: tuple[str, str] | None) -> str:
    """What keeps them apart: the first property without a value in common."""
    sides = [(first, modes[0] if modes else None), (other, modes[1] if modes else None)]
    for name in ("mode", "kv", "test", "depth", "batch", "eps", "force", "layer_eps", "extra"):
        if name == "mode" and modes:
            continue
        values = [{getattr(row.key, name) for row in side.measured if mode in (None, row.key.mode)} for side, mode in sides]
        if not values[0] & values[1]:
            told = [", ".join(sorted(map(plain, one))) or "none" for one in values]
            hint = f" (--modes {told[0]}:{told[1]} compares across modes)" if name == "mode" and "," not in "".join(told) else ""
            return f"{name} {told[0]} there, {told[1]} here{hint}"
    return "no two runs agree in mode, KV type, depth and batch at once"


def plain(value: Any) -> str:
    return (" ".join(map(str, value)) or "none") if isinstance(value, tuple) else str(value)


def pair(first: Result, base: Row, second: Result, other: Row) -> Pair:
    apart = first is not second
    found, method = quotient(base, other, not apart)
    bandwidth = proportion(first.bandwidth, second.bandwidth) if apart else None
    price = proportion(first.price, second.price) if apart else None
    return Pair(
        base,
        other,
        first.name,
        second.name,
        found,
        method,
        per_bandwidth=found.value / bandwidth if bandwidth else None,
        per_price=found.value / price if price else None,
    )


def quotient(base: Row, other: Row, together: bool) -> tuple[Ratio, str]:
    """Rounds of one file run side by side. Processes count, where there are three or more: repetitions inside one share its luck."""
    if base.predicted or other.predicted:
        return Ratio(ratio(base.samples, other.samples).value), "the quotient of what is shown"
    rounds = [{number: statistics.median(samples) for number, samples in row.rounds.items()} for row in (base, other)]
    common = sorted(rounds[0].keys() & rounds[1].keys())
    if together and len(common) >= 3:
        mine, theirs = ([one[number] for number in common] for one in rounds)
        return paired(mine, theirs), "the geometric mean of each round's own quotient, with Student's t interval"
    if min(map(len, rounds)) >= 3:
        return ratio(*(list(one.values()) for one in rounds)), "of the geometric means of the rounds, with Welch's t interval"
    return ratio(base.samples, other.samples), "of the geometric means of all repetitions, with Welch's t interval"


def proportion(base: float | None, other: float | None) -> float | None:
    return other / base if base and other else None


def mode_pair(text: str) -> tuple[str, str]:
    parts = [part.strip() for part in text.split(":")]
    if len(parts) != 2 or not all(part in MODES for part in parts):
        raise UsageError(f"--modes takes two of {', '.join(MODES)}, such as off:ranked, not '{text}'.")
    return parts[0], parts[1]


def told_apart(results: list[Result]) -> list[Result]:
    """Two files of the same name in different folders get a number."""
    names = [result.name for result in results]
    return [replace(one, name=f"{one.name} ({place + 1})") if names.count(one.name) > 1 else one for place, one in enumerate(results)]
