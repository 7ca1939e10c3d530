"""Running a plan: every configuration in every round, each in a process of its own, each kept as soon as it is done."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from art_local.bench import failure
from art_local.bench.card import CardUse, CardWatch
from art_local.bench.clock import Clock
from art_local.bench.configuration import Configuration, Plan
from art_local.bench.facts import Facts
from art_local.bench.failure import Failure
from art_local.bench.results import Line, Results, join
from art_local.bench.runner import Outcome, run
from art_local.errors import UsageError


class Program(Protocol):
    @property
    def path(self) -> Path: ...
    @property
    def build(self) -> str: ...
    @property
    def knows_art(self) -> bool: ...


class Programs(Protocol):
    def program(self, configuration: Configuration) -> Program: ...


@dataclass(frozen=True)
class Progress:
    done: int
    total: int
    now: Configuration
    round: int
    left: float | None  # seconds
    doing: str = ""  # the program's own word


Watch = Callable[[Progress], None]


class Bench:
    def __init__(
        self, model: Path, plan: Plan, programs: Programs, facts: Facts, results: Results, watch: Watch = lambda progress: None
    ) -> None:
        self.model, self.plan, self.programs, self.facts, self.results, self.watch = model, plan, programs, facts, results, watch
        self.clock = Clock()
        self.failed: list[tuple[Configuration, Failure]] = []
        facts.refuse_other(results.parsed())

    def run(self) -> None:
        schedule = self.plan.schedule()
        finished = finished_runs(self.results.parsed())
        waiting = [entry for entry in schedule if entry not in finished]
        for position, (number, configuration) in enumerate(waiting):
            left = self.clock.left([one for _, one in waiting[position:] if not self.verdict(one)])
            progress = Progress(len(schedule) - len(waiting) + position, len(schedule), configuration, number, left)
            self.one(progress)

    def one(self, progress: Progress) -> None:
        configuration = progress.now
        known = self.verdict(configuration)
        if known:
            if known.kind == "skipped" and all(configuration != one for one, _ in self.failed):
                self.note(configuration, progress.round, known, [])
            return
        program = self.programs.program(configuration)
        if trouble := self.unfit(program, configuration):
            self.note(configuration, progress.round, trouble, [])
            return
        command = [str(program.path), *configuration.arguments(self.model, program.knows_art)]
        outcome = self.execute(command, progress)
        if outcome.code or len(outcome.records) < configuration.records:
            why = self.diagnose(outcome)
            if why.kind == "usage":  # it would be the same in every other run
                raise UsageError(f"{program.path.name} refuses its command line: {why.sentence}")
            self.note(configuration, progress.round, why, command)
        elif configuration.extra and len(outcome.records) > configuration.records:
            raise UsageError("--extra makes llama-bench measure several settings in one run; name one value of each.")
        else:
            self.clock.note(configuration, outcome.seconds)
            self.keep(configuration, progress.round, outcome, program)

    def execute(self, command: list[str], progress: Progress) -> Outcome:
        begin = time.monotonic()

        def say(doing: str) -> None:
            left = progress.left and max(0.0, progress.left - (time.monotonic() - begin))
            self.watch(Progress(progress.done, progress.total, progress.now, progress.round, left, doing))

        self.watch(progress)
        return run(command, say, CardWatch() if self.facts.build.get("gpu") else None)

    def unfit(self, program: Program, configuration: Configuration) -> Failure | None:
        if not program.path.exists():
            return Failure("refused", f"{configuration.program} is not part of this build; run 'art-local build' again")
        if configuration.mode != "off" and not program.knows_art:
            return Failure("refused", f"this build has no --art flags, so it cannot run mode '{configuration.mode}'")
        return None

    def verdict(self, configuration: Configuration) -> Failure | None:
        """What an earlier failure says about a configuration that is still to come."""
        for failed, why in self.failed:
            if failed == configuration:
                return Failure("skipped", f"failed before: {why.sentence}")
            same = (failed.mode, failed.kv, failed.extra) == (configuration.mode, configuration.kv, configuration.extra)
            if same and why.kind == "refused" and failed.program == configuration.program:
                return Failure("skipped", f"{failed.label()} was refused: {why.sentence}")
            smaller = failed.depth <= configuration.depth and failed.batch <= configuration.batch
            if same and why.kind == "out of memory" and smaller:
                return Failure("skipped", f"{failed.label()} ran out of memory already")
        return None

    def diagnose(self, outcome: Outcome) -> Failure:
        found = failure.explain(outcome.code, outcome.complaints)
        if failure.is_vague(found) and Path(outcome.command[0]).stem == "llama-bench":
            louder = run([*outcome.command, "-v", "-r", "1"])
            said = failure.explain(louder.code, louder.complaints)
            return said if louder.code and said.kind != "refused" else found
        return found

    def note(self, configuration: Configuration, number: int, why: Failure, command: list[str]) -> None:
        self.failed.append((configuration, why))
        envelope = {
            "kind": "failure",
            "failure": why.kind,
            "sentence": why.sentence,
            "configuration": configuration.as_dict(),
            "round": number,
            "command": command,
            "facts": self.facts.as_dict(),
        }
        self.results.add([join(None, envelope)])

    def keep(self, configuration: Configuration, number: int, outcome: Outcome, program: Program) -> None:
        envelope = {
            "kind": "run",
            "configuration": configuration.as_dict(),
            "round": number,
            "program": program.build,
            "command": outcome.command,
            "seconds": round(outcome.seconds, 3),
            "memory": memory(outcome),
            "cards": [card.as_dict() for card in outcome.cards],
            "warnings": warnings(outcome.cards, configuration, self.facts),
            "facts": self.facts.as_dict(),
        }
        self.results.add([join(record, envelope) for record in outcome.records])


def finished_runs(lines: list[Line]) -> set[tuple[int, Configuration]]:
    runs = [line for line in lines if line.kind == "run" and isinstance(line.get("configuration"), dict)]
    return {(int(line.get("round") or 0), Configuration.from_dict(line.get("configuration"))) for line in runs}


def memory(outcome: Outcome) -> dict[str, int | None]:
    """Peaks in bytes; None is unknown. With several cards, their sum."""
    return {
        "host": outcome.host_peak,
        "device": total([card.used_peak for card in outcome.cards]),
        "process": total([card.process_peak for card in outcome.cards]),
    }


def total(sizes: list[int | None]) -> int | None:
    known = [size for size in sizes if size is not None]
    return sum(known) if known and len(known) == len(sizes) else None


def warnings(cards: list[CardUse], configuration: Configuration, facts: Facts) -> list[str]:
    found = [f"{len(card.others)} other processes were on the {card.name}" for card in cards if card.others]
    found += [f"{card.name} slowed down: {why} in {share:.0%} of the time" for card in cards for why, share in card.slowed.items()]
    if facts.load is not None and facts.load > 0.5 * (facts.machine.get("cores") or 1):
        found.append(f"the processor was busy when the bench began (load {facts.load:.1f})")
    return found
