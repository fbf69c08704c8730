"""Decode a block's events and an account with bt-decode; what it found goes out as JSON."""

from __future__ import annotations

import json
import sys
import urllib.request
from typing import Any

import bt_decode

EVENTS = "0x26aa394eea5630e07c48ae0c9558cef780d41e5e16056765bc8461851072c9d7"
url, block, account = sys.argv[1:]


def ask(method: str, *params: object) -> Any:
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    sent = urllib.request.Request(
        url, json.dumps(request).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(sent, timeout=10) as response:
        return json.load(response)["result"]


def data(method: str, *params: object) -> bytes:
    return bytes.fromhex(ask(method, *params)[2:])


metadata = bt_decode.MetadataV15.decode_from_metadata_option(
    data("state_call", "Metadata_metadata_at_version", "0x0f000000")
)
registry = bt_decode.PortableRegistry.from_metadata_v15(metadata)
described = json.loads(metadata.to_json())
(system,) = [pallet for pallet in described["pallets"] if pallet["name"] == "System"]
stored = {entry["name"]: entry["ty"] for entry in system["storage"]["entries"]}
events = bt_decode.decode(
    f"scale_info::{stored['Events']['Plain']}", registry, data("state_getStorage", EVENTS, block)
)
info = bt_decode.decode(
    f"scale_info::{stored['Account']['Map']['value']}",
    registry,
    data("state_getStorage", account, block),
)
print(
    json.dumps(
        {
            "pallets": [pallet["name"] for pallet in described["pallets"]],
            "apis": [api["name"] for api in described["apis"]],
            "types": len(described["types"]["types"]),
            "events": [event["event"] for event in events],
            "account": info,
        }
    )
)
