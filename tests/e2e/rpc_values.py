"""Values for parameters: what a schema asks for, what it does not, and what is far too much."""

from __future__ import annotations

import random
import string
from dataclasses import dataclass, field
from typing import Any

from runtime.primitives.keys import ss58_encode

Schema = dict[str, Any]
HASH = "^0x[0-9a-f]{64}$"
_APIS = (
    "AccountNonceApi_account_nonce",
    "BlockBuilder_apply_extrinsic",
    "BlockBuilder_check_inherents",
    "Core_execute_block",
    "Core_initialize_block",
    "Core_version",
    "DryRunApi_dry_run",
    "GenesisBuilder_get_preset",
    "Metadata_metadata",
    "Metadata_metadata_at_version",
    "SessionKeys_generate_session_keys",
    "TaggedTransactionQueue_validate_transaction",
    "TransactionPaymentApi_query_info",
    "TransactionPaymentApi_query_weight_to_fee",
    "no_such_api",
)


@dataclass
class Known:
    """What a stranger may learn of a chain; idents grow while calls are answered."""

    hashes: list[str]
    keys: list[str]
    extrinsics: list[bytes]
    accounts: list[bytes]
    idents: list[str] = field(default_factory=list)

    def learn(self, ident: str) -> None:
        """Remember an id of a subscription or an operation, the latest of them."""
        self.idents.append(ident)
        del self.idents[:-64]


class Values:
    """Draws values from a seeded source."""

    def __init__(self, known: Known, shapes: dict[str, Schema], source: random.Random) -> None:
        self.known = known
        self.source = source
        self._shapes = shapes

    def right(self, schema: Schema, name: str = "") -> Any:
        """Draw what a schema admits, real values of the chain where the name asks for them."""
        source = self.source
        if "$ref" in schema:
            return self.right(self._shapes[schema["$ref"].rpartition("/")[2]], name)
        for several in ("oneOf", "anyOf"):
            if several in schema:
                return self.right(source.choice(schema[several]), name)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return source.choice(schema["enum"])
        match schema.get("type"):
            case "string":
                return self._text(schema, name)
            case "integer":
                return self._number(schema.get("minimum", 0), schema.get("maximum", 2**64 - 1))
            case "boolean":
                return source.random() < 0.5
            case "null":
                return None
            case "array":
                most = min(schema.get("maxItems", 4), source.choice((0, 1, 2, 5, 40)))
                return [self.right(schema.get("items", {}), name) for _ in range(most)]
            case "object":
                return self._record(schema)
        return self.junk()

    def junk(self) -> Any:
        """Draw anything, small."""
        source = self.source
        return source.choice(
            (
                *(None, True, False, 0, 1, -1, 255, 2**31, 2**32, 2**63, 2**64, -(2**63), 10**30),
                *(0.5, -0.0, 1e308, 3.0, "", " ", "0", "0x", "0X", "0x0", "0xzz", "zz", "null"),
                *("-1", "0x-1", "1e3", "0x_1", "0b1", "\x00", "²", "\ud83d\ude00", "a" * 300),
                *([], {}, [[]], [None], {"": None}, {"hash": 0}, {"key": "0x"}, [{}]),
                "0x" + source.randbytes(source.choice((1, 31, 32, 33, 64, 500))).hex(),
                source.randbytes(32).hex(),
                *source.sample(self.known.hashes, 2),
                source.choice(self.known.keys),
                self.extrinsic(),
                source.random(),
                source.randrange(-(2**70), 2**70),
                {source.choice(string.ascii_letters): source.random()},
            )
        )

    def huge(self) -> Any:
        """Draw something of megabytes, or with as many members as a message may have."""
        source = self.source
        kind = source.randrange(8)
        size = source.choice((100_000, 1_000_000, 10_000_000))
        if kind == 0:
            return "0x" + "ab" * (size // 2)
        if kind == 1:
            return "é" * (size // 8)  # six bytes each as JSON
        if kind == 2:
            return list(range(100_000))
        if kind == 3:
            return [source.choice(self.known.keys)] * 50_000
        if kind == 4:
            return [{"key": "0x", "type": "descendantsValues"}] * 40_000
        if kind == 5:
            return {str(number): [] for number in range(60_000)}
        if kind == 6:
            return "9" * (size // 10)
        return self.nested(source.choice((100, 900)))

    def nested(self, depth: int) -> Any:
        """Put arrays and objects into one another."""
        value: Any = 1
        for level in range(depth):
            value = [value] if level % 2 else {"a": value}
        return value

    def extrinsic(self) -> str:
        """Draw a real extrinsic, or one that differs from it a little."""
        source = self.source
        data = bytearray(source.choice(self.known.extrinsics))
        match source.randrange(6):
            case 0:
                pass
            case 1:
                data[source.randrange(len(data))] ^= 1 << source.randrange(8)
            case 2:
                del data[source.randrange(len(data)) :]
            case 3:
                data += source.randbytes(source.randrange(1, 40))
            case 4:
                start = source.randrange(len(data))
                data[start : start + source.randrange(9)] = source.randbytes(source.randrange(9))
            case _:
                data = bytearray(source.randbytes(source.randrange(200)))
        return "0x" + data.hex()

    def _number(self, low: int, high: int) -> int:
        near = [n for n in (0, 1, 2, 7, 20, 100, 1000, low, high) if low <= n <= high]
        return self.source.choice([*near, self.source.randint(low, high)])

    def _record(self, schema: Schema) -> dict[str, Any]:
        required = schema.get("required", ())
        return {
            name: self.right(member, name)
            for name, member in schema.get("properties", {}).items()
            if name in required or self.source.random() < 0.5
        }

    def _text(self, schema: Schema, name: str) -> str:
        source = self.source
        pattern, described = schema.get("pattern", ""), schema.get("description", "")
        if pattern == HASH:
            return source.choice(self.known.hashes)
        if "ss58" in described.lower():
            return ss58_encode(source.choice(self.known.accounts))
        if schema.get("contentEncoding") == "base64":
            return source.choice(("", "AAAA", "AAECAwQ=", "/////w==", "A" * 400))
        if pattern == "^0x[0-9a-f]+$":
            return hex(self._number(0, 2**64 - 1))
        if pattern == "^[0-9]+$":
            return str(self._number(0, 2**64 - 1))
        if "hexadecimal" in described or "0x" in pattern:
            return self._bytes(name)
        if name in ("function", "method"):
            return source.choice(_APIS)
        if "scription" in name or "peration" in name or name == "id":
            return source.choice([*self.known.idents[-16:], "none"])
        return source.choice(("", "manuals", "a b", "ß", "0", "//Alice", "consensus", "account"))

    def _bytes(self, name: str) -> str:
        source = self.source
        if "xtrinsic" in name or name in ("transaction", "data") or source.random() < 0.1:
            return self.extrinsic()
        if name == "callParameters":
            return source.choice(("0x", "0x0e000000", self.extrinsic(), source.choice(_keys(self))))
        key = source.choice(self.known.keys)
        if "refix" in name or (name in ("storageKeys", "key", "after") and source.random() < 0.3):
            return key[: source.choice((2, 4, 34, 66, len(key)))]
        return source.choice((key, key, key[:-2], key + "00", "0x"))


def _keys(values: Values) -> list[str]:
    return ["0x" + account.hex() for account in values.known.accounts]
