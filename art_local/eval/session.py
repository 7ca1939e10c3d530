"""The evaluation as one call: find the build, look at the model, decode, sum it up, write it down."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from art_local import art, library
from art_local.bench.model import resolve
from art_local.building import presets
from art_local.building.machine import usable_cores
from art_local.errors import UsageError, UserError
from art_local.eval import picture, summary
from art_local.eval.decoder import Decoder, LibraryDecoder
from art_local.eval.plan import Plan
from art_local.eval.policies import POLICIES
from art_local.eval.prefills import Prefills
from art_local.eval.results import BESIDE, Results, check_name, put
from art_local.eval.run import Evaluation, Step, evaluate
from art_local.eval.setting import EXACT, Setting
from art_local.eval.summary import Row
from art_local.eval.texts import KINDS, Text, texts
from art_local.library import Session
from art_local.source.trees import Checkout
from art_local.tune import profile
from art_local.tune.profile import Profile

SPARE = 512  # cells beyond the context, for greedy tokens and whole tiles


@dataclass(frozen=True)
class Request:
    """What a person asks for."""

    model: Path
    plan: Plan
    kvs: tuple[str, ...] = ("q8_0",)
    settings: tuple[Setting, ...] = (EXACT,)
    profile: Path | None = None  # of 'art-local tune'; without it, the one found for this model
    policies: tuple[str, ...] = ()
    budgets: tuple[float, ...] = (0.1, 0.25)
    text: tuple[Path, ...] = ()
    kinds: tuple[str, ...] = KINDS
    preset: str | None = None
    threads: int | None = None
    out: Path | None = None
    resume: bool = False
    prefills: Path | None = None  # a folder that outlives the run
    command: str = ""


@dataclass(frozen=True)
class Measured:
    rows: list[Row]
    results: Results
    interrupted: bool = False
    written: list[Path] = field(default_factory=list)


@dataclass
class Opener:
    """Contexts of one model in one build, a type of cache at a time."""

    llama: ModuleType
    model: Path
    context: int
    gpu: bool
    threads: int
    decoded: int  # tokens after a prompt
    layers: int  # that have a tolerance
    prefills: Prefills | None = None

    @contextmanager
    def __call__(self, kv: str) -> Iterator[Decoder]:
        with self.session(kv) as session:
            yield LibraryDecoder(session, self.kept(kv))

    def kept(self, kv: str) -> Prefills | None:
        return replace(self.prefills, about=f"{self.prefills.about} {kv}") if self.prefills else None

    def session(self, kv: str) -> Session:
        return Session(self.llama, self.model, self.context, kv, gpu_layers=999 if self.gpu else 0, threads=self.threads)

    @contextmanager
    def reference(self) -> Iterator[Decoder]:
        from art_local.eval import transformer
        from art_local.eval.reference_decoder import ROOM, ReferenceDecoder

        with self.session("f16") as session:
            yield ReferenceDecoder(LibraryDecoder(session, self.kept("f16")), transformer.read(self.model), max(ROOM, self.decoded))


def measure(request: Request, watch: Callable[[Step], None] = lambda step: None, say: Callable[[str], None] = print) -> Measured:
    """What is finished is in the results file, whatever happens; Ctrl-C ends the run, not the summary."""
    check_name(request.out)
    model = resolve(request.model)
    facts = model.facts(say)
    check_context(request.plan, facts["trained_context"])
    found = chosen_profiles(request, facts["sha256"], say)
    opener, about = prepare(request, model.path, facts["sha256"])
    fitting = [one for one in found if fits(one, opener.layers, say if request.profile is None else None)]
    source = texts(request.text, say, request.kinds)
    head = {
        "model": {name: facts[name] for name in ("name", "sha256", "architecture", "trained_context")},
        "plan": request.plan.as_dict(),
        "source": told(source),
        **about,
    }
    results = Results.start(request.out, head, request.resume)
    interrupted = False
    try:
        evaluation = Evaluation(request.plan, source, results, watch, say)
        evaluate(evaluation, opener, request.kvs, [*request.settings, *tuned(fitting, about["series"], say)])
        if chosen := policy_settings(request.policies, request.budgets):
            with opener.reference() as decoder:
                evaluation.run(decoder, "f16", chosen)
    except KeyboardInterrupt:
        interrupted = True
    if not results.records:
        return Measured([], results, interrupted)
    rows = summary.rows(results.records)
    return Measured(rows, results, interrupted, write(results, request.command))


def prepare(request: Request, model: Path, sha256: str) -> tuple[Opener, dict[str, Any]]:
    if os.environ.get("GGML_ART_DISABLE", "0") not in ("", "0"):  # as the library reads it
        raise UserError("GGML_ART_DISABLE is set: every mode would be off. Unset it to measure what the modes cost.")
    build = presets.built(request.preset)
    llama = library.load(build)
    if not art.available(llama):
        raise UserError(f"The build '{build.name}' knows nothing of early termination; run 'art-local build'.")
    threads = request.threads or usable_cores()
    context = longest(request.plan) + SPARE
    question = context // 2 if request.plan.documents else 0  # the longest that is taken
    decoded = max(request.plan.positions, request.plan.greedy, question + SPARE)
    gpu = build.name.startswith(("cuda", "metal"))
    with Session(llama, model, 256, request.kvs[0], gpu_layers=999 if gpu else 0) as session:
        able, layers = art.modes(llama, session.context), art.layers(llama, session.context)
        if any(setting.alone for setting in request.settings) and not session.can_forget():
            raise UserError("This model's memory cannot take back a token: --alone is not for it.")
    opener = Opener(llama, model, context, gpu, threads, decoded, layers)
    for setting in request.settings:
        if setting.params.mode not in able:
            raise UserError(
                f"The build '{build.name}' cannot run mode '{setting.params.mode}' on this model; it can run {', '.join(able)}."
            )
    recorded = Checkout(build.root).recorded() or {}
    about = {"build": build.name, "commit": recorded.get("commit", ""), "series": recorded.get("series", "")}
    if request.prefills:
        opener.prefills = Prefills(request.prefills, f"{sha256} {about['build']} {about['commit']}")
        opener.prefills.check()
    return opener, about


def chosen_profiles(request: Request, sha256: str, say: Callable[[str], None]) -> list[Profile]:
    """The model's profiles run beside the modes. What was named and cannot is refused; what was only found is left out."""
    ranked = any(setting.params.mode == "ranked" for setting in request.settings)
    if request.profile is None:
        return profile.found(sha256, request.kvs, say) if ranked else []
    if not ranked:
        raise UsageError("--profile holds tolerances of mode ranked, which --modes does not ask for.")
    found = profile.read(request.profile, sha256)
    if found.kv not in request.kvs:
        raise UsageError(f"{request.profile} was made for KV type {found.kv}, which --kv does not ask for.")
    return [found]


