"""A profile: tolerances by layer for one model, known by its sha256; of no use to any other, and refused there.

llama-server cannot hash tens of gigabytes when it starts; it knows the model by a fingerprint of its file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from art_local import __version__, checkout, files
from art_local.errors import UserError

if TYPE_CHECKING:
    from art_local.eval.setting import Setting

FORMAT = 4
STRETCHES, STRETCH = 64, 65536  # as common/art-profile.cpp of the patch series has them


@dataclass(frozen=True)
class Profile:
    model: str  # file name, for people
    sha256: str
    kv: str
    context: int
    target_kld: float
    eps: tuple[float, ...]  # by layer; 0: that layer reads everything
    calibration: dict[str, Any] = field(default_factory=dict)  # what was measured where it was found
    held_out: dict[str, Any] = field(default_factory=dict)  # and on text that it never saw
    fingerprint: str = ""  # of the model's file, of the first if there are parts
    series: str = ""  # of the patches that it was measured with: another may skip other tiles at the same tolerance

    @property
    def is_uniform(self) -> bool:
        return len(set(self.eps)) == 1

    @property
    def dense_layers(self) -> tuple[int, ...]:
        return tuple(layer for layer, eps in enumerate(self.eps) if eps == 0)

    def flags(self) -> list[str]:
        """For llama-server, llama-bench and llama-cli."""
        if self.is_uniform:
            return ["--art", "ranked", "--art-eps", f"{self.eps[0]:g}"]
        return ["--art", "ranked", "--art-layer-eps", ",".join(f"{eps:g}" for eps in self.eps)]

    def setting(self) -> Setting:
        """Two profiles of a model must not pass for one another in a file of results."""
        # numpy comes with these; a bench on a bare machine reads profiles without it
        from art_local.art import ArtParams
        from art_local.eval.setting import Setting

        checksum = hashlib.sha256(",".join(f"{eps:g}" for eps in self.eps).encode()).hexdigest()[:8]
        name = f"ranked tuned {checksum}"
        if self.is_uniform:
            return Setting(ArtParams(mode="ranked", eps=self.eps[0]), name=name, kv=self.kv)
        return Setting(ArtParams(mode="ranked"), layer_eps=self.eps, name=name, kv=self.kv)

    def doubt(self, series: str) -> str | None:
        """Why it may not hold on a build of this series."""
        if self.series == series:
            return None
        return (
            f"The profile was measured with series {self.series or 'unknown'}, this build is of {series or 'an unknown one'}: "
            "it may skip more or less than it was tuned for; 'art-local tune' makes it anew."
        )

    def describe(self) -> str:
        share = self.held_out.get("byte_share")
        read = f", {share:.0%} of the KV bytes on held-out text" if isinstance(share, float) else ""
        spread = f"{min(self.eps):g} to {max(self.eps):g}, {len(self.dense_layers)} of {len(self.eps)} layers exact"
        return f"profile for {self.model}: eps {f'{self.eps[0]:g} in all layers' if self.is_uniform else spread}{read}"


def fingerprint(model: Path) -> str:
    """sha256 over the file's size and 64 stretches spread evenly over it."""
    size = model.stat().st_size
    piece = min(size, STRETCH)
    digest = hashlib.sha256(size.to_bytes(8, "little"))
    with model.open("rb") as file:
        for number in range(STRETCHES):
            file.seek((size - piece) * number // (STRETCHES - 1))
            digest.update(file.read(piece))
    return digest.hexdigest()


def default_path(sha256: str, kv: str) -> Path:
    """One for each type of cache: the tolerances of one are of no use to another."""
    return checkout.cache() / "profiles" / f"{sha256}.{kv}.json"


def check_writable(path: Path) -> None:
    """Better now than after the tuning."""
    try:
        files.check(path)
    except OSError as error:
        raise unwritable(path, error) from None


def write(profile: Profile, path: Path) -> None:
    content = {"format": FORMAT, "made by": f"art-local tune {__version__}", **asdict(profile), "eps": list(profile.eps)}
    try:
        files.replace(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
    except OSError as error:
        raise unwritable(path, error) from None


def unwritable(path: Path, error: OSError) -> UserError:
    return UserError(f"The profile could not be written to {path}: {error.strerror or error}.")


def read(path: Path, sha256: str, kv: str | None = None) -> Profile:
    """Refused unless it was made for the model of this sha256, and for this type of cache where one is expected."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        # the server takes formats by number and leaves out what it does not know: the series is a field more, not another format
        if content.pop("format") != FORMAT or "series" not in content:
            raise UserError(f"{path} is of another format than this version reads; run 'art-local tune' again.")
        content.pop("made by")
        profile = Profile(**{**content, "eps": checked(content["eps"])})
        if not isinstance(profile.kv, str) or not isinstance(profile.series, str):
            raise TypeError
    except OSError as error:
        raise UserError(f"{path} could not be read: {error.strerror or error}.") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path} is no profile of 'art-local tune'.") from None
    if profile.sha256 != sha256:
        raise UserError(f"{path} was made for {profile.model} (sha256 {profile.sha256[:12]}), not for this model (sha256 {sha256[:12]}).")
    if kv and profile.kv != kv:
        raise UserError(f"{path} was made for KV type {profile.kv}, not {kv}.")
    return profile


def checked(eps: Any) -> tuple[float, ...]:
    values = tuple(float(one) for one in eps)
    if not values or not all(0 <= one <= 1 for one in values):
        raise ValueError(eps)
    return values


def found(sha256: str, kvs: Iterable[str], say: Callable[[str], object]) -> list[Profile]:
    """The profiles of a model on these types of cache that were made on this machine. Nobody asked for them by name: one that
    cannot be read is left out, and that is said."""
    profiles = []
    for kv in kvs:
        path = default_path(sha256, kv)
        try:
            if path.exists():
                profiles.append(read(path, sha256, kv))
        except UserError as error:
            say(f"The profile of this model is left out: {error}")
    return profiles
