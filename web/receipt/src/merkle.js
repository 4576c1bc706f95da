// Inclusion proofs of RFC 9162 over SM3.

import { sm3 } from './sm.js';

const leafPrefix = Uint8Array.of(0);
const nodePrefix = Uint8Array.of(1);

export const leafHash = (data) => sm3(leafPrefix, data);
export const nodeHash = (left, right) => sm3(nodePrefix, left, right);

const ones = (n) => n.toString(2).replaceAll('0', '').length;

/**
 * rootFrom returns the root to which an inclusion proof leads, or null where the index is outside the tree or the proof
 * has not the length that it must have. Index and size are BigInts.
 */
export function rootFrom(leaf, index, size, proof) {
  if (index >= size) return null;
  // Up to the level where the ways of the leaf and of the last leaf meet, a sibling is left or right as the index says;
  // above, the way is the right edge, and siblings are left ones alone.
  const apart = index ^ (size - 1n);
  const inner = apart === 0n ? 0 : apart.toString(2).length;
  if (proof.length !== inner + ones(index >> BigInt(inner))) return null;
  return proof.reduce((sum, sibling, level) => {
    const right = level < inner && ((index >> BigInt(level)) & 1n) === 0n;
    return right ? nodeHash(sum, sibling) : nodeHash(sibling, sum);
  }, leaf);
}
