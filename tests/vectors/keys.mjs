// Writes keys.json: key pairs, addresses and signatures as @polkadot/keyring makes them.
//   npm install @polkadot/keyring@14.0.3 @polkadot/util-crypto@14.0.3 && node keys.mjs > keys.json
import { Keyring } from '@polkadot/keyring';
import { u8aToHex } from '@polkadot/util';
import { blake2AsU8a, cryptoWaitReady, encodeAddress, mnemonicGenerate } from '@polkadot/util-crypto';

await cryptoWaitReady();

// A small generator, so that the paths are the same in every run; the phrases are not.
let state = 20240817;
const below = (n) => {
  state = (Math.imul(state, 1103515245) + 12345) >>> 0;
  return (state >>> 8) % n;
};
const pick = (list) => list[below(list.length)];
const hex = (bytes) => u8aToHex(bytes, -1, false);

const names = [
  'Alice', 'stash', 'a', '0', '1', '007', '42', '4294967296', '18446744073709551615', 'polkadot js',
  'größe', '鍵', 'x'.repeat(30), 'x'.repeat(31), 'x'.repeat(32), 'y'.repeat(63), 'z'.repeat(70), '-1', '1.5', 'sr25519',
];
const passwords = ['', '', '', '///password', '///pass/word', '///größe', '///', '///a b'];
const roots = () => pick([
  () => '',
  () => mnemonicGenerate(pick([12, 15, 18, 21, 24])),
  () => mnemonicGenerate(12),
  () => '0x' + Array.from({ length: 32 }, () => below(256).toString(16).padStart(2, '0')).join(''),
])();

// Without a phrase this library wants '//' first; the development phrase is the same thing.
const devPhrase = 'bottom drive obey lake curtain smoke basket hold race lonely fit walk';
const fixed = ['//Alice', '//Bob', '//Charlie', '//Dave', '//Eve', '//Ferdie', '//Alice//stash'];
const cases = [];
for (const scheme of ['sr25519', 'ed25519', 'ecdsa']) {
  const keyring = new Keyring({ type: scheme, ss58Format: 42 });
  for (let i = 0; i < 110; i++) {
    let uri = fixed[i];
    if (uri === undefined) {
      uri = roots();
      for (let depth = below(4); depth > 0; depth--) {
        uri += (scheme === 'sr25519' ? pick(['/', '//']) : '//') + pick(names);
      }
      uri += uri.startsWith('0x') ? '' : pick(passwords);
    }
    const pair = keyring.createFromUri(uri.startsWith('/') || uri === '' ? devPhrase + uri : uri);
    const message = Uint8Array.from({ length: below(80) }, () => below(256));
    const account = scheme === 'ecdsa' ? blake2AsU8a(pair.publicKey, 256) : pair.publicKey;
    const prefix = pick([0, 2, 42, 63, 64, 255, 1284, 16383]);
    cases.push({
      scheme, uri, public: hex(pair.publicKey), account: hex(account), prefix,
      address: encodeAddress(account, prefix), message: hex(message), signature: hex(pair.sign(message)),
    });
  }
}
console.log('[\n' + cases.map((c) => JSON.stringify(c)).join(',\n') + '\n]');
