"""From single runs to rows: one row a configuration, with median and spread, and where the time of a token goes."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from art_local.bench.configuration import MODES, Configuration, setting
from art_local.bench.results import Line
from art_local.quantity import number_in


@dataclass(frozen=True)
class Key:
    """What must be equal for two numbers to be about the same thing."""

    model: str
    mode: str
    kv: str
    depth: int
    batch: int
    eps: float | None
    test: str  # "tg64" or "pp512"
    force: float | None = None
    layer_eps: tuple[float, ...] = ()
    extra: tuple[str, ...] = ()

    @property
    def setting(self) -> str:
        return setting(self.mode, self.eps, self.force, self.layer_eps)

    @property
    def baseline(self) -> Key:
        """The stock kernel, where all else is the same."""
        return replace(self, mode="off", eps=None, force=None, layer_eps=())

    def label(self) -> str:
        batch = f" x{self.batch}" if self.batch > 1 else ""
        return f"{self.setting} {self.kv} {self.test} @ d{self.depth}{batch}"


@dataclass
class Row:
    key: Key
    rounds: dict[int, list[float]] = field(default_factory=dict)  # tokens/s of every repetition, by round
    host: int | None = None
    device: int | None = None
    process: int | None = None
    read_share: float | None = None
    byte_share: float | None = None
    layers: list[list[float]] | None = None
    program: str | None = None
    power: float | None = None
    warnings: list[str] = field(default_factory=list)
    failure: str | None = None
    sentence: str | None = None
    predicted: bool = False
    assumption: str | None = None
    weights_ms: float | None = None
    attention_ms: float | None = None
    kv_bytes: float | None = None
    kv_rate: float | None = None  # bytes/s at which the KV cache was read
    bandwidth_share: float | None = None

    @property
    def setting(self) -> str:
        """Below its crossover a forced mode reads everything all the same."""
        reads_all = self.key.force is not None and (self.read_share or 0) >= 1
        return self.key.setting + (" (read all)" if reads_all else "")

    @property
    def samples(self) -> list[float]:
        return [sample for samples in self.rounds.values() for sample in samples]

    @property
    def median(self) -> float | None:
        """Of the rounds' medians: repetitions inside one process are no independent evidence."""
        return statistics.median(statistics.median(samples) for samples in self.rounds.values()) if self.samples else None

    @property
    def spread(self) -> float | None:
        """Half the distance from the slowest to the fastest repetition, relative to the median."""
        if len(self.samples) < 2 or not self.median:
            return None
        return (max(self.samples) - min(self.samples)) / 2 / self.median

    @property
    def token_ms(self) -> float | None:
        """Time of one step: with a batch, a step gives a token to each sequence."""
        return 1000 * self.key.batch / self.median if self.median else None

    @property
    def memory(self) -> int | None:
        return self.process if self.process is not None else self.device if self.device is not None else self.host

    def as_dict(self) -> dict[str, Any]:
        own = {
            **asdict(self.key),
            "layer_eps": list(self.key.layer_eps),
            "extra": list(self.key.extra),
            "tokens_per_second": self.median,
            "spread": self.spread,
        }
        rest = {name: value for name, value in asdict(self).items() if name not in ("key", "rounds")}
        return {**own, "samples": self.samples, **rest}


def summarize(lines: Iterable[Line]) -> list[Row]:
    """One row a configuration, generation before prefill, what is to be compared side by side."""
    rows: dict[Key, Row] = {}
    take = {"run": take_run, "failure": take_failure, "prediction": take_prediction}
    for line in lines:
        key = key_of(line)
        if key is not None and line.kind in take:
            take[line.kind](rows.setdefault(key, Row(key)), line)
    for row in rows.values():
        split_time(row, rows)
    return sorted(rows.values(), key=lambda row: place(row.key))


def place(key: Key) -> tuple[Any, ...]:
    mode = MODES.index(key.mode) if key.mode in MODES else len(MODES)
    return key.model, key.test.startswith("pp"), key.kv, key.batch, key.depth, mode, key.eps or 0, key.force or 0


def key_of(line: Line) -> Key | None:
    record, fields = line.record, line.get("configuration")
    if isinstance(fields, dict):
        one = Configuration.from_dict(fields)
        if one.mode == "ranked" and one.force is None:
            one = replace(one, force=bare(record).force)  # it may have been given for all modes at once
    elif "avg_ts" in record or "avg_ns" in record:
        one = bare(record)
    else:
        return None
    prompt = whole(record.get("n_prompt"))
    generate = whole(record.get("n_gen", record.get("tg", one.generate)))
    test = f"pp{prompt}" if prompt and not generate else f"tg{generate}"
    model = line.get("facts", "model", "name") or record.get("model_type") or "unknown model"
    return Key(str(model), one.mode, one.kv, one.depth, one.batch, one.eps, test, one.force, one.layer_eps, one.extra)


