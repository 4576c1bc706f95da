// Keeps the page of a case current: each event has the page read again, and only its content replaced.
(() => {
  const id = location.pathname.split('/').pop();
  const source = new EventSource(`/api/approval/cases/${id}/events`);
  let reading = false, again = false;
  const refresh = async () => {
    if (reading) { again = true; return; }
    reading = true;
    do {
      again = false;
      const answer = await fetch(location.href, { headers: { Accept: 'text/html' } });
      if (!answer.ok) break;
      const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
      const main = page.getElementById('main');
      if (main) document.getElementById('main').replaceChildren(...main.childNodes);
      if (!page.querySelector('script[src="/approval/live.js"]')) source.close();
    } while (again);
    reading = false;
  };
  source.addEventListener('case', refresh);
})();
