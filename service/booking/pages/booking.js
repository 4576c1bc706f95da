// Waits for what a booking still lacks: its payment, whose coming has the page read again, and its receipts.
import { again, countDown } from './count.js';

const state = document.getElementById('state');
const id = location.pathname.split('/').pop();
const waits = () => state.dataset.state === 'held' || document.querySelector('#receipts[data-unsigned]');

countDown();
const look = async () => {
  try {
    const answer = document.hidden ? null : await fetch(`/api/booking/bookings/${encodeURIComponent(id)}`);
    if (answer?.ok && (await answer.json()).state !== state.dataset.state) {
      location.reload();
      return;
    }
    if (answer && document.querySelector('#receipts[data-unsigned]')) await again('#receipts');
  } catch {
    // The house is away; the page stays as it was.
  }
  if (waits()) setTimeout(look, 2000);
};
setTimeout(look, 1000);
