// Keeps the page of the log current while somebody looks: it is read again each second, and what has changed is replaced.
(() => {
  const pause = 1000;
  const refresh = async () => {
    try {
      if (document.hidden) return;
      const answer = await fetch(location.href, { headers: { Accept: 'text/html' } });
      if (!answer.ok || answer.redirected) return;
      const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
      for (const now of document.querySelectorAll('[data-live]')) {
        const then = page.getElementById(now.id);
        if (then && then.innerHTML !== now.innerHTML) now.replaceChildren(...then.childNodes);
      }
    } catch {
      // The house is away; the page stays as it was, and is read again.
    } finally {
      setTimeout(refresh, pause);
    }
  };
  setTimeout(refresh, pause);
})();
