"""What is measured: one configuration is one process; a plan is all of them, in the order they run."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from art_local.errors import UsageError
from art_local.quantity import number_in

MODES = ("off", "exact", "stability", "ranked")
KV_TYPES = ("q8_0", "q4_0", "f16")
FORCE = "--art-force"
# what a bench says to both programs itself; said again, its records would be of something else than they claim
OURS = {
    *("-m", "--model", "-mu", "--model-url", "-hf", "-hfr", "--hf-repo", "-hff", "--hf-file"),
    *("-ctk", "--cache-type-k", "-ctv", "--cache-type-v", "-fa", "--flash-attn"),
    *("-p", "--n-prompt", "-n", "--n-gen", "-pg", "-d", "--n-depth", "-r", "--repetitions", "-o", "--output", "-oe", "--output-err"),
    *("-c", "--ctx-size", "-npp", "-ntg", "-npl", "-pps", "-tgs", "--output-format", "-h", "--help", "--list-devices"),
    *("--predict", "--n-predict"),
}
LARGEST = 1 << 30  # tokens; more than any model has, less than an int32 holds


@dataclass(frozen=True)
class Configuration:
    mode: str = "off"
    kv: str = "q8_0"
    depth: int = 0
    generate: int = 64
    prompt: int = 0
    reps: int = 3
    batch: int = 1
    eps: float | None = None
    force: float | None = None  # ranked reads this share, whatever it finds: random weights have nothing to find
    layer_eps: tuple[float, ...] = ()  # of a tuned model
    extra: tuple[str, ...] = ()  # further arguments of llama-bench, as the user gave them

    @property
    def program(self) -> str:
        return "llama-bench" if self.batch == 1 else "llama-batched-bench"

    @property
    def records(self) -> int:
        """How many records a complete run of it prints."""
        return 2 if self.prompt and self.batch == 1 else 1

    def arguments(self, model: Path | str, art: bool) -> list[str]:
        """The command line; `art` says whether the program knows the --art flags (the stock one does not)."""
        layers = [] if {"-ngl", "--n-gpu-layers"} & set(self.extra) else ["-ngl", "99"]  # said twice, llama-bench measures both
        common = ["-m", str(model), *layers, "-fa", "on", "-ctk", self.kv, "-ctv", self.kv]
        if self.batch == 1:
            own = [
                "-p",
                str(self.prompt),
                "-n",
                str(self.generate),
                "-d",
                str(self.depth),
                "-r",
                str(self.reps),
                "-o",
                "jsonl",
                "--progress",
            ]
        else:
            depth = max(self.depth, 1)  # it cannot start from an empty cache
            context = max(self.batch * (depth + self.generate), 256)  # its warm-up takes some tokens, too
            own = ["-c", str(context), "-npp", str(depth), "-ntg", str(self.generate), "-npl", str(self.batch), "--output-format", "jsonl"]
        return [*common, *own, *(self.art_arguments() if art else []), *self.extra]

    def art_arguments(self) -> list[str]:
        eps = ["--art-eps", f"{self.eps:g}"] if self.eps is not None else []
        eps += ["--art-layer-eps", ",".join(f"{one:g}" for one in self.layer_eps)] if self.layer_eps else []
        return ["--art", self.mode, *eps, *([FORCE, f"{self.force:g}"] if self.force is not None else [])]

    def label(self) -> str:
        batch = f" x{self.batch}" if self.batch > 1 else ""
        return f"{setting(self.mode, self.eps, self.force, self.layer_eps)} {self.kv} @ d{self.depth}{batch}"

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "layer_eps": list(self.layer_eps), "extra": list(self.extra)}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Configuration:
        """Results may come from another version: what is unknown is left out, what is missing or odd takes its default."""
        text = {name: fields[name] for name in ("mode", "kv") if isinstance(fields.get(name), str)}
        counts = {name: fields[name] for name in ("depth", "generate", "prompt", "reps", "batch") if is_count(fields.get(name))}
        eps, force = (float(fields[name]) if is_share(fields.get(name)) else None for name in ("eps", "force"))
        extra = [str(one) for one in fields["extra"]] if isinstance(fields.get("extra"), list) else []
        if len(extra) > 1 and extra[-2] == FORCE and is_share(found := number_in(extra[-1])):  # where it was kept at first
            force, extra = found if text.get("mode") == "ranked" else None, extra[:-2]
        layers = fields["layer_eps"] if isinstance(fields.get("layer_eps"), list) else []
        layer_eps = tuple(map(float, layers)) if all(map(is_share, layers)) else ()
        return cls(**text, **counts, eps=eps, force=force, layer_eps=layer_eps, extra=tuple(extra))


def further(text: str) -> tuple[str, ...]:
    """Arguments for llama-bench that a bench does not give itself."""
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(f"--extra cannot be read: {error}.") from None
    for word in words:
        name = word.split("=")[0]
        name = name.replace("_", "-") if name.startswith("--") else name  # as the programs read it
        if name in OURS or name.startswith("--art"):
            raise UsageError(f"--extra cannot carry {name}: bench says that itself.")
    return words


def setting(mode: str, eps: float | None, force: float | None, layer_eps: tuple[float, ...]) -> str:
    """What people call a mode and what it was told."""
    return (
        mode
        + (" tuned" if layer_eps else "")
        + (f" eps {eps:g}" if eps is not None else "")
        + (f" forced to {force:.0%}" if force is not None else "")
    )


def is_share(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e9


def is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST


@dataclass(frozen=True)
class Plan:
    depths: tuple[int, ...]
    modes: tuple[str, ...] = ("exact", "ranked")
    kvs: tuple[str, ...] = ("q8_0",)
    batches: tuple[int, ...] = (1,)
    eps: tuple[float, ...] = ()
    rounds: int = 3
    generate: int = 64
    prompt: int = 0
    reps: int = 3
    force: float | None = None  # for mode ranked
    tuned: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # ranked with these KV types takes these eps, by layer
    extra: tuple[str, ...] = ()

    def configurations(self) -> Iterator[Configuration]:
        """Modes are innermost: what is compared with each other runs side by side."""
        for kv in self.kvs:
            for batch in self.batches:
                for depth in self.depths:
                    for mode in ("off", *(mode for mode in self.modes if mode != "off")):
                        one = Configuration(mode, kv, depth, self.generate, self.prompt, self.reps, batch, extra=self.extra)
                        yield from self.ranked(one) if mode == "ranked" else [one]

    def ranked(self, one: Configuration) -> list[Configuration]:
        tuned = self.tuned.get(one.kv, ())
        if len(set(tuned)) == 1:
            return [replace(one, eps=tuned[0], force=self.force)]
        return [replace(one, eps=eps, force=self.force, layer_eps=tuned) for eps in self.eps or (None,)]

    def schedule(self) -> list[tuple[int, Configuration]]:
        """Every other round runs backwards, so that a card that grows warm is unfair to nobody."""
        once = list(self.configurations())
        return [(number, one) for number in range(self.rounds) for one in (reversed(once) if number % 2 else once)]


def sweep(context: int, generate: int) -> tuple[int, ...]:
    """Depths for a context length: empty, an eighth, a quarter, a half, and as full as the generated tokens allow."""
    deepest = context - generate
    if deepest < 0:
        raise UsageError(f"A context of {context} tokens has no room for {generate} generated ones.")
    steps = [context // part for part in (8, 4, 2) if context // part >= 64]
    return tuple(sorted({0, *(step for step in steps if step < deepest), deepest}))


def numbers(text: str, what: str, least: int = 0) -> tuple[int, ...]:
    """A list such as 0,4096,8k."""
    return tuple(dict.fromkeys(whole(part, what, least) for part in text.split(",")))


def whole(text: str, what: str, least: int = 0) -> int:
    plain = text.strip().lower().replace("_", "")
    factor = 1024 if plain.endswith("k") else 1
    digits = plain.removesuffix("k")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 12 and least <= int(digits) * factor <= LARGEST):
        raise UsageError(
            f"{what} takes whole numbers from {least}, such as {max(least, 1)} or 8k (k is 1024, there is no other), not '{text.strip()}'."
        )
    return int(digits) * factor


def choices(text: str, known: tuple[str, ...], what: str) -> tuple[str, ...]:
    wanted = tuple(dict.fromkeys(part.strip().lower() for part in text.split(",")))
    for one in wanted:
        if one not in known:
            raise UsageError(f"{what} knows {', '.join(known)}, not '{one}'.")
    return wanted


def tolerances(text: str, option: str = "--eps") -> tuple[float, ...]:
    try:
        found = tuple(dict.fromkeys(float(part) for part in text.split(",")))
    except ValueError:
        found = (-1.0,)
    if not all(0 <= one <= 1 for one in found):
        raise UsageError(f"{option} takes numbers from 0 to 1, such as 0.01 or 0.005,0.02, not '{text}'.")
    return found
