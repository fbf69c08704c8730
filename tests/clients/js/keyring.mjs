// What @polkadot/keyring and @polkadot/util-crypto make of cases: each line of stdin is a JSON array of them, each line out the array of answers.
import { createInterface } from 'node:readline';
import { load } from './installed.mjs';

const { Keyring } = await load('@polkadot/keyring');
const { hexToU8a, stringToU8a, u8aConcat, u8aToHex } = await load('@polkadot/util');
const {
  base58Decode, base58Encode, blake2AsU8a, checkAddressChecksum, cryptoWaitReady, decodeAddress, ed25519Verify,
  encodeAddress, mnemonicGenerate, mnemonicToEntropy, secp256k1Verify, sr25519Verify,
} = await load('@polkadot/util-crypto');

const verifiers = { sr25519: sr25519Verify, ed25519: ed25519Verify, ecdsa: secp256k1Verify };
const pair = (uri, scheme) => new Keyring({ type: scheme }).createFromUri(uri);

const kinds = {
  generate: ({ words }) => mnemonicGenerate(words),
  entropy: ({ phrase }) => u8aToHex(mnemonicToEntropy(phrase)),
  key: ({ uri, scheme }) => {
    const found = pair(uri, scheme);
    return { public: u8aToHex(found.publicKey), account: u8aToHex(found.addressRaw), address: found.address };
  },
  sign: ({ uri, scheme, message }) => u8aToHex(pair(uri, scheme).sign(hexToU8a(message))),
  verify: ({ scheme, account, message, signature }) => (
    verifiers[scheme](hexToU8a(message), hexToU8a(signature), hexToU8a(account))
  ),
  encode: ({ account, prefix }) => encodeAddress(hexToU8a(account), prefix),
  decode: ({ text }) => decoded(text),
  // Bytes with a right checksum, whatever they are.
  body: ({ body }) => {
    const bytes = hexToU8a(body);
    const text = base58Encode(u8aConcat(bytes, checksum(bytes)));
    return { text, found: answer(() => decoded(text)) };
  },
};

function checksum(bytes) {
  return blake2AsU8a(u8aConcat(stringToU8a('SS58PRE'), bytes), 512).subarray(0, 2);
}

function decoded(text) {
  const account = decodeAddress(text);
  const [, , , prefix] = checkAddressChecksum(base58Decode(text));
  const again = answer(() => encodeAddress(account, prefix));
  return { account: u8aToHex(account), prefix, canonical: again === text };
}

function answer(run) {
  try {
    return run();
  } catch {
    return null;
  }
}

await cryptoWaitReady();
for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(JSON.parse(line).map((one) => answer(() => kinds[one.kind](one)))));
}
