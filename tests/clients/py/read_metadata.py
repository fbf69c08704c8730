"""Read a metadata blob with scalecodec; what it found goes out as one JSON object."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from scalecodec.base import RuntimeConfigurationObject, ScaleBytes
from scalecodec.type_registry import load_type_registry_preset

blob = ScaleBytes(Path(sys.argv[1]).read_text())
configuration = RuntimeConfigurationObject()
configuration.update_type_registry(load_type_registry_preset("core"))
metadata = configuration.create_scale_object("MetadataVersioned", data=blob)
value = metadata.decode()
configuration.add_portable_registry(metadata)
told = value[1]["V14"]
print(
    json.dumps(
        {
            "version": next(iter(value[1])),
            "types": len(told["types"]["types"]),
            "calls": {
                pallet.value["name"]: [c.value["name"] for c in pallet.calls]
                for pallet in metadata.pallets
                if pallet.calls
            },
            "extensions": [e["identifier"] for e in told["extrinsic"]["signed_extensions"]],
            "left": len(blob.data) - blob.offset,
        }
    )
)