def bare(record: dict[str, Any]) -> Configuration:
    """A record of llama-bench that somebody else's bench wrote."""
    mode = str(record.get("art_mode") or "off")
    eps, force = (number(record.get(name)) if mode == "ranked" else None for name in ("art_eps", "art_force"))
    return Configuration(mode, str(record.get("type_k", "unknown")), whole(record.get("n_depth")), eps=eps, force=force or None)


def take_run(row: Row, line: Line) -> None:
    speeds = tokens_per_second(line.record)
    if not speeds:
        return
    row.failure = row.sentence = None  # it worked after all
    row.rounds.setdefault(whole(line.get("round")), []).extend(speeds)
    for name in ("host", "device", "process"):
        setattr(row, name, larger(getattr(row, name), line.get("memory", name)))
    row.program = row.program or line.get("program")
    row.read_share = share(line.record.get("art_read_share"), row.read_share)
    row.byte_share = share(line.record.get("art_byte_share"), row.byte_share)
    row.layers = heat(line.record.get("art_layers")) or row.layers
    watts = [number(card.get("power_mean")) for card in line.items("cards") if isinstance(card, dict)]
    known = [value for value in watts if value is not None]
    row.power = sum(known) if known and len(known) == len(watts) else row.power
    told = [str(text) for text in line.items("warnings")] + declined(row, line.record)
    row.warnings += [text for text in told if text not in row.warnings]
    per_token = line.get("facts", "model", "kv_bytes_per_token")
    if isinstance(per_token, dict) and (size := number(per_token.get(row.key.kv))) and row.key.test.startswith("tg"):
        # half of what is generated is in the cache on average
        row.kv_bytes = size * row.key.batch * (row.key.depth + int(row.key.test[2:]) / 2)
    bandwidth = number(line.get("facts", "machine", "bandwidth"))
    row.bandwidth_share = bandwidth or row.bandwidth_share  # divided in split_time


def declined(row: Row, record: dict[str, Any]) -> list[str]:
    """A mode that does not run must be seen. Reading a prompt is left to upstream's kernels on purpose."""
    left, taken = whole(record.get("art_fallbacks")), whole(record.get("art_ops"))
    if not left or not row.key.test.startswith("tg"):
        return []
    return [f"{row.key.label()}: {left} of {left + taken} attention calls were left to the kernels of mode off"]


def take_failure(row: Row, line: Line) -> None:
    if not row.rounds:
        row.failure, row.sentence = str(line.get("failure") or "failed"), str(line.get("sentence") or "")


def take_prediction(row: Row, line: Line) -> None:
    speed = number(line.get("prediction", "tokens_per_second"))
    row.predicted = True
    row.assumption = line.get("prediction", "assumption")
    if speed:
        row.rounds.setdefault(0, []).append(speed)


def split_time(row: Row, rows: dict[Key, Row]) -> None:
    """A token at depth d takes what it takes at depth 0 (the weights), and the rest is attention."""
    bandwidth, row.bandwidth_share = row.bandwidth_share, None
    empty = rows.get(replace(row.key, depth=0))
    if not row.key.test.startswith("tg") or empty is None or empty.token_ms is None or row.token_ms is None:
        return
    row.weights_ms = empty.token_ms
    row.attention_ms = row.token_ms - empty.token_ms
    if row.kv_bytes and row.key.depth and row.attention_ms > 0:
        read = row.kv_bytes * (row.byte_share if row.byte_share is not None else 1)
        row.kv_rate = 1000 * read / row.attention_ms
        row.bandwidth_share = row.kv_rate / bandwidth if bandwidth else None


def tokens_per_second(record: dict[str, Any]) -> list[float]:
    """llama-bench gives a time for each repetition, llama-batched-bench one speed."""
    listed = [number(value) for value in record.get("samples_ts") or []] if isinstance(record.get("samples_ts"), list) else []
    found = [value for value in listed if value and value > 0]
    if found:
        return found
    single = number(record.get("avg_ts", record.get("speed_tg")))
    return [single] if single and single > 0 else []


def number(value: Any) -> float | None:
    """A finite number, or None: records come from other programs and other versions."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    return float(value) if abs(value) < 1e300 else None  # not for NaN either


def whole(value: Any) -> int:
    return int(number(value) or 0)


def larger(old: int | None, new: Any) -> int | None:
    found = number(new)
    return old if found is None else max(old or 0, int(found))


def share(value: Any, otherwise: float | None) -> float | None:
    found = number(value)
    return otherwise if found is None else found


def heat(value: Any) -> list[list[float]] | None:
    """art_layers: for each layer the read share of each KV head; a layer may be one number, the whole a text of them."""
    if isinstance(value, str) and value:
        value = [[number(number_in(head)) for head in layer.split("/") if head] for layer in value.split(",")]
    if not isinstance(value, list) or not any(value):  # a layer that is not covered has no heads
        return None
    return [[number(head) or 0.0 for head in layer] if isinstance(layer, list) else [number(layer) or 0.0] for layer in value]
