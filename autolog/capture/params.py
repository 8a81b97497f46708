"""Hyperparameters and metrics: from any Python object to what a run can hold.

`sanitize` turns a value into bounded JSON without secrets, `mask` takes secrets out of text,
`is_secret` judges a key by its name, and `metric` accepts what counts as a number.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import fractions
import inspect
import math
import os
import re
import types
import uuid
from collections.abc import Mapping, Sequence, Set
from itertools import islice
from typing import Any

from autolog.capture import omegaconf
from autolog.process.interrupts import came_by_signal
from autolog.process.signatures import signature_of

REDACTED = "***"

_NODES = 10_000  # values visited in one call, whatever its nesting
_OVERFLOW = 1_000_000  # characters of one long text that are kept whole
_TEXT = 8_000_000  # characters looked at in one call; past it, objects become type names

# --------------------------------------------------------------------------- secrets by name


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_ALWAYS = _words(
    "auth authorization bearer cookie cookies credential credentials jwt oauth "
    "passphrase passphrases passwd password passwords passwort secret secrets"
)
_RUN_TOGETHER = tuple(
    _words(
        "password passwd passphrase secret apikey accesskey privatekey secretkey "
        "apitoken authtoken accesstoken hftoken hubtoken"
    )
)
_OPENS_A_LOCK = _words(  # <word>_key
    "access account api auth deploy encryption gpg hmac license master private rsa secret "
    "service session shared signing ssh storage subscription "
    "anthropic aws azure cohere gcp google groq hf mistral openai openrouter sendgrid stripe wandb"
)
_OWNS_A_PASS = _words("admin database db ftp login mail root smtp user")  # <word>_pass
_HANDED_OUT = _words("access api auth bearer hf hub refresh session")  # <word>_tokens
# A token is a credential unless the word before it belongs to a vocabulary or a count.
_VOCABULARY = _words(
    "additional assistant audio begin blank boa bog boi bos bot class cls column delimiter dummy "
    "end eoa eoi eos eot every fake fim first forced frame go image last mask max mean middle min "
    "n newline next no num oov pad patch per placeholder prefix prompt register row sep separator "
    "single sos special speech start stop suffix system think time timestamp tool unk unknown "
    "video vision word"
)
_AFTER_TOKEN = _words("value string str write read hf hub github gitlab wandb trackio secret prod dev")


def is_secret(key: str) -> bool:
    """Whether a parameter of this name is likely to hold a credential.

    Names are judged word by word (`snake_case`, `kebab-case`, `camelCase`), so `hub_token` and
    `apiKey` are secrets while `tokenizer`, `max_tokens`, `pad_token` and `author` are not.

    Args:
        key: The name of a parameter, an environment variable or a command-line flag.
    """
    words = [word.lower() for word in _WORD.findall(key[-256:])]
    while words and words[-1].isdigit():
        words.pop()
    for before, word in zip(["", *words], words, strict=False):
        if word in _ALWAYS or word.endswith(_RUN_TOGETHER):
            return True
        if word in ("key", "keys") and before in _OPENS_A_LOCK:
            return True
        if word == "tokens" and before in _HANDED_OUT:
            return True
        if word in ("pwd", "pat") and before:  # `PWD` alone is the working directory
            return True
    if words and words[-1] in ("pass", "pw") and (len(words) == 1 or words[-2] in _OWNS_A_PASS):
        return True
    while words and words[-1] in _AFTER_TOKEN:
        words.pop()
    return bool(words) and words[-1] == "token" and (["", *words][-2] not in _VOCABULARY)


# --------------------------------------------------------------------------- secrets by shape

# Every quantifier below is either bounded or cannot fail once it has started, which keeps a
# substitution linear in the length of the text.
_SHAPES = re.compile(
    r"""
    -----BEGIN[ ][A-Z0-9 ]{0,40}PRIVATE[ ]KEY(?:[ ]BLOCK)?-----
        (?s:.*?)(?:-----END[ ][^-\n]{0,60}-----|\Z)
  | hf_[A-Za-z0-9]{16,}
  | gh[oprsu]_[A-Za-z0-9]{16,}
  | github_pat_\w{16,}
  | glpat-[\w-]{16,}
  | (?<![A-Za-z0-9])[rs]k_(?:live|test)_[A-Za-z0-9]{10,}
  | (?<![A-Za-z0-9])npm_[A-Za-z0-9]{20,}
  | (?<![A-Za-z0-9])pypi-[\w-]{30,}
  | (?<![A-Za-z0-9])SG\.[\w-]{16,128}\.[\w-]{16,}
  | (?<=hooks\.slack\.com/services/)[\w/]+
  | (?<=[?&]sig=)[^\s&"'<>]+
  | xox[a-z]-[A-Za-z0-9-]{8,}
  | (?:AKIA|ASIA)[A-Z0-9]{16}
  | AIza[\w-]{30,}
  | (?<![A-Za-z0-9])sk-(?=[\w-]{0,64}\d)[\w-]{16,}
  | (?<![A-Za-z0-9])eyJ[\w-]{8,512}\.eyJ[\w-]*(?:\.[\w-]*)?
  | (?:(?<=http://)|(?<=https://))[^\s/?\#'"<>]{1,512}(?=@)
  | (?<=://)[^\s/?\#'"<>@:]{0,256}:[^\s/?\#'"<>]{1,512}(?=@)
    """,
    re.VERBOSE,
)
_HEADER = re.compile(
    r"""(authorization\\?["']?\s{0,8}[:=]\s{0,8}\\?["']?(?:(?:bearer|basic|token)\s{1,8})?
        |\bbearer\s{1,8}(?=[^\s"']{16}))[^\s"'<>]+""",
    re.VERBOSE | re.IGNORECASE,
)
# A Dockerfile's `ENV NAME value` has neither a sign between the two nor quotes.
_DOCKERFILE = re.compile(
    r"^([ \t]{0,20}(?:ENV|ARG)[ \t]{1,8}([A-Za-z_]\w{0,100})[ \t]{1,8})(?!=)\S[^\n]*", re.MULTILINE
)
_NAMED = re.compile(
    r"""(?:token|passw(?:or)?d|passwort|passphrase|secret|pwd|credential|cookie|auth(?!orization)
        |(?:api|access|account|license|master|private|session|signing|ssh|storage|anthropic|aws|azure
         |cohere|gcp|google|groq|hf|mistral|openai|openrouter|sendgrid|stripe|wandb)[_-]?key
        |\bpass\b|\bpw\b|(?:admin|database|db|ftp|login|mail|root|smtp|user)[_-]pass)
    (?P<tail>[\w-]{0,32})
    (?:\\?["']?\]?\s{0,8}(?:=>|==?|:)\s{0,8} | (?P<gap>[ ]{1,8})(?=[^\s-]))""",
    re.VERBOSE | re.IGNORECASE,
)
_VALUE = re.compile(
    r"""(?P<escaped>\\["'])[^"'\n]+
      | (?P<double>[rbfu]{0,2}"(?:"")?)(?:\\.|[^"\\\n])+
      | (?P<single>[rbfu]{0,2}'(?:\'\')?)(?:\\.|[^'\\\n])+
      | [^\s"'&,;<>)\]}]+""",
    re.VERBOSE | re.IGNORECASE,
)
# Source code that fetches a secret, or annotates one, does not hold it.
_CODE = re.compile(
    r"""[A-Za-z_][\w.]*[(\[] | (?:None|True|False|str|bytes|bool|int|Any)(?=[\s,;)\]}&"'|]|$)""",
    re.VERBOSE,
)
_TRIGGERS = _words(
    "hf_ gho_ ghp_ ghr_ ghs_ ghu_ _pat_ glpat- xox akia asia aiza sk- eyj :// token key passw "
    "pass pwd pw secret auth credential cookie bearer -----begin k_live_ k_test_ npm_ pypi- sg. sig= "
    "hooks.slack"
)


def mask(text: str) -> str:
    """Replace what looks like a secret in a text with `***`.

    Recognised by shape: tokens of Hugging Face, GitHub, GitLab, Slack, AWS, Google and OpenAI
    style, JSON web tokens, PEM private keys and the user part of URLs (the host stays). By name:
    `name=value`, `"name": "value"`, `--name value` where `is_secret(name)`, and HTTP
    `Authorization` headers. Takes time linear in the length of the text.

    Args:
        text: Any text: an argument, a URL, a diff, the source of a script.
    """
    if len(text) < 8:
        return text
    lowered = text.lower()
    if not any(trigger in lowered for trigger in _TRIGGERS):
        return text
    text = _SHAPES.sub(REDACTED, text)
    text = _HEADER.sub(rf"\g<1>{REDACTED}", text)
    text = _DOCKERFILE.sub(lambda m: f"{m[1]}{REDACTED}" if is_secret(m[2]) else m[0], text)
    return _mask_named(text)


def _mask_named(text: str) -> str:
    kept: list[str] = []
    done = 0
    for match in _NAMED.finditer(text):
        start, end = match.span()
        if start < done:
            continue
        while match.start() - start < 64 and start > done and _in_name(text[start - 1]):
            start -= 1
        if match["gap"] and text[start] != "-":  # `--token X` is an option, `token X` is prose
            continue
        if not is_secret(text[start : match.end("tail")]) or _CODE.match(text, end):
            continue
        value = _VALUE.match(text, end)
        if value is None:
            continue
        quote = value["escaped"] or value["double"] or value["single"] or ""
        kept += (text[done:end], quote, REDACTED)
        done = value.end() - (1 if value["escaped"] and value[0].endswith("\\") else 0)
    return "".join((*kept, text[done:])) if kept else text


def _in_name(character: str) -> bool:
    return character.isalnum() or character in "_-"


# --------------------------------------------------------------------------- any value to JSON


def sanitize(
    value: Any,
    *,
    limit: int = 500,
    depth: int = 6,
    items: int = 200,
    overflow: dict[str, str] | None = None,
    path: str = "",
) -> Any:
    """Turn any value into a bounded JSON value without secrets; never raises.

    Numbers, strings, `None` and containers of them stay what they are. Enums, dates, paths,
    dataclasses, named tuples, pydantic models, OmegaConf's containers, small NumPy arrays and
    zero-dimensional tensors become what they hold; functions and classes their qualified name;
    estimators the call that makes them; large arrays and data frames a description such as
    `ndarray(2000, 20) float64`; anything else its `repr` without memory addresses, so that equal
    configurations compare equal.
    NaN and infinity stay floats. Under a key that names a secret only `None` and booleans remain.

    Args:
        value: Anything, cyclic and hostile objects included.
        limit: Characters kept of a string; a longer one ends with `… (+N characters)`.
        depth: Levels of nesting that are followed.
        items: Entries kept of one container.
        overflow: Filled with the whole text (masked, up to 1 MB) of each shortened string, under
            the string's path.
        path: Path of `value` itself, `/`-separated, the prefix of all keys in `overflow`.

    Returns:
        `None`, a bool, int, float, str, list, or dict with str keys.
    """
    try:
        return _Sanitizer(limit, items, overflow).visit(value, depth, path)
    except Exception as error:
        if came_by_signal(error):
            raise
        return _unreadable(value, error)


class _Sanitizer:
    """One walk over one value, with what is left of its budgets."""

    def __init__(self, limit: int, items: int, overflow: dict[str, str] | None) -> None:
        self.limit = limit
        self.items = items
        self.overflow = overflow
        self.nodes = _NODES
        self.characters = _TEXT
        self.open: set[int] = set()  # ids of the containers we are inside of

    def visit(self, value: Any, depth: int, path: str) -> Any:
        self.nodes -= 1
        if value is None or value is True or value is False:
            return value
        kind = type(value)
        if kind is float:
            return value
        if kind is int:
            return value if -(2**63) <= value < 2**63 else _large_int(value)
        if kind is str:
            return self.text(value, path)
        if self.nodes < 0:
            return f"… ({_name(kind)})"
        if id(value) in self.open:
            return f"… (cycle to {_name(kind)})"
        self.open.add(id(value))
        try:
            return self.convert(value, depth, path)
        except Exception as error:
            if came_by_signal(error):
                raise
            return _unreadable(value, error)
        finally:
            self.open.discard(id(value))

    def convert(self, value: Any, depth: int, path: str) -> Any:
        if isinstance(value, enum.Enum):
            inner = value.value
            plain = isinstance(inner, (str, int, float))
            return self.visit(inner, depth, path) if plain else self.text(str(value), path)
        # The base class' own methods: a subclass may print or convert itself in any way it likes.
        if isinstance(value, str):
            return self.text(str.__str__(value), path)
        if isinstance(value, int):
            return self.visit(int.__int__(value), depth, path)
        if isinstance(value, float):
            return float.__float__(value)
        if isinstance(value, (bytes, bytearray, memoryview)):
            return self.binary(value, path)
        if isinstance(value, (datetime.date, datetime.time)):
            return value.isoformat()
        if isinstance(value, (datetime.timedelta, uuid.UUID, complex, fractions.Fraction)):
            return self.text(str(value), path)
        if isinstance(value, decimal.Decimal):
            return self.text(str(value), path)
        if isinstance(value, os.PathLike):
            return self.visit(os.fspath(value), depth, path)
        if isinstance(value, types.ModuleType):
            return self.text(value.__name__, path)
        if isinstance(value, type) or inspect.isroutine(value):
            return self.text(_qualified(value), path)
        if omegaconf.is_config(value):
            return self.visit(omegaconf.plain(value), depth, path)
        shape = _shape(value)
        if shape is not None:
            return self.array(value, shape, depth, path)
        fields = _fields(value)
        if fields is not None:
            return self.mapping(fields, depth, path, kind=type(value))
        if isinstance(value, (set, frozenset, Set)) and not isinstance(value, Mapping):
            return self.unordered(value, depth, path)
        if isinstance(value, Sequence):
            return self.sequence(value, depth, path)
        if callable(getattr(value, "get_params", None)):
            return self.text(self.estimator(value, depth), path)
        return self.text(self.representation(value), path)

    def text(self, text: str, path: str) -> str:
        """The text, masked and shortened; all of it goes into the overflow."""
        if len(text) <= self.limit:
            self.characters -= len(text)
            return mask(_encodable(text))
        keep = self.overflow is not None and self.characters > 0
        head = _head(text, _OVERFLOW if keep else self.limit + 1000)
        self.characters -= len(head)
        masked = mask(_encodable(head))
        whole = len(head) == len(text)
        if whole and len(masked) <= self.limit:
            return masked
        if self.overflow is not None and keep:
            self.overflow[path] = masked
        rest = len(masked if whole else text) - self.limit
        return f"{masked[: self.limit]}… (+{rest} characters)"

    def binary(self, value: bytes | bytearray | memoryview, path: str) -> str:
        size = value.nbytes if isinstance(value, memoryview) else len(value)
        if size <= self.limit:
            decoded = bytes(value).decode("utf-8", "replace")
            if decoded.isprintable() and "\ufffd" not in decoded:
                return self.text(decoded, path)
        return f"{_name(type(value))}({size})"

    def array(self, value: Any, shape: tuple[int, ...], depth: int, path: str) -> Any:
        if shape == () and callable(getattr(value, "item", None)):
            return None if _is_masked(value) else self.visit(value.item(), depth, path)
        is_numpy = type(value).__module__ == "numpy"
        if is_numpy and len(shape) <= 2 and value.size <= self.items and depth > 0:
            return self.visit(value.tolist(), depth, path)
        return self.text(describe_array(value, shape), path)

    def mapping(self, value: Mapping[Any, Any], depth: int, path: str, kind: type | None = None) -> Any:
        if depth <= 0:
            return f"{_name(kind or type(value))}({_length(value)} items)"
        found: dict[str, Any] = {}
        entries = value.items() if isinstance(value, dict) else ((k, value[k]) for k in value)
        for key, inner in islice(entries, self.items):
            name = self.key(key, found)
            below = f"{path}/{name}" if path else name
            hide = inner is not None and not isinstance(inner, bool) and is_secret(name)
            found[name] = REDACTED if hide else self.visit(inner, depth - 1, below)
        if (rest := _length(value) - len(found)) > 0:
            found["…"] = f"(+{rest} items)"
        return found

    def key(self, key: Any, taken: Mapping[str, Any]) -> str:
        if isinstance(key, enum.Enum):
            key = key.value
        visited = self.visit(key, 1, "") if not isinstance(key, str) else str.__str__(key)
        name = visited if isinstance(visited, str) else str(visited)
        name = mask(_encodable(_head(name, 200) if len(name) > 200 else name))
        if name not in taken:
            return name
        return next(f"{name}#{n}" for n in range(2, len(taken) + 3) if f"{name}#{n}" not in taken)

    def sequence(self, value: Sequence[Any], depth: int, path: str) -> Any:
        if depth <= 0:
            return f"{_name(type(value))}({_length(value)} items)"
        found: list[Any] = []
        flag = ""
        for index, inner in enumerate(islice(value, self.items)):
            is_text = isinstance(inner, str)
            # ["--token", "abc"]: the secret is named by its neighbour.
            named = is_text and flag.startswith("-") and not inner.startswith("-")
            hide = named and "=" not in flag and is_secret(flag)
            below = f"{path}/{index}" if path else str(index)
            found.append(REDACTED if hide else self.visit(inner, depth - 1, below))
            flag = inner[:256] if is_text else ""
        if (rest := _length(value) - len(found)) > 0:
            found.append(f"… (+{rest} items)")
        return found

    def unordered(self, value: Set[Any], depth: int, path: str) -> Any:
        size = _length(value)
        if depth <= 0 or size > 10 * self.items:
            return f"{_name(type(value))}({size} items)"
        found = [self.visit(inner, depth - 1, path) for inner in value]
        found.sort(key=lambda entry: (_name(type(entry)), entry if _is_number(entry) else 0, str(entry)))
        return found[: self.items] + [f"… (+{size - self.items} items)"] * (size > self.items)

    def estimator(self, value: Any, depth: int) -> str:
        """The call that makes this estimator, naming only what differs from the defaults."""
        name = _name(type(value))
        if depth <= 0:
            return f"{name}(…)"
        known = signature_of(type(value).__init__).parameters
        written = []
        for key, inner in islice(value.get_params(deep=False).items(), self.items):
            default = known[key].default if key in known else inspect.Parameter.empty
            if inner is default:
                continue
            plain = self.visit(inner, depth - 1, "")
            if plain == self.visit(default, depth - 1, "") and type(inner) is type(default):
                continue
            if inner is not None and not isinstance(inner, bool) and is_secret(str(key)):
                plain = REDACTED
            written.append(f"{key}={plain if not isinstance(inner, str) else repr(plain)}")
        return f"{name}({', '.join(written)})"

    def representation(self, value: Any) -> str:
        kind = type(value)
        if getattr(kind, "__repr__", None) is object.__repr__ or self.characters < 0:
            return _qualified(kind)
        return without_addresses(repr(value))


def without_addresses(text: str) -> str:
    """A `repr` without memory addresses: `<Foo object at 0x7f...>` is `Foo`."""
    if " at 0x" not in text[:_OVERFLOW]:
        return text
    text = _DEFAULT_REPR.sub(r"\1", text[:_OVERFLOW])
    return _ADDRESS.sub("", text)


_DEFAULT_REPR = re.compile(r"<([\w.<>]{1,200}) object at 0x[0-9A-Fa-f]+>")
_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")


def describe_array(value: Any, shape: tuple[int, ...] | None = None) -> str:
    """An array, tensor or frame in a few words: type, shape and, when it has one, dtype."""
    shape = _shape(value) if shape is None else shape
    text = _name(type(value)) + (f"({', '.join(map(str, shape))})" if shape is not None else "")
    dtype = getattr(value, "dtype", None)
    return text if dtype is None else f"{text} {str(dtype)[:100].removeprefix('torch.')}"


def _shape(value: Any) -> tuple[int, ...] | None:
    # Tuples only: a mock, or a lazy object, answers to any attribute with something else.
    shape = getattr(value, "shape", None)
    if type(shape).__name__ == "TensorShape":
        shape = tuple(shape or ())
    return shape if isinstance(shape, tuple) and not isinstance(value, type) else None


def _is_masked(value: Any) -> bool:
    """Whether NumPy masks all of it: ``item`` would tell what lies below, of ``np.ma.masked`` 0.0."""
    return type(value).__module__.startswith("numpy.ma") and bool(value.mask.all())


def _fields(value: Any) -> Mapping[Any, Any] | None:
    """What a record-like object holds, by name; None for anything else."""
    if isinstance(value, Mapping):
        return value
    if dataclasses.is_dataclass(value):
        return {f.name: getattr(value, f.name, None) for f in dataclasses.fields(value)}
    if isinstance(value, tuple) and isinstance(names := getattr(value, "_fields", None), tuple):
        return dict(zip(names, value, strict=False))
    if hasattr(type(value), "model_dump"):
        dumped = value.model_dump()
        return dumped if isinstance(dumped, Mapping) else None
    if _name(type(value)) in ("Namespace", "SimpleNamespace"):
        return dict(vars(value))
    return None


def _qualified(value: Any) -> str:
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    if not isinstance(name, str):
        return without_addresses(repr(value))
    module = getattr(value, "__module__", None)
    return name if module in (None, "builtins", "__main__") else f"{module}.{name}"


def _name(kind: type) -> str:
    return kind.__name__


def _length(value: Any) -> int:
    try:
        return len(value)
    except Exception:
        return 0


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not math.isnan(value)


def _large_int(value: int) -> str:
    # Databases and JSON readers stop at 64 bits, Python refuses to print very long ones.
    return str(value) if value.bit_length() <= 10_000 else f"int of {value.bit_length()} bits"


def label(value: Any, limit: int = 500) -> str:
    """A name, key or tag as it may be stored anywhere: masked, encodable, of bounded length.

    Args:
        value: Anything; its `str` is taken.
        limit: Characters that are kept.
    """
    try:
        text = str(value)
    except Exception:
        text = type(value).__name__
    return mask(_encodable(text[: 4 * limit]))[:limit]


def _encodable(text: str) -> str:
    """Lone surrogates cannot be written as UTF-8."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def _head(text: str, size: int) -> str:
    """The beginning of a text, cut between words so that no half of a token escapes `mask`."""
    if len(text) <= size:
        return text
    tail = text[max(0, size - 256) : size]
    words = tail.split()
    last = len(words[-1]) if words and not tail[-1].isspace() else 0
    return text[: size - last]


def _unreadable(value: Any, error: Exception) -> str:
    return f"{type(value).__name__} (unreadable: {type(error).__name__})"


def scalar(value: Any) -> bool | int | float | str | None:
    """A truth, a number or a text as Python's own, of NumPy's and of subclasses too; None: something else."""
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        value = value.item()
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    return float.__float__(value) if isinstance(value, float) else None


# --------------------------------------------------------------------------- metrics


def metric(value: Any) -> float | int:
    """A metric's value as a Python number.

    Takes Python and NumPy numbers and booleans, `Decimal`, `Fraction`, and arrays or tensors of
    any library that hold exactly one element. NaN and infinity pass. An integer beyond 64 bits becomes
    the nearest float, which is infinity where there is none: so JSON's readers take it, or fail.

    Raises:
        TypeError: For anything else, strings and complex numbers included.
    """
    kind = type(value)
    if kind is float:
        return value  # type: ignore[no-any-return]
    number = value if kind is int else _single(value)
    if isinstance(number, int) and -(2**63) <= number < 2**64:
        return int(number)
    if isinstance(number, (int, float, decimal.Decimal, fractions.Fraction)):
        try:
            return float(number)
        except OverflowError:
            return math.inf if number > 0 else -math.inf
    given = sanitize(value, limit=80, items=5, depth=2)
    raise TypeError(
        f"a metric must be one number (int, float, or an array or tensor with one element), "
        f"not {_name(kind)}: {given!s:.100}"
    )


def _single(value: Any) -> Any:
    """What a scalar or one-element array of any library holds; None when it is no such thing, or masked."""
    if isinstance(value, (int, float, decimal.Decimal, fractions.Fraction)):
        return value
    try:
        if callable(numpy := getattr(value, "numpy", None)) and not hasattr(value, "item"):
            value = numpy()  # TensorFlow
        return None if _is_masked(value) else value.item()
    except Exception:  # several elements, each library with an error of its own
        return None
