"use strict";
// Names and reasons come from other people: they reach the page as text only, never as markup.
(() => {
  const rows = JSON.parse(document.getElementById("rows").textContent);
  const $ = (id) => document.getElementById(id);
  const collator = new Intl.Collator("en", { numeric: true });

  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.filter((child) => child !== null));
    return element;
  }

  function picture(index, alt) {
    return index === null || index === undefined
      ? make("span", { class: "picture" }, "no picture")
      : make("img", { class: "picture", src: rows.addresses[index], alt, decoding: "async" });
  }

  const heading = (name) => {
    const [family, variant] = [name.split("@")[0], name.split("@").slice(1).join("@")];
    return [make("span", {}, family), ...(variant ? [make("small", {}, variant)] : [])];
  };
  const shown = (value, digits) => (value === null ? "–" : value.toFixed(digits));

  // A table of which one page is shown, sorted by the buttons in its head. Values that are missing stand last.
  class Sheet {
    constructor(place, { caption, columns, row, noun, sort }) {
      Object.assign(this, { columns, row, noun, sort, all: [], order: [], page: 0, size: 25 });
      this.status = make("span", { role: "status" });
      const turn = (step) => () => this.turn(step(this.page, this.pages - 1));
      this.buttons = [
        ["First", () => 0], ["Previous", (p) => p - 1], ["Next", (p) => p + 1], ["Last", (_, last) => last],
      ].map(([text, step]) => make("button", { type: "button", onclick: turn(step) }, text));
      const sizes = make("select", {}, ...[10, 25, 50, 100].map((n) => make("option", { value: n, selected: n === this.size }, String(n))));
      sizes.addEventListener("change", () => {
        const first = this.page * this.size;
        this.size = Number(sizes.value);
        this.turn(Math.floor(first / this.size));
      });
      this.heads = columns.map((column, k) =>
        column.value
          ? make("th", { scope: "col", "aria-sort": "none", class: column.class ?? null },
              make("button", { type: "button", onclick: () => this.sortBy(k) }, ...column.head()))
          : make("th", { scope: "col", class: column.class ?? null }, ...column.head()));
      this.body = make("tbody");
      place.replaceChildren(
        make("div", { class: "pager", role: "group", "aria-label": `Pages of ${noun}` }, this.status, ...this.buttons, make("label", {}, "A page holds ", sizes)),
        make("div", { class: "wide", role: "region", "aria-label": caption, tabindex: "0" },
          make("table", {}, make("caption", {}, caption), make("thead", {}, make("tr", {}, ...this.heads)), this.body)));
    }

    get pages() {
      return Math.max(1, Math.ceil(this.order.length / this.size));
    }

    show(all, order) {
      this.total = all;
      this.order = order;
      this.arrange();
    }

    sortBy(k) {
      const first = this.columns[k].first;
      const same = this.sort.column === k;
      this.sort = { column: k, sign: same ? -this.sort.sign : first };
      this.arrange();
    }

    arrange() {
      const { column, sign } = this.sort;
      const value = this.columns[column].value;
      const keys = new Map(this.order.map((i) => [i, value(i)]));
      this.order.sort((a, b) => {
        const [x, y] = [keys.get(a), keys.get(b)];
        if (x === null || y === null) return (x === null) - (y === null) || a - b;
        return sign * (typeof x === "string" ? collator.compare(x, y) : x - y) || a - b;
      });
      this.heads.forEach((head, k) => {
        if (this.columns[k].value) head.setAttribute("aria-sort", k !== column ? "none" : sign > 0 ? "ascending" : "descending");
      });
      this.turn(0);
    }

    turn(page) {
      this.page = Math.min(Math.max(0, page), this.pages - 1);
      const first = this.page * this.size;
      const here = this.order.slice(first, first + this.size);
      this.body.replaceChildren(...here.map(this.row));
      const n = (x) => x.toLocaleString("en");
      this.status.textContent = here.length
        ? `${n(first + 1)}–${n(first + here.length)} of ${n(this.order.length)} ${this.noun}` +
          (this.order.length < this.total ? `, filtered from ${n(this.total)}` : "")
        : `no ${this.noun} fit the filter`;
      const ends = [this.page === 0, this.page === 0, this.page >= this.pages - 1, this.page >= this.pages - 1];
      const focused = document.activeElement;
      this.buttons.forEach((button, k) => (button.disabled = ends[k]));
      // A button that the last page disables would drop the keyboard's place.
      if (focused?.disabled && this.buttons.includes(focused)) this.buttons.find((button) => !button.disabled)?.focus();
    }
  }

  // Pairs
  const run = () => rows.runs[Number($("run").value)];
  const text = (index) => (index === null || index < 0 ? "" : rows.texts[index]);
  const person = (index) => rows.people[index];
  const persons = (i) => [rows.sources[i], ...rows.others[i], rows.targets[i]];
  const measures = rows.measures.map((measure, m) => ({
    head: () => heading(measure.name),
    value: (i) => run().values[m][i],
    first: measure.lower ? -1 : 1, // the worst first
  }));

  function pairRow(i) {
    const now = run();
    const id = rows.pairs[i];
    const failed = now.reason[i] >= 0;
    const open = make("button", { type: "button", class: "link", "aria-haspopup": "dialog", onclick: () => openPair(i) }, id);
    const who = persons(i).map((index) => make("bdi", {}, person(index))); // a name may turn the direction of writing
    const joined = who.flatMap((name, k) => (k === 0 ? [name] : [k === who.length - 1 ? " → " : " + ", name]));
    return make("tr", { class: failed ? "failed" : null },
      make("th", { scope: "row" }, open, make("br"), make("small", {}, ...joined),
        ...(now.note[i] >= 0 ? [make("br"), make("small", {}, text(now.note[i]))] : [])),
      ...rows.before.map((role) => make("td", { class: "image" }, picture(rows.shared[role][i], `${role} of ${id}`))),
      make("td", { class: "image" }, picture(now.swap[i], `swap of ${id} by ${now.name}`)),
      ...rows.after.map((role) => make("td", { class: "image" }, picture(rows.shared[role][i], `${role} of ${id}`))),
      ...(failed
        ? [make("td", { class: "text", colspan: Math.max(1, rows.measures.length) }, `failed: ${text(now.reason[i])}`)]
        : rows.measures.map((measure, m) => make("td", {}, shown(now.values[m][i], measure.digits)))));
  }

  const image = (role) => ({ head: () => [role], class: "image" });
  const grid = new Sheet($("grid"), {
    caption: "Pairs: frames, swap and distances", noun: "pairs", row: pairRow,
    columns: [
      { head: () => heading("pair"), value: (i) => rows.pairs[i], first: 1 },
      ...rows.before.map(image), image("swap"), ...rows.after.map(image), ...measures,
    ],
    sort: { column: 0, sign: 1 },
  });
  if (measures.length) grid.sort = { column: grid.columns.length - measures.length, sign: measures[0].first };

  function filtered() {
    const now = run();
    const words = $("find").value.toLowerCase();
    const [who, m] = [$("person").value, Number($("measure").value)];
    const states = { "": () => true, scored: (reason) => reason < 0, failed: (reason) => reason >= 0 };
    const fits = states[$("state").value] ?? ((reason) => reason === Number($("state").value));
    const [low, high] = [$("low"), $("high")].map((input) => (input.value === "" ? null : input.valueAsNumber));
    const mine = rows.pairs.map((_, i) => i).filter((i) => now.reason[i] !== null);
    return [mine.length, mine.filter((i) => {
      if (!fits(now.reason[i])) return false;
      if (who && !persons(i).some((index) => person(index) === who)) return false;
      if (low !== null || high !== null) {
        const value = now.values[m][i];
        if (value === null || (low !== null && value < low) || (high !== null && value > high)) return false;
      }
      return !words || [rows.pairs[i], ...persons(i).map(person), text(now.reason[i]), text(now.note[i])]
        .some((field) => field.toLowerCase().includes(words));
    })];
  }
  const showPairs = () => grid.show(...filtered());
  // Show what a button elsewhere on the page points to, and nothing else.
  function narrow(filters) {
    for (const id of ["state", "find", "person", "low", "high"]) $(id).value = filters[id] ?? "";
    if (filters.run !== undefined) {
      $("run").value = filters.run;
      showPeople();
    }
    showPairs();
    $("pairs").scrollIntoView();
    $("pairs").focus({ preventScroll: true });
  }

  // One pair, with the swaps and distances of every run
  let current = 0;
  function openPair(i) {
    current = i;
    const id = rows.pairs[i];
    const of = rows.runs.filter((one) => one.reason[i] !== null);
    const shot = (index, name) => make("figure", {}, picture(index, `${name} of ${id}`), make("figcaption", {}, name));
    const find = (index) => make("button", { type: "button", class: "link", onclick: () => {
      $("pair").close();
      narrow({ person: person(index) });
    } }, person(index));
    $("pair-name").textContent = `Pair ${id}`;
    $("pair-body").replaceChildren(
      make("p", {}, "All pairs of ", ...[...new Set(persons(i))].flatMap((index, k) => (k ? [", ", find(index)] : [find(index)]))),
      make("div", { class: "shots" },
        ...rows.before.map((role) => shot(rows.shared[role][i], role)),
        ...of.map((one) => shot(one.swap[i], one.name)),
        ...rows.after.map((role) => shot(rows.shared[role][i], role))),
      make("div", { class: "wide", role: "region", "aria-label": "Distances", tabindex: "0" }, make("table", {},
        make("caption", {}, "Distances of this pair by every run"),
        make("thead", {}, make("tr", {}, ...["run", ...rows.measures.map((m) => m.name)].map((name) => make("th", { scope: "col" }, ...heading(name))))),
        make("tbody", {}, ...of.map((one) => make("tr", { class: one.reason[i] >= 0 ? "failed" : null }, make("th", { scope: "row" }, one.name),
          ...(one.reason[i] >= 0
            ? [make("td", { class: "text", colspan: Math.max(1, rows.measures.length) }, `failed: ${text(one.reason[i])}`)]
            : rows.measures.map((measure, m) => make("td", {}, shown(one.values[m][i], measure.digits))))))))));
    const at = grid.order.indexOf(i);
    $("previous").disabled = at <= 0;
    $("next").disabled = at < 0 || at >= grid.order.length - 1;
    if (!$("pair").open) $("pair").showModal();
    // What had the focus is gone, or off: keys would no longer reach the dialog.
    else if (!$("pair").contains(document.activeElement) || document.activeElement.disabled) $("pair-name").focus();
  }
  function step(by) {
    const next = grid.order[grid.order.indexOf(current) + by];
    if (next !== undefined) openPair(next);
  }
  $("previous").addEventListener("click", () => step(-1));
  $("next").addEventListener("click", () => step(1));
  $("pair").addEventListener("keydown", (event) => {
    const wide = event.target.closest(".wide");
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || (wide && wide.scrollWidth > wide.clientWidth)) return;
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });

  // Identities
  let means = new Map();
  const meanOf = (index, m) => means.get(index).means[m];
  const people = new Sheet($("people"), {
    caption: "What each identity’s pairs measure", noun: "identities",
    columns: [
      { head: () => heading("identity"), value: person, first: 1 },
      { head: () => heading("scored"), value: (index) => means.get(index).scored, first: -1 },
      { head: () => heading("failed"), value: (index) => means.get(index).failed, first: -1 },
      ...rows.measures.map((measure, m) => ({ head: () => heading(measure.name), value: (index) => meanOf(index, m), first: measure.lower ? -1 : 1 })),
    ],
    row: (index) => make("tr", {},
      make("th", { scope: "row" }, make("button", { type: "button", class: "link", "aria-label": `Show the pairs of ${person(index)}`, onclick: () => narrow({ person: person(index) }) }, person(index))),
      make("td", {}, String(means.get(index).scored)), make("td", {}, String(means.get(index).failed)),
      ...rows.measures.map((measure, m) => make("td", {}, shown(meanOf(index, m), measure.digits)))),
    sort: { column: rows.measures.length ? 3 : 0, sign: rows.measures.length && rows.measures[0].lower ? -1 : 1 },
  });

  function showPeople() {
    const now = run();
    const role = $("role").value;
    means = new Map();
    rows.pairs.forEach((_, i) => {
      if (now.reason[i] === null) return;
      const sources = [rows.sources[i], ...rows.others[i]];
      for (const index of new Set(role === "source" ? sources : role === "target" ? [rows.targets[i]] : [...sources, rows.targets[i]])) {
        if (!means.has(index)) means.set(index, { scored: 0, failed: 0, means: rows.measures.map(() => 0) });
        const entry = means.get(index);
        if (now.reason[i] >= 0) entry.failed += 1;
        else {
          entry.scored += 1;
          now.values.forEach((column, m) => (entry.means[m] += column[i]));
        }
      }
    });
    for (const entry of means.values()) entry.means = entry.means.map((sum) => (entry.scored ? sum / entry.scored : null));
    const words = $("who").value.toLowerCase();
    people.show(means.size, [...means.keys()].filter((index) => person(index).toLowerCase().includes(words)));
  }

  // Controls
  rows.runs.forEach((one, k) => $("run").append(make("option", { value: k }, one.name + (one.reference ? " (reference)" : ""))));
  rows.measures.forEach((measure, m) => $("measure").append(make("option", { value: m }, `${measure.name} (${measure.unit})`)));
  for (const id of ["state", "find", "person", "measure", "low", "high"]) $(id).addEventListener("input", showPairs);
  $("run").addEventListener("input", () => { showPairs(); showPeople(); });
  $("filter").addEventListener("reset", () => setTimeout(() => { showPairs(); showPeople(); }));
  for (const id of ["role", "who"]) $(id).addEventListener("input", showPeople);
  for (const form of [$("filter"), $("roles")]) form.addEventListener("submit", (event) => event.preventDefault());
  $("measure").closest("fieldset").hidden = !measures.length;
  const reasons = new Set();
  for (const button of document.querySelectorAll("button[data-reason]")) {
    const { run, reason } = button.dataset;
    reasons.add(reason);
    button.addEventListener("click", () => narrow({ run, state: reason }));
  }
  for (const reason of reasons) $("state").append(make("option", { value: reason }, `failed: ${text(Number(reason))}`));

  // The choice of colours is kept where the browser lets a local page keep anything.
  const kept = { get() { try { return localStorage.getItem("mfim-bench-theme") ?? ""; } catch { return ""; } },
    set(value) { try { localStorage.setItem("mfim-bench-theme", value); } catch { /* only for this visit */ } } };
  function paint(value) {
    if (value) document.documentElement.dataset.theme = value;
    else delete document.documentElement.dataset.theme;
  }
  $("theme").value = kept.get();
  paint($("theme").value);
  $("theme").addEventListener("input", () => { paint($("theme").value); kept.set($("theme").value); });

  for (const element of document.querySelectorAll(".js")) element.hidden = false;
  showPairs();
  showPeople();
})();
