"""Any object becomes bounded JSON, and no secret gets through."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import json
from collections import OrderedDict, namedtuple
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from autolog.capture.params import REDACTED, is_secret, mask, metric, sanitize

# Put together here, so that no scanner of this repository finds a token in it.
BODY = "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8"
TOKENS = [
    "hf_" + BODY,
    "ghp_" + BODY,
    "gho_" + BODY,
    "github_pat_" + BODY,
    "sk-" + BODY,
    "sk-proj-" + BODY,
    "AKIA" + "ABCDEFGH12345678",
    "xoxb-" + "123456789012-" + BODY,
    "glpat-" + BODY,
    "eyJ" + "hbGciOiJIUzI1NiJ9." + "eyJ" + "zdWIiOiIxMjM0In0." + BODY,
]

SECRET = """
    token password passwd passphrase secret api_key apikey apiKey APIKey API_KEY access_key
    private_key credential credentials auth basic_auth use_auth_token hf_token HF_TOKEN hub_token
    push_to_hub_token authToken client_secret AWS_SECRET_ACCESS_KEY aws_access_key_id
    wandb_api_key dbPassword --api-key access_tokens trackio/write_token password_2 TOKEN_HF
    Authorization db_pwd cookie oauth2 ssh_key
"""
HARMLESS = """
    tokenizer tokenizer_name max_tokens max_new_tokens token_type_ids num_tokens n_tokens tokens
    pad_token eos_token bos_token unk_token sep_token cls_token mask_token additional_special_tokens
    pad_token_id eos_token_id token_id image_token tokens_per_second cost_per_token author authors
    key keys keyword sort_key primary_key public_key key_dim num_key_value_heads monkey secretary
    PWD path compat lr batch_size tokenize