def fits(one: Profile, layers: int, say: Callable[[str], None] | None) -> bool:
    """Where there is nobody to say it to, the profile was asked for by name, and is refused."""
    if len(one.eps) == layers:
        return True
    why = f"The profile of KV type {one.kv} has tolerances for {len(one.eps)} layers, this model has {layers}"
    if not say:
        raise UserError(f"{why}.")
    say(f"{why}: it is left out.")
    return False


def tuned(found: Sequence[Profile], series: str, say: Callable[[str], None]) -> list[Setting]:
    for one in found:
        say(f"KV {one.kv}: {one.describe()}")
        if doubt := one.doubt(series):
            say(doubt)
    return [one.setting() for one in found]


def check_context(plan: Plan, trained: int | None) -> None:
    if trained and longest(plan) > trained:
        raise UserError(f"The model was trained on contexts of {trained} tokens; {longest(plan)} would measure its confusion, not ours.")
    if plan.positions + 2 > plan.context:
        raise UserError(f"A context of {plan.context} tokens has no room for {plan.positions} positions and a prefill.")


def longest(plan: Plan) -> int:
    return max(plan.context, *plan.needle_lengths, 0)


def policy_settings(names: Sequence[str], budgets: Sequence[float]) -> list[Setting]:
    if not names:
        return []
    for name in names:
        if name not in POLICIES:
            raise UserError(f"--policies knows {', '.join(POLICIES)}, not '{name}'.")
    others = [Setting(policy=name, budget=budget) for name in names if name != "numpy exact" for budget in budgets]
    return [Setting(policy="numpy exact"), *others]


def told(source: list[Text]) -> str:
    """Named with a checksum over all of them: other files of the same names must not be gone on with."""
    crc = f"crc32 {zlib.crc32(''.join(text.content for text in source).encode()):08x}"
    if len(source) == 1:
        return f"{source[0].name} ({crc})"
    return f"{len(source)} texts, the first {source[0].name} ({crc})"


def write(results: Results, command: str) -> list[Path]:
    """The summary beside the results: FILE.md and FILE.svg."""
    results.write(command=command, summary=[plain(row) for row in summary.rows(results.records)])
    if results.path is None:
        return []
    page, image = map(results.path.with_suffix, BESIDE)
    found, scale = summary.rows(results.records), summary.scales(results.records)
    title = f"{results.head['model']['name']}, {results.head['plan']['context']} tokens"
    put(image, picture.draw(title, found, scale))
    put(page, summary.markdown(results.head, results.records, command, [image.name]))
    return [results.path, page, image]


def plain(row: Row) -> dict[str, Any]:
    return {
        "kv": row.kv,
        "setting": row.label,
        "where": row.where,
        "read_share": row.read_share,
        "byte_share": row.byte_share,
        "text": row.text.as_dict() if row.text else None,
        "asked": row.asked.as_dict() if row.asked else None,
        "diverged": row.diverged,
        "scores": row.scores,
        "needles": [{"length": length, "depth": depth, "score": score} for (length, depth), score in row.needles.items()],
        "fallbacks": row.fallbacks,
        "by_layer": [round(share, 4) for share in row.by_layer],
    }
