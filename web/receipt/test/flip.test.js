import assert from 'node:assert/strict';
import test from 'node:test';
import { Worker } from 'node:worker_threads';

import { verify } from '../src/index.js';
import { good } from './vectors.js';

const workers = 2;

function flip(receipt, trust, first) {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('flip-worker.js', import.meta.url), { workerData: { receipt, trust, first, step: workers } });
    worker.once('message', resolve);
    worker.once('error', reject);
  });
}

for (const name of ['complete', 'provisional, an act of a batch']) {
  test(`every flipped bit is refused: ${name}`, async () => {
    const { receipt, trust } = good(name);
    verify(receipt, trust); // whole, it is not refused
    const answers = await Promise.all(Array.from({ length: workers }, (_, first) => flip(receipt, trust, first)));
    assert.equal(answers.reduce((sum, a) => sum + a.flipped, 0), receipt.length * 8);
    assert.deepEqual(answers.flatMap((a) => a.accepted), []);
  });
}
