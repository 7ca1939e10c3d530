"""From a model's path to its profile: the build, the texts, the tuning, the file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from art_local import art
from art_local.bench.model import resolve
from art_local.eval.plan import Plan
from art_local.eval.session import Request, check_context, prepare
from art_local.eval.setting import EXACT, Setting
from art_local.eval.texts import KINDS, texts
from art_local.tune import profile
from art_local.tune.calibrate import Tuned, Tuning
from art_local.tune.search import LADDER


@dataclass(frozen=True)
class Order:
    """What a person asks for."""

    model: Path
    plan: Plan
    kv: str = "q8_0"
    target: float = 0.002
    ladder: tuple[float, ...] = LADDER
    text: tuple[Path, ...] = ()
    kinds: tuple[str, ...] = KINDS
    preset: str | None = None
    threads: int | None = None
    out: Path | None = None
    prefills: Path | None = None  # a folder that outlives the run


def tune(order: Order, say: Callable[[str], None] = print) -> tuple[Tuned, Path]:
    from art_local.eval.decoder import LibraryDecoder

    model = resolve(order.model)
    facts = model.facts(say)
    path = order.out or profile.default_path(facts["sha256"], order.kv)
    profile.check_writable(path)
    check_context(order.plan, facts["trained_context"])
    source = texts(order.text, say, order.kinds)
    ranked = Setting(art.ArtParams(mode="ranked"))
    request = Request(
        model.path, order.plan, (order.kv,), (EXACT, ranked), preset=order.preset, threads=order.threads, prefills=order.prefills
    )
    opener, about = prepare(request, model.path, facts["sha256"])
    with opener.session(order.kv) as session:
        decoder = LibraryDecoder(session, opener.kept(order.kv))
        by_layer = art.has_layer_eps(session.llama)
        if not by_layer:
            say("This build takes one tolerance for all layers only; that one is tuned.")
        tuning = Tuning(decoder, source, order.plan, opener.layers, order.target, by_layer, order.ladder, say)
        tuned = tuning.run(model.path.name, facts["sha256"], order.kv)
    made = replace(tuned.profile, fingerprint=profile.fingerprint(model.path), series=about["series"])
    tuned = replace(tuned, profile=made)
    profile.write(tuned.profile, path)
    return tuned, path