"""


@pytest.mark.parametrize("key", SECRET.split())
def test_a_credential_is_known_by_its_name(key):
    assert is_secret(key)


@pytest.mark.parametrize("key", HARMLESS.split())
def test_a_vocabulary_word_is_not_a_credential(key):
    assert not is_secret(key)


@pytest.mark.parametrize("token", TOKENS, ids=lambda token: token[:8])
@pytest.mark.parametrize("around", ["{}", "x {} y", "a={}&b=1", '"{}"', "({})", "\n+{}\n"])
def test_a_token_is_known_by_its_shape(token, around):
    masked = mask(around.format(token))
    assert token not in masked
    assert BODY not in masked
    assert masked == around.format(REDACTED)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://me:pw@host.org/x", "https://***@host.org/x"),
        ("https://opaque@host.org/x", "https://***@host.org/x"),
        ("postgresql://me:p@ss@db:5432/x", "postgresql://***@db:5432/x"),
        ("https://h.org/?write_token=abc&x=1", "https://h.org/?write_token=***&x=1"),
        ("train.py --api-key abc --lr 0.1", "train.py --api-key *** --lr 0.1"),
        ("train.py --token=abc --lr 0.1", "train.py --token=*** --lr 0.1"),
        ("PASSWORD=hunter2", "PASSWORD=***"),
        ("password: hunter2", "password: ***"),
        ("train.py --openai-key abc --pass x1 --pw x2", "train.py --openai-key *** --pass *** --pw ***"),
        ("FROM x\nENV DB_PASSWORD abc def\nENV LR 1", "FROM x\nENV DB_PASSWORD ***\nENV LR 1"),
        ('OPENAI_KEY="abc def"', 'OPENAI_KEY="***"'),
        ("https://a.blob.core/x?sv=1&sig=abc%3D&y=1", "https://a.blob.core/x?sv=1&sig=***&y=1"),
        ("https://hooks.slack.com/services/T0/B0/xyz", "https://hooks.slack.com/services/***"),
        ("Authorization: Bearer abc", "Authorization: Bearer ***"),
        ("{'Authorization': 'Basic QQ=='}", "{'Authorization': 'Basic ***'}"),
        ('{"api_key": "a b", "lr": 1}', '{"api_key": "***", "lr": 1}'),
        ('"{\\"token\\": \\"abc\\", 1}"', '"{\\"token\\": \\"***\\", 1}"'),
        ('os.environ["HF_TOKEN"] = "abc"', 'os.environ["HF_TOKEN"] = "***"'),
        ("f(token='abc', n=1)", "f(token='***', n=1)"),
        ('password="""abc"""', 'password="""***"""'),
        ("-----BEGIN RSA PRIVATE KEY-----\nMII\nx==\n-----END RSA PRIVATE KEY-----\nb", "***\nb"),
        ("-----BEGIN PRIVATE KEY-----\nMII with no end", "***"),
    ],
)
def test_a_secret_is_known_by_what_stands_before_it(text, expected):
    assert mask(text) == expected
    assert mask(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "adam",
        "ssh://git@github.com/a/b",
        "git@github.com:a/b.git",
        "http://localhost:8080/x",
        "risk-based-learning-2-and-more-things",
        "sk-learn-is-a-library-for-learning",
        "max_tokens=100, pad_token='[PAD]', tokenizer=bert",
        'token = os.environ["HF_TOKEN"]',
        "def f(token: str = None, password: str | None = None):",
        "the token that comes next, keyword=1, author: me",
    ],
)
def test_harmless_text_stays(text):
    assert mask(text) == text


def test_masking_reaches_the_end_of_hostile_text():
    for part in ("sk-", "-eyJaaaaaaa", "token=", "--token ", "://a:", 'password="', "token"):
        text = mask(part * 20_000 + " hf_" + BODY)
        assert BODY not in text


# --------------------------------------------------------------------------- sanitize


class Color(enum.Enum):
    RED = "red"
    PAIR = (1, 2)


@dataclasses.dataclass
class Config:
    lr: float = 0.1
    api_key: str = "abc"


class Plain:
    pass


class Broken:
    def __repr__(self):
        raise RuntimeError("no")

    @property
    def shape(self):
        raise ValueError("no")


class Huge:
    def __repr__(self):
        return "x" * 10_000_000


class Liar(str):
    def __str__(self):
        raise RuntimeError("no")


class Frozen(enum.IntEnum):
    ONE = 1


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (3, 3),
        ("adam", "adam"),
        ("\ud800x", "\\ud800x"),
        (Color.RED, "red"),
        (Color.PAIR, "Color.PAIR"),
        (Frozen.ONE, 1),
        (Config(), {"lr": 0.1, "api_key": REDACTED}),
        (Point(1, 2), {"x": 1, "y": 2}),
        (SimpleNamespace(a=1), {"a": 1}),
        (Path("a/b"), "a/b"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (datetime.timedelta(seconds=90), "0:01:30"),
        (decimal.Decimal("0.1"), "0.1"),
        (1 + 2j, "(1+2j)"),
        (b"abc", "abc"),
        (b"\x00\xff" * 9, "bytes(18)"),
        ({3, 1, 2}, [1, 2, 3]),
        ({"b", "a", 1}, [1, "a", "b"]),
        ((1, (2, 3)), [1, [2, 3]]),
        (range(3), [0, 1, 2]),
        (OrderedDict(a=1), {"a": 1}),
        ({1: "a", "1": "b", None: "c"}, {"1": "a", "1#2": "b", "None": "c"}),
        (2**70, str(2**70)),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (np.array(3), 3),
        (np.arange(3), [0, 1, 2]),
        (np.ma.masked, None),
        (np.ma.array(5, mask=True), None),
        (np.ma.array(5, mask=False), 5),
        ([np.ma.masked, 1], [None, 1]),
        (np.zeros((2000, 20)), "ndarray(2000, 20) float64"),
        (pd.DataFrame({"a": [1]}), "DataFrame(1, 1)"),
        (pd.Series([1, 2]), "Series(2) int64"),
        (np.mean, "numpy.mean"),
        (len, "len"),
        (int, "int"),
        (Plain, f"{__name__}.Plain"),
        (Plain(), f"{__name__}.Plain"),
        (json, "json"),
        (Liar("a"), "a"),
        (Broken(), "Broken (unreadable: ValueError)"),
        (["--token", "abc", "--lr", "0.1"], ["--token", REDACTED, "--lr", "0.1"]),
        ({"token": None, "use_auth_token": True}, {"token": None, "use_auth_token": True}),
        ({"password": ["a"], "hub": {"token": 5}}, {"password": REDACTED, "hub": {"token": "***"}}),
        (StandardScaler(), "StandardScaler()"),
        (LogisticRegression(C=0.5), "LogisticRegression(C=0.5)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_each_kind_of_value_becomes(value, expected):
    found = sanitize(value)
    assert found == expected
    assert type(found) is type(expected)


def test_a_pipeline_names_its_steps():
    text = sanitize(make_pipeline(StandardScaler(), LogisticRegression(C=0.5)))
    assert "StandardScaler()" in text
    assert "LogisticRegression(C=0.5)" in text


def test_pydantic_models_become_their_fields():
    import pydantic

    model = pydantic.create_model("M", lr=(float, 0.1), token=(str, "abc"))()
    assert sanitize(model) == {"lr": 0.1, "token": REDACTED}


def test_equal_objects_at_other_addresses_compare_equal():
    def make():
        return {"f": functools.partial(len, Plain()), "p": [Plain()], "g": (x for x in ())}

    kept = make()
    assert sanitize(kept) == sanitize(make())
    assert "0x" not in json.dumps(sanitize(kept))


def test_an_object_within_a_repr_is_its_name_too():
    found = sanitize(functools.partial(len, Plain()))
    assert found == f"functools.partial(<built-in function len>, {__name__}.Plain)"


def test_no_half_of_a_token_is_left_where_a_text_was_cut():
    for offset in range(50):
        text = " " * offset + f"hf_{BODY} " * 100
        assert "hf_" not in sanitize(text)


def test_a_generator_is_not_consumed():
    generator = iter([1, 2])
    sanitize({"g": generator})
    assert list(generator) == [1, 2]


def test_a_long_text_is_kept_whole_in_the_overflow():
    overflow: dict[str, str] = {}
    text = f"{'word ' * 300}hf_{BODY} end"
    found = sanitize({"a": {"b": text}}, limit=100, overflow=overflow, path="params")
    masked = mask(text)
    assert found["a"]["b"] == masked[:100] + f"… (+{len(masked) - 100} characters)"
    assert overflow == {"params/a/b": masked}


def test_size_is_bounded():
    cyclic: list[object] = []
    cyclic += [cyclic, {"again": cyclic}]
    wide = {str(n): list(range(1000)) for n in range(1000)}
    for value in (cyclic, wide, "x" * 10_000_000, Huge(), [wide] * 1000, MagicMock(), 10**9999):
        assert len(json.dumps(sanitize(value))) < 2_000_000
    assert len(json.dumps(sanitize("x" * 10_000_000))) < 600
    assert sanitize(list(range(1000)), items=3) == [0, 1, 2, "… (+997 items)"]
    assert sanitize({n: n for n in range(5)}, items=2) == {"0": 0, "1": 1, "…": "(+3 items)"}
    assert sanitize([[[]]], depth=2) == [["list(0 items)"]]
    assert sanitize(cyclic)[0] == "… (cycle to list)"


ODD = [Plain(), Broken(), Color.RED, Config(), np.float16(1), np.arange(300), len, Liar("a")]
leaves = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
    | st.complex_numbers() | st.decimals() | st.dates() | st.fractions() | st.uuids()
    | st.integers(0, len(ODD) - 1).map(lambda place: ODD[place])  # some cannot even be printed
)  # fmt: skip
anything = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=8) | st.integers() | st.booleans(), inner, max_size=5)
        | st.sets(st.text(max_size=5) | st.integers(), max_size=5)
    ),
    max_leaves=20,
)


@given(anything)
def test_everything_becomes_json(value):
    found = sanitize(value)
    text = json.dumps(found, ensure_ascii=False)
    text.encode("utf-8")
    assert isinstance(json.loads(text), type(found))


@given(anything, st.sampled_from(TOKENS), st.text(max_size=600), st.integers(0, 4))
def test_a_planted_token_never_survives(value, token, noise, place):
    planted = [
        {"note": f"{noise} {token}", "rest": value},
        [value, {f"key {token}": value}],
        Config(api_key=token),
        {"nested": [{"password": token[5:]}]},
        SimpleNamespace(a=Path(f"/tmp/{token}"), b=functools.partial(len, token)),
    ][place]
    overflow: dict[str, str] = {}
    assert token[5:] not in json.dumps(sanitize(planted, overflow=overflow)) + json.dumps(overflow)


@given(st.lists(st.sampled_from([*TOKENS, " ", "\n", "token=", "--token ", "'", '"', "a", "@"])))
def test_no_neighbourhood_hides_a_token(parts):
    masked = mask(" ".join(parts))
    assert not any(token in masked for token in TOKENS)


# --------------------------------------------------------------------------- metric


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1),
        (0.5, 0.5),
        (True, 1),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), 1),
        (np.array(0.5), 0.5),
        (np.array([[3]]), 3),
        (pd.Series([0.5]), 0.5),
        (decimal.Decimal("0.5"), 0.5),
        (fractions.Fraction(1, 2), 0.5),
        (float("inf"), float("inf")),
        (2**63 - 1, 2**63 - 1),
        (2**70, float(2**70)),
        (10**400, float("inf")),
        (-(10**400), float("-inf")),
        (decimal.Decimal("1e999"), float("inf")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_one_number_is_a_metric(value, expected):
    found = metric(value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("0.5", "str: 0.5"),
        (None, "NoneType"),
        ([0.5], "list"),
        (1j, "complex"),
        (np.zeros(3), "ndarray"),
        (np.ma.masked, "MaskedConstant"),
        (np.ma.array([5], mask=[True]), "MaskedArray"),
        (np.array("a"), "ndarray: a"),
        (np.zeros((900, 2)), r"ndarray\(900, 2\) float64"),
        ({"loss": 1}, "dict"),
        (Broken(), "Broken"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_anything_else_is_refused_with_words(value, said):
    with pytest.raises(TypeError, match=f"must be one number.*not .*{said}"):
        metric(value)
