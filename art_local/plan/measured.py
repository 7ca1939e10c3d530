"""What was measured for this model and card: speeds out of results files, memory out of our build's llama-fit-params."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from art_local.bench.prediction import read_prediction
from art_local.bench.results import Line, read
from art_local.building import machine
from art_local.errors import UserError
from art_local.model.attention import KV_TYPES
from art_local.plan.calibration import Calibration, Measurement, calibrate
from art_local.plan.cards import Card, recognised
from art_local.plan.memory import Model, Setting
from art_local.plan.placement import Placement
from art_local.plan.roofline import MODES, modes, parts

MIB = 1 << 20


@dataclass(frozen=True)
class Speed:
    """A measured speed of decoding."""

    mode: str
    kv: str
    depth: int  # where it began
    generated: int
    seconds: float  # a token
    share: float | None  # of the tiles that were read

    @property
    def middle(self) -> int:
        """The context grows while it is measured: this is what the time belongs to."""
        return self.depth + self.generated // 2


@dataclass
class Machine:
    """What is planned, which measurements must be of, too."""

    model: Model
    card: Card
    count: int
    host: Card
    placement: Placement

    def measurement(self, one: Speed) -> Measurement:
        expected = parts(self.model, self.card, self.host, self.placement, one.mode, one.middle, one.kv, one.share)
        return Measurement((one.mode, one.kv), *expected, one.seconds)

    def expected(self, one: Speed, by: Calibration) -> float:
        guess = self.measurement(one)
        return by.base * guess.base + by.attention.get(guess.kind, 1.0) * guess.attention

    def misfit(self, line: Line) -> str:
        """Why a record of llama-bench is of something else; empty if it is not."""
        record = line.record
        where = str(record.get("gpu_info") or "").split(", ")
        if self.card.is_processor:
            where = [str(record.get("cpu_info") or "an unnamed processor").strip()] if where == [""] else where
            if where[0] != machine.processor().strip():
                return f"it is of {', '.join(where)}, this plan is for {machine.processor().strip()}"
        elif len(where) != self.count or any(not same_card(name, self.card) for name in where):
            return f"it is of {', '.join(where) if where != [''] else 'a processor'}, this plan is for {self.count} x {self.card.name}"
        size, mine = record.get("model_size"), self.model.header.weight_bytes
        if not isinstance(size, int) or abs(size - mine) > 0.01 * mine:
            has = f"{size / 1e9:.2f} GB of weights" if isinstance(size, int) else "no size of its weights"
            return f"its model ({line.get('facts', 'model', 'name') or record.get('model_type')}) has {has}, this one {mine / 1e9:.2f} GB"
        layers, most = record.get("n_gpu_layers"), self.placement.layers
        if not self.card.is_processor and isinstance(layers, int) and min(layers if layers >= 0 else most, most) != self.placement.ngl:
            return f"it had {layers} layers on the card (-ngl), this plan has {self.placement.ngl}"
        return ""


def same_card(reported: str, card: Card) -> bool:
    """Apple's chips come with several sizes of memory, which the driver's name does not tell."""
    found = recognised(reported)
    return found is not None and (found.name == card.name or (card.unified and found.name.split(" ")[:-1] == card.name.split(" ")[:-1]))


def speed(line: Line) -> Speed | None:
    """None where a line is not about decoding one sequence."""
    record, mode = line.record, str(line.get("configuration", "mode") or line.record.get("art_mode") or "off")
    rate, generated, depth = (record.get(name) for name in ("avg_ts", "n_gen", "n_depth"))
    # of some tiles only the keys are read, which the byte share knows; it counts records as well, hence the smaller of the two
    share = min((record[name] for name in ("art_read_share", "art_byte_share") if isinstance(record.get(name), (int, float))), default=None)
    kinds = {str(record.get(name, record.get("type_k"))) for name in ("type_k", "type_v")}
    if line.kind != "run" or mode not in MODES or record.get("n_prompt") or len(kinds) != 1 or not kinds <= set(KV_TYPES):
        return None
    if not isinstance(rate, (int, float)) or not 0 < rate < 1e9 or not isinstance(generated, int) or not isinstance(depth, int):
        return None
    found = float(share) if share is not None and 0 <= share <= 1 else None
    return Speed(mode, kinds.pop(), depth, generated, 1 / rate, found) if generated > 0 and depth >= 0 else None


@dataclass
class Evidence:
    """What results files say about a plan, and why the rest of them does not count."""

    speeds: list[Speed] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def calibration(self, planned: Machine) -> Calibration:
        return calibrate([planned.measurement(one) for one in self.speeds])


def evidence(files: Sequence[Path], planned: Machine, kv_type: str) -> Evidence:
    found = Evidence()
    for file in files:
        if read_prediction(file):
            raise UserError(f"{file} is a prediction; a plan follows measurements alone.")
        lines = [(line, one) for line in read(file, found.said.append) if (one := speed(line))]
        judged = [(one, planned.misfit(line)) for line, one in lines]
        fitting = [one for one, reason in judged if not reason]
        reasons = [reason for _, reason in judged if reason]
        found.speeds += fitting
        found.said.append(verdict(file, fitting, reasons, kv_type, modes(planned.card, planned.model)))
    return found


def verdict(file: Path, fitting: list[Speed], reasons: list[str], kv_type: str, planned: Sequence[str]) -> str:
    if not fitting:
        return f"{file.name} changes nothing: {reasons[0] if reasons else 'it holds no speed of decoding'}."
    found = [mode for mode in planned if any((one.mode, one.kv) == (mode, kv_type) for one in fitting)]
    if not found:
        kinds = ", ".join(sorted({one.kv for one in fitting}))
        return f"{file.name}: {len(fitting)} measured speeds set the time of the weights; attention is as assumed (KV {kinds} there)."
    rest = [mode for mode in planned if mode not in found]
    return f"{file.name}: fitted to {len(fitting)} measured speeds ({', '.join(found)})" + (
        f"; {', '.join(rest)} as assumed." if rest else "."
    )


def fit_params(program: Path, model: Path, setting: Setting) -> dict[str, dict[str, int]] | None:
    """Bytes by device and part as our build would allocate them; None if it cannot say."""
    command = [str(program), "-m", str(model), "-fitp", "on", "-c", str(setting.context), "-fa", "on", "-ub", str(setting.ubatch)]
    command += ["-ctk", setting.kv_type, "-ctv", setting.kv_type, "-np", str(setting.parallel)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_fit(done.stdout) if done.returncode == 0 else None


def parse_fit(text: str) -> dict[str, dict[str, int]] | None:
    """Lines of: device, model, context, compute (MiB)."""
    found = {}
    for line in text.splitlines():
        name, *numbers = line.split() or [""]
        if len(numbers) == 3 and all(number.isdigit() for number in numbers):
            found[name] = {part: int(number) * MIB for part, number in zip(("weights", "kv", "compute"), numbers, strict=True)}
    return found or None
