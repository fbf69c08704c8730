"""What wallets, transactions and old state depend on, as it was approved.

    python tests/runtime/frame/metadata_pins.py --write    pin what is there now

A changed index, storage key or layout breaks signed transactions or stored state: raise the
runtime's version with it. Texts are not pinned.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
VECTORS = ROOT / "tests" / "vectors" / "metadata.json"


def pins() -> dict[str, Any]:
    """Return every index, storage prefix, type layout and API method of the runtime."""
    from runtime.apis.registry import APIS
    from runtime.construct import PALLETS
    from runtime.executive import metadata
    from runtime.frame import pallet as declared
    from runtime.frame.metadata_schema import decode_metadata, encode_metadata
    from runtime.frame.runtime_api import api_methods
    from runtime.primitives.hashing import blake2_256

    pallets = {
        cls.NAME: {
            "index": cls.INDEX,
            "calls": {c.name: i for i, c in declared.calls(cls).items()},
            "events": {e.name: i for i, e in declared.events(cls).items()},
            "errors": {e.name: i for i, e in declared.errors(cls).items()},
            "storage": {i.name: i.key().hex() for i in declared.storage_items(cls).values()},
        }
        for cls in PALLETS
    }
    apis = {api.NAME: {"version": api.VERSION, "methods": list(api_methods(api))} for api in APIS}
    bare = encode_metadata(without_docs(decode_metadata(metadata(14) or b"")))
    return {"layout_blake2_256": blake2_256(bare).hex(), "pallets": pallets, "apis": apis}


def without_docs(value: Any) -> Any:
    """Return metadata without its texts and without the values of constants."""
    if isinstance(value, tuple):
        return tuple(without_docs(part) for part in value)
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    changes = {f.name: without_docs(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if "docs" in changes:
        changes["docs"] = ()
    if type(value).__name__ == "Constant":
        changes["value"] = b""
    return dataclasses.replace(value, **changes)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    shown = json.dumps(pins(), indent=1) + "\n"
    if "--write" in sys.argv:
        VECTORS.write_text(shown)
    else:
        print(shown, end="")
