// What a wallet does that never meets the node: a digest of the metadata, calls decoded, transactions signed.
import { load, report } from './installed.mjs';

const [endpoint] = process.argv.slice(2);
const { ApiPromise, WsProvider } = await load('@polkadot/api');
const { Keyring } = await load('@polkadot/keyring');
const { base64Decode, base64Encode, blake2AsHex, cryptoWaitReady } = await load('@polkadot/util-crypto');
const { hexToU8a, u8aToHex, u8aToU8a } = await load('@polkadot/util');
const { Metadata, TypeRegistry } = await load('@polkadot/types', '@polkadot/api');
const { getSpecTypes } = await load('@polkadot/types-known', '@polkadot/api');

const UNIT = 10n ** 18n;
await cryptoWaitReady();
const provider = new WsProvider(endpoint);
const api = await ApiPromise.create({ provider, noInitWarn: true });
const keyring = new Keyring({ type: 'sr25519', ss58Format: 42 });
const [bob, charlie] = [keyring.addFromUri('//Bob'), keyring.addFromUri('//Charlie')];
const call = api.tx.balances.transferKeepAlive(charlie.address, UNIT);

/** What an app gives a wallet to know the chain by: @polkadot/extension-inject's MetadataDef. */
const definition = {
  chain: (await api.rpc.system.chain()).toString(), chainType: 'substrate', genesisHash: api.genesisHash.toHex(), icon: 'substrate',
  metaCalls: base64Encode(api.runtimeMetadata.asCallsOnly.toU8a()), specVersion: api.runtimeVersion.specVersion.toNumber(),
  ss58Format: api.registry.chainSS58, tokenDecimals: api.registry.chainDecimals[0], tokenSymbol: api.registry.chainTokens[0],
  types: getSpecTypes(api.registry, await api.rpc.system.chain(), api.runtimeVersion.specName, api.runtimeVersion.specVersion),
};

/** The registry of a wallet, from nothing but the definition. */
const wallet = new TypeRegistry();
wallet.setChainProperties(wallet.createType('ChainProperties', definition));
wallet.register(definition.types);
wallet.setMetadata(new Metadata(wallet, u8aToHex(base64Decode(definition.metaCalls))), undefined, definition.userExtensions);

async function payload() {
  const { header, mortalLength, nonce } = await api.derive.tx.signingInfo(bob.address, -1);
  return api.registry.createType('SignerPayload', {
    address: bob.address, blockHash: header.hash, blockNumber: header.number, genesisHash: api.genesisHash, method: call.method, nonce,
    era: api.registry.createType('ExtrinsicEra', { current: header.number, period: mortalLength }),
    runtimeVersion: api.runtimeVersion, signedExtensions: api.registry.signedExtensions, tip: 0, version: api.extrinsicVersion,
  });
}

await report({
  async digestsTheMetadata() {
    const { merkleizeMetadata } = await load('@polkadot-api/merkleize-metadata', 'polkadot-api');
    const { MerkleizedMetadata } = await load('@dedot/merkleized-metadata', 'dedot');
    const about = { decimals: definition.tokenDecimals, tokenSymbol: definition.tokenSymbol };
    const signed = hexToU8a((await call.signAsync(bob, { nonce: -1 })).toHex());
    const digests = {};
    for (const [version, argument] of [[15, '0x0f000000'], [16, '0x10000000']]) {
      const answer = await provider.send('state_call', ['Metadata_metadata_at_version', argument]);
      const blob = api.registry.createType('Option<Bytes>', hexToU8a(answer)).unwrap().toU8a(true);
      const papi = merkleizeMetadata(blob, about);
      const dedot = new MerkleizedMetadata(u8aToHex(blob), about);
      digests[version] = {
        papi: u8aToHex(papi.digest()), dedot: u8aToHex(u8aToU8a(dedot.digest())),
        proofs: [papi.getProofForExtrinsic(signed), dedot.proofForExtrinsic(u8aToHex(signed))].map((proof) => u8aToHex(u8aToU8a(proof))),
      };
    }
    return digests;
  },

  async decodesCallsByADefinition() {
    const decoded = wallet.createType('Call', call.method.toHex());
    const { args } = decoded.toHuman();
    return {
      definition: { ...definition, metaCalls: base64Decode(definition.metaCalls).length }, full: api.runtimeMetadata.toU8a().length,
      call: `${decoded.section}.${decoded.method}`, args, to: charlie.address, same: decoded.toHex() === call.method.toHex(),
    };
  },

  async signsWhatItOnlyRead() {
    const asked = (await payload()).toPayload();
    wallet.setSignedExtensions(asked.signedExtensions, definition.userExtensions);
    const inWallet = wallet.createType('ExtrinsicPayload', asked, { version: asked.version });
    const { signature } = inWallet.sign(bob);
    const extrinsic = api.registry.createType('Extrinsic', { method: asked.method }, { version: asked.version });
    extrinsic.addSignature(asked.address, signature, asked);
    const hash = await api.rpc.author.submitExtrinsic(extrinsic);
    const started = (await api.rpc.chain.getHeader()).number.toNumber();
    for (let number = started; number < started + 20;) {
      const at = await api.rpc.chain.getBlockHash(number);
      if (at.isEmpty) { await new Promise((resolve) => { setTimeout(resolve, 200); }); continue; }
      const { block } = await api.rpc.chain.getBlock(at);
      const found = block.extrinsics.find((one) => one.hash.eq(hash));
      if (found) {
        return {
          hash: hash.toHex(), own: blake2AsHex(extrinsic.toU8a()), signer: found.signer.toString(), wanted: bob.address,
          call: `${found.method.section}.${found.method.method}`, version: asked.version, mortal: found.era.isMortalEra,
        };
      }
      number += 1;
    }
    throw new Error('no block has the transaction');
  },
});
