"""What every room needs: codec, hashes, keys, headers, extrinsics, fixed-point numbers."""
