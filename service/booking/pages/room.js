// Keeps somebody's place current: by events, and by asking where events do not come through. When the state changes the
// page is read again.
import { countDown } from './count.js';

const place = document.getElementById('place');
const away = document.getElementById('away');
const en = document.documentElement.lang === 'en';
const path = `/api/booking/sales/${encodeURIComponent(place.dataset.sale)}/place`;
const pause = 5000;

const waits = (s) => {
  if (s < 0) return en ? 'not known yet' : '暂无估计';
  if (s < 60) return en ? 'less than a minute' : '不到 1 分钟';
  const minutes = Math.ceil(s / 60);
  return en ? `about ${minutes} min` : `约 ${minutes} 分钟`;
};

const put = (id, text) => {
  const at = document.getElementById(id);
  if (at && at.textContent !== text) at.textContent = text;
};

let leaving = false;
const show = (v) => {
  if (away) away.hidden = true;
  if (v.state !== place.dataset.state) {
    if (!leaving) setTimeout(() => location.reload(), Math.random() * 500);
    leaving = true;
    return;
  }
  if (v.state !== 'in-draw') put('ahead', String(v.ahead));
  put('wait', waits(v.state === 'waiting' ? v.wait : -1));
  put('total', String(v.total));
};

const ask = async () => {
  try {
    const answer = await fetch(path);
    if (!answer.ok) throw new Error(String(answer.status));
    show(await answer.json());
  } catch {
    if (away) away.hidden = false;
  }
};

countDown();
if (place.dataset.in !== undefined) {
  let heard = 0;
  const source = typeof EventSource === 'undefined' ? null : new EventSource(`${path}/events`);
  source?.addEventListener('place', (event) => { heard = Date.now(); show(JSON.parse(event.data)); });
  setInterval(() => { if (!document.hidden && Date.now() - heard >= pause) ask(); }, pause);
}
