// Waits for a booking's payment: when its state changes the page is read again.
import { countDown } from './count.js';

const state = document.getElementById('state');
const id = location.pathname.split('/').pop();

countDown();
const look = async () => {
  try {
    const answer = document.hidden ? null : await fetch(`/api/booking/bookings/${encodeURIComponent(id)}`);
    if (answer?.ok && (await answer.json()).state !== state.dataset.state) {
      location.reload();
      return;
    }
  } catch {
    // The house is away; the page stays as it was.
  }
  setTimeout(look, 2000);
};
setTimeout(look, 1000);
