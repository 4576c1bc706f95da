import assert from 'node:assert/strict';
import test from 'node:test';

import { Refusal, verify } from '../src/index.js';
import { leafHash, nodeHash } from '../src/merkle.js';
import { fingerprint, keyID, parsePKIX, sm3 } from '../src/sm.js';
import { base64Of, hexOf } from '../src/text.js';
import { bytes, good, options, pkix, vectors } from './vectors.js';

/** asJSON writes BigInts as Go writes them. */
const asJSON = (result) => JSON.parse(JSON.stringify(result, (_, v) => (typeof v === 'bigint' ? Number(v) : v)));

test('good receipts', () => {
  assert.ok(vectors.good.length >= 5);
  for (const vector of vectors.good) {
    const result = verify(bytes(vector.receipt), vectors.trusts[vector.trust], options(vector));
    assert.deepEqual(asJSON(result), vector.result, vector.name);
    assert.equal(typeof result.index, 'bigint');
    assert.equal(typeof result.checkpoint.size, 'bigint');
  }
});

test('refused receipts', () => {
  assert.ok(vectors.refused.length >= 40);
  for (const vector of vectors.refused) {
    const file = [...good(vector.of).receipt];
    file.splice(vector.at, vector.delete, ...bytes(vector.insert ?? ''));
    assert.throws(() => verify(Uint8Array.from(file), vectors.trusts[vector.trust], options(vector)), (error) => {
      assert.ok(error instanceof Refusal, `${vector.name}: ${error.stack}`);
      assert.equal(error.code, vector.code, vector.name);
      assert.ok(error.in('zh') && error.in('en'), vector.name);
      return true;
    }, vector.name);
  }
});

test('every flipped bit of an original is refused', () => {
  const { receipt, trust, vector } = good('complete');
  const original = bytes(vector.original);
  for (let bit = 0; bit < original.length * 8; bit++) {
    original[bit >> 3] ^= 1 << (bit & 7);
    assert.throws(() => verify(receipt, trust, { original }), { code: 'receipt.original' }, `bit ${bit}`);
    original[bit >> 3] ^= 1 << (bit & 7);
  }
});

test('roots of trees', () => {
  const root = (leaves) => {
    if (leaves.length === 0) return sm3(new Uint8Array());
    if (leaves.length === 1) return leafHash(leaves[0]);
    let k = 1;
    while (2 * k < leaves.length) k *= 2;
    return nodeHash(root(leaves.slice(0, k)), root(leaves.slice(k)));
  };
  for (const v of vectors.hashes) assert.equal(base64Of(root((v.leaves ?? []).map(bytes))), v.root);
});

test('keys', () => {
  for (const v of vectors.keys) {
    const point = parsePKIX(pkix(v.public));
    assert.equal(hexOf(point), v.public);
    assert.equal(hexOf(keyID(v.name, point)), v.keyId);
    assert.equal(fingerprint(point), v.fingerprint);
  }
});
