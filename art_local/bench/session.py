"""The bench as one call: find the build, look at the model, run the plan, sum it up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from art_local.bench.binaries import Binaries
from art_local.bench.configuration import Plan
from art_local.bench.facts import Facts, build_facts, file_name, machine_facts
from art_local.bench.model import Model, resolve
from art_local.bench.results import Results
from art_local.bench.rounds import Bench, Watch
from art_local.bench.summary import Row, summarize
from art_local.building import presets
from art_local.tune import profile


@dataclass(frozen=True)
class Measured:
    path: Path
    rows: list[Row]
    baseline: str
    interrupted: bool


def measure(
    model: Model | Path,
    plan: Plan,
    out: Path | None = None,
    *,
    preset: str | None = None,
    resume: bool = False,
    profiles: bool = True,
    watch: Watch = lambda progress: None,
    say: Callable[[str], Any] = print,
) -> Measured:
    """Run a plan. What is finished is in the results file, whatever happens; Ctrl-C ends the plan, not the summary."""
    model = model if isinstance(model, Model) else resolve(model)
    build = presets.built(preset)
    binaries = Binaries(build)
    machine = machine_facts(build)
    path = out or Path("results") / file_name(model.path.name, machine)
    results = Results.start(path, resume, say)
    facts = Facts(model.facts(say), machine, build_facts(build))
    plan = tuned(plan, facts, say) if profiles else plan
    trained, longest = facts.model["trained_context"], max(plan.depths) + plan.generate
    if trained and longest > trained:
        say(f"warning: the model was trained for {trained} tokens, this bench goes to {longest}: beyond it speed is true, text is not.")
    if binaries.stock is None:
        say(f"There is no stock twin of '{build.name}'; the baseline is the patched build with --art off.")
    interrupted = False
    try:
        Bench(model.path, plan, binaries, facts, results, watch).run()
    except KeyboardInterrupt:
        interrupted = True
    return Measured(path, summarize(results.parsed()), binaries.baseline(), interrupted)


def tuned(plan: Plan, facts: Facts, say: Callable[[str], Any]) -> Plan:
    """Mode ranked takes the tolerances that 'art-local tune' found for this model and KV type, unless others are asked for."""
    if "ranked" not in plan.modes or plan.eps or plan.force is not None:
        return plan
    profiles = profile.found(facts.model["sha256"], plan.kvs, say)
    for one in profiles:
        say(f"ranked, KV {one.kv}: {one.describe()} (--no-profile leaves it out)")
        if doubt := one.doubt(facts.build.get("series") or ""):
            say(doubt)
    return replace(plan, tuned={one.kv: one.eps for one in profiles})
