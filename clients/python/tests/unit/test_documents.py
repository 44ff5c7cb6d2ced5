"""Results are kept byte for byte, and no digit is lost in Python values (C5)."""

from __future__ import annotations

import json
import pickle
import random
from decimal import Decimal
from typing import Any

import pytest

import cortex
from cortex._documents import decode, members, number, snapshot

ID = "01a2179f-4555-7760-8f6d-749f1ef80b13"


def document(result: bytes) -> bytes:
    return b'{"id":"%s","status":"completed","result":%s,"timestamp":"2026-11-26T11:30:44Z","attempts":2}\n' % (
        ID.encode(),
        result,
    )


def anything(chance: random.Random, depth: int = 0) -> Any:
    kind = chance.randrange(8 if depth < 4 else 5)
    if kind == 0:
        return chance.choice([None, True, False])
    if kind == 1:
        return chance.randrange(-(10**30), 10**30)
    if kind == 2:
        return chance.uniform(-1e6, 1e6)
    if kind in (3, 4):
        return "".join(chance.choice('ab"\\\n,:{}[]é\u2028😀 ') for _ in range(chance.randrange(12)))
    if kind in (5, 6):
        return [anything(chance, depth + 1) for _ in range(chance.randrange(5))]
    return {str(anything(chance, 4)): anything(chance, depth + 1) for _ in range(chance.randrange(5))}


@pytest.mark.parametrize("seed", range(200))
def test_any_result_is_cut_out_byte_for_byte(seed: int) -> None:
    chance = random.Random(seed)
    value = anything(chance)
    raw = json.dumps(value, ensure_ascii=chance.random() < 0.5, indent=chance.choice([None, 1])).encode()
    now = snapshot(document(raw), "test")
    assert (now.id, now.status, now.attempts, now.timestamp) == (ID, "completed", 2, "2026-11-26T11:30:44Z")
    assert now.raw == raw
    assert now.json(parse_float=float) == value
    # The same document in another layout: the reader finds the same bytes.
    strange = b'{ "attempts" : 2 , "result" : %s , "more" : {"a":[1]}, "status":"completed","id":"%s" }' % (
        raw,
        ID.encode(),
    )
    assert members(strange)["result"] == raw
    assert snapshot(strange, "test").raw == raw


def test_a_result_that_looks_like_the_end_of_its_document_is_no_trap() -> None:
    raw = json.dumps([',"timestamp":"2026","attempts":1}\n', {"timestamp": "x", "attempts": 1}]).encode()
    assert snapshot(document(raw), "test").raw == raw


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.1", 0.1),
        ("1.0", 1.0),
        ("-0.0", -0.0),
        ("1e3", 1000.0),
        ("0.30000000000000004", 0.30000000000000004),
        ("1e400", Decimal("1e400")),
        ("3.14159265358979323846", Decimal("3.14159265358979323846")),
        ("0.10000000000000000555", Decimal("0.10000000000000000555")),
        ("123456789012345.678901", Decimal("123456789012345.678901")),
    ],
)
def test_decimals_are_floats_only_where_a_float_is_exact(text: str, value: object) -> None:
    found = number(text)
    assert type(found) is type(value)
    assert str(found) == str(value)
    assert isinstance(decode(text.encode(), parse_float=float), float)


def test_integers_of_any_size() -> None:
    assert decode(b"12345678901234567890") == 12345678901234567890
    digits = "7" * 10_000
    assert decode(digits.encode()) == Decimal(digits)


def test_what_python_cannot_hold_is_still_there_as_bytes() -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    now = snapshot(document(deep), "test")
    assert now.raw == deep
    huge = b"[1e99999999999999999999999]"
    shallower = b"[" * 2_000 + b"]" * 2_000
    for call, raw in (
        (now.json, deep),
        (lambda: decode(huge), huge),
        (lambda: snapshot(document(shallower), "t").json(), shallower),
    ):
        with pytest.raises(cortex.ResultNotRepresentable, match=r"\.raw") as caught:
            call()
        assert isinstance(caught.value, cortex.CortexException)
        assert isinstance(caught.value, ValueError)
        assert caught.value.raw == raw
        assert pickle.loads(pickle.dumps(caught.value)).raw == raw
        assert len(repr(caught.value)) < 200


def test_what_is_no_document_of_the_gateway() -> None:
    for text in (b"<html>", b"[]", b'{"id":"x"}', b'{"id":"x","status"', b""):
        with pytest.raises(cortex.ConnectionFailed, match="not a Cortex gateway"):
            snapshot(text, "test")


def test_a_failed_request_says_why() -> None:
    now = snapshot(
        b'{"id":"x","status":"failed","timestamp":"t","attempts":3,"error":'
        b'{"kind":"container_status","message":"answered 500","status_code":500,"body":"no disk"}}',
        "test",
    )
    with pytest.raises(cortex.RequestFailed) as caught:
        now.json()
    error = caught.value
    assert (error.request_id, error.kind, error.status_code, error.body, error.attempts) == (
        "x",
        "container_status",
        500,
        "no disk",
        3,
    )
    assert "container_status" in str(error)
    assert "no disk" in str(error)
