/* Keeps pages live, shows ages, and asks for confirmation before actions. The server renders the
   pages; this script replaces the parts that changed. It never turns text into markup. */
(function () {
  "use strict";

  const clock = { ahead: 0 };  // ms that the server's clock is ahead of this machine's

  const now = () => Date.now() + clock.ahead;

  /* The absolute URL without user and password, which fetch refuses. */
  const absolute = (path) => new URL(path, location.origin).href;

  // -- ages

  function span(seconds) {
    if (seconds < 60) return Math.round(seconds) + " s";
    if (seconds < 3600) return Math.floor(seconds / 60) + " min";
    if (seconds < 86400) return Math.floor(seconds / 3600) + " h";
    return Math.floor(seconds / 86400) + " d";
  }

  function age(ms) {
    const seconds = (now() - ms) / 1000;
    if (seconds < -1) return "in " + span(-seconds);
    return seconds < 1 ? "now" : span(seconds) + " ago";
  }

  function showTime(element) {
    const ms = Number(element.dataset.ms);
    if (!ms) return;
    const moment = new Date(ms);
    const exact = moment.toLocaleString([], { dateStyle: "medium", timeStyle: "medium" });
    const text = "exact" in element.dataset ? exact : age(ms);
    if (element.textContent !== text) element.textContent = text;
    element.dateTime = moment.toISOString();
    if (!("exact" in element.dataset)) element.title = exact;
  }

  const showTimes = (root) => root.querySelectorAll("time[data-ms]").forEach(showTime);

  // -- replacing the parts that changed

  const keyOf = (node) => (node.nodeType === 1 ? node.getAttribute("data-key") : null);

  function alike(a, b) {
    return a.nodeType === b.nodeType && a.nodeName === b.nodeName && keyOf(a) === keyOf(b);
  }

  /* Updates `old` to match `fresh` in place, so that focus, selection, open details and scroll
     positions stay. */
  function morph(old, fresh) {
    if (old.nodeType === 3) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    if (old.nodeType !== 1) return;
    const keeps = old.nodeName === "DETAILS" ? ["open"] : old.nodeName === "TIME" ? ["title", "datetime"] : [];
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && !keeps.includes(name)) old.removeAttribute(name);
    }
    for (const { name, value } of [...fresh.attributes]) {
      if (old.getAttribute(name) !== value && !keeps.includes(name)) old.setAttribute(name, value);
    }
    if (old.nodeName === "TIME" && fresh.dataset.ms) { showTime(old); return; }
    morphChildren(old, fresh);
  }

  function morphChildren(old, fresh) {
    const keyed = new Map();
    for (const child of old.childNodes) if (keyOf(child)) keyed.set(keyOf(child), child);
    const hadKeys = keyed.size > 0;
    let at = old.firstChild;
    for (const wanted of [...fresh.childNodes]) {
      const key = keyOf(wanted);
      const known = key === null ? at : keyed.get(key);
      if (known && alike(known, wanted)) {
        if (known === at) at = at.nextSibling; else old.insertBefore(known, at);
        morph(known, wanted);
      } else {
        const added = document.importNode(wanted, true);
        if (hadKeys && key && added.classList.contains("cl-row")) added.classList.add("cl-row-new");
        old.insertBefore(added, at);
      }
    }
    while (at) {
      const following = at.nextSibling;
      at.remove();
      at = following;
    }
  }

  // -- live parts

  const FASTEST = 1000, SLOWEST = 10000;

  function showStatus(alive, text) {
    document.querySelectorAll("[data-live-dot]").forEach((dot) => {
      dot.classList.toggle("status-dot-live", alive);
      dot.classList.toggle("status-dot-error", !alive);
    });
    document.querySelectorAll("[data-live-status]").forEach((status) => {
      if (status.textContent !== text) status.textContent = text;
    });
  }

  async function load(path) {
    const response = await fetch(absolute(path), { credentials: "same-origin", cache: "no-cache" });
    const date = Date.parse(response.headers.get("Date"));
    if (date) clock.ahead = Math.abs(date - Date.now()) < 2000 ? 0 : date - Date.now();
    if (response.redirected || !response.ok) {
      const why = { 401: "log in again", 403: "not allowed", 404: "not found", 503: "Redis is unreachable" };
      throw new Error(response.redirected ? "log in again" : why[response.status] || "error " + response.status);
    }
    return response.text();
  }

  function keepLive(part) {
    const every = Number(part.dataset.every) * 1000 || 2000;
    let failed = 0, timer = 0, loading = false, again = false;

    async function refresh() {
      clearTimeout(timer);
      if (loading) { again = true; return; }
      loading = true;
      try {
        const text = await load(part.dataset.live);
        const parsed = new DOMParser().parseFromString("<body>" + text, "text/html");
        morphChildren(part, parsed.body);
        showTimes(part);
        failed = 0;
        showStatus(true, "Live");
      } catch (error) {
        failed += 1;
        showStatus(false, "Not live: " + (error instanceof TypeError ? "Flower is unreachable" : error.message));
      }
      loading = false;
      if (again) { again = false; refresh(); return; }
      const pause = Math.max(FASTEST, Math.min(SLOWEST, every * 2 ** failed));
      if (!document.hidden) timer = setTimeout(refresh, pause);
    }

    document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
    part.addEventListener("cl-refresh", refresh);
    if (part.childElementCount) timer = setTimeout(refresh, every); else refresh();
    if (part.childElementCount) showStatus(true, "Live");
  }

  const refreshAll = () => document.querySelectorAll("[data-live]").forEach((part) => {
    part.dispatchEvent(new Event("cl-refresh"));
  });

  // -- the number of dead letters in the navigation

  function keepCount(badge) {
    async function refresh() {
      if (!document.hidden) {
        try {
          const { dead } = JSON.parse(await load(badge.dataset.count));
          badge.textContent = dead > 9999 ? "9999+" : dead;
          badge.hidden = !dead;
        } catch { /* the live part of the page shows the error */ }
      }
      setTimeout(refresh, 5000);
    }
    badge.addEventListener("cl-refresh", refresh, { once: false });
    refresh();
  }

  // -- actions

  function cookie(name) {
    const match = document.cookie.match("(?:^|;)\\s*" + name + "=([^;]+)");
    return match ? decodeURIComponent(match[1]) : "";
  }

  async function post(path, args) {
    const response = await fetch(absolute(path), {
      method: "POST",
      credentials: "same-origin",
      headers: { "Content-Type": "application/json", "X-XSRFToken": cookie("_xsrf") },
      body: JSON.stringify(args),
    });
    let answer;
    try { answer = await response.json(); } catch { answer = {}; }
    if (!response.ok) throw new Error(answer.error || "Flower answered " + response.status);
    return answer;
  }

  function toast(text, kind) {
    const container = document.getElementById("toast-container");
    const box = element("div", "toast align-items-center border-0 text-bg-" + kind);
    box.setAttribute("role", kind === "danger" ? "alert" : "status");
    const row = element("div", "d-flex");
    row.append(element("div", "toast-body", text));
    const close = element("button", "btn-close btn-close-white me-2 m-auto");
    close.type = "button";
    close.setAttribute("data-bs-dismiss", "toast");
    close.setAttribute("aria-label", "Close");
    row.append(close);
    box.append(row);
    container.append(box);
    box.addEventListener("hidden.bs.toast", () => box.remove());
    new bootstrap.Toast(box, { delay: kind === "danger" ? 12000 : 5000 }).show();
  }

  function element(name, className, text) {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  const deadLetters = (n) => n.toLocaleString("en") + (n === 1 ? " dead letter" : " dead letters");

  const MAX_GROUPS = 5;

  /* The dead letters of an action by handler, event type and error, the largest group first. */
  function grouped() {
    const groups = new Map();
    return {
      add(counts) {
        for (const { handler, type, exception, count } of counts) {
          const name = [handler, type || "no event", exception || "no exception type"].join(", ");
          groups.set(name, (groups.get(name) || 0) + count);
        }
      },
      lines() {
        const sorted = [...groups].sort((a, b) => b[1] - a[1]);
        const lines = sorted.slice(0, MAX_GROUPS).map(([name, n]) => n.toLocaleString("en") + " × " + name);
        const more = sorted.length - MAX_GROUPS;
        return more > 0 ? [...lines, "and " + more + (more === 1 ? " more group" : " more groups")] : lines;
      },
    };
  }

  /* The dialog. `run` is called after confirmation, and can report its progress. */
  function confirmAction({ verb, text, what, danger, reason, edited, prepare, run }) {
    // Always offered: the reason is kept in the history of each delivery.
    const placeholder = reason || REASON;
    const dialog = element("dialog", "cl-dialog");
    const form = element("form");
    form.method = "dialog";
    const title = element("h2", "", verb + "?");
    title.id = "cl-dialog-title";
    dialog.setAttribute("aria-labelledby", title.id);
    const question = element("p", "", text);
    const named = element("ul", "cl-dialog-what");
    const name = (lines) => {
      named.hidden = !lines.length;
      named.replaceChildren(...lines.map((line) => element("li", "", line)));
    };
    name(what ? [what] : []);
    const progress = element("p", "cl-dialog-count");
    progress.setAttribute("aria-live", "polite");
    const bar = element("progress");
    bar.hidden = progress.hidden = true;
    const why = element("input", "form-control");
    why.placeholder = placeholder;
    why.setAttribute("aria-label", placeholder);
    why.maxLength = 200;
    const editor = element("textarea", "form-control cl-editor");
    editor.value = edited || "";
    editor.spellcheck = false;
    editor.setAttribute("aria-label", "The event");
    if (edited) dialog.classList.add("cl-dialog-wide");
    const buttons = element("div", "cl-dialog-buttons");
    const no = element("button", "btn btn-outline-secondary", "Cancel");
    no.type = "button";
    const yes = element("button", "btn " + (danger ? "btn-danger" : "btn-primary"), verb);
    yes.type = "submit";
    buttons.append(no, yes);
    form.append(title, named, question, ...(edited ? [editor] : []), why, progress, bar, buttons);
    dialog.append(form);
    document.body.append(dialog);

    let stopped = false;
    const before = document.activeElement;
    const close = () => { stopped = true; dialog.close(); };
    const report = (text, done, total) => {
      progress.hidden = false;
      progress.textContent = text;
      bar.hidden = total === undefined;
      if (total) { bar.max = total; bar.value = Math.min(done, total); }
    };
    no.addEventListener("click", close);
    dialog.addEventListener("click", (event) => { if (event.target === dialog) close(); });
    dialog.addEventListener("close", () => {
      stopped = true;
      dialog.remove();
      if (before && before.isConnected) before.focus();
    });
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      yes.disabled = true;
      why.disabled = true;
      no.textContent = "Stop";
      try {
        const answer = await run({ reason: why.value.trim(), edited: editor.value, report, isStopped: () => stopped });
        if (dialog.open) dialog.close();
        toast(answer, "success");
      } catch (error) {
        if (edited && dialog.open) {
          // Keep the typed text.
          report(error.message);
          yes.disabled = why.disabled = false;
          no.textContent = "Cancel";
          return;
        }
        if (dialog.open) dialog.close();
        toast(error.message, "danger");
      }
      refreshAll();
    });
    dialog.showModal();
    editor.setSelectionRange(0, 0);
    editor.scrollTop = 0;
    (edited ? editor : reason ? why : danger ? no : yes).focus();
    if (prepare) {
      yes.disabled = true;
      prepare({ report, name, isStopped: () => stopped }).then((ready) => {
        yes.disabled = !ready;
        if (ready && !danger) yes.focus();
      }, (error) => report(error.message));
    }
  }

  const REASON = "Reason (for the audit log)";
  const PAST = { Redrive: "Redriven", Replay: "Replayed", Discard: "Discarded", Pause: "Paused", Resume: "Resumed", Edit: "Edited", Abort: "Abort requested", Remind: "Expires now" };

  function runAction(button) {
    const args = JSON.parse(button.dataset.args);
    const verb = button.dataset.verb;
    confirmAction({
      verb,
      text: button.dataset.ask,
      what: button.dataset.what,
      danger: "danger" in button.dataset,
      reason: button.dataset.reason,
      edited: button.dataset.document,
      run: async ({ reason, edited }) => {
        const given = edited ? { ...args, document: edited } : args;
        const answer = await post(button.dataset.act, reason ? { ...given, reason } : given);
        if (answer.gone) return "No change: it is running, or another action was first";
        return PAST[verb] + (button.dataset.what ? ": " + button.dataset.what : "");
      },
    });
  }

  /* Counts the dead letters of a choice, then runs the action in steps; later dead letters are left out. */
  function runBatch(button) {
    const args = JSON.parse(button.dataset.args);
    const verb = button.dataset.verb;
    let total = 0, until = 0;
    confirmAction({
      verb,
      text: button.dataset.ask,
      danger: "danger" in button.dataset,
      prepare: async ({ report, name, isStopped }) => {
        const counted = grouped();
        let step = { after: "", end: false };
        report("Counting…");
        while (!step.end && !isStopped()) {
          const choice = until ? { ...args, after: step.after, until_ms: until } : args;
          step = await post(button.dataset.countAt, choice);
          until = step.until_ms;
          total += step.chosen;
          counted.add(step.groups);
          name(counted.lines());
          report(step.end ? deadLetters(total) : "Counted " + deadLetters(total) + " so far…");
        }
        return total > 0;
      },
      run: async ({ reason, report, isStopped }) => {
        let step = { after: "", end: false, operation: "" }, done = 0, refused = 0, seen = 0;
        const faults = new Set(), acted = grouped();
        while (!step.end && !isStopped()) {
          step = await post(button.dataset.many, { ...args, reason, until_ms: until, after: step.after, operation: step.operation });
          done += step.done;
          refused += step.refused;
          seen += step.chosen;
          acted.add(step.groups);
          step.faults.forEach((fault) => faults.add(fault));
          report(PAST[verb] + " " + deadLetters(done), seen, total);
        }
        if (refused) throw new Error(PAST[verb] + " " + deadLetters(done) + "; not " + deadLetters(refused) + ": " + [...faults].join("; "));
        const names = acted.lines().join("; ");
        return PAST[verb] + " " + deadLetters(done) + (isStopped() && !step.end ? ", then stopped" : "") + (names ? ": " + names : "");
      },
    });
  }

  // -- events of the user

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-act], [data-many], [data-copy]");
    if (!button || button.disabled) return;
    if (button.dataset.act) runAction(button);
    else if (button.dataset.many) runBatch(button);
    else if (navigator.clipboard) {
      navigator.clipboard.writeText(button.dataset.copy).then(() => {
        button.classList.add("cl-copied");
        setTimeout(() => button.classList.remove("cl-copied"), 1500);
      });
    }
  });

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, select, textarea, dialog");
    const field = document.querySelector("[data-slash]");
    if (event.key === "/" && field && !typing && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      field.focus();
      field.select();
    }
  });

  function keepShort(form) {
    form.addEventListener("submit", () => {
      form.querySelectorAll("input, select").forEach((field) => { field.disabled = !field.value; });
    });
    form.addEventListener("change", (event) => {
      if (event.target.nodeName === "SELECT") form.requestSubmit();
    });
    // back to the page by the browser's back button
    window.addEventListener("pageshow", () => {
      form.querySelectorAll("input, select").forEach((field) => { field.disabled = false; });
    });
  }

  // The script runs before the page is shown, so that no click is lost.
  document.addEventListener("DOMContentLoaded", () => {
    showTimes(document);
    setInterval(() => { if (!document.hidden) showTimes(document); }, 1000);
    document.querySelectorAll("[data-live]").forEach(keepLive);
    document.querySelectorAll("[data-count]").forEach(keepCount);
    document.querySelectorAll("[data-filters]").forEach(keepShort);
  });
}());
