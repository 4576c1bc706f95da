// Flips bits of a receipt: every step-th, from the first on. Answers how many, and the bits that were not refused.
import { parentPort, workerData } from 'node:worker_threads';

import { Refusal, verify } from '../src/index.js';

const { receipt, trust, first, step } = workerData;
const accepted = [];
let flipped = 0;
for (let bit = first; bit < receipt.length * 8; bit += step) {
  flipped++;
  receipt[bit >> 3] ^= 1 << (bit & 7);
  try {
    verify(receipt, trust);
    accepted.push(bit);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
  }
  receipt[bit >> 3] ^= 1 << (bit & 7);
}
parentPort.postMessage({ flipped, accepted });
