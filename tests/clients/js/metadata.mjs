// Metadata blobs, read by the decoders of two clients without a node: what each found goes out as JSON.
import { readFileSync } from 'node:fs';
import { load, report } from './installed.mjs';

const [folder] = process.argv.slice(2);
const blob = (version) => readFileSync(`${folder}/v${version}.hex`, 'utf8').trim();
const VERSIONS = [14, 15, 16];
const each = async (read) => Object.fromEntries(
  await Promise.all(VERSIONS.map(async (version) => [version, await read(version)])),
);

await report({
  async polkadot() {
    const { Metadata, TypeRegistry } = await load('@polkadot/types', '@polkadot/api');
    return each((version) => {
      const registry = new TypeRegistry();
      const metadata = new Metadata(registry, blob(version));
      registry.setMetadata(metadata);
      const latest = metadata.asLatest;
      return {
        version: metadata.version,
        pallets: latest.pallets.map((p) => p.name.toString()),
        calls: latest.pallets.filter((p) => p.calls.isSome).length,
        types: metadata.registry.lookup.types.length,
        same: metadata.toHex() === blob(version),
        apis: Object.fromEntries(
          latest.apis.map((api) => [api.name.toString(), api.methods.map((m) => m.name.toString())]),
        ),
        undocumented: latest.apis.flatMap((api) => api.methods)
          .filter((m) => m.docs.length === 0).map((m) => m.name.toString()),
        extensions: latest.extrinsic.transactionExtensions.map((e) => e.identifier.toString()),
        definitions: metadata.registry.lookup.types.map((t) => metadata.registry.createLookupType(t.id)).length,
      };
    });
  },
  async papi() {
    const { decAnyMetadata, unifyMetadata } = await load(
      '@polkadot-api/substrate-bindings', 'polkadot-api',
    );
    return each((version) => {
      const decoded = decAnyMetadata(blob(version));
      const unified = unifyMetadata(decoded);
      return {
        version: decoded.metadata.tag,
        pallets: unified.pallets.map((p) => p.name),
        types: unified.lookup.length,
        apis: Object.fromEntries(
          unified.apis.map((api) => [api.name, api.methods.map((m) => m.name)]),
        ),
        extensions: Object.values(unified.extrinsic.signedExtensions)[0].map((e) => e.identifier),
      };
    });
  },
});
