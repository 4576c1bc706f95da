import assert from 'node:assert/strict';
import test from 'node:test';

import { leafHash, nodeHash } from '../src/merkle.js';
import { parsePKIX, sm3, keyID, fingerprint } from '../src/sm.js';
import { base64Of, hexOf } from '../src/text.js';
import { Refusal, verify } from '../src/index.js';
import { bytes, good, options, vectors } from './vectors.js';

/** asJSON writes BigInts as Go writes them. */
const asJSON = (result) => JSON.parse(JSON.stringify(result, (_, v) => (typeof v === 'bigint' ? Number(v) : v)));

test('there are vectors', () => {
  assert.ok(vectors.good.length >= 5 && vectors.refused.length >= 40);
});

for (const vector of vectors.good) {
  test(`good: ${vector.name}`, () => {
    const result = verify(bytes(vector.receipt), vectors.trusts[vector.trust], options(vector));
    assert.deepEqual(asJSON(result), vector.result);
    assert.equal(typeof result.index, 'bigint');
    assert.equal(typeof result.checkpoint.size, 'bigint');
  });
}

for (const vector of vectors.refused) {
  test(`refused: ${vector.name}`, () => {
    const whole = [...good(vector.of).receipt];
    whole.splice(vector.at, vector.delete, ...bytes(vector.insert ?? ''));
    assert.throws(() => verify(Uint8Array.from(whole), vectors.trusts[vector.trust], options(vector)), (error) => {
      assert.ok(error instanceof Refusal, error.stack);
      assert.equal(error.code, vector.code);
      assert.ok(error.in('zh') && error.in('en'));
      return true;
    });
  });
}

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
    const der = Buffer.from('3059301306072a8648ce3d020106082a811ccf5501822d034200' + v.public, 'hex');
    const point = parsePKIX(new Uint8Array(der));
    assert.equal(hexOf(point), v.public);
    assert.equal(hexOf(keyID(v.name, point)), v.keyId);
    assert.equal(fingerprint(point), v.fingerprint);
  }
});
