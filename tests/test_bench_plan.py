"""What a bench asks for: depths, order, command lines."""

from __future__ import annotations

import pytest

from art_local.bench import configuration
from art_local.bench.configuration import Configuration, Plan
from art_local.errors import UserError


def test_the_sweep_doubles_up_to_what_fits() -> None:
    assert configuration.sweep(32768, 64) == (0, 4096, 8192, 16384, 32704)
    assert configuration.sweep(128, 64) == (0, 64)
    assert configuration.sweep(64, 64) == (0,)
    with pytest.raises(UserError, match="no room"):
        configuration.sweep(32, 64)


def test_modes_run_side_by_side_and_every_other_round_backwards() -> None:
    schedule = Plan(depths=(0, 8), modes=("exact",), rounds=2).schedule()
    assert [(number, one.depth, one.mode) for number, one in schedule] == [
        *((0, 0, "off"), (0, 0, "exact"), (0, 8, "off"), (0, 8, "exact")),
        *((1, 8, "exact"), (1, 8, "off"), (1, 0, "exact"), (1, 0, "off")),
    ]


def test_the_baseline_is_always_there_once() -> None:
    assert [one.mode for one in Plan(depths=(0,), modes=("off", "ranked")).configurations()] == ["off", "ranked"]


def test_a_tolerance_concerns_ranked_alone() -> None:
    plan = Plan(depths=(0,), modes=("exact", "ranked"), eps=(0.01, 0.02))
    assert [(one.mode, one.eps) for one in plan.configurations()] == [("off", None), ("exact", None), ("ranked", 0.01), ("ranked", 0.02)]


def test_the_stock_program_gets_no_art_flags() -> None:
    one = Configuration("ranked", "q4_0", 4096, 32, 512, 5, eps=0.005)
    with_art, without = one.arguments("m.gguf", True), one.arguments("m.gguf", False)
    assert " ".join(with_art) == (
        "-m m.gguf -ngl 99 -fa on -ctk q4_0 -ctv q4_0 -p 512 -n 32 -d 4096 -r 5 -o jsonl --progress --art ranked --art-eps 0.005"
    )
    assert without == with_art[:-4]


def test_batches_have_room_for_every_sequence() -> None:
    line = " ".join(Configuration("off", depth=512, generate=16, batch=4).arguments("m", False))
    assert "-c 2112 -npp 512 -ntg 16 -npl 4 --output-format jsonl" in line
    empty = " ".join(Configuration("off", depth=0, generate=4, batch=2).arguments("m", False))
    assert "-c 256 -npp 1 -ntg 4 -npl 2" in empty, "the program warms up with 16 tokens a sequence"


def test_layers_on_the_card_are_said_once() -> None:
    """llama-bench measures every value that it is told, one after another."""
    assert Configuration(extra=("-ngl", "20")).arguments("m", False).count("-ngl") == 1
    assert Configuration().arguments("m", False).count("-ngl") == 1


def test_a_configuration_survives_its_record_and_other_versions() -> None:
    one = Configuration("ranked", "f16", 9, eps=0.1, extra=("-t", "4"))
    assert Configuration.from_dict(one.as_dict()) == one
    assert Configuration.from_dict({**one.as_dict(), "invented": 3}) == one
    assert Configuration.from_dict({}) == Configuration()


@pytest.mark.parametrize("text", ["", "x", "-1", "1e3", "1.5", "9" * 12, "9999999999", "1,,2", "٣", "0x10", "2kk"])
def test_odd_numbers_get_a_sentence(text: str) -> None:
    with pytest.raises(UserError, match="--depths takes whole numbers"):
        configuration.numbers(text, "--depths")


def test_lists() -> None:
    assert configuration.numbers("0, 4k,8192,8k", "--depths") == (0, 4096, 8192)
    assert configuration.tolerances("0.01,0") == (0.01, 0.0)
    for odd in ("x", "-1", "nan", "inf", "1e9", ""):
        with pytest.raises(UserError):
            configuration.tolerances(odd)
    with pytest.raises(UserError, match="knows q8_0, q4_0, f16, not 'q5'"):
        configuration.choices("q8_0,q5", configuration.KV_TYPES, "--kv")
