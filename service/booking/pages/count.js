// Counts down to the moments that a page names, by the server's clock: [data-until] below an element with [data-now].
const en = document.documentElement.lang === 'en';
const two = (n) => String(n).padStart(2, '0');

const left = (ms) => {
  const s = Math.max(0, Math.ceil(ms / 1000)), days = Math.floor(s / 86400);
  const clock = `${two(Math.floor(s / 3600) % 24)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
  const time = days > 0 ? `${days}${en ? ' d ' : ' 天 '}${clock}` : clock;
  return en ? `(in ${time})` : `（还有 ${time}）`;
};

export const countDown = (reload = () => location.reload()) => {
  const origin = new WeakMap();
  let reloaded = 0;
  const tick = () => {
    for (const at of document.querySelectorAll('[data-until]')) {
      const base = at.closest('[data-now]');
      if (!base) continue;
      if (origin.get(base)?.now !== base.dataset.now) origin.set(base, { now: base.dataset.now, seen: Date.now() });
      const passed = Date.now() - origin.get(base).seen;
      const ms = Number(at.dataset.until) - Number(base.dataset.now) - passed;
      at.textContent = left(ms);
      if (ms <= 0 && at.dataset.then === 'reload' && Date.now() - reloaded > 5000) {
        reloaded = Date.now();
        setTimeout(reload, 300 + Math.random() * 2500); // not everyone in the same moment
      }
    }
    setTimeout(tick, 500);
  };
  tick();
};

// again reads the page again and replaces what is marked; it returns whether it could.
export const again = async (selector = '[data-live]') => {
  const answer = await fetch(location.href, { headers: { Accept: 'text/html' } });
  if (!answer.ok || answer.redirected) return false;
  const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
  for (const now of document.querySelectorAll(selector)) {
    const then = page.getElementById(now.id);
    if (!then || then.innerHTML === now.innerHTML && then.dataset.now === now.dataset.now) continue;
    const focused = now.contains(document.activeElement) ? document.activeElement.getAttribute('href') : null;
    for (const name of Object.keys(now.dataset)) if (!(name in then.dataset)) delete now.dataset[name];
    Object.assign(now.dataset, then.dataset);
    now.replaceChildren(...then.childNodes);
    if (focused) now.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus();
  }
  return true;
};
