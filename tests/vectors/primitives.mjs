// Writes primitives.json: a header, eras and signed extrinsics as @polkadot/types makes them.
//   npm install @polkadot/types@16.5.6 @polkadot/types-support@16.5.6 @polkadot/keyring@14.0.3
//   node primitives.mjs > primitives.json
import { TypeRegistry, Metadata } from '@polkadot/types';
import { Keyring } from '@polkadot/keyring';
import { u8aToHex } from '@polkadot/util';
import { cryptoWaitReady } from '@polkadot/util-crypto';
import meta from '@polkadot/types-support/metadata/v14/substrate-hex';
await cryptoWaitReady();
const registry = new TypeRegistry();
registry.setMetadata(new Metadata(registry, meta));
registry.setSignedExtensions(['CheckNonZeroSender','CheckSpecVersion','CheckTxVersion','CheckGenesis','CheckMortality','CheckNonce','CheckWeight','ChargeTransactionPayment']);
const out = { header: null, eras: [], extrinsics: [] };
const h32 = (b) => '0x' + b.repeat(32);
const header = registry.createType('Header', {
  parentHash: h32('a1'), number: 16777301, stateRoot: h32('b2'), extrinsicsRoot: h32('c3'),
  digest: { logs: [
    { PreRuntime: ['SMPX', '0x' + '5a'.repeat(207)] }, { Consensus: ['FRNK', '0x0102'] }, { Other: '0xdeadbeef' },
    { RuntimeEnvironmentUpdated: null }, { Seal: ['SMPX', '0x' + '77'.repeat(64)] } ] } });
out.header = { encoded: header.toHex(), hash: header.hash.toHex() };
for (const [current, period] of [[0,4],[1,4],[42,64],[1000,64],[1400,200],[65535,1024],[123456,4096],[123456,8192],[777777,16384],[99999999,65536],[4294967295,65536],[20,256]]) {
  // Built from a block number it keeps a phase that the encoding rounds; so take the decoded one.
  const era = registry.createType('MortalEra', registry.createType('MortalEra', { current, period }).toU8a());
  out.eras.push({ current, period, encoded: era.toHex(), birth: era.birth(current), death: era.death(current) });
}
for (const scheme of ['ed25519', 'sr25519', 'ecdsa']) for (const [nonce, tip, period, current, remark] of [[0,0,0,0,10],[5,0,64,1000,10],[300,'1000000000000000000',4096,123456,10],[70000,'340282366920938463463374607431768211455',65536,99999999,300]]) {
  const pair = new Keyring({ type: scheme }).createFromUri('//Alice');
  const method = registry.createType('Call', '0x0000' + (remark < 64 ? (remark << 2).toString(16).padStart(2, '0') : u8aToHex(Uint8Array.of(((remark << 2) | 1) & 255, remark >> 6), -1, false)) + 'ab'.repeat(remark));
  const era = period ? registry.createType('ExtrinsicEra', { current, period }) : registry.createType('ExtrinsicEra');
  const blockHash = period ? h32('0b') : h32('0a');
  const xt = registry.createType('Extrinsic', { method }, { version: 4 });
  const opts = { blockHash, era, genesisHash: h32('0a'), nonce, tip, runtimeVersion: { specVersion: 107, transactionVersion: 3 } };
  xt.sign(pair, opts);
  const payload = registry.createType('ExtrinsicPayload', { method: method.toHex(), era, nonce, tip, specVersion: 107, transactionVersion: 3, genesisHash: h32('0a'), blockHash }, { version: 4 });
  out.extrinsics.push({ scheme, nonce, tip: String(tip), period, current, call: method.toHex(), payload: u8aToHex(payload.toU8a({ method: true })), encoded: xt.toHex(), hash: xt.hash.toHex() });
}
const lines = (list) => '[\n' + list.map((item) => JSON.stringify(item)).join(',\n') + '\n]';
console.log(`{"header": ${JSON.stringify(out.header)},\n"eras": ${lines(out.eras)},\n"extrinsics": ${lines(out.extrinsics)}}`);
