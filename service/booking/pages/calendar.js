// Keeps the remaining places current, and counts down to the opening of sales.
import { again, countDown } from './count.js';

const pause = 5000;
let soon = Promise.resolve();
const refresh = () => { soon = soon.then(() => again()).catch(() => {}); }; // away: the page stays as it was

countDown(refresh);
setInterval(() => { if (!document.hidden) refresh(); }, pause);
